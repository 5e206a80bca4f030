"""WebP image data: RFC 9649. It has no checksums, so it is decoded."""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import suppress

from providers.facts.parts import Part
from providers.verification.decoding import EnoughError, decoding


def check_pixels(view: memoryview, _: Sequence[Part], amount: int) -> None:
    """Raise unless the picture, the first one of an animation, can be decoded; Pillow decodes all of a WebP or nothing.

    A file of more than *amount* bytes stays undecoded, and so does a picture where the application gave Pillow a tighter
    limit on pixels than ours, which has held already.

    Raises:
        EnoughError: the file is larger than *amount*.
    """
    if len(view) > amount:
        raise EnoughError
    from PIL.Image import DecompressionBombError
    from PIL.WebPImagePlugin import WebPImageFile

    with decoding("WebP"), suppress(DecompressionBombError), WebPImageFile(io.BytesIO(view)) as image:
        image.load()
