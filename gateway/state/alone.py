"""The health of lanes where nobody shares it: a process whose state is in memory, or in a file of its machine.

A file is no place to look into four times a second, and the processes of one machine find out in a few calls what they
would tell each other. Who wants it shared takes Redis.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from gateway.health.sharing import News, Reply


class Alone:
    """See :class:`~gateway.state.stores.HealthStore`: nobody tells anything, and everybody may do everything."""

    shares: Final = False
    degraded: Final = ""

    def attend(self, exchange: Callable[[], Awaitable[bool]]) -> None:
        """Nobody is told."""

    def wake(self) -> None:
        """Nobody is told."""

    async def exchange(self, news: Sequence[News]) -> tuple[Sequence[Reply], int]:
        """Nothing is heard."""
        return [Reply() for _ in news], 1

    async def lease(self, key: str, purpose: str, seconds: float) -> bool:
        """Nobody else wants to."""
        return True
