"""What can go wrong with a SQLite file, and what is said and done about it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from gateway.money.ledger import Ledger
from gateway.state import State, open_state
from gateway.state.presence import alone, is_alive
from gateway.state.sqlite import Database
from gateway.state.sqlite_ledger import SqliteLedger
from gateway.state.stores import StateUnavailable
from providers.errors import ConfigError
from tests.state.books import Wall, a_day, books, entry, paid, run, spent
from tests.state.processes import context, started


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.db"


def at(path: Path) -> State:
    return open_state(f"sqlite:///{path}")


def refused(path: Path) -> str:
    """The sentence with which a first reservation is refused."""
    state = at(path)

    async def main() -> None:
        with pytest.raises(ConfigError) as error:
            await books(state).reserve(entry())
        told.append(str(error.value))

    told: list[str] = []
    run(state, main)
    return told[0]


def test_nothing_is_made_before_it_is_used_and_folders_are(tmp_path: Path) -> None:
    state = at(tmp_path / "new" / "folder" / "state.db")
    assert list(tmp_path.iterdir()) == []

    async def main() -> None:
        await state.engine.check()
        assert (tmp_path / "new" / "folder" / "state.db").exists()

    run(state, main)


def test_a_ledger_of_a_newer_version_is_left_alone(path: Path) -> None:
    state = at(path)
    run(state, state.engine.check)
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA user_version = 2")
    assert refused(path) == (
        f"state: {path} was written by a newer image-gateway (schema 2, this one knows 1): "
        "upgrade image-gateway, or choose another file"
    )


def test_a_database_of_another_program_is_left_alone(path: Path) -> None:
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE bookmarks (url TEXT)")
    assert refused(path) == f"state: {path} is a database of another program; choose another file"
    with closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT name FROM sqlite_master").fetchall() == [("bookmarks",)]


def test_a_file_that_is_no_database_is_told_with_the_way_to_repair_it(path: Path) -> None:
    path.write_bytes(b"no database at all" * 1000)
    told = refused(path)
    assert told.startswith(f"state: {path} is damaged (file is not a database)")
    assert "sqlite3 state.db .recover" in told


def test_a_database_damaged_in_the_middle_is_told_too(path: Path) -> None:
    state = at(path)

    async def main() -> None:
        for _ in range(200):
            await books(state).reserve(entry(prompt="x" * 500))

    run(state, main)
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    assert "is damaged" in refused(path)


def test_a_database_that_another_process_locks_refuses_before_anything_is_sent_and_works_again(path: Path) -> None:
    database = Database(path, busy=0.01)
    ledger = Ledger(SqliteLedger(database), Wall().clock, (a_day("10"),))

    async def main() -> None:
        booking = await ledger.reserve(entry("0.20"))
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StateUnavailable, match="database is locked; nothing was sent"):
                await ledger.reserve(entry("0.40"))
            paid(ledger, booking, "0.15")
            assert await database.flush() == 1  # it is owed
            assert "locked" in database.degraded
            other.execute("ROLLBACK")
        assert await spent(ledger) == ["0.15"]
        assert database.degraded == ""
        assert len(await ledger.entries()) == 1
        await database.aclose()

    asyncio.run(main())


def test_on_a_full_disk_nothing_is_sent_and_what_was_sent_stays_in_the_books(path: Path) -> None:
    state = at(path)
    ledger = books(state, a_day("10"))
    database: Any = state.engine

    async def full(is_full: bool) -> None:
        def work(connection: sqlite3.Connection) -> None:
            pages = connection.execute("PRAGMA page_count").fetchone()[0] if is_full else 1_000_000
            connection.execute(f"PRAGMA max_page_count = {pages}")

        await database.run(work)

    async def main() -> None:
        booking = await ledger.reserve(entry("0.20"))
        await full(True)
        with pytest.raises(StateUnavailable, match="database or disk is full"):
            await ledger.reserve(entry("0.40", prompt="x" * 100_000))
        paid(ledger, booking, "0.15")
        await full(False)
        await ledger.reserve(entry("0.30", prompt="x" * 100_000))
        assert await spent(ledger) == ["0.45"]

    run(state, main)


def no_room(path: str) -> None:
    """In a process of its own: files may not grow beyond what they are."""
    import resource
    import signal

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    async def main() -> None:
        state = at(Path(path))
        ledger = books(state)
        booking = await ledger.reserve(entry("0.20"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
        paid(ledger, booking, "0.15")
        try:
            await ledger.reserve(entry("0.40"))
        except StateUnavailable:
            os._exit(42)

    asyncio.run(main())


def test_a_settlement_that_never_could_be_written_counts_as_unknown_at_its_price(path: Path) -> None:
    process = started(no_room, str(path))
    process.join(60)
    assert process.exitcode == 42
    state = at(path)

    async def main() -> None:
        (found,) = await books(state).entries()
        assert (found.state, f"{found.usd:.2f}") == ("unknown", "0.20")

    run(state, main)


def test_entries_can_be_neither_changed_nor_deleted(path: Path) -> None:
    state = at(path)

    async def main() -> None:
        ledger = books(state)
        paid(ledger, await ledger.reserve(entry("0.20")), "0.15")

    run(state, main)
    with closing(sqlite3.connect(path)) as file:
        for statement in ("UPDATE entries SET quoted = 0", "DELETE FROM entries", "DELETE FROM endings"):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                file.execute(statement)


def test_a_settlement_that_comes_after_the_entry_was_marked_unknown_counts(path: Path) -> None:
    """A process that was taken for dead was only slow."""
    state, other = at(path), at(path)

    async def main() -> None:
        ledger = books(state, a_day("10"))
        booking = await ledger.reserve(entry("0.20"))
        engine: Any = state.engine
        engine._writer._presence.leave()
        assert [each.state for each in await books(other).entries()] == ["unknown"]
        paid(ledger, booking, "0.15")
        await state.engine.flush()
        assert [each.state for each in await books(other).entries()] == ["settled"]
        assert await spent(ledger) == ["0.15"]
        await other.engine.aclose()

    run(state, main)


def test_a_settlement_is_written_although_nobody_waits_or_closes(path: Path) -> None:
    script = f"from tests.state.test_sqlite import settles_and_ends; settles_and_ends({str(path)!r})"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[2])
    state = at(path)

    async def main() -> None:
        (found,) = await books(state).entries()
        assert (found.state, f"{found.usd:.2f}") == ("settled", "0.15")

    run(state, main)


def settles_and_ends(path: str) -> None:
    async def main() -> None:
        ledger = books(at(Path(path)))
        paid(ledger, await ledger.reserve(entry("0.20")), "0.15")

    asyncio.run(main())


def forks(path: str) -> None:
    """In a process of its own: a child that uses what it has inherited, while its parent goes on."""
    state = at(Path(path))

    async def reserve(usd: str) -> None:
        await books(state).reserve(entry(usd, started=datetime.now(UTC)))

    asyncio.run(reserve("0.10"))
    child = os.fork()
    if not child:
        asyncio.run(reserve("0.20"))
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    asyncio.run(reserve("0.30"))

    async def look() -> None:
        states = {f"{each.usd:.2f}": each.state for each in await books(state).entries()}
        assert states == {"0.10": "reserved", "0.20": "unknown", "0.30": "reserved"}
        await state.engine.aclose()
        os._exit(42)

    asyncio.run(look())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_fork_of_a_process_with_an_open_ledger_writes_as_a_process_of_its_own(path: Path) -> None:
    process = started(forks, str(path))
    process.join(60)
    assert process.exitcode == 42


def test_it_can_be_used_again_after_it_was_closed(path: Path) -> None:
    state = at(path)

    async def main() -> None:
        ledger = books(state)
        booking = await ledger.reserve(entry("0.20"))
        engine: Any = state.engine
        thread: threading.Thread = engine._writer._thread
        await state.engine.aclose()
        assert not thread.is_alive()
        paid(ledger, booking, "0.15")
        await state.engine.flush()
        assert [each.state for each in await ledger.entries()] == ["settled"]

    run(state, main)


def test_of_two_processes_that_open_a_new_file_at_once_both_can_use_it(path: Path) -> None:
    together = context().Barrier(4)
    processes = [started(opens, str(path), together) for _ in range(4)]
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4


def test_while_one_opens_the_file_no_other_does(tmp_path: Path) -> None:
    """Or else one of two that switch a new file to a write-ahead log at once is told that it is locked."""
    with alone(tmp_path):
        assert is_alive(tmp_path, ".alone")  # the lock is held
    assert not is_alive(tmp_path, ".alone")


def opens(path: str, together: Any) -> None:
    async def main() -> None:
        state = at(Path(path))
        together.wait(60)
        await books(state).reserve(entry())
        await state.engine.aclose()

    asyncio.run(main())
