"""One configuration with what was made from it: the lanes, and the adapters to their upstreams."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from gateway.config import Config
from gateway.credentials import Credentials
from gateway.events import warn
from gateway.lanes import Lane
from gateway.monitor import Monitor
from providers.errors import ConfigError
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
    loops: WeakKeyDictionary[asyncio.AbstractEventLoop, int] = field(default_factory=WeakKeyDictionary)

    @classmethod
    def of(cls, loaded: Config, load: ProviderFactory) -> Setup:
        """What follows from a configuration, with adapters that *load* makes.

        Raises:
            ConfigError: something in it is not available.
        """
        if loaded.state != "memory":
            raise ConfigError(f'{loaded.source}: gateway.state: only "memory" is available in this version')
        for warning in loaded.warnings:
            warn(warning)
        credentials = {
            name: Credentials([load(settings) for settings in entry.settings])
            for name, entry in loaded.providers.items()
            if entry.enabled
        }
        return cls(loaded, {lane.name: lane for lane in loaded.lanes}, credentials)

    def count(self, change: int) -> None:
        """Note that a request began or ended on the running event loop."""
        loop = asyncio.get_running_loop()
        self.loops[loop] = self.loops.get(loop, 0) + change

    def watched_by(self, monitor: Monitor) -> None:
        """Have *monitor* look after these lanes."""
        at_once = {name: entry.max_concurrency for name, entry in self.config.providers.items()}
        monitor.watch(self.lanes, at_once, self.config.fallback.retry_budget)

    async def aclose(self) -> None:
        """Close the connections of the running event loop."""
        for credentials in self.credentials.values():
            await credentials.aclose()
