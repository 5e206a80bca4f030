"""Pictures: a landscape with the prompt and the facts of the image written on it."""

from __future__ import annotations

import contextlib
import hashlib
import io
import math
import textwrap
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Final

from PIL import Image, ImageChops, ImageColor, ImageDraw, ImageFont

RGB = tuple[int, int, int]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_SCENE_EDGE: Final = 1536
"""Pixels of the long edge on which the scenery is drawn, before it is resized to what was asked."""

_GRAIN: Final = 512
"""Pixels of the edge of the noise tile that gives a file the weight of a photograph."""

_GRAIN_SIGMA: Final = {True: 9, False: 5}
"""Standard deviation of the noise, of 256 levels: for pictures beyond 2048 pixels, and for the others."""

_TITLE_SHARE: Final = 0.68
"""The share of the width that the title may take; the sun has the rest."""

_SHADOW: Final = "#0b1020"

_WIDE_FONTS: Final = ("NotoSansCJK-Regular.ttc", "PingFang.ttc", "msyh.ttc", "DejaVuSans.ttf", "Arial Unicode.ttf")
"""Fonts of the common systems for what Pillow's own, which is all but ASCII, does not have."""

_PALETTES: Final = (
    ("#1b2a6b", "#e96479", "#ffd9a0", "#0e1638"),
    ("#0b486b", "#3b8686", "#cff09e", "#06202f"),
    ("#42275a", "#c06c84", "#f8b195", "#1d1128"),
    ("#134e5e", "#71b280", "#f4f1c9", "#0a2730"),
    ("#2c3e7a", "#8e7cc3", "#fbe3c0", "#141b3a"),
)
"""Sky above, sky at the horizon, sun, and the nearest hill: chosen to be calm behind white text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """What to draw: pixels, format, and the words on it."""

    width: int
    height: int
    mime_type: str
    title: str
    caption: str


def draw(picture: Picture) -> bytes:
    """The encoded image of *picture*. Takes a few hundred milliseconds at 4K: call it off the event loop."""
    image = _scene(picture).resize((picture.width, picture.height), Image.Resampling.BILINEAR)
    _add_grain(image)
    _write(image, picture)
    return _encode(image, picture.mime_type)


def _scene(picture: Picture) -> Image.Image:
    """Sky, sun and hills, in the proportions of *picture*."""
    chance = Random(hashlib.sha256(picture.title.encode()).digest())  # noqa: S311 - scenery, not secrets
    above, horizon, sun, near = map(_colour, chance.choice(_PALETTES))
    scale = _SCENE_EDGE / max(picture.width, picture.height)
    size = max(1, round(picture.width * scale)), max(1, round(picture.height * scale))
    scene = _sky(size, above, horizon)
    _draw_sun(scene, chance, sun)
    _draw_hills(scene, chance, horizon, near)
    return scene


def _sky(size: tuple[int, int], above: RGB, horizon: RGB) -> Image.Image:
    ramp = Image.linear_gradient("L").resize(size, Image.Resampling.BILINEAR)
    return Image.composite(Image.new("RGB", size, horizon), Image.new("RGB", size, above), ramp)


def _draw_sun(scene: Image.Image, chance: Random, colour: RGB) -> None:
    """A sun with a soft halo, far to the right so that it stays clear of the title."""
    radius = min(scene.size) * 0.11
    centre = scene.width * chance.uniform(0.8, 0.86), scene.height * chance.uniform(0.26, 0.38)
    glow = Image.new("L", scene.size)
    brush = ImageDraw.Draw(glow)
    for step in range(48, 0, -1):
        _circle(brush, centre, radius * (1 + step / 24), round(90 * (1 - step / 48) ** 2))
    _circle(brush, centre, radius, 235)
    scene.paste(Image.new("RGB", scene.size, colour), mask=glow)


def _circle(brush: ImageDraw.ImageDraw, centre: tuple[float, float], radius: float, fill: int) -> None:
    x, y = centre
    brush.ellipse((x - radius, y - radius, x + radius, y + radius), fill=fill)


def _draw_hills(scene: Image.Image, chance: Random, far: RGB, near: RGB) -> None:
    """Five ranges of hills, each nearer, lower and darker."""
    brush = ImageDraw.Draw(scene)
    for layer in range(5):
        share = (layer + 1) / 5
        base = scene.height * (0.5 + 0.09 * layer)
        ridge = list(_ridge(scene.size, base, chance))
        brush.polygon(
            [(0, scene.height), *ridge, (scene.width, scene.height)], fill=_mix(far, near, 0.25 + 0.75 * share)
        )


def _ridge(size: tuple[int, int], base: float, chance: Random) -> Iterator[tuple[float, float]]:
    width, height = size
    waves = [(chance.uniform(0.6, 1.6) * 3**k, chance.uniform(0, math.tau), 0.05 / 2.2**k) for k in range(3)]
    span = max(size)
    for x in range(0, width + 4, 4):
        lift = sum(amplitude * math.sin(math.tau * pace * x / span + phase) for pace, phase, amplitude in waves)
        yield x, base + height * lift


def _add_grain(image: Image.Image) -> None:
    """Noise, tile by tile: cheap, and a 4K file comes to several megabytes as a photograph does."""
    grain = _grain(_GRAIN_SIGMA[max(image.size) > 2048])
    for left in range(0, image.width, _GRAIN):
        for top in range(0, image.height, _GRAIN):
            box = left, top, min(left + _GRAIN, image.width), min(top + _GRAIN, image.height)
            tile = image.crop(box)
            image.paste(ImageChops.add(tile, grain.crop((0, 0, *tile.size)), 1, -128), box)


@lru_cache(maxsize=2)
def _grain(sigma: int) -> Image.Image:
    noise = Image.effect_noise((_GRAIN, _GRAIN), sigma)
    return Image.merge("RGB", (noise, noise, noise))


def _write(image: Image.Image, picture: Picture) -> None:
    """The title at the upper left, the caption at the lower left, sized so that both fit."""
    brush = ImageDraw.Draw(image)
    margin = round(min(image.size) * 0.07)
    room = image.width - 2 * margin
    title, font = _fit(
        brush, _legible(picture.title), room * _TITLE_SHARE, min(image.height * 0.11, image.width * 0.07)
    )
    _shadowed(brush, (margin, margin), title, font)
    caption, small = _fit(brush, picture.caption, room, min(image.height * 0.05, image.width * 0.035), lines=1)
    bottom = brush.multiline_textbbox((0, 0), caption, font=small)[3]
    _shadowed(brush, (margin, image.height - margin - bottom), caption, small)


def _fit(brush: ImageDraw.ImageDraw, text: str, room: float, height: float, lines: int = 3) -> tuple[str, Font]:
    """*text* wrapped to *lines* and a font of at most *height* pixels in which it is no wider than *room* pixels."""
    font = _font(text, height)
    columns = max(8, int(room / max(1.0, brush.textlength("n", font=font))))
    wrapped = "\n".join(textwrap.wrap(text, columns, max_lines=lines, placeholder=" …")) or "…"
    widest = max(brush.textlength(line, font=font) for line in wrapped.splitlines())
    return wrapped, font if widest <= room else _font(text, height * room / widest)


def _font(text: str, height: float) -> Font:
    """A font of *height* pixels (8 at least) that has the characters of *text*."""
    name = None if text.replace("…", "").replace("·", "").isascii() else _wide_font()
    return ImageFont.truetype(name, max(8.0, height)) if name else ImageFont.load_default(max(8.0, height))


@lru_cache(maxsize=1)
def _wide_font() -> str | None:
    """The first of the wide fonts that this system has, or None."""
    for name in _WIDE_FONTS:
        with contextlib.suppress(OSError):
            ImageFont.truetype(name, 8)
            return name
    return None


def _legible(text: str) -> str:
    """*text* as the fonts at hand can show it: if there is none but ASCII, without accents and with question marks."""
    if text.isascii() or _wide_font():
        return text
    plain = "".join(mark for mark in unicodedata.normalize("NFKD", text) if not unicodedata.combining(mark))
    return plain.encode("ascii", "replace").decode()


def _shadowed(
    brush: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    font: Font,
) -> None:
    offset = max(1.0, getattr(font, "size", 10) * 0.03)
    brush.multiline_text((at[0] + offset, at[1] + offset), text, font=font, fill=_SHADOW, spacing=offset * 8)
    brush.multiline_text(at, text, font=font, fill="white", spacing=offset * 8)


def _encode(image: Image.Image, mime_type: str) -> bytes:
    target = io.BytesIO()
    if mime_type == "image/jpeg":
        image.save(target, "JPEG", quality=88)
    elif mime_type == "image/webp":
        image.save(target, "WEBP", quality=80, method=0)
    else:
        image.save(target, "PNG", compress_level=1)
    return target.getvalue()


def _colour(text: str) -> RGB:
    red, green, blue = ImageColor.getrgb(text)[:3]
    return red, green, blue


def _mix(first: RGB, second: RGB, share: float) -> RGB:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(first, second, strict=True))
    return red, green, blue
