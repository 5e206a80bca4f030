"""``python -m benchmarks.verification``: what it costs to check a 4K image, by format and content.

The checks and Pillow's plain ``load()`` take turns, so that a machine that slows down slows down all of them; medians.
*CPU* is the check's, over all threads; *stall* is the longest time in which a ticker of 1 ms was not served while the
check ran in its thread; *all of it* is the CPU of a check that goes through all of the picture data.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import time
from collections.abc import Callable, Iterator
from statistics import median
from typing import Any, NamedTuple

from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.pictures import jpeg, photograph, png, weighing
from benchmarks.stalls import noticed
from providers.facts import inspect
from providers.verification import verify, verify_all

ALL_OF_IT = 2**30
HEAVY = 21_400_000
"""Bytes of a heavy 4K answer's image."""
SQUARE, WIDE, SMALLER = (4096, 4096), (5504, 3072), (2880, 2880)


class Subject(NamedTuple):
    name: str
    data: bytes


class Sample(NamedTuple):
    """One turn, in seconds."""

    structure: float
    check: float
    cpu: float
    stall: float
    whole: float
    load: float


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.verification", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="turns; the median counts")
    runs = parser.parse_args().runs
    pictures = list(subjects())
    taken: dict[str, list[Sample]] = {subject.name: [] for subject in pictures}
    for _ in range(runs + 1):
        for subject in pictures:
            taken[subject.name].append(sample(subject.data))
    table = Table(title=f"Milliseconds, medians of {runs} turns")
    for heading in ("image", "MB", "structure", "check", "its CPU", "stall", "all of it", "Pillow load()"):
        table.add_column(heading, no_wrap=True)
    for subject in pictures:
        middle = (median(turn) for turn in zip(*taken[subject.name][1:], strict=True))  # the first turn warms up
        table.add_row(subject.name, f"{len(subject.data) / 1e6:.1f}", *(f"{1000 * value:.1f}" for value in middle))
    Console(width=110).print(table)


def subjects() -> Iterator[Subject]:
    """Pictures as models deliver them: soft shapes with the grain of a photograph, a few flat colours, either edge."""
    soft, grainy = photograph(SQUARE, 1.2), photograph(WIDE, 2.4)
    flat = soft.quantize(16).convert("RGB")
    yield saved("PNG 4096², soft", soft, "PNG")
    yield saved("PNG 5504 × 3072, grainy", grainy, "PNG")
    yield Subject("PNG 2880², 21 MB", weighing(HEAVY, 2880, png))
    yield saved("PNG 4096², 16 flat colours", flat, "PNG")
    yield Subject("JPEG 4096², 21 MB", weighing(HEAVY, 4096, jpeg))
    yield saved("JPEG 4096², 4:4:4, quality 97", soft, "JPEG", quality=97, subsampling=0)
    yield saved("JPEG 5504 × 3072, 4:2:0, quality 95", grainy, "JPEG", quality=95)
    yield saved("JPEG 5504 × 3072, progressive", grainy, "JPEG", quality=95, progressive=True)
    yield saved("WebP 4096², quality 90", soft, "WEBP", quality=90, method=2)
    yield saved("WebP 2880², quality 90", soft.crop((0, 0, *SMALLER)), "WEBP", quality=90, method=2)
    yield saved("WebP 4096², lossless, flat", flat, "WEBP", lossless=True, method=0)


def saved(name: str, picture: Image.Image, form: str, **options: Any) -> Subject:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return Subject(name, file.getvalue())


def sample(data: bytes) -> Sample:
    return Sample(
        structure=timed(lambda: inspect(data)),
        check=timed(lambda: verify(data)),
        cpu=timed(lambda: verify(data), time.process_time),
        stall=asyncio.run(stall(data)),
        whole=timed(lambda: verify(data, ALL_OF_IT), time.process_time),
        load=timed(lambda: Image.open(io.BytesIO(data)).load()),
    )


def timed(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    started = clock()
    work()
    return clock() - started


async def stall(data: bytes) -> float:
    async with noticed() as longest:
        await verify_all([data])
    return longest.seconds


if __name__ == "__main__":
    main()
