"""What is going on while an image is made: a live line on a terminal, plain lines in a file or pipe."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from gateway.cli.consoles import stderr, visible
from gateway.cli.tables import outcome_style
from gateway.events import AttemptEnded, Event, listening
from gateway.router.plan import Candidate

BILLED_WORDS: Final[Mapping[str, str]] = {"no": "not billed", "maybe": "perhaps billed", "yes": "billed"}


class Watch:
    """Follows the attempts of one request along the *steps* of its plan, and puts into words how it gets on."""

    def __init__(self, steps: Sequence[Candidate]) -> None:
        self._ahead = list(steps)
        self.ended: list[AttemptEnded] = []

    def attempt_ended(self, attempt: AttemptEnded) -> None:
        """Take in the end of a call."""
        self.ended.append(attempt)
        tried = (attempt.lane, attempt.size)
        place = next((index for index, step in enumerate(self._ahead) if (step.lane, step.size) == tried), -1)
        del self._ahead[: place + 1]

    def now(self) -> Text:
        """What is being tried, or what the plan has next."""
        if self.ended and self.ended[-1].outcome == "ok":
            return Text("finishing")
        if not self._ahead:
            return Text("that was the last step of the plan")
        step = self._ahead[0]
        verb = "next in the plan" if self.ended else "asking"
        return Text(f"{verb}: {visible(step.lane)} at {step.size}, typically {step.expected_seconds:.0f} s")

    def last(self) -> Text:
        """How the latest attempt ended."""
        attempt = self.ended[-1]
        return Text.assemble(
            f"{visible(attempt.lane)} at {attempt.size}: ",
            (attempt.outcome, outcome_style(attempt.outcome)),
            f" after {attempt.seconds:.1f} s, {BILLED_WORDS[attempt.billed]}",
        )


@contextmanager
def watching(steps: Sequence[Candidate], *, live: bool = True, quiet: bool = False) -> Iterator[Watch]:
    """Show how the request made in the block gets on: *live* where stderr is a terminal, else unless *quiet* in lines."""
    watch = Watch(steps)
    with _display(watch, live=live, quiet=quiet or not steps) as ended:

        def heard(event: Event) -> None:
            if isinstance(event, AttemptEnded):
                watch.attempt_ended(event)
                ended()

        with listening(heard):
            yield watch


def _display(watch: Watch, *, live: bool, quiet: bool) -> AbstractContextManager[Callable[[], None]]:
    """A display of *watch*, which gives what to call when an attempt has ended."""
    console = stderr()
    if live and console.is_terminal:
        return _live(watch, console)
    if quiet:
        return nullcontext(lambda: None)
    console.print(watch.now(), soft_wrap=True)
    return nullcontext(lambda: console.print(watch.last(), soft_wrap=True))


@contextmanager
def _live(watch: Watch, console: Console) -> Iterator[Callable[[], None]]:
    with Live(_LiveLine(watch), console=console, refresh_per_second=8, transient=True) as display:
        yield display.refresh


class _LiveLine:
    """The seconds so far and what is being tried; below, how the latest attempt ended."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._started = time.monotonic()
        self._spinner = Spinner("dots", style="cyan")

    def __rich__(self) -> RenderableType:
        seconds = f"{time.monotonic() - self._started:.0f} s"
        self._spinner.update(text=Text.assemble((f"{seconds:>5}", "cyan"), "  ", self._watch.now()))
        return (
            Group(self._spinner, Text(f"  {self._watch.last()}", style="dim")) if self._watch.ended else self._spinner
        )
