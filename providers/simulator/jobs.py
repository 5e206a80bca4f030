"""A drawing job: a request of any wire, understood."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal

import pybase64
from PIL import Image

from providers.simulator.drawing import Picture
from providers.simulator.effects import Redraw
from providers.simulator.models import Model
from providers.simulator.pixels import Pixels, nearest_ratio, pixels, rescale
from providers.sizes import EDGE, Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be drawn, and how it is to be answered.

    *asked_model* is the id as the request has it. *pixels* is what *size* and *aspect_ratio* come to. *references* are
    the pixels of the input images. *words*
    says whether text may stand beside the image, *thoughts* whether the model's thoughts are shown. *drafts* is how
    many unmarked drafts precede each image. *origin* is where the client reaches the simulator.
    """

    model: Model
    asked_model: str
    prompt: str = field(repr=False)
    size: Size
    pixels: Pixels
    mime_type: str
    aspect_ratio: str | None = None
    references: tuple[Pixels, ...] = ()
    n: int = 1
    words: bool = True
    thoughts: bool = False
    drafts: int = 0
    origin: str = ""

    @property
    def price(self) -> Decimal:
        """USD for one image of the job."""
        return self.model.prices.get(self.size) or max(self.model.prices.values())

    @property
    def image_tokens(self) -> int:
        """Output tokens of one image."""
        return self.model.tokens.get(self.size) or max(self.model.tokens.values(), default=0)

    @property
    def prompt_tokens(self) -> int:
        """Input tokens of the text, at the customary four characters each."""
        return max(1, len(self.prompt) // 4)

    @property
    def reference_tokens(self) -> int:
        """Input tokens of the reference images."""
        return len(self.references) * self.model.reference_tokens

    def redrawn(self, change: Redraw) -> Job:
        """The job as a fault would have it drawn."""
        size = change.size or self.size
        drawn = rescale(self.pixels, self.size, size)
        if change.square:
            drawn = (EDGE[size], EDGE[size])
        return replace(self, size=size, pixels=drawn, n=min(self.n, change.n or self.n), drafts=change.drafts)

    def pictures(self) -> list[Picture]:
        """The pictures to draw, one for each image wanted."""
        return [self._picture(index) for index in range(1, self.n + 1)]

    def _picture(self, index: int) -> Picture:
        width, height = self.pixels
        which = f" · {index} of {self.n}" if self.n > 1 else ""
        return Picture(
            width=width,
            height=height,
            mime_type=self.mime_type,
            title=self.prompt[:200],
            caption=f"{self.size} · {width}x{height} · {self.asked_model}{which}",
        )


def dimensions(model: Model, size: Size, ratio: str | None, references: Sequence[Pixels]) -> tuple[str, Pixels]:
    """The ratio and the pixels of an image: as asked, else as the first reference image, else square."""
    if ratio is None:
        ratio = nearest_ratio(model, *references[0]) if references else "1:1"
    return ratio, pixels(model, size, ratio)


def decode_reference(text: str) -> bytes:
    """The bytes of base64 *text* of either alphabet, with or without padding.

    Raises:
        ValueError: it is not base64.
    """
    plain = text.translate(str.maketrans("-_", "+/")).rstrip("=")
    return pybase64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)


def measure(data: bytes) -> Pixels:
    """Width and height of an image.

    Raises:
        ValueError: it is not one.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            return image.size
    except (OSError, Image.DecompressionBombError) as problem:
        raise ValueError("not an image") from problem
