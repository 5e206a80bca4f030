"""Answers put together: pieces as an upstream gave them, turned into parts, images and an outcome."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final

import pybase64

from providers.extraction import MARKER_LENGTH
from providers.facts import ImageDefect, ImageFacts, inspect, sniff
from providers.images import GeneratedImage
from providers.outcome import Billed, Outcome, OutcomeName, Part, Usage
from providers.sanitise import sanitise

_NOT_CHARGED: Final = re.compile(r"not be charged|not charged|won't be charged", re.IGNORECASE)

_BLOCKING: Final = frozenset(
    {"SAFETY", "PROHIBITED_CONTENT", "BLOCKLIST", "SPII", "RECITATION", "MODEL_ARMOR", "JAILBREAK", "CONTENT_FILTER",
     "REFUSAL", "MODERATION_BLOCKED"}
)  # fmt: skip
"""Finish and block reasons that are a verdict on the content, without their ``IMAGE_`` forms."""

_AMOUNT: Final = re.compile(r"[0-9]{0,9}\.?[0-9]{1,40}(?:e[+-]?[0-9]{1,3})?", re.IGNORECASE)
"""Money as upstreams write it; Decimal() would take digits of other scripts and underscores."""

_TAILS: Final = {"image/png": b"IEND\xaeB`\x82", "image/jpeg": b"\xff\xd9"}
"""What a whole image ends with, by its media type."""
_TAIL_ROOM: Final = 1024
"""Bytes from the end in which that has to stand: programs append a little to images."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """One piece of an answer as the upstream gave it, in its order.

    *data* is the image's bytes, *facts* what they were found to be, *defect* what is wrong with them, or why there are none
    although there should be, *url* where to fetch them.
    *thought* marks what the model only thought: it is not part of the answer. *words* is the text of a link that may as
    well be no more than a part of the sentence. *choice* is the number of the alternative answer the piece belongs to,
    *place* where in that answer it stood.
    """

    text: str | None = None
    data: bytes | None = field(default=None, repr=False)
    facts: ImageFacts | None = None
    url: str | None = None
    defect: str | None = None
    signature: str | None = field(default=None, repr=False)
    thought: bool = False
    words: str | None = None
    choice: int = 0
    place: str = ""

    @property
    def is_image(self) -> bool:
        """Whether the piece is, or should be, an image."""
        return self.text is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """A 200 answer as read from its wire, before its images are looked at.

    *reason* is the upstream's finish or block reason, *message* its explanation. *blocked* is set where the wire itself
    says that the content was refused, whatever the reason is called, *unbilled* where it says that nothing is charged.
    *drafts* tells that images in a row are drafts of one.
    """

    pieces: tuple[Piece, ...] = ()
    usage: Usage | None = None
    reported_cost: Decimal | None = None
    reason: str = ""
    message: str = ""
    blocked: bool = False
    unbilled: bool = False
    drafts: bool = False


def conclude(reply: Reply) -> Outcome:
    """The outcome of a 200 answer whose pieces are the final ones, with their linked images fetched."""
    parts: list[Part] = []
    defects: list[tuple[str, bool]] = []
    for piece in reply.pieces:
        try:
            part = _part(piece)
        except ImageDefect as defect:
            defects.append((str(defect), _is_cut(piece)))
        else:
            parts += [] if part.image and part.image in (other.image for other in parts) else [part]
    outcome = Outcome(name="ok", billed="yes", parts=tuple(parts), usage=reply.usage, reported_cost=reply.reported_cost)
    return outcome if outcome.images else _without_image(reply, outcome, defects)


def final_pieces(reply: Reply) -> list[Piece]:
    """The pieces that are the answer: without thoughts, without what is said twice, and without drafts.

    Models show drafts as ordinary images one after the other, so of images in a row the last one counts; images with
    text between them are each an answer of their own. Next to the bytes of an image, links in the text are text.
    """
    shown = any(piece.data is not None for piece in reply.pieces)
    kept: list[Piece] = []
    for given in reply.pieces:
        piece = replace(given, text=given.words, url=None) if shown and given.words else given
        if piece.thought or _is_repeated(piece, kept):
            continue
        if reply.drafts and kept and piece.is_image and kept[-1].is_image and kept[-1].choice == piece.choice:
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
    except ValueError:
        return Piece(defect="the image is not whole base64", signature=signature, thought=thought)


def blocks(reason: str) -> bool:
    """Whether a finish or block reason is a verdict on the content."""
    return reason.upper().removeprefix("IMAGE_") in _BLOCKING


def count(value: object) -> int | None:
    """*value* if it is a sane number of tokens, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if 0 <= value <= 10**9 else None  # as NaN is not, nor infinity


def money(value: object) -> Decimal | None:
    """*value* as USD if it is a sane amount, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    written = _AMOUNT.fullmatch(str(value))
    return Decimal(written[0]) if written and Decimal(written[0]) <= 1000 else None


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
    if piece.data is None or piece.defect is not None:
        raise ImageDefect(piece.defect or "the image is missing")
    facts = piece.facts or inspect(piece.data)
    data = piece.data if facts.end == len(piece.data) else piece.data[: facts.end]
    image = GeneratedImage(data=data, mime_type=facts.mime_type, width=facts.width, height=facts.height)
    return Part(image=image, signature=piece.signature)


def _is_cut(piece: Piece) -> bool:
    """Whether the defective image of *piece* may be whole at the upstream: its base64 or its bytes end early."""
    if piece.data is None:
        return piece.url is None
    mime_type = sniff(piece.data)
    if mime_type == "image/webp":
        return int.from_bytes(piece.data[4:8], "little") > len(piece.data) - 8
    return mime_type is not None and _TAILS[mime_type] not in piece.data[-_TAIL_ROOM:]


def _without_image(reply: Reply, outcome: Outcome, defects: list[tuple[str, bool]]) -> Outcome:
    blocked = reply.blocked or blocks(reply.reason)
    name: OutcomeName = "blocked" if blocked else "bad_response" if defects else "no_image"
    billed: Billed = "no" if reply.unbilled or _NOT_CHARGED.search(reply.message) else "yes"
    if name == "bad_response" and any(cut for _, cut in defects):
        billed = "maybe"
    why = [why for why, _ in defects[:1]]
    said = ": ".join(part for part in (reply.reason, reply.message or outcome.text, *why) if part)
    return Outcome(
        name=name, billed=billed, parts=outcome.parts, usage=outcome.usage, reported_cost=outcome.reported_cost,
        detail=sanitise(said or "the answer holds no image"),
    )  # fmt: skip


def _is_repeated(piece: Piece, kept: Sequence[Piece]) -> bool:
    """Whether the answer holds *piece* already: relays say the same in two places. In one place words may recur."""
    return any(
        (piece.text, piece.data, piece.url) == (other.text, other.data, other.url)
        for other in kept
        if piece.is_image or other.place != piece.place
    )


def _decode(encoded: str) -> bytes:
    characters = "".join(encoded.split()).rstrip("=").replace("-", "+").replace("_", "/")
    return pybase64.b64decode(characters + "=" * (-len(characters) % 4), validate=True)
