"""This process's place in a fleet: what it has told of each lane, what it has heard, and what is still to be told.

Not safe by itself: the monitor holds its lock around every method that changes a line, and keeps what follows from the news.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Final

from gateway.forking import survives
from gateway.health import quotas, sharing
from gateway.health.health import FRESH, LaneState
from gateway.health.quotas import UNUSED, Usage
from gateway.health.sharing import Counted, News, Probe, Reply
from gateway.router.lanes import Lane
from gateway.state.stores import HealthStore
from providers.errors import GatewayError

PROBE_LEASE: Final = 5.0
"""Seconds for which a process may probe a lane alone; it is renewed with each exchange while the probe is under way, so
that a process that dies keeps others away for no longer."""


@dataclass(slots=True, kw_only=True)
class _Line:
    """How the fleet knows one lane (*key*), and what went over the line.

    *said* is the state of which everything has been told, *saying* that of the exchange under way; *seen* is the version
    that was heard last. *leased*: this process may probe. *own* is what it took of the lane's quota and *others* what the
    others did; *unsent* is what they do not know of the first, *on_the_way* what they are being told of it, in the figures
    of *sending*. *counted* and *today* are what the server has counted for this process, by its steps and on the *day*
    that ends at *midnight* (monotonic).
    """

    key: str
    said: LaneState = FRESH
    saying: LaneState = FRESH
    seen: str = ""
    leased: bool = False
    own: Usage = UNUSED
    others: Usage = UNUSED
    unsent: Usage = UNUSED
    on_the_way: Usage = UNUSED
    sending: tuple[int, int, int] = (0, 0, 0)
    counted: dict[int, tuple[int, int]] = field(default_factory=dict)
    today: int = 0
    day: str = ""
    midnight: float = 0.0


class Fleet:
    """The lines by lane; none where health is not shared.

    *store* is through which it is shared, *workers* how many processes there were when they were last heard of.
    """

    def __init__(self, store: HealthStore) -> None:
        self.store = store
        self.workers = 1
        self._trouble = ""
        self._lines: dict[str, _Line] = {}
        survives(self)

    def after_fork(self) -> None:
        """In a child process: what the parent took is the parent's, and known to the server as such."""
        self._lines = {name: _Line(key=line.key) for name, line in self._lines.items()}

    def join(self, store: HealthStore, keys: Mapping[str, str]) -> bool:
        """Share the health of the lanes with these *keys*, by name, through *store*; whether it is a new one.

        What went over other lines is let go of.
        """
        new = store is not self.store
        old, self.store = {} if new else self._lines, store
        self._lines = {
            name: old[name] if name in old and old[name].key == key else _Line(key=key) for name, key in keys.items()
        }
        return new and store.shares

    def stir(self) -> None:
        """Have the next exchange soon."""
        if self._lines:
            self.store.wake()

    @property
    def degraded(self) -> str:
        """Why this process judges by itself although it shares its health with others, ``""`` if it need not."""
        told = self._trouble or self.store.degraded
        return f"{told}; lanes are judged by what this process has seen itself" if told and self._lines else ""

    def key(self, lane: Lane) -> str | None:
        """How the fleet knows *lane*, None if it does not."""
        line = self._lines.get(lane.name)
        return line.key if line is not None else None

    def forget(self, name: str) -> None:
        """Let go of what went over the line of a lane whose state is let go of."""
        if name in self._lines:
            self._lines[name] = _Line(key=self._lines[name].key)

    async def granted(self, lane: Lane, purpose: str, seconds: float) -> bool | None:
        """Whether this process alone may do something on *lane* for so many *seconds*; None if nobody can be asked."""
        key = self.key(lane)
        if key is None:
            return None
        try:
            return await self.store.lease(key, purpose, seconds)
        except GatewayError as error:
            self.unheard(str(error))
            return None

    def may_probe(self, lane: Lane) -> None:
        """This process, and no other, may probe *lane*."""
        self._lines[lane.name].leased = True

    def took(self, lane: Lane, images: int, now: float, midnight: float) -> None:
        """A call was made on *lane*, which has a quota."""
        line = self._lines.get(lane.name)
        if line is not None:
            line.own = quotas.take(line.own, lane, images, now, midnight)
            line.unsent = quotas.take(line.unsent, lane, images, now, midnight)

    def news(
        self, lanes: Mapping[str, Lane], states: Mapping[str, LaneState], now: float, wall: datetime
    ) -> dict[str, News]:
        """What is to be told of each of *lanes*, at *now* on the monotonic clock and *wall* on the other."""
        day, midnight = quotas.day_of(wall), now + quotas.until_midnight(wall)
        told = {}
        for name, line in self._lines.items():
            if name in lanes:
                if line.day != day:
                    line.day, line.midnight, line.today = day, midnight, 0
                told[name] = _news(line, bool(lanes[name].quota), states.get(name, FRESH), now)
        return told

    def heard(self, name: str, state: LaneState, reply: Reply, now: float, luck: float) -> LaneState:
        """The *state* of a lane after the *reply* to the news of it; whatever it has beyond that is still to be told."""
        line = self._lines[name]
        forgotten = line.seen and not reply.version  # the server's memory is gone: everything is to be told anew
        line.said = FRESH if forgotten else sharing.heard(line.saying, reply.facts, now, luck)
        line.seen = reply.version
        if reply.counted is not None:
            _account(line, reply.counted, now)
        return sharing.probed_elsewhere(sharing.heard(state, reply.facts, now, luck), reply.probe, now)

    def answered(self, workers: int) -> None:
        """The fleet answers, and has so many *workers*, this process included."""
        self._trouble, self.workers = "", max(1, workers)

    def unheard(self, trouble: str) -> None:
        """The fleet does not answer, because of *trouble*: what was on the way stays there."""
        self._trouble = trouble

    def usages(self, now: float) -> dict[str, Usage]:
        """What is taken of each lane's quota, by all; while they are not heard, by this process, which has its part."""
        return {
            name: replace(line.own, workers=self.workers)
            if self._trouble
            else quotas.together(line.own, line.others, now)
            for name, line in self._lines.items()
            if line.own is not UNUSED or line.others is not UNUSED
        }


