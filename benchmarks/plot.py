"""A bar chart as SVG, written by hand: no library draws fewer bytes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from benchmarks.measure import Row

WIDTH: Final = 720
BAR: Final = 22
LABELS: Final = 150


def chart(title: str, rows: Sequence[Row]) -> str:
    """CPU of each row as a bar, the gateway's in another colour."""
    most = max(row.cpu for row in rows)
    height = 50 + BAR * len(rows)
    bars = "".join(_bar(number, row, (WIDTH - LABELS - 90) / most) for number, row in enumerate(rows))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="13">\n'
        f'<rect width="{WIDTH}" height="{height}" fill="#fff"/>\n'
        f'<text x="10" y="24" font-size="15" font-weight="bold">{escape(title)}</text>\n{bars}</svg>\n'
    )


def _bar(number: int, row: Row, scale: float) -> str:
    top, colour = 40 + number * BAR, "#1a73e8" if row.contender.startswith("gateway") else "#9aa0a6"
    return (
        f'<text x="{LABELS - 8}" y="{top + 14}" text-anchor="end">{escape(row.contender)}</text>'
        f'<rect x="{LABELS}" y="{top + 2}" width="{row.cpu * scale:.1f}" height="{BAR - 6}" fill="{colour}"/>'
        f'<text x="{LABELS + row.cpu * scale + 6:.1f}" y="{top + 14}">{row.cpu:.1f} ms</text>\n'
    )
