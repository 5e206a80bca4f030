"""The OpenAI-compatible adapter: OpenAI itself and every relay that speaks its wire, through the openai SDK."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import anyio

from providers import openai_wire
from providers.adapter import call, checked, fetcher_for, option
from providers.dialects import DIALECTS, dialect_for
from providers.errors import ConfigError
from providers.exchange import Exchange
from providers.loops import PerLoop
from providers.outcome import Outcome
from providers.provider import ProviderSettings
from providers.request import UpstreamRequest
from providers.transport import http_client

if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"


class OpenAICompatibleProvider:
    """Asks in the dialect of its settings, and reads the answer wherever it stands.

    Raises:
        ConfigError: the dialect is not known.
    """

    def __init__(self, settings: ProviderSettings) -> None:
        name = dialect_for(option(settings, "dialect"), settings.base_url)
        if name not in DIALECTS:
            known = ", ".join(sorted(DIALECTS))
            raise ConfigError(f"providers.{settings.name}.dialect: {name!r} is not known; known dialects: {known}")
        self._dialect = DIALECTS[name]
        self._settings = settings
        self._clients = PerLoop(self._make_client)
        self._fetcher = fetcher_for(settings)

    async def generate(self, request: UpstreamRequest, exchange: Exchange) -> Outcome:
        """Draw. See :class:`providers.provider.Provider`."""
        client = await self._client()
        asked = self._dialect(request)
        resource, _, method = asked.method.rpartition(".")
        create: Callable[..., Awaitable[Any]] = getattr(attrgetter(resource)(client).with_raw_response, method)

        async def send() -> object:
            return await create(**asked.arguments, timeout=request.timeout)

        return await call(send, exchange, openai_wire.read, self._settings, self._fetcher)

    async def check(self, timeout: float) -> Outcome:  # noqa: ASYNC109
        """List the models, which is free."""
        client = await self._client()

        async def send() -> object:
            return await client.models.with_raw_response.list(timeout=timeout)

        return await checked(send, self._settings, timeout)

    async def aclose(self) -> None:
        """Let go of this event loop's connections."""
        client = self._clients.pop()
        if client is not None:
            await client.close()
        await self._fetcher.aclose()

    async def _client(self) -> AsyncOpenAI:
        # The SDK's first import takes half a second: not on the event loop.
        await anyio.to_thread.run_sync(_import_sdk)
        return self._clients.get()

    def _make_client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        key = self._settings.api_key
        client = AsyncOpenAI(
            api_key=key.reveal() if key else "-",
            admin_api_key="",
            base_url=self._settings.base_url or DEFAULT_BASE_URL,
            default_headers=dict(self._settings.headers),
            http_client=http_client(self._settings.proxy),
            max_retries=0,  # one call, one bill
        )
        client.organization = client.project = None  # from the environment: none of a relay's business
        return client


def _import_sdk() -> None:
    import openai  # noqa: F401
