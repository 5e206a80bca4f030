"""One configuration with what was made from it: the lanes, and the adapters to their upstreams."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from gateway.cache.cache import Cache, cache_blobs
from gateway.clock import Clock
from gateway.configuration.config import Config
from gateway.configuration.credentials import Credentials
from gateway.events import warn
from gateway.health.monitor import Monitor
from gateway.health.sharing import identity
from gateway.money.ledger import Ledger
from gateway.request import ImageRequest
from gateway.router.lanes import Lane
from gateway.state import State, open_state
from gateway.state.stores import BLOBS_KEPT
from gateway.sweeper import Sweeper
from providers.errors import InvalidRequest
from providers.provider import ProviderFactory


@dataclass(frozen=True, slots=True, eq=False)
class Setup:
    """One configuration with what was made from it. Requests in flight keep theirs when another is loaded.

    *loops* are the event loops that have used it, with the number of requests under way on each: connections belong to
    the loop that opened them.
    """

    config: Config
    lanes: Mapping[str, Lane]
    credentials: Mapping[str, Credentials]
    state: State
    ledger: Ledger
    cache: Cache
    sweeper: Sweeper
    loops: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = field(default_factory=WeakKeyDictionary)

    @classmethod
    def of(cls, loaded: Config, load: ProviderFactory, clock: Clock, before: Setup | None = None) -> Setup:
        """What follows from a configuration, with adapters that *load* makes; the state is that of *before*, if it may be.

        Raises:
            ConfigError: something in it is not available.
        """
        for warning in loaded.warnings:
            warn(warning)
        credentials = {
            name: Credentials([load(settings) for settings in entry.settings])
            for name, entry in loaded.providers.items()
            if entry.enabled
        }
        same = before is not None and (before.config.state, before.config.blobs) == (loaded.state, loaded.blobs)
        state = before.state if before is not None and same else open_state(loaded.state, clock, loaded.blobs)
        ledger = Ledger(state.ledger, clock, loaded.budgets)
        kept = before.cache.blobs if before and same and before.config.cache.store == loaded.cache.store else None
        cache = Cache(state.cache, kept or cache_blobs(loaded.cache, state.blobs), loaded.cache, clock)
        sweeper = Sweeper(state.blobs, BLOBS_KEPT, clock)
        return cls(loaded, {lane.name: lane for lane in loaded.lanes}, credentials, state, ledger, cache, sweeper)

    def seconds(self, request: ImageRequest) -> float:
        """How long the whole request may take."""
        return float(request.deadline) if request.deadline is not None else self.config.deadlines[request.size]

    def check(self, request: ImageRequest) -> None:
        """Look whether the providers that *request* names are there.

        Raises:
            InvalidRequest: one is not configured.
        """
        wishes = request.providers
        unknown = [name for name in (*wishes.only, *wishes.ignore, *wishes.order) if name not in self.config.providers]
        if unknown:
            known = ", ".join(sorted(self.config.providers))
            raise InvalidRequest(f"providers: {unknown[0]!r} is not configured; configured are: {known}")

    def count(self, change: int) -> None:
        """Note that a request began or ended on the running event loop."""
        loop = asyncio.get_running_loop()
        self.loops[loop] = self.loops.get(loop, 0) + change

    def watched_by(self, monitor: Monitor) -> None:
        """Have *monitor* look after these lanes."""
        at_once = {name: entry.max_concurrency for name, entry in self.config.providers.items()}
        monitor.watch(self.lanes, at_once, self.config.fallback.retry_budget)
        entries = self.config.providers
        keys = {
            name: identity(lane, entries[lane.provider].settings) for name, lane in self.lanes.items() if lane.enabled
        }
        monitor.share(self.state.health, keys if self.state.health.shares else {})

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        for credentials in self.credentials.values():
            await credentials.aclose()
