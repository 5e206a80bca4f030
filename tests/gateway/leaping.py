"""Real time in which nobody waits."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from gateway.clock import Clock


@dataclass
class Leaping:
    """Real time, except that nobody waits: who sleeps moves the clock. *slept* is how far, in seconds."""

    ahead: float = 0.0
    slept: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.ahead += seconds
        self.slept.append(seconds)
        await asyncio.sleep(0)

    @property
    def clock(self) -> Clock:
        return Clock(
            monotonic=lambda: time.monotonic() + self.ahead,
            wall=lambda: datetime.now(UTC) + timedelta(seconds=self.ahead),
            sleep=self.sleep,
        )
