"""What a fault does: to the answer, to the drawing, to the bytes, or to the connection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from providers.simulator.messages import Answer
from providers.sizes import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """Another answer than an image.

    *google* goes out on Google's wire, *imagen* on that of ``:predict`` (None: *google* there too); *chat* and *images*
    on OpenAI's, where None puts *google*'s message into the flavour's own form of errors, with the status *status* if
    it differs there. *charged*: the upstream bills it, which Imagen never does without an image.
    """

    google: Answer
    imagen: Answer | None = None
    chat: Answer | None = None
    images: Answer | None = None
    status: int | None = None
    charged: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Redraw:
    """Another drawing than asked: another *size*, a *square*, only *n* images, or *drafts* before each image."""

    size: Size | None = None
    square: bool = False
    n: int | None = None
    drafts: int = 0


@dataclass(frozen=True, slots=True)
class Spoil:
    """Image bytes that are not what they should be. *how* turns (image bytes, base64) into what is sent.

    *mime_type* is the format to draw first, *claims* the media type the answer states.
    """

    how: Callable[[bytes, bytes], tuple[bytes, bytes]]
    mime_type: str | None = None
    claims: str | None = None


@dataclass(frozen=True, slots=True)
class Recode:
    """A body or headers that are not what they should be. *how* turns the answer into what is sent."""

    how: Callable[[Answer], Answer]


Framing = Literal["length", "chunked", "close"]
"""How a body says where it ends: Content-Length, chunks, or the end of the connection."""


@dataclass(frozen=True, slots=True)
class Whole:
    """The answer as it should be."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection closes after the share *at* (0 to 1) of the body."""

    at: float = 0.5
    framing: Framing = "length"


@dataclass(frozen=True, slots=True)
class Reset:
    """The connection is reset (RST): *early*, when only the request's head was read, or after the whole request."""

    early: bool = False


@dataclass(frozen=True, slots=True)
class Drip:
    """The body comes in pieces of *piece* bytes, *every* so many seconds."""

    every: float = 0.1
    piece: int = 1


@dataclass(frozen=True, slots=True)
class Hang:
    """Nothing comes until the client gives up."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """*data* comes instead of HTTP, and the connection closes."""

    data: bytes = field(default=b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\r\n", repr=False)


Delivery = Whole | Cut | Reset | Drip | Hang | Garbage
"""How an answer gets onto the connection."""

Effect = Reply | Redraw | Spoil | Recode | Delivery
"""Anything a fault can do."""
