"""The ledger in Redis: a hash for each entry, an index by time, and what is open with the worker that opened it.

Fields are added to an entry and never changed. These keys have no time to live; counters end with their budgets.
While the server is away, entries that no hard budget holds wait in the outbox, in memory.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from gateway.money.budgets import Charge
from gateway.money.entries import Entry, Settlement, micro, usd
from gateway.state.claims import KEPT
from gateway.state.redis import LEASE, Script, Server, Word
from gateway.state.stores import Refused, StateUnavailable, Taken

READ_AT_ONCE: Final = 200
"""Entries read with one command's time."""

RESERVE: Final = Script("""
local used = {}
for i = 5, #KEYS do used[i] = tonumber(redis.call('GET', KEYS[i]) or '0') end
if redis.call('EXISTS', KEYS[1]) == 0 then
  for i = 5, #KEYS do
    local cap = tonumber(ARGV[2 * i - 3])
    if cap >= 0 and used[i] + tonumber(ARGV[3]) > cap then return {0, i - 5, used[i]} end
  end
  for i = 5, #KEYS do
    used[i] = redis.call('INCRBY', KEYS[i], ARGV[3])
    redis.call('PEXPIRE', KEYS[i], ARGV[2 * i - 2])
  end
  redis.call('HSET', KEYS[1], 'facts', ARGV[2], 'quoted', ARGV[3])
  redis.call('ZADD', KEYS[2], ARGV[4], ARGV[1])
  redis.call('HSET', KEYS[3], ARGV[1], ARGV[5])
  redis.call('ZADD', KEYS[4], 'GT', redis.call('TIME')[1] + ARGV[6], ARGV[5])
end
local answer = {1}
for i = 5, #KEYS do answer[i - 3] = used[i] end
return answer
""")
"""KEYS: entry, index, open, workers, counters. ARGV: id, facts, quoted, started (ms), worker, lease (s), and for each
counter its cap (-1: none) and time to live (ms)."""
SETTLE: Final = Script("""
local quoted = redis.call('HGET', KEYS[1], 'quoted')
if redis.call('HSETNX', KEYS[1], 'settled', ARGV[2]) == 0 then return 0 end
if not quoted then
  redis.call('PEXPIRE', KEYS[1], 86400000)
  return 0
end
redis.call('HDEL', KEYS[2], ARGV[1])
for i = 3, #KEYS do
  if redis.call('EXISTS', KEYS[i]) == 1 then redis.call('INCRBY', KEYS[i], ARGV[3] - quoted) end
end
return 1
""")
"""KEYS: entry, open, counters. ARGV: id, settlement, its micro-USD. Where there is no entry yet, one that comes late (a
command whose answer nobody waited for) finds the place taken."""
MARK: Final = Script("""
local now = tonumber(redis.call('TIME')[1])
for i = 3, #KEYS do
  local id, worker = ARGV[2 * i - 5], ARGV[2 * i - 4]
  local lease = tonumber(redis.call('ZSCORE', KEYS[2], worker) or '0')
  if lease < now and redis.call('HGET', KEYS[1], id) == worker then
    redis.call('HSETNX', KEYS[i], 'unknown', now)
    redis.call('HDEL', KEYS[1], id)
  end
end
return 1
""")
"""KEYS: open, workers, entries. ARGV: id and worker of each entry. Marks those of workers whose lease is over."""


