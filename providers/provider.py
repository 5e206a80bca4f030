"""The protocol an adapter fulfils, and how the gateway finds adapters.

A third party writes one class and names it in the entry-point group ``gateway.providers``::

    [project.entry-points."gateway.providers"]
    acme = "acme_images:AcmeProvider"

After that ``kind = "acme"`` works in ``gateway.toml``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import Final, Protocol, runtime_checkable

from providers.errors import ConfigError
from providers.exchange import Exchange
from providers.outcome import Outcome
from providers.request import UpstreamRequest
from providers.secret import Secret

ENTRY_POINT_GROUP: Final = "gateway.providers"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderSettings:
    """One provider's table of the configuration, for one of its keys, as an adapter gets it.

    *base_url* None means the vendor's own host. *auth* is ``"bearer"`` or ``"x-goog-api-key"``. *headers* are added to
    every call. *proxy* is a URL; variables of the environment are never consulted. *options* holds what only one kind
    of adapter understands (``dialect``, ``project``, ``location`` …).
    """

    name: str
    kind: str
    api_key: Secret | None = None
    base_url: str | None = None
    auth: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxy: str | None = field(default=None, repr=False)
    options: Mapping[str, object] = field(default_factory=dict)


@runtime_checkable
class Provider(Protocol):
    """One upstream. It makes one call per request and reports what came of it.

    An adapter never retries, never chooses and never waits of its own accord. It returns an :class:`Outcome` for
    whatever the upstream does; exceptions are for cancellation and for bugs.
    """

    async def generate(self, request: UpstreamRequest, exchange: Exchange) -> Outcome:
        """Make the call. *exchange* is filled in as it goes, so that a caller who cancels knows whether it was sent."""
        ...

    async def check(self, timeout: float) -> Outcome:  # noqa: ASYNC109 - seconds for the whole call, as in UpstreamRequest
        """Make a free call (list models) that proves the address, the key and the region, within *timeout* seconds."""
        ...

    async def aclose(self) -> None:
        """Let go of connections."""
        ...


class ProviderFactory(Protocol):
    """What an entry point loads to: a class, or any callable, that makes a provider from its settings."""

    def __call__(self, settings: ProviderSettings) -> Provider:
        """Make the provider. Opens nothing yet."""
        ...


def known_kinds() -> tuple[str, ...]:
    """The kinds that are installed, sorted."""
    return tuple(sorted(point.name for point in entry_points(group=ENTRY_POINT_GROUP)))


def load_provider(settings: ProviderSettings) -> Provider:
    """The adapter for ``settings.kind``.

    Raises:
        ConfigError: no installed distribution offers that kind.
    """
    for point in entry_points(group=ENTRY_POINT_GROUP):
        if point.name == settings.kind:
            factory: ProviderFactory = point.load()
            return factory(settings)
    raise ConfigError(
        f"providers.{settings.name}.kind: {settings.kind!r} is not installed; known kinds: {', '.join(known_kinds())}"
    )
