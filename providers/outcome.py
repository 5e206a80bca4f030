"""What came of one request to one upstream: a fact about the image and a fact about the money."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from providers.images import GeneratedImage

OutcomeName = Literal[
    "ok", "rate_limited", "quota_exhausted", "balance", "auth", "region", "model_gone", "overloaded", "transport",
    "timeout", "bad_response", "no_image", "blocked", "wrong_size", "invalid", "cancelled",
]  # fmt: skip

Billed = Literal["no", "maybe", "yes"]
"""``no``: provably not processed. ``maybe``: unknown. ``yes``: paid."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens an upstream reported. None where it said nothing; totals may exceed the sum of the parts."""

    input_text: int | None = None
    input_image: int | None = None
    output_text: int | None = None
    output_image: int | None = None
    thoughts: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of an answer, in the order it was given: text or an image.

    *signature* is the upstream's thought signature, base64 text to be echoed verbatim in a later turn.
    """

    text: str | None = None
    image: GeneratedImage | None = None
    signature: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The end of one attempt.

    *retry_after* is seconds, as the upstream hinted, or None. *detail* is sanitised and at most 200 characters.
    *lasting* says that only a change of the account or the configuration helps. *reported_cost* is USD as the upstream
    itself stated it. *parts* is the answer without its thoughts, in order.
    """

    name: OutcomeName
    billed: Billed
    parts: tuple[Part, ...] = ()
    usage: Usage | None = None
    reported_cost: Decimal | None = None
    retry_after: float | None = None
    lasting: bool = False
    detail: str = ""

    @property
    def images(self) -> tuple[GeneratedImage, ...]:
        """The images of the answer, in order."""
        return tuple(part.image for part in self.parts if part.image is not None)

    @property
    def text(self) -> str:
        """The text of the answer, joined."""
        return "".join(part.text for part in self.parts if part.text)
