"""A SQLite file as the state of one machine: any number of processes, and in each of them one thread that writes.

Whatever is asked of it while a transaction is being written goes into the next one together, so that many requests at once
share the wait for the disk. ``synchronous=FULL``: what is committed survives the loss of power, too.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sqlite3
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from gateway.events import warn
from gateway.forking import survives
from gateway.state import threads
from gateway.state.presence import Presence, alone, is_alive
from gateway.state.stores import StateUnavailable
from providers.errors import ConfigError, GatewayError
from providers.sanitise import sanitise

APPLICATION: Final = 0x49474154
"""``IGAT``: the mark in the file's header that says whose it is."""
VERSION: Final = 1
"""The version of the schema below."""
BUSY: Final = 2.0
"""Seconds to wait for another process to end its transaction; ours take milliseconds."""
RETRY: Final = 1.0
"""Seconds after which what could not be written is tried again."""
MAX_BATCH: Final = 200
"""Jobs in one transaction, at most: others want to write, too."""
SCHEMA: Final = """
CREATE TABLE entries (
    id TEXT PRIMARY KEY, request_id TEXT NOT NULL, number INTEGER NOT NULL, lane TEXT NOT NULL, provider TEXT NOT NULL,
    model TEXT NOT NULL, size TEXT NOT NULL, images INTEGER NOT NULL, quoted INTEGER NOT NULL, started TEXT NOT NULL,
    task TEXT, tags TEXT NOT NULL, worker TEXT NOT NULL, prompt TEXT
);
CREATE INDEX entries_started ON entries (started);
CREATE TABLE endings (
    entry TEXT NOT NULL REFERENCES entries (id), state TEXT NOT NULL CHECK (state IN ('settled', 'unknown')),
    outcome TEXT, billed TEXT, usd INTEGER, basis TEXT, ended TEXT, PRIMARY KEY (entry, state)
) WITHOUT ROWID;
CREATE TABLE open (entry TEXT PRIMARY KEY, worker TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE counters (name TEXT PRIMARY KEY, used INTEGER NOT NULL, ends TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE claims (
    key TEXT PRIMARY KEY, fingerprint TEXT NOT NULL, owner TEXT NOT NULL, worker TEXT NOT NULL, until TEXT NOT NULL,
    state TEXT NOT NULL, reference TEXT NOT NULL, forgotten TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX claims_forgotten ON claims (forgotten);
CREATE TRIGGER entries_stay BEFORE UPDATE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER entries_last BEFORE DELETE ON entries BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER endings_stay BEFORE UPDATE ON endings BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER endings_last BEFORE DELETE ON endings BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
"""
"""Money in micro-USD, times as ISO 8601 in UTC. *open* is the entries without an ending, so that they are found at once."""

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


@dataclass(slots=True, eq=False)
class _Job:
    """Work for the writer, and who waits for it; *must*: nobody does, but it has to be done."""

    work: Work[Any]
    future: Future[Any] = field(default_factory=Future)
    must: bool = False


class Database:
    """The file at *path*, which is opened with the first use. *worker* is this process's name in it.

    *busy* is seconds to wait for a lock.
    """

    def __init__(self, path: Path, busy: float = BUSY) -> None:
        self.path = path
        self._busy = busy
        self._start_afresh()
        survives(self)

    @property
    def worker(self) -> str:
        """The name of this process in the file."""
        return self._writer.worker

    @property
    def degraded(self) -> str:
        """See :class:`~gateway.state.stores.Engine`."""
        return self._writer.trouble

    async def run(self, work: Work[T]) -> T:
        """What *work* returns, once its transaction is on the disk. It may be run again if the transaction fails.

        Raises:
            StateUnavailable: the file is locked, the disk is full, or the like.
            ConfigError: the file is not ours, too new, or damaged.
        """
        job = _Job(work)
        self._writer.take(job)
        return await asyncio.wrap_future(job.future)

    def post(self, work: Work[None]) -> None:
        """Have *work* done, in order, without waiting; what fails is tried again, with the next transaction or soon."""
        self._writer.take(_Job(work, must=True))

    async def check(self) -> None:
        """See :class:`~gateway.state.stores.Engine`."""
        await self.run(lambda connection: connection.execute("SELECT count(*) FROM open").fetchone())

    async def flush(self) -> int:
        """See :class:`~gateway.state.stores.Engine`."""
        if self._writer.idle:
            return 0
        with suppress(GatewayError):
            await self.run(lambda connection: None)
        return self._writer.owed

    async def aclose(self) -> None:
        """See :class:`~gateway.state.stores.Engine`."""
        if not self._writer.idle:
            await asyncio.to_thread(self._writer.stop)

    def is_alive(self, worker: str) -> bool:
        """Whether the process that called itself *worker* is alive. For use within work."""
        return self._writer.is_alive(worker)

    def _start_afresh(self) -> None:
        self._writer = _Writer(self.path, self._busy)
        self._last_words = weakref.finalize(self, self._writer.stop)  # at the end of the process as well

    def after_fork(self) -> None:
        """In a fork's child: the thread is the parent's, and so is the connection, which must not even be closed."""
        _inherited.append(self._writer)
        self._last_words.detach()
        self._writer.drop()
        self._start_afresh()


