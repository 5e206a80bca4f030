"""What the doctor found, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.cli import tables
from gateway.cli.checkup import Finding
from gateway.cli.consoles import visible
from gateway.cli.dates import ago, retirement
from gateway.cli.lane_findings import STALE_AFTER, LaneFinding


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """All that was found.

    *providers* has a finding for each key of each provider that is not *disabled*, *lanes* one for each lane.
    *egress_country* is where calls leave from, None if nobody says.
    """

    config: str
    egress_country: str | None
    warnings: Sequence[str]
    providers: Sequence[Finding]
    disabled: Sequence[str]
    lanes: Sequence[LaneFinding]

    @property
    def usable(self) -> bool:
        """Whether every provider that is switched on can be used, and there is one."""
        return bool(self.providers) and all(finding.usable for finding in self.providers)


def show(found: Diagnosis, today: date, console: Console) -> None:
    """Print *found* for a person."""
    console.print(_listed(_lines(found)))
    console.print()
    console.print("Lanes", style="bold")
    console.print(_listed(_lines_of_lanes(found, today)))
    notices = list(_notices(found))
    if notices:
        console.print()
        console.print(_listed((Text("!", style="yellow"), Text(visible(notice))) for notice in notices))
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
    """A sign and words for the configuration and each provider."""
    leaving = f"calls leave from {found.egress_country}" if found.egress_country else "egress_country is not set"
    yield _sign(True), Text(visible(f"configuration: {found.config}, {_counted(found.lanes)}, {leaving}"))
    for finding in found.providers:
        yield _sign(finding.usable), _of_provider(finding)
    for name in found.disabled:
        yield Text("–", style="dim"), Text(f"{visible(name)}: switched off in the configuration", style="dim")


def _of_provider(finding: Finding) -> Text:
    key = f"key from {finding.key}" if finding.key else "without a key"
    line = Text(visible(f"{finding.provider} ({finding.kind}, {finding.address}, {key}): "))
    line.append(finding.outcome, style=tables.outcome_style(finding.outcome))
    line.append(f", {finding.seconds:.1f} s", style="dim")
    if finding.detail:
        line.append(f"\n{finding.detail}", style="dim")
    return line.append(f"\n{visible(finding.advice)}") if finding.advice else line


def _lines_of_lanes(found: Diagnosis, today: date) -> Iterator[tuple[Text, Text]]:
    reached = {finding.provider for finding in found.providers if finding.usable}
    for lane in found.lanes:
        out = lane.by_name or lane.mode == "disabled"
        well = lane.excluded is None and lane.provider in reached
        line = Text(visible(lane.lane))
        if lane.mode in ("forced-open", "shadow"):
            line.append(f" {lane.mode}", style="yellow")
        if lane.excluded:
            told = f" {lane.excluded.reason}: {visible(lane.excluded.detail)}"
            line.append(told, style="dim" if out else "red")
        elif not well:
            line.append(" its provider cannot be used", style="red")
        facts = visible("; ".join(_facts(lane, today)))
        yield Text("–", style="dim") if out else _sign(well), line.append(f"\n{facts}", style="dim")


def _facts(lane: LaneFinding, today: date) -> Iterator[str]:
    if lane.retired:
        use = f", use {lane.replacement}" if lane.replacement else ""
        yield retirement(lane.retired, today) + use
    else:
        yield "no retirement known"
    yield f"prices: {_source(lane, today)}"
    yield " ".join(["quota", *(f"{key} {count:,}" for key, count in lane.quota.items())]) if lane.quota else "no quota"


def _source(lane: LaneFinding, today: date) -> str:
    if lane.price_checked is None:
        return lane.price_source
    name = "estimate" if lane.price_source.startswith("estimate:") else lane.price_source.removeprefix("https://")
    return f"{name}, checked {ago(lane.price_checked, today)}"


def _notices(found: Diagnosis) -> Iterator[str]:
    """What somebody should read, of the configuration and of the lanes."""
    yield from found.warnings
    for lane in found.lanes:
        yield from lane.notices
    stale = [lane.lane for lane in found.lanes if lane.stale]
    if stale:
        yield (
            f"prices were checked more than {STALE_AFTER} days ago, compare them with their source and state what has "
            f"changed as price: {', '.join(stale)}"
        )


def _counted(lanes: Sequence[LaneFinding]) -> str:
    return f"{len(lanes)} lane" if len(lanes) == 1 else f"{len(lanes)} lanes"


def _sign(well: bool) -> Text:
    return Text("✓", style="green") if well else Text("✗", style="red")
