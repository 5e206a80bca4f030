"""Batch jobs in SQLite: a row for each record, in a table that is made with the first job."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from gateway.clock import Clock
from gateway.state.sqlite import Database, stamp
from gateway.state.stores import HEAD, JOBS_KEPT, Kind, Record

TABLE: Final = """
CREATE TABLE IF NOT EXISTS jobs (
    job TEXT NOT NULL, kind TEXT NOT NULL, name TEXT NOT NULL, text TEXT NOT NULL, written TEXT NOT NULL,
    PRIMARY KEY (job, kind, name)
) WITHOUT ROWID
"""
_FORGET: Final = "DELETE FROM jobs WHERE job IN (SELECT job FROM jobs GROUP BY job HAVING max(written) < ?)"

T = TypeVar("T")


class SqliteJobs:
    """The records in *database*; jobs that were not written to for long, by *clock*, are forgotten."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def put(self, job: str, records: Sequence[Record], unless: Record | None = None) -> bool:
        """See :class:`~gateway.state.stores.JobStore`."""
        return await self._run(lambda connection: self._put(connection, job, records, unless))

    async def read(self, job: str, kind: Kind) -> dict[str, str]:
        """See :class:`~gateway.state.stores.JobStore`."""
        question = "SELECT name, text FROM jobs WHERE job = ? AND kind = ?"
        return await self._run(lambda connection: dict(connection.execute(question, (job, kind)).fetchall()))

    async def heads(self) -> dict[str, str]:
        """See :class:`~gateway.state.stores.JobStore`."""
        question = "SELECT job, text FROM jobs WHERE kind = ?"
        return await self._run(lambda connection: dict(connection.execute(question, (HEAD,)).fetchall()))

    async def discard(self, job: str) -> None:
        """See :class:`~gateway.state.stores.JobStore`."""
        await self._run(lambda connection: connection.execute("DELETE FROM jobs WHERE job = ?", (job,)).close())

    async def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        def whole(connection: sqlite3.Connection) -> T:
            connection.execute(TABLE)
            return work(connection)

        return await self._database.run(whole)

    def _put(self, connection: sqlite3.Connection, job: str, records: Sequence[Record], unless: Record | None) -> bool:
        now = self._clock.wall()
        if (
            unless is not None
            and connection.execute(
                "SELECT 1 FROM jobs WHERE job = ? AND kind = ? AND name = ?", (job, unless.kind, unless.name)
            ).fetchone()
        ):
            return False
        if any(record.kind == HEAD for record in records):
            connection.execute(_FORGET, (stamp(now - JOBS_KEPT),))
        connection.executemany(
            "INSERT OR REPLACE INTO jobs (job, kind, name, text, written) VALUES (?, ?, ?, ?, ?)",
            [(job, record.kind, record.name, record.text, stamp(now)) for record in records],
        )
        return True
