"""``image-gateway spend``: what was spent, from the ledger."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.bar import Bar
from rich.console import Group, RenderableType
from rich.text import Text

from gateway.cli import books, json_output, plots, tables
from gateway.cli.consoles import stdout, visible
from gateway.cli.exits import reporting
from gateway.cli.options import Common
from gateway.money.entries import Entry
from gateway.money.spending import By, Spent, spent, total
from providers.errors import InvalidRequest

BAR: Final = 20
"""Columns of the longest bar, where there is room for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What to show: *by* what, from which day on, of which state; and the files for single entries and for a plot."""

    by: By
    since: str | None = None
    state: str | None = None
    csv: str | None = None
    plot: str | None = None


def run(wanted: Wanted, common: Common) -> None:
    """Show the sums; write the files that are asked for."""
    with reporting(common):
        entries = books.entries(wanted.state, common, wanted.since)
        rows = spent(entries, wanted.by)
        if wanted.plot is not None:
            plots.write(rows, f"USD by {wanted.by}", Path(wanted.plot))
        if wanted.csv is not None:
            _write_csv(entries, wanted.csv)
    if common.as_json:
        json_output.write({"by": wanted.by, "rows": rows, "total": total(entries)})
    elif wanted.csv != "-":
        stdout().print(_shown(rows, total(entries), wanted.by) if rows else Text("Nothing has been spent."))


def _shown(rows: Sequence[Spent], whole: Spent, by: By) -> RenderableType:
    figures = ("calls", "failed", "USD", "perhaps")
    made = tables.table(by, *figures, "", right=figures)
    most = max(row.usd for row in rows)
    for row in (*rows, whole):
        style = "bold" if row is whole else ""
        bar = "" if row is whole or not most else Bar(float(most), 0, float(row.usd), color="blue")
        cells = (visible(row.name), str(row.calls), str(row.failed), tables.usd(row.usd), tables.usd(row.uncertain))
        made.add_row(*(Text(cell, style=style) for cell in cells), bar)
    made.columns[-1].max_width = BAR
    tables.keep_whole(made, by, tables.MAX_NAME_BESIDE_HEALTH)
    remark = "perhaps: the part of USD of which nobody knows whether it was billed"
    return Group(made, Text(), Text(remark, style="dim")) if whole.uncertain else made


def _write_csv(entries: Sequence[Entry], target: str) -> None:
    """Every entry of the ledger, to a file or, for ``-``, to stdout."""
    file = io.StringIO()
    writer = csv.DictWriter(file, fieldnames=list(COLUMNS), lineterminator="\n")
    writer.writeheader()
    writer.writerows(_cells(entry) for entry in entries)
    if target == "-":
        sys.stdout.write(file.getvalue())
        return
    try:
        Path(target).write_text(file.getvalue(), encoding="utf-8")
    except OSError as error:
        raise InvalidRequest(f"csv: {visible(target)} cannot be written: {error.strerror}") from None


COLUMNS: Final = (
    "id", "request_id", "number", "started", "ended", "lane", "provider", "model", "size", "images", "state", "outcome",
    "billed", "quoted_usd", "usd", "basis", "task", "tags", "worker",
)  # fmt: skip
"""The columns of the CSV file."""


def _cells(entry: Entry) -> Mapping[str, Any]:
    end = entry.settlement
    plain = {name: getattr(entry, name) for name in COLUMNS if hasattr(entry, name)}
    told = {
        "started": entry.started.isoformat(),
        "ended": end.ended.isoformat() if end else "",
        "outcome": end.outcome if end else "",
        "billed": end.billed if end else "maybe",
        "quoted_usd": f"{entry.quoted:f}",
        "usd": f"{entry.usd:f}",
        "basis": end.basis or "" if end else "",
        "tags": json.dumps(dict(entry.tags)) if entry.tags else "",
    }
    return dict(_harmless({**plain, **told}))


def _harmless(cells: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What others have named must not become a formula when a spreadsheet opens the file."""
    for name, cell in cells.items():
        risky = isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        yield name, f"'{cell}" if risky else cell
