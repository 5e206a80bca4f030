"""A stand-in for the Redis server that a fleet shares its health through, in memory and on a clock of one's choice.

It does what the scripts of :mod:`gateway.state.redis_health` do, and counts how often. ``tests/state/test_redis_health.py``
runs the same tests against both.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.health.fleet import PROBE_LEASE
from gateway.health.quotas import MINUTE, STEP
from gateway.health.sharing import NOTHING, Counted, Facts, News, Opening, Reply, Rest
from gateway.state.stores import StateUnavailable
from providers.outcome import OutcomeName


@dataclass(slots=True)
class _Row:
    """What is known of a lane; *until* is when each rest, and the open time, end by the board's clock (None: closed)."""

    version: int = 0
    rests: dict[OutcomeName, tuple[float, int]] = field(default_factory=dict)
    opening: Opening | None = None
    until: float | None = None
    failures: int = 0
    leases: dict[str, tuple[str, float]] = field(default_factory=dict)
    steps: dict[int, list[int]] = field(default_factory=dict)
    days: Counter[str] = field(default_factory=Counter)


class Board:
    """The server. *now* is its clock, in seconds; *operations* counts scripts by name."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.now = now
        self.down = False
        self.operations: Counter[str] = Counter()
        self.workers: set[str] = set()
        self._rows: defaultdict[str, _Row] = defaultdict(_Row)

    def told(self, worker: str, news: News) -> Reply:
        """The reply to *news* from *worker*."""
        row, now = self._rows[news.key], self.now()
        self.operations["tell"] += 1
        self._renew(row, worker, news)
        if self._write(row, news.facts, now):
            row.version += 1
        version = str(row.version or "")
        holder, until = row.leases.get("probe", ("", 0.0))
        return Reply(
            version=version,
            facts=_facts(row, now) if version != news.seen else NOTHING,
            probe=max(0.0, until - now) if holder != worker else 0.0,
            counted=self._counted(row, news, now) if news.quota else None,
        )

    def leased(self, worker: str, key: str, purpose: str, seconds: float) -> bool:
        """Whether *worker* has the lease now."""
        self.operations["lease"] += 1
        row, now = self._rows[key], self.now()
        holder, until = row.leases.get(purpose, (worker, 0.0))
        if holder != worker and until > now:
            return False
        row.leases[purpose] = worker, now + seconds
        return True

    def _renew(self, row: _Row, worker: str, news: News) -> None:
        holder, until = row.leases.get("probe", (worker, 0.0))
        if news.probe == "held" and (holder == worker or until <= self.now()):
            row.leases["probe"] = worker, self.now() + PROBE_LEASE
        elif news.probe == "freed" and holder == worker:
            row.leases.pop("probe", None)

    def _write(self, row: _Row, facts: Facts, now: float) -> bool:
        written = facts.opening is not None
        for cause, rest in facts.rests.items():
            if now + rest.seconds > row.rests.get(cause, (0.0, 0))[0]:
                row.rests[cause] = now + rest.seconds, rest.streak
                written = True
        if facts.opening is not None:
            row.opening, seconds = facts.opening, facts.opening.seconds
            row.until = None if seconds is None else now + seconds
        failures = (0 if facts.succeeded else row.failures) + (facts.failures or 0) if facts.opening is None else 0
        written, row.failures = written or failures != row.failures, failures
        return written

    def _counted(self, row: _Row, news: News, now: float) -> Counted:
        self.operations["count"] += 1
        step = int(now // STEP)
        if news.calls:
            counts = row.steps.setdefault(step, [0, 0])
            counts[0], counts[1] = counts[0] + news.calls, counts[1] + news.images
        row.days[news.day] += news.today
        row.steps = {each: counts for each, counts in row.steps.items() if (each + 1) * STEP + MINUTE > now}
        taken = {each: ((each + 1) * STEP + MINUTE - now, *counts) for each, counts in row.steps.items()}
        return Counted(step=step, taken=taken, today=row.days[news.day])


class Place:
    """One worker's way to the *board*. See :class:`~gateway.state.stores.HealthStore`; exchanges are called by hand."""

    shares: Final = True

    def __init__(self, board: Board, worker: str) -> None:
        self.board, self.worker = board, worker

    @property
    def degraded(self) -> str:
        return "the board is down" if self.board.down else ""

    def attend(self, exchange: Callable[[], Awaitable[bool]]) -> None:
        """Nothing is done in the background."""

    def wake(self) -> None:
        """Nothing is done in the background."""

    async def exchange(self, news: Sequence[News]) -> tuple[Sequence[Reply], int]:
        self._look()
        self.board.workers.add(self.worker)
        self.board.operations["exchange"] += 1
        return [self.board.told(self.worker, each) for each in news], len(self.board.workers)

    async def lease(self, key: str, purpose: str, seconds: float) -> bool:
        self._look()
        return self.board.leased(self.worker, key, purpose, seconds)

    def _look(self) -> None:
        if self.board.down:
            raise StateUnavailable("the board is down")


def _facts(row: _Row, now: float) -> Facts:
    rests = {
        cause: Rest(seconds=until - now, streak=streak) for cause, (until, streak) in row.rests.items() if until > now
    }
    if row.opening is None:
        return Facts(rests=rests, failures=row.failures)
    left = None if row.until is None else max(0.0, row.until - now)
    return Facts(
        rests=rests,
        failures=row.failures,
        opening=Opening(
            seconds=left, openings=row.opening.openings, paid=row.opening.paid, proofs=row.opening.proofs
        ),
    )  # fmt: skip
