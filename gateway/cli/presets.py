"""``image-gateway lanes --presets``: what is known about relays and other upstreams."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from rich.table import Table
from rich.text import Text

from gateway.cli import json_output, tables
from gateway.cli.consoles import stdout, visible
from gateway.cli.exits import reporting
from gateway.cli.options import Common
from providers.errors import ConfigError
from providers.presets import Preset, presets


def run(name: str | None, common: Common) -> None:
    """Show the presets, or the one called *name*, which takes no configuration."""
    with reporting(common):
        rows = list(_chosen(name))
    if common.as_json:
        json_output.write({"presets": rows})
        return
    console = stdout()
    console.print(_overview(rows))
    for row in rows:
        console.print()
        console.print(Text(row.name, style="bold").append(f"  {row.title}", style="not bold"))
        console.print(_details(row))


def _chosen(name: str | None) -> Iterable[Preset]:
    if name is None:
        return presets().values()
    if name.lower() not in presets():
        nearest = difflib.get_close_matches(name.lower(), presets(), n=1, cutoff=0)
        raise ConfigError(f"no preset is called {name!r}; the nearest name is {''.join(nearest)}")
    return [presets()[name.lower()]]


def _overview(rows: list[Preset]) -> Table:
    made = tables.table("preset", "kind", "dialect", "sizes", "prices")
    for row in rows:
        sizes = ", ".join(row.sizes) if row.sizes else "all"
        made.add_row(row.name, row.kind, row.dialect or "–", sizes, row.price)
    tables.keep_whole(made, "preset")
    return made


def _details(row: Preset) -> Table:
    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for name, told in _facts(row):
        made.add_row(Text(f"  {name}", style="dim"), visible(told))
    return made


def _facts(row: Preset) -> Iterator[tuple[str, str]]:
    yield "address", row.base_url or "your own: base_url"
    yield "models as", row.models
    if row.auth:
        yield "key in", row.auth
    if row.aspect_ratios:
        yield "ratios", ", ".join(row.aspect_ratios)
    if not row.references:
        yield "references", "dropped"
    yield "errors", row.errors
    yield "from", f"{row.source}, {row.checked}"
