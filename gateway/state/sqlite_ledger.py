"""The ledger in SQLite."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from gateway.money.budgets import Charge
from gateway.money.entries import Entry, Settlement, micro, usd
from gateway.state.claims import KEPT
from gateway.state.sqlite import Database, mark_unknown, stamp
from gateway.state.stores import Refused, Taken

_COLUMNS: Final = (
    "id", "request_id", "number", "lane", "provider", "model", "size", "images", "quoted", "started", "task", "tags",
    "worker", "prompt",
)  # fmt: skip
_INSERT: Final = f"INSERT INTO entries ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_SELECT: Final = """
    SELECT entries.*, settled.outcome, settled.billed, settled.usd, settled.basis, settled.ended, unknown.entry
    FROM entries LEFT JOIN endings AS settled ON settled.entry = id AND settled.state = 'settled'
    LEFT JOIN endings AS unknown ON unknown.entry = id AND unknown.state = 'unknown'
    WHERE started >= ? ORDER BY started, id
"""


class SqliteLedger:
    """The books in *database*: facts are inserted, and never changed or deleted (the file's triggers see to it)."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def reserve(self, entry: Entry, charges: Sequence[Charge]) -> Taken | Refused:
        """See :class:`~gateway.state.stores.LedgerStore`."""
        return await self._database.run(lambda connection: _reserve(connection, entry, charges, self._database.worker))

    def settle(self, entry: Entry, counters: Sequence[str]) -> None:
        """See :class:`~gateway.state.stores.LedgerStore`."""
        self._database.post(lambda connection: _settle(connection, entry, counters))

    async def entries(self, since: datetime | None = None) -> list[Entry]:
        """See :class:`~gateway.state.stores.LedgerStore`."""
        rows = await self._database.run(lambda connection: self._rows(connection, since))
        return [_entry(row) for row in rows]

    async def used(self, counters: Sequence[str]) -> Mapping[str, int]:
        """See :class:`~gateway.state.stores.LedgerStore`."""
        return await self._database.run(lambda connection: _used(connection, counters))

    def _rows(self, connection: sqlite3.Connection, since: datetime | None) -> list[Any]:
        mark_unknown(connection, self._database.is_alive)
        return connection.execute(_SELECT, (stamp(since) if since else "",)).fetchall()


def _reserve(connection: sqlite3.Connection, entry: Entry, charges: Sequence[Charge], worker: str) -> Taken | Refused:
    quoted = micro(entry.quoted)
    used = _used(connection, [charge.counter for charge in charges])
    if connection.execute("SELECT 1 FROM entries WHERE id = ?", (entry.id,)).fetchone():
        return Taken(used)
    for charge in charges:
        if charge.cap is not None and used.get(charge.counter, 0) + quoted > charge.cap:
            return Refused(charge.counter, used.get(charge.counter, 0))
    connection.execute(_INSERT, _row(entry, worker))
    connection.execute("INSERT INTO open (entry, worker) VALUES (?, ?)", (entry.id, worker))
    connection.execute("DELETE FROM counters WHERE ends < ?", (stamp(entry.started - KEPT),))
    connection.executemany(
        "INSERT INTO counters (name, used, ends) VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET used = used + ?",
        [(charge.counter, quoted, stamp(charge.ends), quoted) for charge in charges],
    )
    return Taken({charge.counter: used.get(charge.counter, 0) + quoted for charge in charges})


def _settle(connection: sqlite3.Connection, entry: Entry, counters: Sequence[str]) -> None:
    """Nothing is written for an entry that was never reserved, or has its settlement."""
    end = entry.settlement
    assert end is not None
    inserted = connection.execute(
        "INSERT OR IGNORE INTO endings (entry, state, outcome, billed, usd, basis, ended) "
        "SELECT id, 'settled', ?, ?, ?, ?, ? FROM entries WHERE id = ?",
        (end.outcome, end.billed, micro(end.usd), end.basis, stamp(end.ended), entry.id),
    )
    if inserted.rowcount == 1:
        connection.execute("DELETE FROM open WHERE entry = ?", (entry.id,))
        change = micro(end.usd) - micro(entry.quoted)
        connection.executemany(
            "UPDATE counters SET used = used + ? WHERE name = ?", [(change, name) for name in counters]
        )


def _used(connection: sqlite3.Connection, counters: Sequence[str]) -> dict[str, int]:
    found = (connection.execute("SELECT name, used FROM counters WHERE name = ?", (name,)) for name in counters)
    return dict(row for rows in found for row in rows)


def _row(entry: Entry, worker: str) -> tuple[Any, ...]:
    return (
        entry.id, entry.request_id, entry.number, entry.lane, entry.provider, entry.model, entry.size, entry.images,
        micro(entry.quoted), stamp(entry.started), entry.task, json.dumps(dict(entry.tags)), worker, entry.prompt,
    )  # fmt: skip


def _entry(row: Sequence[Any]) -> Entry:
    facts = dict(zip(_COLUMNS, row, strict=False))
    facts.pop("id")
    outcome, billed, spent, basis, ended, unknown = row[len(_COLUMNS) :]
    facts |= {
        "quoted": usd(facts["quoted"]),
        "started": datetime.fromisoformat(facts["started"]),
        "tags": json.loads(facts["tags"]),
        "state": "settled" if outcome else "unknown" if unknown else "reserved",
    }
    if outcome:
        facts["settlement"] = Settlement(
            outcome=outcome, billed=billed, usd=usd(spent), basis=basis, ended=datetime.fromisoformat(ended)
        )
    return Entry(**facts)
