"""Tables for people, made to fit into 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from gateway.cli.consoles import visible
from gateway.health.health import LaneHealth
from gateway.money import money
from gateway.result import Attempt
from gateway.router.plan import AcceptanceRow, Candidate, Exclusion
from providers.sanitise import sanitise

BILLED_STYLE: Final[Mapping[str, str]] = {"no": "dim", "maybe": "yellow", "yes": ""}
STATE_STYLE: Final[Mapping[str, str]] = {"closed": "green", "half_open": "yellow", "disabled": "dim"}

MAX_NAME: Final = 48
"""Columns within which a lane's name is not broken."""

MAX_NAME_BESIDE_HEALTH: Final = 38
"""The same, where 80 columns have to hold five figures as well."""

WIDE_ENOUGH: Final = 80
"""Columns that a table may count on; with fewer, its rows stand one under another, cell by cell."""

_CENT_HUNDREDTH: Final = Decimal("0.0001")


def usd(amount: Decimal | None) -> str:
    """*amount* as money: ``$0.15``, ``$0.0336``; a dash for None."""
    if amount is None:
        return "–"
    return money.dollars(amount.quantize(_CENT_HUNDREDTH, ROUND_HALF_UP))


def outcome_style(outcome: str) -> str:
    """The colour of an outcome."""
    if outcome == "ok":
        return "green"
    return {"wrong_size": "yellow", "blocked": "magenta", "no_image": "magenta", "cancelled": "dim"}.get(outcome, "red")


class _Fitting(Table):
    """A table; where it would be cut off, a block for each row, with a line for each cell."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if options.max_width >= WIDE_ENOUGH:
            yield from super().__rich_console__(console, options)
            return
        if self.title:
            yield Text(str(self.title), style="bold")
        for cells in zip(*(column.cells for column in self.columns), strict=True):
            yield self._block([Text() if cell is None else cell for cell in cells])

    def _block(self, cells: Sequence[RenderableType]) -> Table:
        block = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
        block.add_column(style="dim", no_wrap=True)
        block.add_column(overflow="fold")
        for column, cell in zip(self.columns, cells, strict=True):
            if str(cell):
                block.add_row(str(column.header), cell)
        block.add_row()
        return block


def table(*headers: str, title: str = "", right: Sequence[str] = ()) -> Table:
    """An airy table; the columns named in *right* hold figures."""
    made = _Fitting(
        box=None, padding=(0, 2, 0, 0), pad_edge=False, title=title or None, title_justify="left", title_style="bold"
    )
    for header in headers:
        figures = header in right
        made.add_column(
            header, justify="right" if figures else "left", header_style="dim", overflow="fold", no_wrap=figures
        )
    return made


def keep_whole(made: Table, header: str, most: int = MAX_NAME) -> None:
    """Let other columns give way before names of up to *most* columns in the column called *header* are broken."""
    column = next(each for each in made.columns if each.header == header)
    column.width = min(most, max(cell_len(str(cell)) for cell in (header, *column.cells)))


def trail(attempts: Sequence[Attempt]) -> RenderableType:
    """The attempts, in order; their details stand below, where there is room for them."""
    made = table("#", "lane", "size", "outcome", "billed", "USD", "seconds", right=("#", "USD", "seconds"))
    details = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    for number, attempt in enumerate(attempts, 1):
        place = Text(str(number), style="dim")
        made.add_row(place, *_attempt_cells(attempt))
        if attempt.detail:
            details.add_row(place, Text(sanitise(attempt.detail), style="dim"))
    return Group(made, Text(), details) if details.rows else made


def _attempt_cells(attempt: Attempt) -> list[Text]:
    return [
        Text(visible(attempt.lane)),
        Text(attempt.size),
        Text(attempt.outcome, style=outcome_style(attempt.outcome)),
        Text(attempt.billed, style=BILLED_STYLE[attempt.billed]),
        Text(usd(attempt.cost.usd if attempt.cost else None)),
        Text(f"{attempt.duration:.1f}"),
    ]


def candidates(steps: Sequence[Candidate]) -> Table:
    """The steps of a plan, in order."""
    made = table("#", "lane", "size", "USD", "seconds", "success", right=("#", "USD", "seconds", "success"))
    for number, step in enumerate(steps, 1):
        made.add_row(
            Text(str(number), style="dim"),
            Text(visible(step.lane)),
            Text(step.size),
            Text(usd(step.expected_cost)),
            Text(f"{step.expected_seconds:.0f}"),
            Text(f"{step.success_rate:.0%}"),
        )
    return made


def acceptance(rows: Sequence[AcceptanceRow]) -> Table:
    """What is known of each lane's images for a task."""
    made = table("lane", "verdicts", "accepted", "USD each", "from", "to", right=("verdicts", "accepted"))
    for row in rows:
        made.add_row(
            Text(visible(row.lane)),
            Text(str(row.verdicts)),
            Text("–" if row.accepted is None else f"{row.accepted:.0%}"),
            *(Text("–" if amount is None else usd(amount)) for amount in (row.cost, row.low, row.high)),
        )
    keep_whole(made, "lane")
    return made


def exclusions(excluded: Sequence[Exclusion], title: str = "Left out") -> Table:
    """The lanes that are left out, with reasons."""
    made = table("lane", "reason", "detail", title=title)
    for each in excluded:
        made.add_row(
            Text(visible(each.lane)), Text(each.reason, style="yellow"), Text(visible(each.detail), style="dim")
        )
    keep_whole(made, "lane")
    return made


def health(lanes: Sequence[LaneHealth]) -> RenderableType:
    """How each lane is doing; what is out of the ordinary stands below, where there is room for it."""
    made = table("lane", "state", "success", "typical s", "in flight", right=("success", "typical s", "in flight"))
    remarks = Table.grid(padding=(0, 2, 0, 0), pad_edge=False)
    for lane in lanes:
        made.add_row(
            Text(visible(lane.lane)),
            Text(lane.state, style=STATE_STYLE.get(lane.state, "red")),
            Text(f"{lane.success_rate:.0%}"),
            Text(f"{lane.p50:.0f}"),
            Text(f"{lane.in_flight} of {lane.limit}" if lane.limit else str(lane.in_flight)),
        )
        if remark := ", ".join(_remarks(lane)):
            remarks.add_row(Text(visible(lane.lane)), Text(visible(remark), style="yellow"))
    keep_whole(made, "lane", MAX_NAME_BESIDE_HEALTH)
    told = [Text(visible(each), style="yellow") for each in dict.fromkeys(lane.degraded for lane in lanes) if each]
    below: list[RenderableType] = [*([remarks] if remarks.rows else []), *told]
    return Group(made, Text(), *below) if below else made


def _remarks(lane: LaneHealth) -> Iterator[str]:
    if lane.mode in ("forced-open", "shadow"):
        yield lane.mode
    if lane.reason:
        yield lane.reason
    if lane.until is not None:
        yield f"again in {lane.until:.0f} s"
