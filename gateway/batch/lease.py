"""The right to move a job on, which one process has at a time: others look on."""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from gateway.clock import Clock
from gateway.state.claiming import claimed
from gateway.state.claims import Claim, New
from gateway.state.stores import ClaimStore

LEASE: Final = 3600.0
"""Seconds that a lease lasts: more than sending a chunk can take. That a process has died is noticed much sooner."""
RENEWED: Final = 60.0
"""Seconds after which a lease in use is renewed."""


class Lease:
    """The wish to move *job* on."""

    def __init__(self, claims: ClaimStore, clock: Clock, job: str) -> None:
        key = hashlib.sha256(f"batch {job}".encode()).hexdigest()
        self._claim = Claim(key=key, fingerprint="", owner=secrets.token_hex(8), lease=LEASE)
        self._claims = claims
        self._clock = clock
        self._renewed: float | None = None

    async def held(self) -> bool:
        """Take the lease, or keep it; False if another has it.

        Raises:
            StateUnavailable: the store cannot be asked.
        """
        now = self._clock.monotonic()
        if self._renewed is None or now - self._renewed >= RENEWED:
            taken = isinstance(await claimed(self._claims, self._claim), New)
            self._renewed = now if taken else None
        return self._renewed is not None

    def free(self) -> None:
        """Let others have it. Does not wait."""
        if self._renewed is not None:
            self._claims.abandon(self._claim.key, self._claim.owner)
            self._renewed = None
