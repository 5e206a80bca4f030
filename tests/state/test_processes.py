"""Many processes over one state: what they may spend together, and what is left when one is killed."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from typing import Any

from gateway.clock import Clock
from gateway.money.ledger import Ledger
from gateway.state import State, open_state
from tests.state.books import Place, a_day, entry, spent
from tests.state.processes import context, race, spend_until_killed, started

KILLS = 30


@contextmanager
def spender(url: str) -> Iterator[tuple[Any, Any]]:
    """A process that spends, and the lines it writes; both are gone afterwards."""
    theirs, ours = os.pipe()
    reader, writer = os.fdopen(theirs), os.fdopen(ours, "w")
    process = started(spend_until_killed, url, _Pipe(writer.fileno()))
    writer.close()  # so that the lines end with the process
    try:
        yield process, reader
    finally:
        process.kill()
        process.join()
        reader.close()


class _Pipe:
    """The writing end of a pipe, as it is handed to another process."""

    def __init__(self, number: int) -> None:
        self.number = number

    def fileno(self) -> int:
        return self.number

    def __reduce__(self) -> Any:
        from multiprocessing.reduction import DupFd

        return _restored, (DupFd(self.number),)


def _restored(duplicate: Any) -> _Pipe:
    return _Pipe(duplicate.detach())


async def leases_over(state: State) -> None:
    """Where life is told by a lease: as if that of all workers were over."""
    server: Any = state.engine
    if hasattr(server, "key"):
        await server.ask(("DEL", server.key("workers")))


def test_killed_at_any_instant_no_call_that_was_sent_is_missing_from_the_books(shared_place: Place) -> None:
    chance = random.Random(20261101)
    lines: list[str] = []
    for _ in range(KILLS):
        with spender(shared_place.url) as (process, reader):
            for _ in range(chance.randint(1, 14)):
                lines.append(reader.readline())
            process.kill()
            lines += reader.readlines()  # what it had written before it died
    told = [line.split() for line in lines if line.endswith("\n")]
    sent = [name for kind, name in told if kind == "sent"]
    settled = {name for kind, name in told if kind == "settled"}

    async def main() -> None:
        state = open_state(shared_place.url)
        shared_place.states.append(state)
        await leases_over(state)
        ledger = Ledger(state.ledger, Clock())
        ours = await ledger.reserve(entry("0.30", started=Clock().wall()))  # a live process's own, under way
        found = {each.id: each for each in await ledger.entries()}
        states = {name: each.state for name, each in found.items()}
        assert states.pop(ours.entry.id) == "reserved"
        assert len(sent) == len(set(sent)) > KILLS
        assert set(sent) <= set(found), "a call was sent and is in no book"
        assert {states[name] for name in settled} == {"settled"}
        assert set(states.values()) == {"settled", "unknown"}
        assert {found[name].usd for name in states if states[name] == "settled"} == {Decimal("0.15")}
        assert {found[name].usd for name in states if states[name] == "unknown"} == {Decimal("0.20")}
        assert len(found) - 1 - len(sent) <= 4 * KILLS  # what was reserved, and not sent any more

    shared_place.run(main)


def test_eight_processes_with_fifty_workers_each_never_reserve_more_than_ten_dollars(shared_place: Place) -> None:
    together, granted = context().Barrier(8), context().SimpleQueue()
    processes = [started(race, shared_place.url, 50, together, granted) for _ in range(8)]
    taken = [granted.get() for _ in processes]
    for process in processes:
        process.join()

    async def main() -> None:
        ledger = shared_place.ledger(a_day("10"))
        assert sum(taken) == 142  # 142 x 0.07 = 9.94; one more would be 10.01
        assert await spent(ledger) == ["9.94"]
        assert len(await ledger.entries()) == 142

    shared_place.run(main)
