"""The OpenAI-compatible adapter: OpenAI itself and every relay that speaks its wire, through the openai SDK."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final

import anyio

from providers import openai_wire, tasks
from providers.adapter import call, checked, fetcher_for, import_off_loop, option, run, settle
from providers.batch_calls import BatchCalls
from providers.batches import Batching, BatchProvider, NoBatches
from providers.dialects import CONVERSING, DIALECTS, Call, as_edit, dialect_for, spelled
from providers.errors import ConfigError
from providers.exchange import Exchange
from providers.key_auth import BEARER, KeyAuth
from providers.loops import PerLoop
from providers.openai_batches import OpenAIAccess, OpenAIBatches
from providers.outcome import Outcome
from providers.presets import preset_for
from providers.provider import ProviderSettings
from providers.request import UpstreamRequest
from providers.templates import Templates
from providers.transport import Carrier, http_client
from providers.uploads import lightened

if TYPE_CHECKING:
    from openai import AsyncOpenAI

DEFAULT_BASE_URL: Final = "https://api.openai.com/v1"


class OpenAICompatibleProvider(Batching):
    """Asks in the dialect of its settings, and reads the answer wherever it stands.

    Raises:
        ConfigError: the dialect is not known.
    """

    def __init__(self, settings: ProviderSettings, sleep: Callable[[float], Awaitable[None]] = anyio.sleep) -> None:
        self._settings = settings
        self._sleep = sleep
        self._carriers = PerLoop(self._make_carrier)
        self._clients = PerLoop(self._make_client)
        self._templates = PerLoop(lambda: Templates(self._carriers.get()))
        self._fetcher = fetcher_for(settings)
        self._task = _task_row(settings)
        self._dialect = None if self._task else DIALECTS[_dialect(settings)]
        self._conversing = self._task is None and _dialect(settings) in CONVERSING
        self._batches = self._make_batches()

    async def generate(self, request: UpstreamRequest, exchange: Exchange) -> Outcome:
        """Draw. See :class:`providers.provider.Provider`."""
        await import_off_loop("openai", exchange)
        client = await self._client()
        told = request if self._conversing else as_edit(request)
        asked = spelled(lightened(told, exchange), option(self._settings, "size_as"))
        if self._dialect is None:
            return await self._draw_as_task(client, asked, exchange)
        dialect = self._dialect

        async def ask(request: UpstreamRequest) -> object:
            return await _send(client, self._with_extra_body(dialect(request)), request.timeout)

        async def send() -> object:
            return await self._templates.get().send(asked, ask)

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
        self._carriers.pop()
        self._templates.pop()
        await self._fetcher.aclose()

    async def _draw_as_task(self, client: AsyncOpenAI, request: UpstreamRequest, exchange: Exchange) -> Outcome:
        import httpx2

        assert self._task is not None

        async def exchange_one(method: str, path: str, body: Mapping[str, Any] | None, record: Exchange) -> Exchange:
            options: Any = {"timeout": request.timeout}

            async def send() -> object:
                if method == "GET":
                    return await client.get(path, cast_to=httpx2.Response, options=options)
                return await client.post(path, cast_to=httpx2.Response, body=body, options=options)

            await run(send, record)
            return record

        reply = await tasks.draw(request, self._task, exchange_one, exchange, self._sleep)
        return await settle(reply, self._fetcher, self._settings)

    def _with_extra_body(self, asked: Call) -> Call:
        extra = self._settings.options.get("extra_body")
        if not isinstance(extra, Mapping):
            return asked
        if asked.target.startswith("/"):
            return Call(asked.target, {**asked.arguments, **extra})
        return Call(asked.target, {**asked.arguments, "extra_body": {**asked.arguments.get("extra_body", {}), **extra}})

    def _make_batches(self) -> BatchProvider:
        base_url = self._settings.base_url or DEFAULT_BASE_URL
        preset = preset_for(option(self._settings, "preset") or None, self._settings.kind, base_url)
        if self._dialect is None or (preset is not None and preset.name != "openai"):
            title = preset.title if preset else "an upstream that answers with task ids"
            return NoBatches(f"{title} does not offer OpenAI's Batch API")
        access = OpenAIAccess(base_url.rstrip("/"), self._client, self._headers, self._in_json)
        return OpenAIBatches(self._settings, access, BatchCalls(self._settings, self._carriers.get), self._fetcher)

    def _headers(self) -> dict[str, str]:
        """The headers of a call that the SDK does not make."""
        key = self._settings.api_key
        signature = {"authorization": f"Bearer {key.reveal()}"} if key and not self._elsewhere() else {}
        return {**self._settings.headers, **signature}

    def _in_json(self, request: UpstreamRequest) -> Call:
        """How *request* would be asked by a call without files, as a line of a batch is."""
        assert self._dialect is not None
        dialect = DIALECTS["images-json"] if self._dialect is DIALECTS["images"] else self._dialect
        told = request if self._conversing else as_edit(request)
        return self._with_extra_body(dialect(spelled(told, option(self._settings, "size_as"))))

    async def _client(self) -> AsyncOpenAI:
        await import_off_loop("openai")
        return self._clients.get()

    def _make_carrier(self) -> Carrier:
        return http_client(self._settings.proxy, self._elsewhere())

    def _elsewhere(self) -> KeyAuth | None:
        """What puts the key where the SDK does not."""
        key, place = self._settings.api_key, self._settings.auth
        return KeyAuth(key, place) if key and place and place != BEARER else None

    def _make_client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI

        key = self._settings.api_key
        headers = dict(self._settings.headers)
        client = AsyncOpenAI(
            api_key="-" if key is None or self._elsewhere() else key.reveal(),
            admin_api_key="",
            base_url=self._settings.base_url or DEFAULT_BASE_URL,
            default_headers=headers,
            http_client=self._carriers.get(),
            max_retries=0,  # one call, one bill
        )
        # OPENAI_ORG_ID, OPENAI_PROJECT_ID and OPENAI_CUSTOM_HEADERS of the environment are none of a relay's business.
        client.organization = client.project = None
        client._custom_headers = headers
        return client


async def _send(client: AsyncOpenAI, asked: Call, timeout: float) -> object:  # noqa: ASYNC109 - the SDK's, not ours
    """Make the call. The answer is raw: it is read from the record."""
    import httpx2

    if asked.target.startswith("/"):
        options: Any = {"timeout": timeout}
        return await client.post(asked.target, cast_to=httpx2.Response, body=asked.arguments, options=options)
    resource, _, method = asked.target.rpartition(".")
    create: Callable[..., Awaitable[object]] = getattr(attrgetter(resource)(client).with_raw_response, method)
    return await create(**asked.arguments, timeout=timeout)


def _dialect(settings: ProviderSettings) -> str:
    name = dialect_for(option(settings, "dialect"), settings.base_url)
    if name not in DIALECTS:
        known = ", ".join(sorted(DIALECTS))
        raise ConfigError(f"providers.{settings.name}.dialect: {name!r} is not known; known dialects: {known}")
    return name


def _task_row(settings: ProviderSettings) -> tasks.TaskRow | None:
    table = settings.options.get("task")
    return tasks.TaskRow.model_validate(table) if table is not None else None
