"""Sums over the ledger: what was spent by lane, day, tag or task. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Literal

from gateway.money.entries import Entry

By = Literal["lane", "day", "tag", "task"]

NONE: Final = "(none)"
"""The name for calls that have no tag or no task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What the calls under *name* come to.

    *calls* were made, *failed* of them without an image as asked for; *images* were asked for in the others. *usd* is
    all that was or may have been billed; *uncertain* is the part of it that nobody knows to have been billed: calls under
    way, calls whose end is not known, and those billed ``maybe``.
    """

    name: str
    calls: int
    failed: int
    images: int
    usd: Decimal
    uncertain: Decimal


def spent(entries: Iterable[Entry], by: By) -> list[Spent]:
    """The sums, days in order (UTC), everything else from the dearest down. With tags, a call counts under each of its."""
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        for name in _NAMES[by](entry):
            groups.setdefault(name, []).append(entry)
    rows = [total(group, name) for name, group in groups.items()]
    return sorted(rows, key=lambda row: row.name if by == "day" else (-row.usd, row.name))


def total(entries: Iterable[Entry], name: str = "total") -> Spent:
    """The sum of *entries*, each counted once."""
    counted = list(entries)
    failed = [entry for entry in counted if entry.settlement is not None and entry.settlement.outcome != "ok"]
    return Spent(
        name=name,
        calls=len(counted),
        failed=len(failed),
        images=sum(entry.images for entry in counted) - sum(entry.images for entry in failed),
        usd=sum((entry.usd for entry in counted), Decimal(0)),
        uncertain=sum((entry.usd for entry in counted if is_uncertain(entry)), Decimal(0)),
    )


def is_uncertain(entry: Entry) -> bool:
    """Whether nobody knows that *entry* was billed, or that it was not."""
    return entry.settlement is None or entry.settlement.billed == "maybe"


def _tags(entry: Entry) -> Iterable[str]:
    return [f"{name}={value}" for name, value in entry.tags.items()] or [NONE]


_NAMES: Final[Mapping[By, Callable[[Entry], Iterable[str]]]] = {
    "lane": lambda entry: [entry.lane],
    "day": lambda entry: [entry.started.date().isoformat()],
    "tag": _tags,
    "task": lambda entry: [entry.task or NONE],
}
