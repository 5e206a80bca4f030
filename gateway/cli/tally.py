"""How a bulk run gets on: a bar on a terminal, a line now and then in a file or pipe."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TimeRemainingColumn
from rich.text import Text

from gateway.cli import tables
from gateway.cli.consoles import stderr, visible
from gateway.events import Event, LaneChanged

LINES: Final = 20
"""Lines of progress in all, where there is no bar."""
SPEED: Final = 300.0
"""Seconds over which the speed is measured that tells the time left."""


class Tally:
    """Counts what has become of the *total* rows of a run; *spent* is USD."""

    def __init__(self, total: int, console: Console) -> None:
        self.total = total
        self.done = 0
        self.failed = 0
        self.spent = Decimal(0)
        self.console = console
        self._shown = 0

    @property
    def ended(self) -> int:
        """How many rows have ended."""
        return self.done + self.failed

    def figures(self) -> Text:
        """The figures so far."""
        failed = (f" · {self.failed:,} failed", "red" if self.failed else "dim")
        return Text.assemble(f"{self.done:,} of {self.total:,} done", failed, f" · {tables.usd(self.spent)}")

    def add(self, good: bool, usd: Decimal, key: str, why: str = "") -> None:
        """A row has ended, *good* or for the reason *why*."""
        self.done, self.failed, self.spent = self.done + good, self.failed + (not good), self.spent + usd
        if why:
            told = visible(why).replace("\n", " ")
            self.say(Text.assemble((f"{visible(key)}: ", "red"), told[:200] + "…" * (len(told) > 200)))
        self.show()

    def heed(self, event: Event) -> None:
        """Say so when a lane is shut: rows may have to wait for it."""
        if isinstance(event, LaneChanged) and event.state_after in ("open", "latched"):
            again = f", next try in {event.until:.0f} s" if event.until is not None else ""
            self.say(Text(f"{visible(event.lane)} rests: {event.reason}{again}", style="yellow"))

    def say(self, text: Text) -> None:
        """Print a line."""
        self.console.print(text, soft_wrap=True)

    def show(self) -> None:
        """Print the figures, at every twentieth part of the way."""
        part = self.ended * LINES // max(1, self.total)
        if part > self._shown:
            self._shown = part
            self.say(self.figures())


class _Bar(Tally):
    """The same with a bar."""

    def __init__(self, total: int, progress: Progress) -> None:
        super().__init__(total, progress.console)
        self._progress = progress
        self._task = progress.add_task("", total=total, tally=self)

    def show(self) -> None:
        self._progress.update(self._task, completed=self.ended)


class _Figures(ProgressColumn):
    """The figures behind the bar."""

    def render(self, task: Task) -> Text:
        tally: Tally = task.fields["tally"]
        return tally.figures()


@contextmanager
def tallying(total: int, *, live: bool = True, quiet: bool = False) -> Iterator[Tally]:
    """Show how *total* rows get on: with a bar if *live* and stderr is a terminal, else unless *quiet* in lines."""
    console = stderr()
    if not (live and console.is_terminal):
        yield Tally(total, stderr(quiet=quiet))
        return
    columns = (BarColumn(bar_width=24), _Figures(), TimeRemainingColumn(compact=True), "left")
    with Progress(*columns, console=console, transient=True, speed_estimate_period=SPEED) as progress:
        yield _Bar(total, progress)
