"""What a request ends in: the images, what they cost, and how they came about."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from providers.errors import InvalidRequest
from providers.images import GeneratedImage, with_image_suffix
from providers.outcome import Billed, OutcomeName, Part
from providers.sizes import Size

CostBasis = Literal["usage", "catalogue", "reported"]
Judge = Callable[[str, bool, Decimal | float], None]
"""Takes a verdict: the request's id, whether its images were accepted, and the USD it cost to clean up."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Money in USD. *basis* says who named it: the upstream's token usage, the catalogue, or the upstream's own bill."""

    usd: Decimal
    basis: CostBasis


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One call to one lane.

    *cost* is what the call did or may have cost, None if it was provably free. *duration* and *retry_after* are
    seconds. *detail* is sanitised and at most 200 characters.
    """

    lane: str
    size: Size
    outcome: OutcomeName
    billed: Billed
    cost: Cost | None = None
    duration: float = 0.0
    retry_after: float | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageResult:
    """The answer to a request.

    *size* is the tier the pixels cover; *downgraded* is true when that is less than *requested_size*. *cost* is the
    price of the images delivered, *total_cost* adds every attempt that was or may have been billed. *elapsed* is
    seconds for the whole request. *parts* is the model's answer in order, with its thought signatures. *cached*: another
    request has paid for it.
    """

    images: tuple[GeneratedImage, ...]
    text: str
    lane: str
    provider: str
    model: str
    requested_size: Size
    size: Size
    downgraded: bool
    cost: Cost
    total_cost: Cost
    attempts: tuple[Attempt, ...]
    warnings: tuple[str, ...]
    request_id: str
    elapsed: float
    parts: tuple[Part, ...] = field(default=(), repr=False)
    cached: bool = False
    _judge: Judge | None = field(default=None, repr=False, compare=False)

    def accept(self) -> None:
        """Tell the gateway that the images are usable as they are: quality ``"auto"`` learns from it, per task.

        Raises:
            InvalidRequest: the gateway no longer remembers the request, or this result comes from another process.
        """
        self._verdict(True, 0)

    def reject(self, cleanup_cost: Decimal | float = 0) -> None:
        """Tell the gateway that the images are not usable; *cleanup_cost* is the USD that this has cost, work included.

        Raises:
            InvalidRequest: as for :meth:`accept`, or the cost is not an amount.
        """
        self._verdict(False, cleanup_cost)

    def _verdict(self, accepted: bool, cleanup_cost: Decimal | float) -> None:
        if self._judge is None:
            raise InvalidRequest(
                "request_id: this result has lost its gateway (it was pickled or made by hand); "
                "call gateway.feedback(result.request_id, accepted) on the gateway that delivered it"
            )
        self._judge(self.request_id, accepted, cleanup_cost)

    def __reduce__(self) -> tuple[Callable[..., ImageResult], tuple[dict[str, Any]]]:
        kept = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "_judge"}
        return _restored, (kept,)

    def save(self, path: str | Path) -> list[Path]:
        """Write the images and return their paths.

        *path* is a file name, whose suffix is corrected to each image's real format (``-2``, ``-3`` … for more than one
        image), or an existing folder, in which files are named after the request.

        Raises:
            OSError: a file could not be written.
        """
        base = Path(path)
        if base.is_dir():
            base = base / self.request_id
        return [image.save(numbered(base, number, image)) for number, image in enumerate(self.images, 1)]


def _restored(kept: dict[str, Any]) -> ImageResult:
    return ImageResult(**kept)


def numbered(base: Path, number: int, image: GeneratedImage) -> Path:
    """*base* for the first image, ``base-2`` … for the others, with the suffix of the image's format."""
    target = with_image_suffix(base, image.mime_type)
    return target if number == 1 else target.with_name(f"{target.stem}-{number}{target.suffix}")
