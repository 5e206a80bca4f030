"""Claims on idempotency keys in SQLite."""

from __future__ import annotations

import sqlite3
from datetime import datetime, timedelta

from gateway.clock import Clock
from gateway.state.claims import KEPT, Answer, Claim, New, met, taken
from gateway.state.sqlite import Database, stamp


class SqliteClaims:
    """The claims in *database*. A holder is dead when its process is, or when its lease is over by *clock*."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def claim(self, claim: Claim) -> Answer:
        """See :class:`~gateway.state.stores.ClaimStore`."""
        return await self._database.run(lambda connection: self._claim(connection, claim))

    async def spending(self, key: str, owner: str) -> bool:
        """See :class:`~gateway.state.stores.ClaimStore`."""

        def work(connection: sqlite3.Connection) -> bool:
            changed = connection.execute(  # what is reopened is in doubt already
                "UPDATE claims SET state = CASE state WHEN 'reopened' THEN state ELSE 'spending' END "
                "WHERE key = ? AND owner = ?",
                (key, owner),
            )
            return changed.rowcount == 1

        return await self._database.run(work)

    async def finish(self, key: str, owner: str, reference: str) -> None:
        """See :class:`~gateway.state.stores.ClaimStore`."""
        await self._database.run(lambda connection: self._change(connection, key, owner, "saved", reference))

    def abandon(self, key: str, owner: str) -> None:
        """See :class:`~gateway.state.stores.ClaimStore`."""

        def work(connection: sqlite3.Connection) -> None:
            doubted = connection.execute(
                "UPDATE claims SET state = 'unknown', owner = reference, reference = '' "
                "WHERE key = ? AND owner = ? AND state = 'reopened'",
                (key, owner),
            )
            if not doubted.rowcount:
                connection.execute("DELETE FROM claims WHERE key = ? AND owner = ?", (key, owner))

        self._database.post(work)

    def doubt(self, key: str, owner: str) -> None:
        """See :class:`~gateway.state.stores.ClaimStore`."""

        def work(connection: sqlite3.Connection) -> None:
            self._change(connection, key, owner, "unknown")

        self._database.post(work)

    def _claim(self, connection: sqlite3.Connection, claim: Claim) -> Answer:
        now = self._clock.wall()
        connection.execute("DELETE FROM claims WHERE forgotten <= ?", (stamp(now),))
        row = connection.execute(
            "SELECT fingerprint, owner, state, reference, until, worker FROM claims WHERE key = ?", (claim.key,)
        ).fetchone()
        answer = self._met(claim, row, now) if row else New()
        if isinstance(answer, New):
            until = now + timedelta(seconds=claim.lease)
            fate = taken(*row[1:4]) if row else ("held", "")
            worker = self._database.worker
            connection.execute(
                "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (claim.key, claim.fingerprint, claim.owner, worker, stamp(until), *fate, stamp(until + KEPT)),
            )
        return answer

    def _met(self, claim: Claim, row: tuple[str, str, str, str, str, str], now: datetime) -> Answer:
        *facts, until, worker = row
        alive = until > stamp(now) and self._database.is_alive(worker)
        fingerprint, owner, state, reference = facts
        return met(claim, fingerprint, owner, state, reference, alive)

    def _change(self, connection: sqlite3.Connection, key: str, owner: str, state: str, reference: str = "") -> bool:
        changed = connection.execute(
            "UPDATE claims SET state = ?, reference = ?, forgotten = max(forgotten, ?) WHERE key = ? AND owner = ?",
            (state, reference, stamp(self._clock.wall() + KEPT), key, owner),
        )
        return changed.rowcount == 1
