"""A fleet in virtual time: workers with the gateway's own monitors, lanes that break, and a board in the server's place.

Nothing here is asynchronous but in form: a coroutine that waits for the board is taken up again when the answer is there.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from collections.abc import Callable, Coroutine, Generator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from benchmarks.board import Board, Place
from gateway.clock import Clock
from gateway.health.health import has_room
from gateway.health.monitor import Entry, Monitor
from gateway.health.sharing import News, Reply
from gateway.router.lanes import Lane
from gateway.state.redis import IDLE, PERIOD
from providers.outcome import Billed, Outcome, OutcomeName

WORKERS: Final = 200
LANES: Final = 20
RATE: Final = 10.0
"""Requests a second, of the whole fleet."""
LENGTH: Final = 360.0
OUTAGE: Final = 30.0, 210.0
"""Seconds of the whole play, and from when to when the first two lanes fail."""
ROUND_TRIP: Final = 0.001
"""Seconds to the server and back."""
LASTS: Final = 8.0
"""Seconds a good call takes; a third more or less."""
TIMEOUT: Final = 80.0
"""Seconds after which a call that hangs is given up."""
QUOTA: Final = 60
"""Requests a minute that the third lane takes from the whole fleet."""
SHARES: Final = {0: 0.5, 1: 0.1, 2: 0.2}
"""The share of requests that want one of the first lanes first; the rest goes to the others evenly."""
HANGS, REFUSES, METERED = "lane-0/painter", "lane-1/painter", "lane-2/painter"
NOON: Final = datetime(2026, 10, 1, 12, tzinfo=UTC)


@dataclass(slots=True)
class Figures:
    """What came of a play. *calls* and *failures* are by lane, *shut* is the share of workers for whom one is, by second."""

    calls: Counter[str] = field(default_factory=Counter)
    into_the_fault: Counter[str] = field(default_factory=Counter)
    over_quota: int = 0
    within_quota: int = 0
    delivered: int = 0
    lost: int = 0
    shut: dict[str, list[float]] = field(default_factory=dict)
    probes: int = 0
    operations: Counter[str] = field(default_factory=Counter)

    def seconds_until_all_avoid(self, lane: str) -> float | None:
        """Seconds from the beginning of the outage until no worker would call *lane* any more."""
        begin, end = (int(each) for each in OUTAGE)
        return next((second - begin for second in range(begin, end) if self.shut[lane][second] == 1.0), None)

    def seconds_until_all_return(self, lane: str) -> float | None:
        """Seconds from the end of the outage until every worker would call *lane* again, to the end."""
        end, shut = int(OUTAGE[1]), self.shut[lane]
        closed = [second for second in range(end, len(shut)) if shut[second] > 0.0]
        last = max(closed, default=end - 1) + 1
        return None if last >= len(shut) else last - end


class _Pause:
    """Waits for the server."""

    def __await__(self) -> Generator[None]:
        yield


class _Far(Place):
    """A place whose board is a round trip away."""

    async def exchange(self, news: Sequence[News]) -> tuple[Sequence[Reply], int]:
        await _Pause()
        return await super().exchange(news)

    async def lease(self, key: str, purpose: str, seconds: float) -> bool:
        await _Pause()
        return await super().lease(key, purpose, seconds)


@dataclass(slots=True)
class _Worker:
    monitor: Monitor
    name: str
    awake: bool = True
    next_exchange: float = 0.0


class Play:
    """The fleet. *shared*: through the board; *lost*: from which second on the board does not answer."""

    def __init__(self, shared: bool, lost: float = float("inf"), seed: int = 1) -> None:
        self.figures = Figures()
        self.now = 0.0
        self._traffic, self._dice = (
            random.Random(seed),
            random.Random(seed + 1),
        )  # the same requests, whatever comes of them
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._lost = lost
        self._board = Board(lambda: self.now)
        self._lanes = [self._lane(number) for number in range(LANES)]
        self._accepted: deque[float] = deque()
        self._workers = [self._worker(number, shared) for number in range(WORKERS)]
        self._shared = shared

    def run(self) -> Figures:
        """Play to the end."""
        self._at(self._traffic.expovariate(RATE), self._request)
        for second in range(int(LENGTH)):
            self._at(float(second), self._look)
        if self._shared:
            for worker in self._workers:
                self._at(self._dice.uniform(0, PERIOD), lambda worker=worker: self._exchange(worker))
        while self._events and self._events[0][0] < LENGTH:
            self.now, _, event = heapq.heappop(self._events)
            event()
        self.figures.operations = self._board.operations
        return self.figures

    # The fleet

    def _lane(self, number: int) -> Lane:
        quota = {"rpm": QUOTA} if number == 2 else {}
        return Lane(provider=f"lane-{number}", model="painter", upstream_model="painter", quota=quota)

    def _worker(self, number: int, shared: bool) -> _Worker:
        clock = Clock(monotonic=lambda: self.now, wall=lambda: NOON + timedelta(seconds=self.now))
        monitor = Monitor(clock, self._dice.random)
        monitor.watch(
            {lane.name: lane for lane in self._lanes}, {lane.provider: None for lane in self._lanes}, Decimal(1)
        )
        if shared:
            monitor.share(_Far(self._board, f"worker-{number}"), {lane.name: lane.name for lane in self._lanes})
        return _Worker(monitor, f"worker-{number}")

    def _exchange(self, worker: _Worker) -> None:
        self._board.down = self.now >= self._lost
        self._drive(worker.monitor.exchange(), lambda busy: self._exchanged(worker, bool(busy)))

    def _exchanged(self, worker: _Worker, busy: bool) -> None:
        """As the thread of a server does: soon again while there is something to do, else after a while or when woken."""
        worker.awake = busy
        worker.next_exchange = self.now + (PERIOD if busy else IDLE)
        due = worker.next_exchange
        self._at(due, lambda: self._exchange(worker) if worker.next_exchange == due else None)

    def _stir(self, worker: _Worker) -> None:
        if self._shared and not worker.awake:
            worker.awake = True
            worker.next_exchange = due = max(self.now, worker.next_exchange - IDLE + PERIOD)
            self._at(due, lambda: self._exchange(worker) if worker.next_exchange == due else None)

    def _look(self) -> None:
        """How many workers avoid the lanes that break."""
        for name in (HANGS, REFUSES):
            lane = self._lanes[0 if name == HANGS else 1]
            entry = Entry(lane=lane, size="1K", lease=TIMEOUT)
            avoid = sum(worker.monitor.refusal(entry) is not None for worker in self._workers)
            self.figures.shut.setdefault(name, []).append(avoid / WORKERS)

    # Requests

    def _request(self) -> None:
        self._at(self.now + self._traffic.expovariate(RATE), self._request)
        worker = self._traffic.choice(self._workers)
        self._stir(worker)
        self._try(worker, self._order())

    def _order(self) -> list[Lane]:
        """The lanes as one request prefers them."""
        others = self._traffic.sample(self._lanes[len(SHARES) :], 3)
        throw = self._traffic.random()
        for number, share in SHARES.items():
            if throw < share:
                return [self._lanes[number], *others]
            throw -= share
        return others

    def _try(self, worker: _Worker, lanes: list[Lane]) -> None:
        """Ask the first of *lanes* that lets a call in; then, if that fails, one of the others."""
        for place, lane in enumerate(lanes):
            entry = Entry(lane=lane, size="1K", lease=TIMEOUT)
            if worker.monitor.refusal(entry) is None and has_room(worker.monitor.state(lane), self.now):
                rest = lanes[place + 1 :]
                self._drive(
                    worker.monitor.admitted(entry, 0.0),
                    lambda call, entry=entry, rest=rest: self._begin(worker, entry, call, rest),
                )
                return
        self.figures.lost += 1

    def _begin(self, worker: _Worker, entry: Entry, call: int | None, rest: list[Lane]) -> None:
        if call is None:  # another worker probes
            return self._try(worker, rest)
        lane, figures = entry.lane, self.figures
        outcome, lasts, billed = self._upstream(lane)
        figures.calls[lane.name] += 1
        if outcome not in ("ok", "rate_limited"):
            figures.into_the_fault[lane.name] += 1
            figures.probes += worker.monitor.state(lane).breaker.opened is not None and lane.name == HANGS
        begun = self.now

        def end() -> None:
            answer = Outcome(name=outcome, billed=billed)
            worker.monitor.ended(call, entry, outcome, answer, self.now - begun, telling=True)
            if outcome == "ok":
                figures.delivered += 1
            else:
                self._try(worker, rest)

        self._at(self.now + lasts, end)
        return None

    def _upstream(self, lane: Lane) -> tuple[OutcomeName, float, Billed]:
        """What comes of a call that begins now: outcome, seconds, and whether it is billed."""
        failing = OUTAGE[0] <= self.now < OUTAGE[1]
        if lane.name == HANGS and failing:
            return "timeout", TIMEOUT, "maybe"
        if lane.name == REFUSES and failing:
            return "overloaded", 0.1, "no"
        if lane.name == METERED:
            while self._accepted and self._accepted[0] <= self.now - 60.0:
                self._accepted.popleft()
            if len(self._accepted) >= QUOTA:
                self.figures.over_quota += 1
                return "rate_limited", 0.1, "no"
            self._accepted.append(self.now)
            self.figures.within_quota += 1
        return "ok", LASTS * self._dice.uniform(0.67, 1.33), "yes"

    # Time

    def _at(self, when: float, event: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when, next(self._numbers), event))

    def _drive(self, work: Coroutine[Any, Any, Any], done: Callable[[Any], None]) -> None:
        """Run *work*; where it waits for the server, go on a round trip later."""
        try:
            work.send(None)
        except StopIteration as end:
            done(end.value)
        else:
            self._at(self.now + ROUND_TRIP, lambda: self._drive(work, done))
