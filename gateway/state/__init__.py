"""What outlives a request: the ledger, the budgets' counters, claims on idempotency keys, and images that are kept.

``memory``, ``sqlite:///path`` and ``redis://host`` (``rediss://`` with TLS; Valkey as well) do the same, and differ in who
shares it: one process, one machine, a fleet. :mod:`gateway.state.stores` says what each must do.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from gateway.blobs import Blobs, FolderBlobs, MemoryBlobs
from gateway.clock import Clock
from gateway.state.alone import Alone
from gateway.state.stores import CacheStore, ClaimStore, Engine, HealthStore, JobStore, LedgerStore
from providers.errors import ConfigError

__all__ = ["State", "default_folder", "default_url", "open_state"]

APPLICATION: Final = "image-gateway"
"""The name of our folder among those of other programs."""


@dataclass(frozen=True, slots=True)
class State:
    """The stores of one backend, and the *engine* they share. Any thread and any event loop may use it."""

    engine: Engine
    ledger: LedgerStore
    claims: ClaimStore
    blobs: Blobs
    jobs: JobStore
    cache: CacheStore
    health: HealthStore = field(default_factory=Alone)


def open_state(url: str = "memory", clock: Clock | None = None, blobs: Path | None = None) -> State:
    """The state at *url*. Nothing is opened before it is used: what is wrong with a file or server shows then.

    *blobs* is the folder for images; None: beside the SQLite file, for Redis in the user's state folder, for memory none.

    Raises:
        ConfigError: there is no such backend, its library is not installed, or the address cannot be used.
    """
    clock = clock or Clock()
    if url == "memory":
        return _in_memory(clock, blobs)
    if url.startswith("sqlite:///"):
        return _in_sqlite(Path(url.removeprefix("sqlite:///")).expanduser(), clock, blobs)
    if url.startswith(("redis://", "rediss://")):
        return _in_redis(url, blobs)
    raise ConfigError("state: expected memory, sqlite:///path, redis://host:port/0 or rediss://host:port/0")


def default_folder() -> Path:
    """Where state is kept for this user, by the custom of the operating system."""
    from platformdirs import user_state_path

    return user_state_path(APPLICATION, appauthor=False)


def default_url() -> str:
    """The state of the command line where nothing is configured: a SQLite file in :func:`default_folder`."""
    return f"sqlite:///{default_folder() / 'state.db'}"


def _in_memory(clock: Clock, blobs: Path | None) -> State:
    from gateway.state.memory import MemoryClaims, MemoryEngine, MemoryLedger
    from gateway.state.memory_cache import MemoryCache
    from gateway.state.memory_jobs import MemoryJobs

    kept = FolderBlobs(blobs) if blobs else MemoryBlobs()
    return State(MemoryEngine(), MemoryLedger(), MemoryClaims(clock), kept, MemoryJobs(), MemoryCache(clock))


def _in_sqlite(path: Path, clock: Clock, blobs: Path | None) -> State:
    from gateway.state.sqlite import Database
    from gateway.state.sqlite_cache import SqliteCache
    from gateway.state.sqlite_claims import SqliteClaims
    from gateway.state.sqlite_jobs import SqliteJobs
    from gateway.state.sqlite_ledger import SqliteLedger

    database = Database(path)
    kept = FolderBlobs(blobs or path.with_name(f"{path.name}-blobs"))
    claims, jobs = SqliteClaims(database, clock), SqliteJobs(database, clock)
    return State(database, SqliteLedger(database), claims, kept, jobs, SqliteCache(database, clock))


def _in_redis(url: str, blobs: Path | None) -> State:
    try:
        from gateway.state.redis import Server
    except ImportError:
        raise ConfigError("state: redis:// needs redis-py: pip install 'image-gateway[redis]'") from None
    from gateway.state.redis_cache import RedisCache
    from gateway.state.redis_claims import RedisClaims
    from gateway.state.redis_health import RedisHealth
    from gateway.state.redis_jobs import RedisJobs
    from gateway.state.redis_ledger import RedisLedger

    server = Server(url)
    kept = FolderBlobs(blobs or default_folder() / "blobs")
    claims, jobs = RedisClaims(server), RedisJobs(server)
    return State(server, RedisLedger(server), claims, kept, jobs, RedisCache(server), RedisHealth(server))