class _Writer:
    """The thread that owns the connection. It starts with the first job."""

    def __init__(self, path: Path, busy: float) -> None:
        self.worker = f"{os.getpid()}-{secrets.token_hex(4)}"
        self.trouble = ""
        self._path, self._busy = path, busy
        self._folder = path.with_name(f"{path.name}-workers")
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._late: list[_Job] = []
        self._lock = threading.RLock()  # the collector of garbage may stop it at any point
        self._thread: threading.Thread | None = None
        self._connection: sqlite3.Connection | None = None
        self._presence: Presence | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing was ever asked of it, or it has been stopped with nothing left to do."""
        return self._thread is None and not self._late

    @property
    def owed(self) -> int:
        """How many jobs that must be done failed so far."""
        return len(self._late)

    def take(self, job: _Job) -> None:
        """Do *job* in its turn."""
        with self._lock:
            self._jobs.put(job)
            if self._thread is None:
                self._thread = threads.started(self._work)

    def stop(self) -> None:
        """Do what is to be done, and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._jobs.put(None)
            if thread not in (None, threading.current_thread()):  # it may be the last that let go of the database
                thread.join(threads.LAST_WORDS)

    def drop(self) -> None:
        """Let go of what a fork has inherited."""
        if self._presence is not None:
            self._presence.drop()

    def is_alive(self, worker: str) -> bool:
        """See :meth:`Database.is_alive`."""
        return worker == self.worker or is_alive(self._folder, worker)

    def _work(self) -> None:
        while (batch := self._next_batch())[-1:] != [None]:
            self._do([job for job in batch if job is not None])
        self._do([job for job in batch if job is not None])
        if self._late:
            warn(f"the ledger {self._path}: {len(self._late)} endings could not be written; they count as unknown")
        self._close()

    def _next_batch(self) -> list[_Job | None]:
        """The next job and those behind it, up to the one that says to stop; none if it is time to try what is late."""
        batch: list[_Job | None] = []
        with suppress(Empty):
            batch.append(self._jobs.get(timeout=RETRY if self._late else None))
            while batch[-1] is not None and len(batch) < MAX_BATCH:
                batch.append(self._jobs.get_nowait())
        return batch

    def _do(self, jobs: list[_Job]) -> None:
        """Do *jobs*, what is late first; nobody is kept from it by another's failure."""
        wanted = [job for job in jobs if job.must or job.future.set_running_or_notify_cancel()]
        self._late, late = [], self._late
        if not self._committed(late + wanted):
            for job in late + wanted:
                self._committed([job], last=True)

    def _committed(self, jobs: list[_Job], last: bool = False) -> bool:
        """Whether *jobs* are done, or have been told that they cannot be. False: try each for itself."""
        try:
            results = self._transaction(jobs) if jobs else []
        except Exception as error:
            shared = isinstance(error, sqlite3.OperationalError | OSError | ConfigError)
            if len(jobs) > 1 and not shared and not last:
                return False
            self._failed(jobs, self._explained(error))
            return True
        self.trouble = ""
        for job, result in zip(jobs, results, strict=True):
            if not job.must:
                job.future.set_result(result)
        return True

    def _transaction(self, jobs: list[_Job]) -> list[Any]:
        if self._connection is None:
            self._connection = self._opened()
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            results = [job.work(connection) for job in jobs]
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise
        return results

    def _failed(self, jobs: list[_Job], error: Exception) -> None:
        self.trouble = str(error)
        self._late += [job for job in jobs if job.must]
        for job in jobs:
            if not job.must:
                job.future.set_exception(error)

    def _explained(self, error: Exception) -> Exception:
        if isinstance(error, ConfigError) or not isinstance(error, sqlite3.Error | OSError):
            return error
        told = sanitise(error)
        if _is_damaged(error):
            return ConfigError(
                f"state: {self._path} is damaged ({told}): move it away and start a new one; "
                f"`sqlite3 {self._path.name} .recover` saves what can be read"
            )
        return StateUnavailable(f"the state in {self._path} cannot be written: {told}; nothing was sent")

    def _opened(self) -> sqlite3.Connection:
        """The connection, with the schema in place, and this process shown to be alive."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with alone(self._folder):  # two that make the file a WAL at once do not wait for each other: one would fail
            connection = sqlite3.connect(self._path, timeout=self._busy, isolation_level=None)
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        for setting in ("foreign_keys = ON", "journal_mode = WAL", "synchronous = FULL"):
            connection.execute(f"PRAGMA {setting}")
        _make_tables(connection, self._path)
        self._presence = self._presence or Presence(self._folder, self.worker)
        connection.execute("BEGIN IMMEDIATE")
        mark_unknown(connection, self.is_alive)
        connection.execute("COMMIT")

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        if self._presence is not None:
            self._presence.leave()
        self._connection = self._presence = None


def _make_tables(connection: sqlite3.Connection, path: Path) -> None:
    """Make the tables, if there are none; refuse what is not ours, or newer than we are."""
    connection.execute("BEGIN IMMEDIATE")
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and application != APPLICATION:
        raise ConfigError(f"state: {path} is a database of another program; choose another file")
    if version > VERSION:
        raise ConfigError(
            f"state: {path} was written by a newer image-gateway (schema {version}, this one knows {VERSION}): "
            "upgrade image-gateway, or choose another file"
        )
    if not tables:
        for statement in SCHEMA.strip().split(";\n"):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def mark_unknown(connection: sqlite3.Connection, is_alive: Callable[[str], bool]) -> None:
    """Mark what dead processes left open: it may have been sent, and may have been billed."""
    workers = [worker for (worker,) in connection.execute("SELECT DISTINCT worker FROM open")]
    for worker in workers:
        if not is_alive(worker):
            connection.execute(
                "INSERT INTO endings (entry, state) SELECT entry, 'unknown' FROM open WHERE worker = ?", (worker,)
            )
            connection.execute("DELETE FROM open WHERE worker = ?", (worker,))


def stamp(moment: datetime) -> str:
    """*moment* as the file has it: in UTC, so that texts sort as times do."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds")


def _is_damaged(error: Exception) -> bool:
    return getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or (
        "malformed" in str(error)
    )


_inherited: list[_Writer] = []
"""What forks have inherited, kept so that nothing closes it."""
