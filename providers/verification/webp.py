"""WebP image data: RFC 9649. It has no checksums, so it is decoded."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress

from providers.facts.parts import Part
from providers.verification.decoding import decoding


def check_pixels(view: memoryview, _: Sequence[Part]) -> None:
    """Raise unless the picture, the first one of an animation, can be decoded.

    Our own limit on pixels held already. Where the application gave Pillow a tighter one, the picture stays undecoded.
    """
    from PIL.Image import DecompressionBombError
    from PIL.WebPImagePlugin import WebPImageFile

    with decoding("WebP"), suppress(DecompressionBombError), WebPImageFile(io.BytesIO(view)) as image:
        image.load()
