"""The figures as Markdown, for docs/measurements.md."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby

from benchmarks.measure import Goal, Row
from benchmarks.state import Costs

TITLES: Mapping[str, str] = {
    "receive": "Receiving: CPU and wall time for one image",
    "check": "Of that, going through the pixels",
    "save": "Straight to a file",
    "send": "Sending reference images of 6.9 MB",
    "tiny": "A tiny answer: a grey square of 1024 pixels, CPU for one call",
    "crowd": "Tiny answers, many at once",
    "soak": "100,000 tiny answers, 256 at once; peak is what memory has grown by since the first tenth",
}
OURS = "gateway"


def report(
    rows: Sequence[Row],
    goals: Iterable[Goal],
    imported: Mapping[str, float],
    planned: Mapping[int, Mapping[str, float]],
    booked: Costs,
) -> str:
    """Everything that was measured, the goals first."""
    return "\n\n".join(
        (
            _part("Goals", ("goal", "contender", "value", "gate", "aim", "reached"), map(_goal, goals)),
            *(_job(job, list(found)) for job, found in groupby(rows, key=lambda row: row.case.partition(" ")[0])),
            _part("`plan`, µs", ("lanes", *next(iter(planned.values()))), map(_plan, planned.items())),
            _part("Books: µs per request, two hard budgets", ("state", *next(iter(booked.values()))), _books(booked)),
            _part("Imports", ("statement", "ms"), ((f"`{code}`", f"{ms:.0f}") for code, ms in imported.items())),
        )
    )


def _job(job: str, rows: Sequence[Row]) -> str:
    sends = any(row.again is not None for row in rows)
    headings = ["case", "contender", "CPU ms", "of the SDK's", "wall ms", "peak MiB", "× images", "stall ms"]
    return _part(
        TITLES[job], [*headings, *(["once more, CPU ms"] if sends else [])], (_row(row, sends) for row in rows)
    )


def _row(row: Row, sends: bool) -> list[str]:
    name = f"**{row.contender}**" if row.contender.startswith(OURS) else row.contender
    ratio = f"{row.cpu_ratio:.2f}" if row.cpu_ratio is not None else ""
    peak = f"{row.peak_ratio:.2f}" if row.case.partition(" ")[0] in ("receive", "send") else ""
    told = [row.case.partition(" ")[2], name, f"{row.cpu:.2f}", ratio, f"{row.wall:.2f}", f"{row.peak:.1f}", peak]
    return [*told, f"{row.stall:.1f}", *([f"{row.again:.1f}"] if sends and row.again is not None else [])]


def _goal(goal: Goal) -> list[str]:
    reached = "**no**" if goal.verdict == "NO" else goal.verdict
    return [goal.name, goal.contender, f"{goal.value:,.2f}", f"≤ {goal.gate:,.2f}", f"≤ {goal.aim:,.2f}", reached]


def _plan(planned: tuple[int, Mapping[str, float]]) -> list[str]:
    lanes, taken = planned
    return [f"{lanes:,}", *(f"{each:,.1f}" for each in taken.values())]


def _books(booked: Costs) -> Iterator[list[str]]:
    for name, figures in booked.items():
        yield [name, *(f"{figure:,.0f}" for figure in figures.values())]


def _part(title: str, headings: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    rows = [headings, ["---"] * len(headings), *lines]
    return f"### {title}\n\n" + "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
