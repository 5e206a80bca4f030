"""A provider's invoice beside the ledger: which days and models differ, and by how much. Pure.

An invoice is a CSV table with a heading. Its columns go by many names; what is needed is an amount, and a date or a model.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Final
from zoneinfo import ZoneInfo

from gateway.money.entries import Entry
from gateway.money.spending import is_uncertain
from providers.errors import InvalidRequest
from providers.sanitise import sanitise

NAMES: Final[Mapping[str, Sequence[str]]] = {
    "date": (
        "date",
        "day",
        "usage_date",
        "usage_start_date",
        "start_date",
        "created_at",
        "created",
        "timestamp",
        "time",
    ),
    "model": ("model", "lane", "model_name", "sku", "sku_description", "line_item", "item", "product", "description"),
    "amount": (
        "amount",
        "cost",
        "amount_usd",
        "cost_usd",
        "usd",
        "total",
        "subtotal",
        "charge",
        "spend",
        "price",
        "quota",
    ),
    "count": ("count", "quantity", "requests", "num_requests", "calls", "images", "units", "usage"),
}
"""What columns are called on invoices: lower case, other characters as ``_``; the first that is there counts."""

TOLERANCE: Final = Decimal("0.005")
"""USD by which sums may differ: invoices are rounded to the cent."""

EVERY: Final = ""
"""Stands for the day or the model where the invoice has no such column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line of an invoice: *usd* for *count* images or calls (None: not told) on *day* of *model*."""

    day: str
    model: str
    usd: Decimal
    count: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """What the invoice and the ledger say of *model* on *day*, in USD.

    By the ledger it was *sure* at least, and with what may have been billed *most*. *counted* are the invoice's images or
    calls (None: not told), *calls* the ledger's that may have been billed.
    """

    day: str
    model: str
    invoiced: Decimal
    sure: Decimal
    most: Decimal
    counted: int | None
    calls: int

    @property
    def differs(self) -> bool:
        """Whether the invoice is below what is sure, or above what is possible."""
        return not self.sure - TOLERANCE <= self.invoiced <= self.most + TOLERANCE

    @property
    def words(self) -> str:
        """What is the matter, in words."""
        if not self.differs:
            return "agrees"
        if not self.calls:
            return "not in the ledger"
        if self.invoiced > self.most:
            return "more than the ledger"
        return "less than the ledger" if self.invoiced else "not on the invoice"


def lines(text: str) -> list[Line]:
    """The lines of an invoice.

    Raises:
        InvalidRequest: a column is missing, or a value cannot be meant; the message names it.
    """
    rows = csv.reader(text.lstrip("\ufeff").splitlines(), dialect=_dialect(text))
    columns = _columns(next(rows, []))
    return [_line(row, columns, number) for number, row in enumerate(rows, 2) if any(cell.strip() for cell in row)]


def compared(invoice: Sequence[Line], entries: Iterable[Entry], zone: str = "UTC") -> list[Difference]:
    """The invoice beside *entries*, by day in *zone* and by model, as far as the invoice tells them."""
    booked = list(entries)
    known = {name.lower(): entry.model for entry in booked for name in (entry.model, entry.lane)}
    by_day, by_model = any(line.day for line in invoice), any(line.model for line in invoice)
    invoiced: dict[tuple[str, str], list[Line]] = {}
    for line in invoice:
        invoiced.setdefault((line.day, _model(line.model, known)), []).append(line)
    ours: dict[tuple[str, str], list[Entry]] = {}
    for entry in booked:
        day = entry.started.astimezone(ZoneInfo(zone)).date().isoformat()
        ours.setdefault((day if by_day else EVERY, entry.model if by_model else EVERY), []).append(entry)
    return [
        _difference(key, invoiced.get(key, []), ours.get(key, []))
        for key in sorted({*invoiced, *ours})
        if key in invoiced or any(entry.usd for entry in ours[key])
    ]


def _difference(key: tuple[str, str], invoice: Sequence[Line], entries: Sequence[Entry]) -> Difference:
    counts = [line.count for line in invoice if line.count is not None]
    paid = [entry for entry in entries if entry.usd]
    return Difference(
        day=key[0],
        model=key[1],
        invoiced=sum((line.usd for line in invoice), Decimal(0)),
        sure=sum((entry.usd for entry in paid if not is_uncertain(entry)), Decimal(0)),
        most=sum((entry.usd for entry in paid), Decimal(0)),
        counted=sum(counts) if counts else None,
        calls=len(paid),
    )


def _model(name: str, known: Mapping[str, str]) -> str:
    """The ledger's name for the model that the invoice calls *name*: the longest one that is part of it."""
    told = name.lower()
    parts = sorted((each for each in known if each in told), key=len)
    return known[parts[-1]] if parts else name


def _dialect(text: str) -> type[csv.Dialect]:
    heading = text.partition("\n")[0]

    class Told(csv.excel):
        delimiter = max(",;\t", key=heading.count)

    return Told


def _columns(heading: Sequence[str]) -> Mapping[str, int]:
    names = [re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") for name in heading]
    found = {
        wanted: next(names.index(name) for name in known if name in names)
        for wanted, known in NAMES.items()
        if not set(known).isdisjoint(names)
    }
    if "amount" not in found or not {"date", "model"} & set(found):
        told = ", ".join(sanitise(name) for name in heading[:10]) or "nothing"
        raise InvalidRequest(
            f"invoice: expected a heading with an amount ({', '.join(NAMES['amount'][:4])} …) and a date or a model "
            f"({', '.join((*NAMES['date'][:2], *NAMES['model'][:2]))} …); it has {told}"
        )
    return found


def _line(row: Sequence[str], columns: Mapping[str, int], number: int) -> Line:
    cells = {name: row[index].strip() if index < len(row) else "" for name, index in columns.items()}
    return Line(
        day=_day(cells["date"], number) if "date" in cells else EVERY,
        model=sanitise(cells.get("model", EVERY)),
        usd=_number(cells["amount"], "amount", number),
        count=int(_number(cells["count"], "count", number)) if cells.get("count") else None,
    )


def _day(text: str, number: int) -> str:
    try:
        return date.fromisoformat(text[:10].replace("/", "-")).isoformat()
    except ValueError:
        raise InvalidRequest(f"invoice: line {number}: expected a date such as 2026-12-31") from None


def _number(text: str, name: str, number: int) -> Decimal:
    """An amount without its currency; a comma is taken as a separator of thousands, and only where it can be one."""
    plain = re.sub(r"^(US)?\$|(?i:usd)|\s", "", text.replace("-$", "$-"))
    if not re.fullmatch(r"-?([0-9]{1,3}(,[0-9]{3})+|[0-9]+)(\.[0-9]+)?", plain):
        raise InvalidRequest(f"invoice: line {number}: {name}: expected a number such as 1234.56") from None
    return Decimal(plain.replace(",", ""))