def _news(line: _Line, quota: bool, state: LaneState, now: float) -> News:
    line.saying, probing = state, sharing.probes(state)
    probe: Probe = "" if not line.leased else "held" if probing else "freed"
    line.leased = line.leased and probing
    line.on_the_way, line.unsent = quotas.together(line.on_the_way, line.unsent, now), UNUSED
    calls, images = quotas.taken(line.on_the_way, now)
    today = line.on_the_way.calls_today if line.on_the_way.day_ends > now else 0
    line.sending = calls, images, today
    return News(
        key=line.key, facts=sharing.told(line.said, state, now), seen=line.seen, probe=probe, quota=quota, calls=calls,
        images=images, today=today, day=line.day,
    )  # fmt: skip


def _account(line: _Line, counted: Counted, now: float) -> None:
    """Tell what the others took from what the server has counted in all, our last news included."""
    calls, images, today = line.sending
    before = line.counted.get(counted.step, (0, 0))
    own = {**line.counted, counted.step: (before[0] + calls, before[1] + images)}
    line.counted = {step: own.get(step, (0, 0)) for step in counted.taken}
    line.today += today
    line.on_the_way = UNUSED
    others = [
        (now + seconds, max(0, calls - line.counted[step][0]), max(0, images - line.counted[step][1]))
        for step, (seconds, calls, images) in counted.taken.items()
    ]
    calls_today = max(0, counted.today - line.today)
    line.others = Usage(
        taken=tuple(sorted(each for each in others if each[1] or each[2])),
        calls_today=calls_today,
        day_ends=line.midnight if calls_today else 0.0,
    )
