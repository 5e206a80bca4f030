"""An error shown to a person: what happened, what to do next, the trail of attempts, and where paid images are."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from gateway.cli import advice, tables
from gateway.cli.consoles import stderr, visible
from gateway.money import money
from providers.errors import ConfigError, GatewayError


def show(error: GatewayError, saved: Sequence[str] = ()) -> None:
    """Print *error* on stderr; *saved* are the paths of the images that were paid for all the same."""
    console = stderr()
    console.print(_panel(error))
    if error.plan is not None and error.plan.excluded:
        console.print(tables.exclusions(error.plan.excluded))
    if error.attempts:
        console.print(tables.trail(error.attempts))
    for path in saved:
        console.print(Text.assemble("paid for, and kept: ", (visible(path), "bold")), soft_wrap=True)


def headline(error: GatewayError) -> str:
    """What happened, without the attempts, which have a table, and the exclusions, which have another."""
    message = str(error)
    if not error.attempts and error.plan is None:
        return message
    beginning = message.partition(": ")[0]
    spent = money.total(error.attempts).usd
    told = f"at most {tables.usd(spent)} was spent" if spent else "nothing was spent"
    return f"{beginning}; {told}"


def _panel(error: GatewayError) -> Panel:
    lines: list[RenderableType] = [Text(visible(headline(error)))]
    hints = [] if isinstance(error, ConfigError) else advice.for_error(error)  # its message says what was expected
    if hints:
        lines += [Text(), _bullets(hints)]
    return Panel(Group(*lines), title=_title(error), title_align="left", border_style="red", padding=(0, 1))


def _bullets(hints: Sequence[str]) -> Table:
    made = Table.grid(padding=(0, 1, 0, 0))
    for hint in hints:
        made.add_row("→", Text(hint))
    return made


def _title(error: GatewayError) -> str:
    public = next(kind for kind in type(error).__mro__ if kind.__module__ == GatewayError.__module__)
    return public.__name__
