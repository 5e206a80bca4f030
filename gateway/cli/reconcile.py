"""``image-gateway reconcile``: a provider's invoice beside the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import typer
from rich.text import Text

from gateway.cli import books, json_output, tables
from gateway.cli.consoles import stdout, visible
from gateway.cli.exits import FAILED, reporting
from gateway.cli.options import Common
from gateway.configuration.values import zone_name
from gateway.money import invoices
from gateway.money.invoices import Difference
from providers.errors import InvalidRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The invoice, and the part of the ledger it is for: *provider*, from which day on; days are those of *zone*."""

    file: str
    provider: str | None = None
    since: str | None = None
    state: str | None = None
    zone: str = "UTC"


def run(wanted: Wanted, common: Common) -> None:
    """Show what differs.

    Raises:
        typer.Exit: something does.
    """
    with reporting(common):
        lines = invoices.lines(_text(wanted.file))
        entries = books.entries(wanted.state, common, wanted.since)
        chosen = [entry for entry in entries if wanted.provider in (None, entry.provider)]
        found = invoices.compared(lines, chosen, _zone(wanted.zone))
    differing = [each for each in found if each.differs]
    if common.as_json:
        json_output.write(
            {"compared": len(found), "differences": [{**asdict(each), "words": each.words} for each in differing]}
        )
    else:
        _show(differing, len(found))
    if differing:
        raise typer.Exit(FAILED)


def _show(differing: Sequence[Difference], compared: int) -> None:
    console = stdout()
    if not differing:
        console.print(f"The invoice agrees with the ledger: {compared} sums compared.")
        return
    figures = ("invoice", "ledger", "at most")
    made = tables.table("day", "model", *figures, "the invoice is", right=figures)
    for each in differing:
        sums = (each.invoiced, each.sure, each.most)
        cells = (each.day or "all", visible(each.model) or "all", *map(tables.usd, sums), each.words)
        made.add_row(*map(Text, cells))
    console.print(made)
    console.print(f"{len(differing)} of {compared} sums differ.", style="dim")


def _text(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        told = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise InvalidRequest(f"invoice: {visible(file)} cannot be read: {told}") from None


def _zone(name: str) -> str:
    try:
        return zone_name(name)
    except ValueError as error:
        raise InvalidRequest(f"zone: {error}") from None
