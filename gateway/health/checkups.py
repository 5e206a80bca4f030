"""Free checks of keys that were refused: a list of models costs nothing, and tells whether the key is good again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from gateway.clock import Clock
from gateway.configuration.credentials import Credentials
from gateway.health.monitor import Monitor

CHECK_EVERY: Final = 600.0
"""Seconds between checks of a key."""
CHECK_TIME: Final = 10.0
"""Seconds a check may take."""


class Checkups:
    """Checks refused keys beside the requests, at once and then every ten minutes, and tells *monitor* of good ones."""

    def __init__(self, monitor: Monitor, clock: Clock) -> None:
        self._monitor = monitor
        self._clock = clock
        self._next: dict[tuple[str, int], float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, providers: Mapping[str, Credentials]) -> None:
        """Start the checks that are due on the running event loop; nobody waits for them."""
        now = self._clock.monotonic()
        for name, credentials in providers.items():
            for index in credentials.refused():
                if now >= self._next.get((name, index), now):
                    self._next[name, index] = now + CHECK_EVERY
                    task = asyncio.get_running_loop().create_task(self._check(name, credentials, index))
                    self._tasks.add(task)
                    task.add_done_callback(self._tasks.discard)

    def end(self) -> None:
        """Give up the checks under way on the running event loop."""
        for task in [each for each in self._tasks if each.get_loop() is asyncio.get_running_loop()]:
            task.cancel()

    async def _check(self, provider: str, credentials: Credentials, index: int) -> None:
        with suppress(Exception):  # a check that fails in whatever way proves nothing
            outcome = await credentials.adapters[index].check(CHECK_TIME)
            if outcome.name == "ok":
                credentials.absolve(index)
                self._monitor.absolve(provider)
