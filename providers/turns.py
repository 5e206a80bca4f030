"""What was said before in a conversation, for requests that go on from there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from providers.images import GeneratedImage, ReferenceImage
from providers.outcome import Part


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One exchange of a conversation: what was asked, with which *images*, and what the model answered, in order.

    *lane* (``"provider/model"``) gave the answer: its thought signatures mean something there, and nowhere else.
    """

    prompt: str = field(repr=False)
    images: tuple[ReferenceImage, ...] = ()
    answer: tuple[Part, ...] = field(default=(), repr=False)
    lane: str = ""

    @property
    def drawn(self) -> tuple[GeneratedImage, ...]:
        """The images of the answer, in order."""
        return tuple(part.image for part in self.answer if part.image is not None)

    @property
    def words(self) -> str:
        """The text of the answer, joined."""
        return "".join(part.text for part in self.answer if part.text)


def drawn_last(history: Sequence[Turn]) -> GeneratedImage | None:
    """The image that was drawn last, or None if none was."""
    return next((turn.drawn[-1] for turn in reversed(history) if turn.drawn), None)
