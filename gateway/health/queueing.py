"""Who waits for room on a lane: a queue for each, and in front of a provider first come, first served.

Not safe by itself: the monitor holds its lock around every method.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.router.lanes import Lane
from providers.sizes import Size


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A wish to make a call: *lane* at *size* for *images* images, to last at most *lease* seconds."""

    lane: Lane
    size: Size
    images: int = 1
    lease: float


@dataclass(slots=True, eq=False)
class Waiter:
    """Somebody at the door, the *place*-th to come. *call* is the number it was let in with, None if it was dismissed."""

    entry: Entry
    loop: asyncio.AbstractEventLoop
    place: int
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    call: int | None = None

    def settle(self) -> None:
        """Tell it that it need not wait any more, from any thread."""
        if asyncio._get_running_loop() is self.loop:  # no need to wake it up
            self.settled.set()
            return
        with suppress(RuntimeError):  # its loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self.settled.set)


class Queues:
    """The queues by lane."""

    def __init__(self) -> None:
        self._places = itertools.count(1)
        self._waiting: dict[str, deque[Waiter]] = {}

    @property
    def lengths(self) -> Mapping[str, int]:
        """How many wait, by the lane's name; lanes for which nobody waits are not in it."""
        return {name: len(queue) for name, queue in self._waiting.items()}

    def is_empty(self, lane: Lane) -> bool:
        """Whether nobody waits for *lane*."""
        return not self._waiting.get(lane.name)

    def join(self, entry: Entry) -> Waiter:
        """A waiter of the running event loop, at the end of its lane's queue."""
        waiter = Waiter(entry, asyncio.get_running_loop(), next(self._places))
        self._waiting.setdefault(entry.lane.name, deque()).append(waiter)
        return waiter

    def leave(self, waiter: Waiter) -> None:
        """Let go of *waiter*, wherever it stands."""
        name = waiter.entry.lane.name
        queue = self._waiting.get(name, deque())
        if waiter in queue:
            queue.remove(waiter)
        if not queue:
            self._waiting.pop(name, None)

    def let_in(self, provider: str, settled: Callable[[Waiter], bool]) -> None:
        """Let go of those who wait for lanes of *provider*, in the order in which they came, as far as *settled* says."""
        queues = [queue for queue in self._waiting.values() if queue and queue[0].entry.lane.provider == provider]
        while queues:
            queue = min(queues, key=lambda each: each[0].place)
            if settled(queue[0]):
                queue.popleft()
            else:
                queues.remove(queue)
            queues = [each for each in queues if each]
