"""State in this process alone, gone with it. The default."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from gateway.clock import Clock
from gateway.money.budgets import Charge
from gateway.money.entries import Entry, micro
from gateway.state.claims import KEPT, Answer, Claim, New, met, taken
from gateway.state.stores import Refused, Taken

MAX_ENTRIES: Final = 10_000
"""Entries that are kept; beyond, the oldest are forgotten. Counters of budgets are not concerned."""


class MemoryEngine:
    """Nothing to open, nothing to lose."""

    degraded: Final = ""

    async def check(self) -> None:
        """Always well."""

    async def flush(self) -> int:
        """Nothing is ever owed."""
        return 0

    async def aclose(self) -> None:
        """Nothing to close: what is known stays."""


class MemoryLedger:
    """The books in a dictionary."""

    def __init__(self, kept: int = MAX_ENTRIES) -> None:
        self._kept = kept
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._counters: dict[str, tuple[int, datetime]] = {}
        self._lock = threading.Lock()

    async def reserve(self, entry: Entry, charges: Sequence[Charge]) -> Taken | Refused:
        """See :class:`~gateway.state.stores.LedgerStore`."""
        quoted = micro(entry.quoted)
        with self._lock:
            if entry.id not in self._entries:
                for charge in charges:
                    used = self._used(charge.counter)
                    if charge.cap is not None and used + quoted > charge.cap:
                        return Refused(charge.counter, used)
                self._add(entry, charges)
            return Taken({charge.counter: self._used(charge.counter) for charge in charges})

    def settle(self, entry: Entry, counters: Sequence[str]) -> None:
        """See :class:`~gateway.state.stores.LedgerStore`."""
        with self._lock:
            known = self._entries.get(entry.id)
            if known is None or known.state == "settled":
                return
            self._entries[entry.id] = entry
            for name in counters:
                if name in self._counters:
                    used, ends = self._counters[name]
                    self._counters[name] = used + micro(entry.usd) - micro(entry.quoted), ends

    async def entries(self, since: datetime | None = None) -> list[Entry]:
        """See :class:`~gateway.state.stores.LedgerStore`."""
        with self._lock:
            chosen = [entry for entry in self._entries.values() if since is None or entry.started >= since]
        return sorted(chosen, key=lambda entry: entry.started)

    async def used(self, counters: Sequence[str]) -> Mapping[str, int]:
        """See :class:`~gateway.state.stores.LedgerStore`."""
        with self._lock:
            return {name: self._used(name) for name in counters if name in self._counters}

    def _used(self, counter: str) -> int:
        return self._counters[counter][0] if counter in self._counters else 0

    def _add(self, entry: Entry, charges: Sequence[Charge]) -> None:
        self._entries[entry.id] = entry
        for charge in charges:
            self._counters[charge.counter] = self._used(charge.counter) + micro(entry.quoted), charge.ends
        over = [name for name, (_, ends) in self._counters.items() if ends + KEPT < entry.started]
        for name in over:
            del self._counters[name]
        self._forget()

    def _forget(self) -> None:
        """Drop the oldest entries that have ended, where there are too many."""
        for name in [*islice(self._entries, max(0, len(self._entries) - self._kept))]:
            if self._entries[name].state == "settled":
                del self._entries[name]


@dataclass(frozen=True, slots=True)
class _Held:
    claim: Claim
    until: datetime
    forgotten: datetime
    state: str = "held"
    reference: str = ""


class MemoryClaims:
    """The claims in a dictionary."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._held: dict[str, _Held] = {}
        self._lock = threading.Lock()

    async def claim(self, claim: Claim) -> Answer:
        """See :class:`~gateway.state.stores.ClaimStore`."""
        with self._lock:
            now = self._clock.wall()
            self._held = {key: held for key, held in self._held.items() if held.forgotten > now}
            answer = self._met(claim, now)
            if isinstance(answer, New):
                until = now + timedelta(seconds=claim.lease)
                held = self._held.get(claim.key)
                state, reference = taken(held.claim.owner, held.state, held.reference) if held else ("held", "")
                self._held[claim.key] = _Held(claim, until, until + KEPT, state, reference)
            return answer

    async def spending(self, key: str, owner: str) -> bool:
        """See :class:`~gateway.state.stores.ClaimStore`."""
        return self._change(key, owner, "spending")

    async def finish(self, key: str, owner: str, reference: str) -> None:
        """See :class:`~gateway.state.stores.ClaimStore`."""
        self._change(key, owner, "saved", reference)

    def abandon(self, key: str, owner: str) -> None:
        """See :class:`~gateway.state.stores.ClaimStore`."""
        with self._lock:
            held = self._held.get(key)
            if held is None or held.claim.owner != owner:
                return
            if held.state == "reopened":
                doubted = replace(held.claim, owner=held.reference)
                self._held[key] = replace(held, claim=doubted, state="unknown", reference="")
            else:
                del self._held[key]

    def doubt(self, key: str, owner: str) -> None:
        """See :class:`~gateway.state.stores.ClaimStore`."""
        self._change(key, owner, "unknown")

    def _met(self, claim: Claim, now: datetime) -> Answer:
        held = self._held.get(claim.key)
        if held is None:
            return New()
        return met(claim, held.claim.fingerprint, held.claim.owner, held.state, held.reference, held.until > now)

    def _change(self, key: str, owner: str, state: str, reference: str = "") -> bool:
        with self._lock:
            held = self._held.get(key)
            if held is None or held.claim.owner != owner:
                return False
            if held.state == "reopened" and state == "spending":
                return True  # it is in doubt already
            kept = self._clock.wall() + KEPT
            self._held[key] = replace(
                held, state=state, reference=reference, forgotten=max(kept, held.until + KEPT)
            )  # fmt: skip
            return True
