"""What a state store can do, as protocols: one for each thing that is kept.

Each backend has one class for each protocol. A new thing to keep (an index of cached images, the health that processes
share, jobs of a batch) is a protocol here, a class in each of ``memory``, ``sqlite_*`` and ``redis_*``, and a field of
:class:`gateway.state.State`; the suite in ``tests/state`` runs against all backends by itself.

All methods may be called from any thread. Those that are awaited may be awaited on any event loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from gateway.budgets import Charge
from gateway.entries import Entry
from gateway.state.claims import Answer, Claim
from providers.errors import GatewayError


class StateUnavailable(GatewayError):  # noqa: N818 - named like the errors of the public contract
    """The state store cannot be written or read now. Nothing was sent because of it."""


@dataclass(frozen=True, slots=True)
class Taken:
    """The money is reserved. *used* is micro-USD by counter, this included; *warnings* are for the result."""

    used: Mapping[str, int] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refused:
    """There is no room under the cap of *counter*, of which *used* micro-USD are taken. Nothing has changed."""

    counter: str
    used: int


class LedgerStore(Protocol):
    """The entries, which are only ever added to, and the counters of the budgets."""

    async def reserve(self, entry: Entry, charges: Sequence[Charge]) -> Taken | Refused:
        """Add *entry* and its quoted price to the counters in one step, or refuse. Durable when it returns.

        Doing it again with the same entry changes nothing.

        Raises:
            StateUnavailable: it could not be written; it is not, or will be taken back.
            ConfigError: the store can never be used as configured.
        """
        ...

    def settle(self, entry: Entry, counters: Sequence[str]) -> None:
        """Note the settlement of *entry*, and correct *counters* from the quoted to the actual cost. Does not wait.

        It is written in time, in the order of the calls, and once; also where the entry was marked as unknown meanwhile.
        """
        ...

    async def entries(self, since: datetime | None = None) -> list[Entry]:
        """Everything started at or after *since*, in that order; first marks what dead processes left as unknown."""
        ...

    async def used(self, counters: Sequence[str]) -> Mapping[str, int]:
        """Micro-USD by counter; counters that were never used are not in it."""
        ...


class ClaimStore(Protocol):
    """Who works on which idempotency key, and what came of it. Answers are kept for :data:`~gateway.state.claims.KEPT`."""

    async def claim(self, claim: Claim) -> Answer:
        """Take the key if nobody holds it; what is held by a process that died is taken, or unknown.

        Raises:
            StateUnavailable: the store cannot be asked: nothing may be sent then.
            ConfigError: the store can never be used as configured.
        """
        ...

    async def spending(self, key: str, owner: str) -> bool:
        """Note that money may be spent under *key* from now on; whether *owner* still holds it, and may go on.

        Raises:
            StateUnavailable: as for :meth:`claim`.
        """
        ...

    async def finish(self, key: str, owner: str, reference: str) -> None:
        """Keep what came of it.

        Raises:
            StateUnavailable: it could not be kept; the key is left as it is.
        """
        ...

    def abandon(self, key: str, owner: str) -> None:
        """Let go of *key*: nothing was spent. Does not wait."""
        ...

    def doubt(self, key: str, owner: str) -> None:
        """Note that money may have been spent under *key*, and nobody knows what for. Does not wait."""
        ...


class Engine(Protocol):
    """What the stores of one backend share: the way to where things are kept."""

    @property
    def degraded(self) -> str:
        """What is amiss at the moment, in a sentence without secrets; ``""`` if nothing is."""
        ...

    async def check(self) -> None:
        """Open it, if that has not happened, and see whether it answers.

        Raises:
            StateUnavailable: it does not answer now.
            ConfigError: it can never be used as configured.
        """
        ...

    async def flush(self) -> int:
        """Wait until what was not waited for is written; how many facts could not be, and are tried again later."""
        ...

    async def aclose(self) -> None:
        """Flush and let go of files, connections and threads. A later use opens them again."""
        ...
