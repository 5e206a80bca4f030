"""The contact sheet of a bulk run: one page of HTML with a thumbnail of each image, its prompt, lane and cost.

Prompts and upstreams' words are strangers' text: everything is escaped, and the page runs no script.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Final
from urllib.parse import quote

from gateway.cli import tables
from gateway.cli.manifest import Entry, File
from gateway.cli.rows import Row

NAME: Final = "index.html"
THUMBNAILS: Final = "thumbnails"
"""The folder of the small copies, below that of the images."""
EDGE: Final = 480
"""Pixels of a thumbnail's longer edge: sharp on dense screens, and about 20 kB."""
QUALITY: Final = 80
MAX_OPEN: Final = 160
"""Characters of a prompt that are shown before one asks for more."""

_TROUBLE: Final = {
    "new": "Not begun", "begun": "Outcome unknown", "failed": "Failed", "lost": "Its file is gone or changed",
}  # fmt: skip


def add_thumbnails(folder: Path, entry: Entry) -> None:
    """Make the small copies of a row's images. What cannot be decoded gets none. Takes a while: call it from a thread."""
    for file in entry.files:
        with suppress(OSError, ValueError):
            _shrink(folder / file.name, _thumbnail(folder, file))


def write(folder: Path, title: str, rows: Sequence[Row], entries: Sequence[Entry | None], spent: Decimal) -> Path:
    """Write the sheet of *rows*, with the manifest's entry of each, and return its path. *spent* is USD for all runs.

    Raises:
        OSError: it cannot be written.
    """
    path = folder / NAME
    being_written = folder / f".{NAME}.part"
    with being_written.open("w", encoding="utf-8") as page:
        page.writelines(_page(folder, title, list(zip(rows, entries, strict=True)), spent))
    being_written.replace(path)
    return path


def _page(folder: Path, title: str, rows: list[tuple[Row, Entry | None]], spent: Decimal) -> Iterator[str]:
    good = sum(_is_good(entry) for _, entry in rows)
    images = sum(len(entry.files) for _, entry in rows if entry is not None and _is_good(entry))
    figures = {"images": f"{images:,}", "spent": tables.usd(spent), "not done": f"{len(rows) - good:,}"}
    if images:
        figures["per image"] = tables.usd(spent / images)
    totals = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures.items())
    head = files("gateway.cli").joinpath("contact_sheet.html").read_text(encoding="utf-8")
    counts = {"all": f"{len(rows):,}", "good": f"{good:,}", "bad": f"{len(rows) - good:,}"}
    yield Template(head).substitute(title=_safe(title), totals=totals, **counts)
    for row, entry in rows:
        yield from _card(folder, row, entry)
    yield "</main>\n</body>\n</html>\n"


def _card(folder: Path, row: Row, entry: Entry | None) -> Iterator[str]:
    good = _is_good(entry)
    yield f'<article class="{"good" if good else "bad"}">\n'
    if good and entry is not None:
        yield f'<div class="pictures">{"".join(_picture(folder, file, row.request.prompt) for file in entry.files)}</div>\n'
    else:
        yield _why(entry)
    yield f'<div class="about">{_prompt(row.request.prompt)}<p class="facts">{_facts(row, entry)}</p></div>\n</article>\n'


def _picture(folder: Path, file: File, prompt: str) -> str:
    small = _thumbnail(folder, file)
    shown = f"{THUMBNAILS}/{small.name}" if small.exists() else file.name
    alt = _safe(prompt[:MAX_OPEN])
    return f'<a href="{quote(file.name)}"><img src="{quote(shown)}" alt="{alt}" loading="lazy" decoding="async"></a>'


def _why(entry: Entry | None) -> str:
    state = "new" if entry is None else entry.state
    told = f"<strong>{_safe(entry.error if entry is not None and entry.error else _TROUBLE[state])}</strong>"
    message = f"<p>{_safe(entry.message)}</p>" if entry is not None and entry.message else ""
    kept = "".join(f' <a href="{quote(file.name)}">{_safe(file.name)}</a>' for file in (entry.files if entry else ()))
    return f'<div class="why">{told}{message}{f"<p>paid for, and kept:{kept}</p>" if kept else ""}</div>\n'


def _prompt(prompt: str) -> str:
    if len(prompt) <= MAX_OPEN:
        return f"<p>{_safe(prompt)}</p>"
    return f"<details><summary>{_safe(prompt[:MAX_OPEN])}…</summary><p>{_safe(prompt)}</p></details>"


def _facts(row: Row, entry: Entry | None) -> str:
    told = []
    if entry is not None and entry.state == "done":
        told += [entry.lane, entry.size if entry.size == row.request.size else f"{entry.size}, not {row.request.size}"]
        told += [f"{file.width} × {file.height}" for file in entry.files[:1]]
        told += [f"{entry.seconds:.1f} s"]
    if entry is not None and (entry.cost or entry.state == "done"):
        told.append(f"{'perhaps ' * (entry.state == 'begun')}{tables.usd(entry.cost)}")
    return " ".join(f"<span>{_safe(each)}</span>" for each in [*told, row.key])


def _is_good(entry: Entry | None) -> bool:
    return entry is not None and entry.state == "done"


def _thumbnail(folder: Path, file: File) -> Path:
    """The small copy of an image; named by what is in it, so that a changed image gets another."""
    return folder / THUMBNAILS / f"{file.name[:100]}-{file.sha256[:12]}.jpg"


def _shrink(image: Path, small: Path) -> None:
    if small.exists():
        return
    from PIL import Image  # it takes a while to import

    small.parent.mkdir(exist_ok=True)
    being_written = small.with_suffix(".part")
    with Image.open(image) as opened:
        opened.draft("RGB", (EDGE, EDGE))  # a JPEG is decoded at a fraction of its size
        opened.thumbnail((EDGE, EDGE))
        flat = Image.new("RGB", opened.size, "white")
        flat.paste(opened, mask=opened.getchannel("A") if "A" in opened.getbands() else None)
        flat.save(being_written, "JPEG", quality=QUALITY, optimize=True)
    being_written.replace(small)


def _safe(text: str) -> str:
    """*text* as HTML shows it, without characters that would reorder or hide what stands beside it."""
    return html.escape("".join(each if each.isprintable() or each in "\n\t" else "\N{WHITE SQUARE}" for each in text))


def entries_of(rows: Iterable[Row], entries: dict[str, Entry]) -> list[Entry | None]:
    """The latest entry of each row, None where there is none for what the row asks now."""
    found = ((row, entries.get(row.key)) for row in rows)
    return [entry if entry is not None and entry.asked == row.asked else None for row, entry in found]
