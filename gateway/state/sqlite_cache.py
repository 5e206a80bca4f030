"""The index of the cache in SQLite: a row for each entry, and one for each blob it is made of."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import timedelta
from typing import Final, TypeVar

from gateway.clock import Clock
from gateway.state.sqlite import Database, stamp
from gateway.state.stores import CacheEntry

TABLES: Final = (
    """
CREATE TABLE IF NOT EXISTS cache (
    key TEXT PRIMARY KEY, reference TEXT NOT NULL, bytes INTEGER NOT NULL, life REAL NOT NULL, until TEXT NOT NULL,
    used TEXT NOT NULL
) WITHOUT ROWID
""",
    """
CREATE TABLE IF NOT EXISTS cache_blobs (blob TEXT NOT NULL, key TEXT NOT NULL, PRIMARY KEY (blob, key)) WITHOUT ROWID
""",
    "CREATE INDEX IF NOT EXISTS cache_blobs_key ON cache_blobs (key)",
)

T = TypeVar("T")


class SqliteCache:
    """The entries in *database*; their lives end by *clock*."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def find(self, key: str) -> CacheEntry | None:
        """See :class:`~gateway.state.stores.CacheStore`."""
        return await self._run(lambda connection: self._find(connection, key))

    async def keep(self, entry: CacheEntry, limit: int) -> tuple[str, ...]:
        """See :class:`~gateway.state.stores.CacheStore`."""
        return await self._run(lambda connection: self._keep(connection, entry, limit))

    async def drop(self, key: str, reference: str) -> tuple[str, ...]:
        """See :class:`~gateway.state.stores.CacheStore`."""

        def work(connection: sqlite3.Connection) -> tuple[str, ...]:
            question = "SELECT key FROM cache WHERE key = ? AND reference = ?"
            return _unused(
                connection, [_gone(connection, found) for (found,) in connection.execute(question, (key, reference))]
            )

        return await self._run(work)

    async def blobs(self) -> frozenset[str]:
        """See :class:`~gateway.state.stores.CacheStore`."""
        question = "SELECT DISTINCT blob FROM cache_blobs"
        return await self._run(lambda connection: frozenset(blob for (blob,) in connection.execute(question)))

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def whole(connection: sqlite3.Connection) -> T:
            for statement in TABLES:
                connection.execute(statement)
            return work(connection)

        return await self._database.run(whole)

    def _find(self, connection: sqlite3.Connection, key: str) -> CacheEntry | None:
        now = stamp(self._clock.wall())
        question = "UPDATE cache SET used = ? WHERE key = ? AND until > ? RETURNING reference, bytes, life"
        for reference, size, life in connection.execute(question, (now, key, now)).fetchall():
            return CacheEntry(key=key, reference=reference, blobs=_blobs(connection, key), bytes=size, life=life)
        return None

    def _keep(self, connection: sqlite3.Connection, entry: CacheEntry, limit: int) -> tuple[str, ...]:
        now = self._clock.wall()
        question = "SELECT key FROM cache WHERE until <= ? OR key = ?"
        over = connection.execute(question, (stamp(now), entry.key)).fetchall()
        gone = [_gone(connection, key) for (key,) in over]
        until = stamp(now + timedelta(seconds=entry.life))
        row = (entry.key, entry.reference, entry.bytes, entry.life, until, stamp(now))
        connection.execute("INSERT INTO cache VALUES (?, ?, ?, ?, ?, ?)", row)
        pairs = [(blob, entry.key) for blob in dict.fromkeys(entry.blobs)]
        connection.executemany("INSERT INTO cache_blobs VALUES (?, ?)", pairs)
        (total,) = connection.execute("SELECT total(bytes) FROM cache").fetchone()
        while total > limit:
            key, size = connection.execute("SELECT key, bytes FROM cache ORDER BY used LIMIT 1").fetchone()
            gone.append(_gone(connection, key))
            total -= size
        return _unused(connection, gone)


def _blobs(connection: sqlite3.Connection, key: str) -> tuple[str, ...]:
    return tuple(blob for (blob,) in connection.execute("SELECT blob FROM cache_blobs WHERE key = ?", (key,)))


def _gone(connection: sqlite3.Connection, key: str) -> tuple[str, ...]:
    """The blobs of an entry, which is deleted."""
    blobs = _blobs(connection, key)
    connection.execute("DELETE FROM cache WHERE key = ?", (key,))
    connection.execute("DELETE FROM cache_blobs WHERE key = ?", (key,))
    return blobs


def _unused(connection: sqlite3.Connection, gone: list[tuple[str, ...]]) -> tuple[str, ...]:
    """Those of the blobs to which no entry refers."""
    blobs = dict.fromkeys(blob for each in gone for blob in each)
    question = "SELECT 1 FROM cache_blobs WHERE blob = ? LIMIT 1"
    return tuple(blob for blob in blobs if connection.execute(question, (blob,)).fetchone() is None)