class RedisLedger:
    """The books on *server*."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def reserve(self, entry: Entry, charges: Sequence[Charge]) -> Taken | Refused:
        """See :class:`~gateway.state.stores.LedgerStore`."""
        keys, words = self._reservation(entry, charges)
        asked = not self._server.degraded
        try:
            granted, *answer = await self._server.run(RESERVE, keys, words)
        except StateUnavailable as error:
            if any(charge.cap is not None for charge in charges):
                if asked:  # the server may have done it, or do it yet
                    self._take_back(entry, charges)
                raise StateUnavailable(
                    f"{error}; a hard budget applies, so nothing was sent", retry_after=error.retry_after
                ) from None
            self._server.post(RESERVE, keys, words)
            return Taken(warnings=(f"{error}: the ledger is kept in memory until it is back",))
        if not granted:
            return Refused(charges[answer[0]].counter, answer[1])
        return Taken({charge.counter: used for charge, used in zip(charges, answer, strict=True)})

    def settle(self, entry: Entry, counters: Sequence[str]) -> None:
        """See :class:`~gateway.state.stores.LedgerStore`."""
        keys = [self._entry_key(entry.id), self._server.key("open"), *map(self._counter_key, counters)]
        self._server.post(SETTLE, keys, [entry.id, _settlement_text(entry), micro(entry.usd)])

    async def entries(self, since: datetime | None = None) -> list[Entry]:
        """See :class:`~gateway.state.stores.LedgerStore`."""
        await self._mark_unknown()
        least = _ms(since) if since else "-inf"
        (ids,) = await self._server.ask(("ZRANGEBYSCORE", self._server.key("entries"), least, "+inf"))
        found = []
        for start in range(0, len(ids), READ_AT_ONCE):
            some = ids[start : start + READ_AT_ONCE]
            rows = await self._server.ask(
                *(("HMGET", self._entry_key(each), "facts", "settled", "unknown") for each in some)
            )
            found += [_entry(*row) for row in rows]
        return sorted(found, key=lambda entry: entry.started)

    async def used(self, counters: Sequence[str]) -> Mapping[str, int]:
        """See :class:`~gateway.state.stores.LedgerStore`."""
        values = await self._server.ask(*(("GET", self._counter_key(name)) for name in counters))
        return {name: int(value) for name, value in zip(counters, values, strict=True) if value is not None}

    async def _mark_unknown(self) -> None:
        pairs = (await self._server.ask(("HGETALL", self._server.key("open"))))[0]
        opened = [*(pairs.items() if isinstance(pairs, dict) else zip(pairs[::2], pairs[1::2], strict=True))]
        if opened:
            keys = [
                self._server.key("open"),
                self._server.key("workers"),
                *(self._entry_key(each) for each, _ in opened),
            ]
            await self._server.run(MARK, keys, [word for pair in opened for word in pair])

    def _reservation(self, entry: Entry, charges: Sequence[Charge]) -> tuple[list[str], list[Word]]:
        """The keys and the arguments of :data:`RESERVE`."""
        server = self._server
        keys = [self._entry_key(entry.id), server.key("entries"), server.key("open"), server.key("workers")]
        words: list[Word] = [
            entry.id, _facts_text(replace(entry, worker=server.worker)), micro(entry.quoted), _ms(entry.started),
            server.worker, int(LEASE),
        ]  # fmt: skip
        for charge in charges:
            words += [-1 if charge.cap is None else charge.cap, _ms(charge.ends + KEPT) - _ms(entry.started)]
        return [*keys, *(self._counter_key(charge.counter) for charge in charges)], words

    def _take_back(self, entry: Entry, charges: Sequence[Charge]) -> None:
        nothing = Settlement(outcome="cancelled", billed="no", usd=Decimal(0), basis=None, ended=entry.started)
        self.settle(replace(entry, state="settled", settlement=nothing), [charge.counter for charge in charges])

    def _entry_key(self, id: str) -> str:  # noqa: A002
        return self._server.key("entry", id)

    def _counter_key(self, counter: str) -> str:
        return self._server.key("spent", counter)


def _ms(moment: datetime) -> int:
    """Milliseconds since 1970."""
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)


def _facts_text(entry: Entry) -> str:
    facts: dict[str, Any] = {
        "request_id": entry.request_id, "number": entry.number, "lane": entry.lane, "provider": entry.provider,
        "model": entry.model, "size": entry.size, "images": entry.images, "quoted": micro(entry.quoted),
        "started": entry.started.isoformat(), "task": entry.task, "tags": dict(entry.tags), "worker": entry.worker,
        "prompt": entry.prompt,
    }  # fmt: skip
    return json.dumps(facts)


def _settlement_text(entry: Entry) -> str:
    end = entry.settlement
    assert end is not None
    return json.dumps([end.outcome, end.billed, micro(end.usd), end.basis, end.ended.isoformat()])


def _entry(facts_text: str, settled: str | None, unknown: str | None) -> Entry:
    facts = json.loads(facts_text)
    facts |= {"quoted": usd(facts["quoted"]), "started": datetime.fromisoformat(facts["started"])}
    if settled is None:
        return Entry(**facts, state="unknown" if unknown else "reserved")
    outcome, billed, spent, basis, ended = json.loads(settled)
    end = Settlement(
        outcome=outcome, billed=billed, usd=usd(spent), basis=basis, ended=datetime.fromisoformat(ended)
    )  # fmt: skip
    return Entry(**facts, state="settled", settlement=end)
