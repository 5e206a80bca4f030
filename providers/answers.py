"""Answers put together: pieces as an upstream gave them, turned into parts, images and an outcome."""

from __future__ import annotations

import binascii
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import pybase64

from providers.extraction import MARKER_LENGTH
from providers.facts import ImageDefect, inspect
from providers.images import GeneratedImage
from providers.outcome import Billed, Outcome, OutcomeName, Part, Usage
from providers.sanitise import sanitise

_NOT_CHARGED: Final = re.compile(r"not be charged|not charged|won't be charged", re.IGNORECASE)

_BLOCKING: Final = frozenset(
    {"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION", "MODEL_ARMOR", "JAILBREAK", "CONTENT_FILTER",
     "REFUSAL", "MODERATION_BLOCKED"}
)  # fmt: skip
"""Finish and block reasons that are a verdict on the content, without their ``IMAGE_`` forms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One piece of an answer as the upstream gave it, in its order.

    *data* is the image's bytes, *defect* why there are none although there should be, *url* where to fetch them.
    *thought* marks what the model only thought: it is not part of the answer.
    """

    text: str | None = None
    data: bytes | None = field(default=None, repr=False)
    url: str | None = None
    defect: str | None = None
    signature: str | None = field(default=None, repr=False)
    thought: bool = False

    @property
    def is_image(self) -> bool:
        """Whether the piece is, or should be, an image."""
        return self.text is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A 200 answer as read from its wire, before its images are looked at.

    *reason* is the upstream's finish or block reason, *message* its explanation. *unbilled* is set where the wire itself
    says that nothing is charged. *drafts* tells that images in a row are drafts of one.
    """

    pieces: tuple[Piece, ...] = ()
    usage: Usage | None = None
    reported_cost: Decimal | None = None
    reason: str = ""
    message: str = ""
    unbilled: bool = False
    drafts: bool = False


def conclude(reply: Reply) -> Outcome:
    """The outcome of a 200 answer whose pieces are the final ones, with their linked images fetched."""
    parts: list[Part] = []
    defects: list[str] = []
    for piece in reply.pieces:
        try:
            parts.append(_part(piece))
        except ImageDefect as defect:
            defects.append(str(defect))
    outcome = Outcome(name="ok", billed="yes", parts=tuple(parts), usage=reply.usage, reported_cost=reply.reported_cost)
    if outcome.images:
        return outcome
    return _without_image(reply, outcome, defects)


def final_pieces(reply: Reply) -> list[Piece]:
    """The pieces that are the answer: without thoughts, without repeated images, and without drafts.

    Models show drafts as ordinary images one after the other, so of images in a row the last one counts; images with
    text between them are each an answer of their own.
    """
    kept: list[Piece] = []
    for piece in reply.pieces:
        if piece.thought or _is_repeated(piece, kept):
            continue
        if reply.drafts and kept and piece.is_image and kept[-1].is_image:
            kept.pop()
        kept.append(piece)
    return kept


def image_piece(
    text: str, images: Mapping[str, bytes], signature: str | None = None, *, thought: bool = False
) -> Piece:
    """The image that *text* stands for: a marker, base64 in either alphabet with or without padding, or a data URI."""
    encoded = text.partition("base64,")[2] if text[:5].lower() == "data:" else text
    encoded = encoded.strip()
    if encoded in images:
        return Piece(data=images[encoded], signature=signature, thought=thought)
    begun = images.get(encoded[:MARKER_LENGTH])
    if begun is not None:  # a stream sent the text in several pieces, and the first was taken for the whole
        encoded = pybase64.b64encode_as_string(begun).rstrip("=") + encoded[MARKER_LENGTH:]
    try:
        return Piece(data=_decode(encoded), signature=signature, thought=thought)
    except binascii.Error:
        return Piece(defect="the image is not whole base64", signature=signature, thought=thought)


def blocks(reason: str) -> bool:
    """Whether a finish or block reason is a verdict on the content."""
    return reason.upper().removeprefix("IMAGE_") in _BLOCKING


def count(value: object) -> int | None:
    """*value* if it is a sane number of tokens, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return int(value) if 0 <= value <= 10**9 else None


def money(value: object) -> Decimal | None:
    """*value* as USD if it is a sane amount, else None."""
    try:
        usd = Decimal(str(value)) if isinstance(value, int | float | str) and not isinstance(value, bool) else None
    except ArithmeticError:
        return None
    return usd if usd is not None and usd.is_finite() and 0 <= usd <= 1000 else None


def mapping(value: Any) -> Mapping[str, Any]:
    """*value* if it is a JSON object, else an empty one."""
    return value if isinstance(value, Mapping) else {}


def objects(value: Any) -> list[Mapping[str, Any]]:
    """The JSON objects in *value* if it is a list, else none."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, Sequence) else []


def string(value: Any) -> str:
    """*value* if it is text, else nothing."""
    return value if isinstance(value, str) else ""


def _part(piece: Piece) -> Part:
    if piece.text is not None:
        return Part(text=piece.text, signature=piece.signature)
    if piece.data is None:
        raise ImageDefect(piece.defect or "the image is missing")
    facts = inspect(piece.data)
    data = piece.data if facts.end == len(piece.data) else piece.data[: facts.end]
    image = GeneratedImage(data=data, mime_type=facts.mime_type, width=facts.width, height=facts.height)
    return Part(image=image, signature=piece.signature)


def _without_image(reply: Reply, outcome: Outcome, defects: list[str]) -> Outcome:
    name: OutcomeName = "blocked" if blocks(reply.reason) else "bad_response" if defects else "no_image"
    billed: Billed = "no" if reply.unbilled or _NOT_CHARGED.search(reply.message) else "yes"
    if name == "bad_response":
        billed = "maybe"
    said = ": ".join(part for part in (reply.reason, reply.message or outcome.text, *defects[:1]) if part)
    return Outcome(
        name=name, billed=billed, parts=outcome.parts, usage=outcome.usage, reported_cost=outcome.reported_cost,
        detail=sanitise(said or "the answer holds no image"),
    )  # fmt: skip


def _is_repeated(piece: Piece, kept: Sequence[Piece]) -> bool:
    """Whether the answer holds *piece* already: relays say the same in two places."""
    return any((piece.text, piece.data, piece.url) == (other.text, other.data, other.url) for other in kept)


def _decode(encoded: str) -> bytes:
    characters = "".join(encoded.split()).rstrip("=").replace("-", "+").replace("_", "/")
    return pybase64.b64decode(characters + "=" * (-len(characters) % 4), validate=True)
