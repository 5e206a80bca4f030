"""The router's decision: what would be tried, in which order, and why the rest is out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Literal, Protocol

from providers.sizes import Size

ExclusionReason = Literal[
    "size", "aspect_ratio", "retired", "not_released", "region", "residency", "model", "quality", "capability",
    "max_cost", "circuit_open", "cooling_down", "quota", "preference", "disabled",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candidate:
    """One step the chain may take: *lane* (``"provider/model"``) at *size*.

    *expected_cost* is USD per delivered image, what failures before it are likely to cost included. *expected_seconds* is
    the typical duration of a call, and of waiting for those under way. *success_rate* is from 0 to 1.
    """

    lane: str
    size: Size
    expected_cost: Decimal
    expected_seconds: float
    success_rate: float

    @property
    def name(self) -> str:
        """The lane's."""
        return self.lane

    @property
    def candidate(self) -> Candidate:
        """Itself, which makes it a :class:`Step`."""
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Exclusion:
    """A lane that will not be tried. *retry_after* is the seconds until that may change, or None."""

    lane: str
    reason: ExclusionReason
    detail: str
    retry_after: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceRow:
    """What is known of a lane's images for the request's task.

    *verdicts* is how many were given, *accepted* the share of images accepted, *cost* USD per accepted image with its
    interval from *low* to *high*. None where nothing can be said.
    """

    lane: str
    verdicts: int
    accepted: float | None
    cost: Decimal | None
    low: Decimal | None
    high: Decimal | None


@dataclass(frozen=True, slots=True)
class Learning:
    """For quality ``"auto"``: the figures by lane, *why* standard or premium comes first, and the lane on *trial*, if any."""

    rows: tuple[AcceptanceRow, ...]
    why: str
    trial: str | None = None


class Step(Protocol):
    """A lane, by its *name*, at a *size*, in a plan. Its *candidate* is what is expected of it."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def size(self) -> Size: ...  # noqa: D102
    @property
    def candidate(self) -> Candidate: ...  # noqa: D102


class _Candidates:
    """The field of a plan that is given its steps, and shows the candidates that they are.

    These are made when they are looked at: a request is carried out without their figures, and for many lanes it would take
    longer to work them all out than to decide.
    """

    def __get__(self, plan: Plan | None, kind: type[Plan]) -> tuple[Candidate, ...]:
        if plan is None:
            return ()  # the default
        made: tuple[Candidate, ...] | None = vars(plan).get("candidates")
        if made is None:
            made = vars(plan)["candidates"] = tuple([step.candidate for step in plan.steps])
        return made

    def __set__(self, plan: Plan, steps: Sequence[Step]) -> None:
        vars(plan)["steps"] = tuple(steps)


@dataclass(frozen=True)
class Plan:
    """Steps in the order they would be tried, and the lanes left out with their reasons.

    *acceptance* is what has been learnt about the request's task, for quality ``"auto"`` alone. *last_resort* says that
    only one lane could serve, and that it is asked although its breaker is open.
    """

    candidates: _Candidates = _Candidates()
    excluded: tuple[Exclusion, ...] = ()
    warnings: tuple[str, ...] = ()
    acceptance: Learning | None = None
    last_resort: bool = False

    @property
    def steps(self) -> tuple[Step, ...]:
        """What would be tried, in order: the candidates without their figures."""
        steps: tuple[Step, ...] = vars(self)["steps"]
        return steps

    def __reduce__(self) -> tuple[type[Plan], tuple[object, ...]]:
        # The candidates travel, and the steps, which know their lanes, stay here.
        return Plan, tuple(getattr(self, each.name) for each in fields(self))

    def __str__(self) -> str:
        rows = [("#", "lane", "size", "USD", "seconds", "success")]
        rows += [
            (str(number), step.lane, step.size, f"{step.expected_cost:.4f}", f"{step.expected_seconds:.0f}",
             f"{step.success_rate:.0%}")
            for number, step in enumerate(self.candidates, 1)
        ]  # fmt: skip
        lines = _aligned(rows) if self.candidates else ["no lane can serve this request"]
        if self.excluded:
            lines += ["", "left out:"]
            lines += [f"  {line}" for line in _aligned([(e.lane, e.reason, e.detail) for e in self.excluded])]
        if self.acceptance is not None:
            lines += ["", *_learnt(self.acceptance)]
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)


def _learnt(learning: Learning) -> Iterator[str]:
    yield learning.why
    rows = [("lane", "verdicts", "accepted", "USD per accepted image")]
    for row in learning.rows:
        accepted = f"{row.accepted:.0%}" if row.accepted is not None else "–"
        spread = f"{_usd(row.low)} to {_usd(row.high)}" if row.high is not None else f"from {_usd(row.low)}"
        cost = f"{_usd(row.cost)} ({spread})" if row.cost is not None else spread
        rows.append((row.lane, str(row.verdicts), accepted, cost))
    yield from (f"  {line}" for line in _aligned(rows))


def _usd(amount: Decimal | None) -> str:
    return "–" if amount is None else f"{amount:.4f}"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
