"""A conversation's earlier turns, as one lane may be sent them. Pure.

A thought signature is echoed to the lane that gave it, and to no other: not between the Developer API and Vertex, nor to
a relay that passes Google's wire through, since Google promises none of it, signatures are known to be refused across
accounts, and a refused one costs the call. What a lane is not sent, the result says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from gateway.router.lanes import Lane
from providers.errors import GatewayError
from providers.images import GeneratedImage
from providers.turns import Turn, drawn_last

History = tuple[Turn, ...]

ROOM: Final = 70 * 2**20
"""Bytes of earlier images that one request carries at most: Google takes 100 MB in all, in which base64 counts for a third
more (https://ai.google.dev/gemini-api/docs/file-input-methods, since 2026-01)."""

_ABOUT_SIGNATURES: Final = re.compile(r"thought[ _-]?signature", re.IGNORECASE)


def for_lane(history: History, lane: Lane, references: int) -> History:
    """What *lane* is sent of *history* in a request with so many *references*, without foreign signatures.

    These are the last turns, as many as have room for their images.
    """
    kept = _with_room(history, lane, references) if lane.turns else history
    return tuple(turn if turn.lane == lane.name else unsigned(turn) for turn in kept)


def unsigned(turn: Turn) -> Turn:
    """*turn* without thought signatures."""
    return replace(turn, answer=tuple(replace(part, signature=None) for part in turn.answer))


def last_image(history: Sequence[Turn]) -> tuple[str, int] | None:
    """The lane that drew the last image, and the bytes of it; None if there is none."""
    image = drawn_last(history)
    lane = next((turn.lane for turn in reversed(history) if turn.drawn), "")
    return None if image is None else (lane, len(image.data))


def told(history: History, lane: Lane, references: int) -> Iterator[str]:
    """What a caller should know about how *history* was sent to *lane*."""
    if not history:
        return
    before = history[-1].lane
    if before and before != lane.name:
        yield f"the conversation moved from {before} to {lane.name}: {_what_moved(history, lane)}"
    kept = _with_room(history, lane, references) if lane.turns else history
    if len(kept) < len(history):
        left = len(history) - len(kept)
        yield f"{lane.name} was not sent the first {left} of {len(history)} turns: a request has no room for their images"
    if kept[-1].images != history[-1].images:
        yield f"{lane.name} was not sent the reference images of the last turn: a request has no room for them"


def refused_signatures(error: GatewayError) -> bool:
    """Whether an upstream did not take the thought signatures it was sent, or missed some, and *error* cost nothing."""
    refused = any(each.outcome == "invalid" and _ABOUT_SIGNATURES.search(each.detail) for each in error.attempts)
    return refused and all(each.billed == "no" for each in error.attempts)


def plain(image: GeneratedImage) -> GeneratedImage:
    """*image* with its bytes in memory, whatever becomes of the file that it was saved to; as it is if that is gone."""
    if type(image) is GeneratedImage:
        return image
    try:
        return GeneratedImage(data=image.data, mime_type=image.mime_type, width=image.width, height=image.height)
    except OSError:
        return image


def _what_moved(history: History, lane: Lane) -> str:
    signed = any(part.signature for turn in history if turn.lane != lane.name for part in turn.answer)
    if not lane.turns:
        left = "earlier turns and thought signatures" if signed else "earlier turns"
        return f"it was sent the last image and the new prompt; {left} were left behind"
    return "it was sent the earlier turns in its own form" + ("; thought signatures were left behind" if signed else "")


def _with_room(history: History, lane: Lane, references: int) -> History:
    """The last turns, as many as have room. Of the very last one at least what was drawn is kept."""
    kept = history[-1:]
    if kept and not _have_room(kept, lane, references):
        kept = (replace(kept[0], images=()),)
    for turn in reversed(history[:-1]):
        if not _have_room((turn, *kept), lane, references):
            break
        kept = (turn, *kept)
    return kept


def _have_room(turns: History, lane: Lane, references: int) -> bool:
    """Whether *lane* takes the images of *turns*. None that it drew itself is too large for it."""
    shown = [len(image.data) for turn in turns for image in turn.images]
    own = [len(image.data) for turn in turns if turn.lane == lane.name for image in turn.drawn]
    foreign = [len(image.data) for turn in turns if turn.lane != lane.name for image in turn.drawn]
    return (
        references + len(shown) + len(own) + len(foreign) <= lane.references
        and sum(shown) + sum(own) + sum(foreign) <= ROOM
        and (lane.reference_bytes is None or max((*shown, *foreign), default=0) <= lane.reference_bytes)
    )
