"""Batch jobs in Redis: a hash for each kind of record of a job, and an index of the jobs by the time of the last write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.state.redis import Script, Server, Word
from gateway.state.stores import HEAD, JOBS_KEPT, KINDS, Kind, Record

READ_AT_ONCE: Final = 200
"""Records read or written with one command's time."""

PUT: Final = Script("""
if ARGV[3] ~= '0' and redis.call('HEXISTS', KEYS[1 + ARGV[3]], ARGV[4]) == 1 then return 0 end
for i = 5, #ARGV, 3 do redis.call('HSET', KEYS[1 + ARGV[i]], ARGV[i + 1], ARGV[i + 2]) end
for i = 2, #KEYS do redis.call('PEXPIRE', KEYS[i], ARGV[2]) end
local now = tonumber(redis.call('TIME')[1])
redis.call('ZADD', KEYS[1], now, ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - ARGV[2] / 1000)
return 1
""")
"""KEYS: index, the job's records by kind. ARGV: job, time to live (ms), the kind (its place among the keys) and the name of
the record that must not be there (0: none), then kind, name and text of each record."""
DISCARD: Final = Script("""
redis.call('ZREM', KEYS[1], ARGV[1])
for i = 2, #KEYS do redis.call('DEL', KEYS[i]) end
return 1
""")
"""KEYS: as above. ARGV: job."""


class RedisJobs:
    """The records on *server*."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def put(self, job: str, records: Sequence[Record], unless: Record | None = None) -> bool:
        """See :class:`~gateway.state.stores.JobStore`."""
        guard: tuple[Word, Word] = (_place(unless.kind), unless.name) if unless is not None else (0, "")
        words: list[Word] = [job, int(JOBS_KEPT.total_seconds() * 1000), *guard]
        for record in records:
            words += [_place(record.kind), record.name, record.text]
        return bool(await self._server.run(PUT, self._keys(job), words))

    async def read(self, job: str, kind: Kind) -> dict[str, str]:
        """See :class:`~gateway.state.stores.JobStore`."""
        key = self._key(job, kind)
        (names,) = await self._server.ask(("HKEYS", key))
        found: dict[str, str] = {}
        for start in range(0, len(names), READ_AT_ONCE):
            some = names[start : start + READ_AT_ONCE]
            (texts,) = await self._server.ask(("HMGET", key, *some))
            found |= {name: text for name, text in zip(some, texts, strict=True) if text is not None}
        return found

    async def heads(self) -> dict[str, str]:
        """See :class:`~gateway.state.stores.JobStore`."""
        (jobs,) = await self._server.ask(("ZRANGE", self._server.key("batches"), 0, -1))
        texts = await self._server.ask(*(("HGET", self._key(job, HEAD), "") for job in jobs)) if jobs else []
        return {job: text for job, text in zip(jobs, texts, strict=True) if text is not None}

    async def discard(self, job: str) -> None:
        """See :class:`~gateway.state.stores.JobStore`."""
        await self._server.run(DISCARD, self._keys(job), [job])

    def _keys(self, job: str) -> list[str]:
        return [self._server.key("batches"), *(self._key(job, kind) for kind in KINDS)]

    def _key(self, job: str, kind: Kind) -> str:
        return self._server.key("batch", job, kind)


def _place(kind: Kind) -> int:
    """Which of the job's keys holds that kind of record, from 1."""
    return KINDS.index(kind) + 1
