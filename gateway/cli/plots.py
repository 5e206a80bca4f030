"""Bars, as SVG or PNG: what was spent, and what of it is not certain."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Final

from gateway.cli.consoles import visible
from gateway.cli.tables import usd
from gateway.money.spending import Spent
from providers.errors import InvalidRequest

WIDTH: Final = 800
"""Pixels."""
ROW: Final = 28
NAMES: Final = 260
BARS: Final = 420
"""Pixels of a row's height, of the names and of the longest bar."""
MAX_NAME: Final = 36
"""Characters of a name."""
MAX_ROWS: Final = 1000
"""Rows of a plot: beyond, nobody sees anything, and pictures become too large to open."""
_INK, _SURE, _UNCERTAIN, _PAPER = "#222222", "#2b6cb0", "#e0a030", "#ffffff"


def write(rows: Sequence[Spent], title: str, path: Path) -> None:
    """Draw *rows* into *path*, in the format that its suffix names.

    Raises:
        InvalidRequest: the suffix is neither ``.svg`` nor ``.png``, or the file cannot be written.
    """
    draw = {".svg": svg, ".png": png}.get(path.suffix.lower())
    if draw is None:
        raise InvalidRequest(f"plot: expected a file name that ends in .svg or .png, not {visible(path.name)!r}")
    try:
        path.write_bytes(draw(rows[:MAX_ROWS], title))
    except OSError as error:
        raise InvalidRequest(f"plot: {visible(path)} cannot be written: {error.strerror}") from None


def svg(rows: Sequence[Spent], title: str) -> bytes:
    """The bars as a drawing."""
    height = ROW * (len(rows) + 2)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="13" fill="{_INK}">',
        f'<rect width="{WIDTH}" height="{height}" fill="{_PAPER}"/>',
        f'<text x="10" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for number, row in enumerate(rows, 1):
        top, (sure, uncertain) = ROW * number + 6, _lengths(row, rows)
        parts += [
            f'<text x="10" y="{top + 13}">{escape(_name(row))}</text>',
            f'<rect x="{NAMES}" y="{top}" width="{sure}" height="18" fill="{_SURE}"/>',
            f'<rect x="{NAMES + sure}" y="{top}" width="{uncertain}" height="18" fill="{_UNCERTAIN}"/>',
            f'<text x="{NAMES + sure + uncertain + 8}" y="{top + 13}">{usd(row.usd)}</text>',
        ]
    return "\n".join([*parts, _legend_svg(height), "</svg>", ""]).encode()


def png(rows: Sequence[Spent], title: str) -> bytes:
    """The bars as an image."""
    from PIL import Image, ImageDraw

    height = ROW * (len(rows) + 2)
    image = Image.new("RGB", (WIDTH, height), _PAPER)
    draw = ImageDraw.Draw(image)
    _text(draw, 10, 8, title)
    for number, row in enumerate(rows, 1):
        top, (sure, uncertain) = ROW * number + 6, _lengths(row, rows)
        _text(draw, 10, top + 2, _name(row))
        draw.rectangle((NAMES, top, NAMES + sure, top + 18), fill=_SURE)
        draw.rectangle((NAMES + sure, top, NAMES + sure + uncertain, top + 18), fill=_UNCERTAIN if uncertain else _SURE)
        _text(draw, NAMES + sure + uncertain + 8, top + 2, usd(row.usd))
    _text(draw, NAMES, height - 20, _LEGEND)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


_LEGEND: Final = "blue: billed; yellow: perhaps billed"


def _legend_svg(height: int) -> str:
    return f'<text x="{NAMES}" y="{height - 10}" font-size="11">{_LEGEND}</text>'


def _text(draw: object, x: int, y: int, text: str) -> None:
    """Pillow's own font knows Latin characters; others are replaced."""
    draw.text((x, y), text.encode("latin-1", "replace").decode("latin-1"), fill=_INK)  # type: ignore[attr-defined]


def _name(row: Spent) -> str:
    name = visible(row.name).replace("\n", " ")
    return name if len(name) <= MAX_NAME else f"{name[: MAX_NAME - 1]}…"


def _lengths(row: Spent, rows: Sequence[Spent]) -> tuple[int, int]:
    """Pixels of what is billed and of what perhaps is."""
    most = max((each.usd for each in rows), default=row.usd) or 1
    return int((row.usd - row.uncertain) / most * BARS), int(row.uncertain / most * BARS)
