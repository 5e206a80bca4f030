"""A result shown to a person: where the images are, what they are, what they cost, and how they came about."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli import tables
from gateway.cli.consoles import visible
from gateway.result import Cost, ImageResult
from providers.sanitise import sanitise

MAX_TEXT = 2000
"""Characters of the model's own words that are shown, of each of its texts."""

BASIS = {"usage": "by token usage", "catalogue": "by list price", "reported": "as billed by the upstream"}


def show(result: ImageResult, paths: Sequence[Path], console: Console) -> None:
    """Print *result*, whose images were saved at *paths*."""
    facts = Table.grid(padding=(0, 2, 0, 0))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    for name, told in _facts(result, paths):
        facts.add_row(name, told)
    console.print(facts)
    if result.attempts:
        console.print()
        console.print(tables.trail(result.attempts))


def _facts(result: ImageResult, paths: Sequence[Path]) -> Iterator[tuple[str, Text]]:
    for path, image in zip(paths, result.images, strict=True):
        yield "saved", Text(visible(path), style="bold green")
        yield "", Text(f"{image.width} × {image.height} pixels, {_kind(image.mime_type)}, {_megabytes(image.data)}")
    yield "size", _size(result)
    yield "lane", Text(visible(result.lane))
    yield "cost", Text("$0.00, from the cache") if result.cached else _costs(result.cost, result.total_cost)
    yield "time", Text(f"{result.elapsed:.1f} s")
    for text in _texts(result):
        yield "text", Text(sanitise(text, limit=MAX_TEXT))
    for warning in result.warnings:
        yield "warning", Text(visible(warning), style="yellow")


def _texts(result: ImageResult) -> list[str]:
    """The model's own words: where an image stands between them they are several texts, one for each image as a rule."""
    runs = groupby(result.parts, lambda part: part.image is None)
    texts = ["".join(part.text or "" for part in run) for spoken, run in runs if spoken]
    return [text for text in texts or [result.text] if text.strip()]


def _kind(mime_type: str) -> str:
    return mime_type.removeprefix("image/").upper()


def _megabytes(data: bytes) -> str:
    return f"{len(data) / 1e6:.1f} MB"


def _size(result: ImageResult) -> Text:
    if result.downgraded:
        return Text(f"{result.size}, although {result.requested_size} was asked for", style="yellow")
    return Text(result.size)


def _costs(own: Cost, total: Cost) -> Text:
    told = f"{tables.usd(own.usd)} {BASIS[own.basis]}"
    if total.usd == own.usd:
        return Text(f"{told}; nothing else was spent")
    return Text(f"{told}; {tables.usd(total.usd)} with the failed attempts that were or may have been billed")
