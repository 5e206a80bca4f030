"""What a state store can do, as protocols: one for each thing that is kept.

Each backend has one class for each protocol. A new thing to keep (an index of cached images, the health that processes
share, jobs of a batch) is a protocol here, a class in each of ``memory``, ``sqlite_*`` and ``redis_*``, and a field of
:class:`gateway.state.State`; the suite in ``tests/state`` runs against all backends by itself.

All methods may be called from any thread. Those that are awaited may be awaited on any event loop.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Literal, NamedTuple, Protocol, get_args

from gateway.health.sharing import News, Reply
from gateway.money.budgets import Charge
from gateway.money.entries import Entry
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
        """Let go of *key*: *owner* has spent nothing. A doubt that was there before comes back. Does not wait."""
        ...

    def doubt(self, key: str, owner: str) -> None:
        """Note that money may have been spent under *key*, and nobody knows what for. Does not wait."""
        ...


Kind = Literal["head", "mark", "request", "line", "chunk"]
"""What a record of a batch job is about."""
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
HEAD: Final = "head"
"""The kind of the one record, without a name, that makes a job of the others."""
JOBS_KEPT: Final = timedelta(days=30)
"""How long a batch job is remembered after the last that was written of it."""
BLOBS_KEPT: Final = 2 * JOBS_KEPT
"""The age at which a blob of the state's own is swept up: whatever refers to it is forgotten by then."""


class Record(NamedTuple):
    """One fact about a batch job, as text; it is written and replaced as a whole, without touching the others."""

    kind: Kind
    name: str
    text: str


class JobStore(Protocol):
    """The records of batch jobs. Every method raises :class:`StateUnavailable` where the store does not answer."""

    async def put(self, job: str, records: Sequence[Record], unless: Record | None = None) -> bool:
        """Write *records* in one step, durably; nothing, and False, if there is a record like *unless* (text aside)."""
        ...

    async def read(self, job: str, kind: Kind) -> Mapping[str, str]:
        """The texts of the job's records of that *kind*, by name."""
        ...

    async def heads(self) -> Mapping[str, str]:
        """The heads of all jobs, by job."""
        ...

    async def discard(self, job: str) -> None:
        """Forget all records of the job."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class CacheEntry:
    """A result in the cache: the *reference* under which an archive finds it, and all the *blobs* that it is made of.

    *bytes* is what they take up. It is forgotten *life* seconds after it was put.
    """

    key: str
    reference: str
    blobs: tuple[str, ...]
    bytes: int
    life: float


class CacheStore(Protocol):
    """The index of the cache. Every method raises :class:`StateUnavailable` where the store does not answer."""

    async def find(self, key: str) -> CacheEntry | None:
        """The entry under *key*, if its life is not over; it counts as used now."""
        ...

    async def keep(self, entry: CacheEntry, limit: int) -> tuple[str, ...]:
        """Put *entry* in the place of what is under its key, and make room: all entries take up *limit* bytes at most.

        What is over goes first, then what was not used for longest. Returns the blobs that no entry refers to any more.
        """
        ...

    async def drop(self, key: str, reference: str) -> tuple[str, ...]:
        """Forget the entry under *key*, if it is still that one. Returns the blobs that no entry refers to any more."""
        ...

    async def blobs(self) -> frozenset[str]:
        """Every blob that an entry refers to."""
        ...


class HealthStore(Protocol):
    """What the processes of a fleet tell each other of their lanes. Only a request that probes waits for it, and not long.

    A process that shares its health with nobody has no keys to tell of, and is never asked.
    """

    @property
    def shares(self) -> bool:
        """Whether there is anybody to share with."""
        ...

    @property
    def degraded(self) -> str:
        """See :class:`Engine`."""
        ...

    def attend(self, exchange: Callable[[], Awaitable[bool]]) -> None:
        """Have *exchange*, a method that is not kept alive by this, called in the background from the first :meth:`wake` on.

        It says whether it is to be called again soon.
        """
        ...

    def wake(self) -> None:
        """A request begins: let the next exchange be soon. Does not wait."""
        ...

    async def exchange(self, news: Sequence[News]) -> tuple[Sequence[Reply], int]:
        """Tell the *news*; the reply to each, and how many processes are alive.

        Raises:
            StateUnavailable: nobody can be told now.
            ConfigError: the store can never be used as configured.
        """
        ...

    async def lease(self, key: str, purpose: str, seconds: float) -> bool:
        """Whether this process alone may do what *purpose* names on the lane of *key*, for so many *seconds*.

        Raises as :meth:`exchange` does, after a tenth of a second at most.
        """
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
