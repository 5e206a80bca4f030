"""The ledger as the chain uses it: money is reserved before a call is sent, and settled when the call has ended.

What is reserved is durable before :meth:`Ledger.reserve` returns; a process that dies afterwards leaves an entry that the
next one marks as ``unknown``, counted at its quoted price, since it may have been billed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal

from gateway.clock import Clock
from gateway.money import budgets
from gateway.money.budgets import Budget, Charge
from gateway.money.entries import Entry, Settlement
from gateway.result import Cost
from gateway.state.stores import LedgerStore, Refused
from providers.errors import GatewayError
from providers.outcome import Billed, OutcomeName


@dataclass(frozen=True, slots=True)
class Booking:
    """A reservation: the *entry*, and the *charges* it made. *warnings* are for the result."""

    entry: Entry
    charges: tuple[Charge, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ledger:
    """The books over *store*, under these *budgets*."""

    store: LedgerStore
    clock: Clock
    budgets: tuple[Budget, ...] = ()

    async def reserve(self, entry: Entry) -> Booking:
        """Write *entry* down, unless a hard budget has no room for it. Await it before the call is sent.

        If this is cancelled, or fails, nothing stays reserved.

        Raises:
            BudgetExceeded: a hard budget is used up; it is named, and when it is full again.
            StateUnavailable: the books cannot be written now, and a hard budget applies.
            ConfigError: the books can never be used as configured.
        """
        charges = budgets.charges(self.budgets, entry)
        try:
            answer = await self.store.reserve(entry, charges)
        except GatewayError:
            raise  # the store has taken it back
        except BaseException:  # cancelled: it may have been written all the same
            self._settle(entry, charges, self._nothing())
            raise
        if isinstance(answer, Refused):
            raise budgets.refusal(self.budgets, entry, answer.counter, answer.used)
        told = (*budgets.warnings(self.budgets, entry, answer.used), *answer.warnings)
        return Booking(entry, charges, told)

    def settle(self, booking: Booking, outcome: OutcomeName, billed: Billed, cost: Cost | None) -> None:
        """Note how the call ended, for all budgets too. Never waits and never raises: the store writes it in time.

        *cost* None: provably free.
        """
        settlement = Settlement(
            outcome=outcome,
            billed=billed,
            usd=cost.usd if cost else Decimal(0),
            basis=cost.basis if cost else None,
            ended=self.clock.wall(),
        )
        self._settle(booking.entry, booking.charges, settlement)

    async def entries(self, since: datetime | None = None) -> list[Entry]:
        """Everything that was started at or after *since*, in that order."""
        return await self.store.entries(since)

    async def used(self) -> Mapping[Budget, int]:
        """What is spent or reserved of each budget now, in micro-USD."""
        names = {budget: budgets.counter(budget, self.clock.wall()) for budget in self.budgets}
        used = await self.store.used(tuple(names.values()))
        return {budget: used.get(name, 0) for budget, name in names.items()}

    def _settle(self, entry: Entry, charges: tuple[Charge, ...], settlement: Settlement) -> None:
        ended = replace(entry, state="settled", settlement=settlement)
        self.store.settle(ended, tuple(charge.counter for charge in charges))

    def _nothing(self) -> Settlement:
        return Settlement(outcome="cancelled", billed="no", usd=Decimal(0), basis=None, ended=self.clock.wall())
