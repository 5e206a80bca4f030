"""What was said before in a conversation, for requests that go on from there."""

from __future__ import annotations

from dataclasses import dataclass, field

from providers.images import ReferenceImage
from providers.outcome import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One exchange of a conversation: what was asked, with which *images*, and what the model answered, in order.

    *lane* (``"provider/model"``) gave the answer: its thought signatures mean something there, and nowhere else.
    """

    prompt: str = field(repr=False)
    images: tuple[ReferenceImage, ...] = ()
    answer: tuple[Part, ...] = ()
    lane: str = ""
