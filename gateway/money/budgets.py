"""Budgets: what may be spent in a day or a month, on everything, at one provider, or under one tag. Pure.

A budget is a counter in the state store, whose name says what it counts and when it began. Who reserves money for a call
adds its price to every counter that applies, in one step with the check against the caps, so that no number of workers
can overspend together. The counter's name does not hold the cap: raising it does not forget what was spent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal
from zoneinfo import ZoneInfo

from gateway.money.entries import Entry, micro, usd
from providers.errors import BudgetExceeded

Period = Literal["day", "month"]
BudgetMode = Literal["hard", "soft"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """At most *usd* USD per *per*: at *provider*, under the tag *tag* (a name and a value), or for everything.

    ``hard`` refuses what would go beyond, before it is sent; ``soft`` warns. *zone* is the time zone in which days and
    months begin.
    """

    usd: Decimal
    per: Period
    mode: BudgetMode = "hard"
    provider: str | None = None
    tag: tuple[str, str] | None = None
    zone: str = "UTC"

    def applies_to(self, entry: Entry) -> bool:
        """Whether *entry* is paid from it."""
        if self.provider is not None and entry.provider != self.provider:
            return False
        return self.tag is None or entry.tags.get(self.tag[0]) == self.tag[1]

    def __str__(self) -> str:
        scope = f" at {self.provider}" if self.provider else ""
        scope += f" with {'='.join(self.tag)}" if self.tag else ""
        return f"the budget of ${self.usd:f} per {self.per}{scope}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """An amount to be added to *counter*: not if that goes beyond *cap* micro-USD. *ends* is when the counter is over."""

    counter: str
    cap: int | None
    ends: datetime


def charges(budgets: Iterable[Budget], entry: Entry) -> tuple[Charge, ...]:
    """The counters that *entry* goes to, each once; where several hard budgets share one, the lowest cap holds."""
    found: dict[str, Charge] = {}
    for budget in budgets:
        if not budget.applies_to(entry):
            continue
        name, cap = counter(budget, entry.started), micro(budget.usd) if budget.mode == "hard" else None
        caps = [each for each in (cap, found[name].cap if name in found else None) if each is not None]
        found[name] = Charge(counter=name, cap=min(caps, default=None), ends=ends(budget, entry.started))
    return tuple(found.values())


def counter(budget: Budget, at: datetime) -> str:
    """The name of the counter that *budget* uses at *at*."""
    begins = _begins(budget, at)
    scope = (budget.provider or "", "=".join(budget.tag or ()), budget.zone)
    return "|".join((budget.per, *scope, begins.date().isoformat()))


def ends(budget: Budget, at: datetime) -> datetime:
    """When the day or month ends in which *at* lies, and the budget is full again; in UTC."""
    begins = _begins(budget, at)
    within = begins + timedelta(days=1 if budget.per == "day" else 31)
    return _midnight(within if budget.per == "day" else within.replace(day=1)).astimezone(UTC)


def _begins(budget: Budget, at: datetime) -> datetime:
    local = at.astimezone(ZoneInfo(budget.zone))
    return _midnight(local if budget.per == "day" else local.replace(day=1))


def _midnight(local: datetime) -> datetime:
    return local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)


def refusal(budgets: Iterable[Budget], entry: Entry, name: str, used: int) -> BudgetExceeded:
    """The error for *entry*, for which the counter called *name*, at *used* micro-USD, has no room."""
    refusing = [each for each in budgets if each.mode == "hard" and each.applies_to(entry)]
    budget = min((each for each in refusing if counter(each, entry.started) == name), key=lambda each: each.usd)
    resets = ends(budget, entry.started)
    return BudgetExceeded(
        f"{budget}: ${usd(used):f} is spent or reserved, and {entry.lane} at {entry.size} would take "
        f"${entry.quoted:f} more; nothing was sent. It is full again at {resets:%Y-%m-%d %H:%M} UTC",
        retry_after=(resets - entry.started).total_seconds(),
    )


def warnings(budgets: Iterable[Budget], entry: Entry, used: Mapping[str, int]) -> Sequence[str]:
    """What to say of the soft budgets beyond which *entry* went, by the *used* micro-USD of the counters."""
    return [
        f"{budget} is exceeded: ${usd(spent):f} is spent or reserved until {ends(budget, entry.started):%Y-%m-%d %H:%M} UTC"
        for budget in budgets
        if budget.mode == "soft" and budget.applies_to(entry)
        if (spent := used.get(counter(budget, entry.started), 0)) > micro(budget.usd)
    ]
