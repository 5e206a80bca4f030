"""Claiming a key: nothing stays claimed when whoever asked is gone, and who finds it taken looks again."""

from __future__ import annotations

from typing import Final

from gateway.clock import Clock
from gateway.state.claims import Answer, Claim
from gateway.state.stores import ClaimStore
from providers.errors import GatewayError

GRACE: Final = 30.0
"""Seconds that a claim outlasts the deadline of its request, for the images to be kept."""
FIRST_LOOK: Final = 0.05
LAST_LOOK: Final = 1.0
"""Seconds between looks whether a request under way has ended: at first, and at most; doubling in between."""


class Looks:
    """Looks at what another holds, for so many *seconds* in all."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._ends = clock.monotonic() + seconds
        self._pause = FIRST_LOOK

    @property
    def left(self) -> float:
        """Seconds until the last look is due."""
        return max(0.0, self._ends - self._clock.monotonic())

    async def pause(self) -> None:
        """Wait until the next look is due."""
        await self._clock.sleep(min(self._pause, self.left))
        self._pause = min(2 * self._pause, LAST_LOOK)


async def claimed(claims: ClaimStore, claim: Claim) -> Answer:
    """What *claim* meets in *claims*. If this is cancelled, or fails, nothing stays claimed.

    Raises:
        StateUnavailable: the store cannot be asked.
        ConfigError: the store can never be used as configured.
    """
    try:
        return await claims.claim(claim)
    except GatewayError:
        raise  # the store has taken it back
    except BaseException:  # cancelled: it may have been written all the same, and nobody would let go of it
        claims.abandon(claim.key, claim.owner)
        raise
