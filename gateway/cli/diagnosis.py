"""What the doctor found, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli import tables
from gateway.cli.checkup import Finding
from gateway.cli.consoles import visible
from gateway.plan import Exclusion


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All that was found.

    *providers* has a finding for each key of each provider that is not *disabled*. *excluded* are those of the *lanes*
    that no plain request gets today, *notices* tell of lanes that retire soon or have retired.
    """

    config: str
    warnings: Sequence[str]
    providers: Sequence[Finding]
    disabled: Sequence[str]
    lanes: int
    excluded: Sequence[Exclusion]
    notices: Sequence[str]

    @property
    def usable(self) -> bool:
        """Whether every provider that is switched on can be used, and there is one."""
        return bool(self.providers) and all(finding.usable for finding in self.providers)


def show(found: Diagnosis, console: Console) -> None:
    """Print *found* for a person."""
    console.print(_listed(_lines(found)))
    if found.excluded:
        console.print()
        console.print(tables.exclusions(found.excluded, "Lanes left out today"))
    console.print()
    verdict = "All providers can be used." if found.usable else "Not all is well: see what is marked above."
    console.print(verdict, style="green" if found.usable else "red")


def _listed(lines: Iterable[tuple[Text, Text]]) -> Table:
    made = Table.grid(padding=(0, 1, 0, 0))
    made.add_column()
    made.add_column(overflow="fold")
    for line in lines:
        made.add_row(*line)
    return made


def _lines(found: Diagnosis) -> Iterator[tuple[Text, Text]]:
    """A sign and words for each thing found."""
    yield _sign("ok"), Text(visible(f"configuration: {found.config}, {found.lanes} lanes"))
    for finding in found.providers:
        yield _sign(finding.outcome), _told(finding)
    for name in found.disabled:
        yield Text("–", style="dim"), Text(f"{visible(name)}: switched off in the configuration", style="dim")
    for warning in (*found.warnings, *found.notices):
        yield Text("!", style="yellow"), Text(visible(warning))


def _told(finding: Finding) -> Text:
    key = f"key from {finding.key}" if finding.key else "without a key"
    line = Text(visible(f"{finding.provider} ({finding.kind}, {finding.address}, {key}): "))
    line.append(finding.outcome, style=tables.outcome_style(finding.outcome))
    line.append(f", {finding.seconds:.1f} s", style="dim")
    if finding.detail:
        line.append(f"\n{finding.detail}", style="dim")
    return line.append(f"\n{visible(finding.advice)}") if finding.advice else line


def _sign(outcome: str) -> Text:
    return Text("✓", style="green") if outcome == "ok" else Text("✗", style="red")
