"""``python -m benchmarks``: every figure next to its goal and to every contender.

``--quick`` measures one 4K image at a time over plain HTTP, one saved, one sent, and the overhead. ``--cases TEXT`` keeps the
cases with TEXT in their name (``4K plain``, ``TLS``, ``send``; several are parted by commas). ``--rest FILE`` takes everything
else from an earlier run's ``--json``, for a change that only those cases can feel: the whole takes 25 minutes.
"""

from __future__ import annotations

import argparse
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks import state
from benchmarks.measure import ALL, PLAIN, QUICK, Goal, Row, as_dicts, goals, imports, rows
from benchmarks.planning import plans
from benchmarks.plot import chart
from benchmarks.report import report
from benchmarks.storm.report import fill


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--runs", type=int, default=5, help="fresh processes per figure; the median counts")
    parser.add_argument("--quick", action="store_true", help="a few cases only")
    parser.add_argument("--cases", default="", help="cases whose name holds this text")
    parser.add_argument("--rest", type=Path, help="take what is not measured from this file")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--svg", type=Path, help="draw the CPU of a 4K image into this file")
    parser.add_argument("--docs", type=Path, help="write the tables between the marks of this document")
    asked = parser.parse_args()
    wanted = asked.cases.split(",")
    cases = [case for case in (QUICK if asked.quick else ALL) if any(text in str(case) for text in wanted)]
    table = list(rows(cases, asked.runs))
    if asked.rest:
        table, imported, planned, booked = _completed(table, json.loads(asked.rest.read_text()))
    else:
        imported = imports(asked.runs)
        planned, booked = plans(seconds=0.5), state.costs(1 if asked.quick else asked.runs)
    held = list(goals(table, imported, planned))
    console = Console(width=120)
    console.print(_table(table))
    console.print(_imports(imported))
    console.print(state.shown(booked))
    console.print(_goals(held))
    if asked.json:
        figures = {
            "machine": _machine(),
            "rows": as_dicts(table),
            "imports": imported,
            "plans": planned,
            "state": booked,
            "goals": as_dicts(held),
        }
        asked.json.write_text(json.dumps(figures, indent=1) + "\n")
    if asked.docs:
        told = report(table, held, imported, planned, booked)
        asked.docs.write_text(fill(asked.docs.read_text(encoding="utf-8"), told), encoding="utf-8")
    if asked.svg:
        asked.svg.write_text(chart("CPU for one 4K image", [row for row in table if row.case == str(PLAIN)]))


def _completed(
    new: list[Row], old: dict[str, Any]
) -> tuple[list[Row], dict[str, float], dict[int, dict[str, float]], state.Costs]:
    """The rows of an earlier run with *new* ones in their places, and the rest of what it found."""
    measured = {(row.case, row.contender): row for row in new}
    rows = [measured.get((row["case"], row["contender"])) or Row(**row) for row in old["rows"]]
    return rows, old["imports"], {int(count): taken for count, taken in old["plans"].items()}, old["state"]


def _table(found: list[Row]) -> Table:
    table = Table(title="Medians; CPU and wall time are for one image, or one call")
    for heading in (
        "case",
        "contender",
        "CPU ms",
        "of the SDK's",
        "again ms",
        "wall ms",
        "peak MiB",
        "× images",
        "stall ms",
    ):
        table.add_column(heading, no_wrap=True)
    for row in found:
        ratio, again = (f"{value:.2f}" if value is not None else "" for value in (row.cpu_ratio, row.again))
        figures = (f"{row.wall:.1f}", f"{row.peak:.1f}", f"{row.peak_ratio:.2f}", f"{row.stall:.1f}")
        table.add_row(row.case, row.contender, f"{row.cpu:.2f}", ratio, again, *figures)
    return table


def _imports(imported: dict[str, float]) -> Table:
    table = Table("statement", "ms", title="Imports")
    for statement, milliseconds in imported.items():
        table.add_row(statement, f"{milliseconds:.1f}")
    return table


def _goals(held: list[Goal]) -> Table:
    table = Table("goal", "contender", "value", "gate", "aim", "reached", title="Goals")
    for goal in held:
        table.add_row(
            goal.name, goal.contender, f"{goal.value:.2f}", f"≤ {goal.gate:.2f}", f"≤ {goal.aim:.2f}", goal.verdict
        )
    return table


def _machine() -> dict[str, str]:
    packages = ("google-genai", "openai", "httpx2", "pydantic", "pybase64")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


if __name__ == "__main__":
    main()
