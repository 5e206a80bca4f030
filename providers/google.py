"""The Google adapters, on the google-genai SDK: the Developer API (``kind = "google"``) and Vertex (``kind = "vertex"``).

The first also serves relays that pass Google's wire through (``base_url``, ``auth = "bearer"``). Imagen models are asked by
``:predict``, which the SDK no longer speaks on the Developer API and is giving up on Vertex: that call is our own.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import anyio
import httpx2

from providers import google_wire, imagen_wire, interactions_wire
from providers.adapter import CredentialsError, Reader, call, checked, fetcher_for, import_off_loop, option
from providers.batch_calls import BatchCalls
from providers.batches import Batching, BatchProvider, NoBatches
from providers.exchange import Exchange
from providers.google_batches import GoogleAccess, GoogleBatches
from providers.key_auth import BEARER, KeyAuth
from providers.loops import PerLoop
from providers.outcome import Outcome
from providers.presets import preset_for
from providers.provider import ProviderSettings
from providers.request import UpstreamRequest
from providers.templates import Ask, Templates
from providers.transport import Carrier, http_client, unused_sync_client
from providers.uploads import lightened

if TYPE_CHECKING:
    from google.auth.credentials import Credentials
    from google.genai import Client, types
    from google.genai.client import DebugConfig

DEVELOPER_URL: Final = "https://generativelanguage.googleapis.com"
DEVELOPER_VERSION: Final = "v1beta"
VERTEX_VERSION: Final = "v1beta1"
"""Versions are pinned: google-genai's own defaults move with its releases, and relays document these."""

_VERSIONED: Final = re.compile(r"/(v\d\w*)/?$")
_PLACELESS: Final = frozenset({"", "global"})
_MULTI_REGIONS: Final = frozenset({"us", "eu"})


class _Opened(NamedTuple):
    """The SDK's *client*, what carries its calls, and the requests it has built."""

    client: Client
    carrier: Carrier
    templates: Templates


class _GenAIProvider(ABC):
    """What the two have in common: ``generateContent`` and the life of the client."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings
        self._clients = PerLoop(self._open)
        self._owned = PerLoop(lambda: http_client(settings.proxy))
        self._fetcher = fetcher_for(settings)

    async def generate(self, request: UpstreamRequest, exchange: Exchange) -> Outcome:
        """Draw. See :class:`providers.provider.Provider`."""
        await import_off_loop("google.genai", exchange)
        asked = lightened(request, exchange)
        imagen = request.model.rpartition("/")[2].startswith("imagen")
        ask, read = (self._predict, imagen_wire.read) if imagen else self._wire()

        async def send() -> object:
            with _credentials_trouble:
                if imagen or not self._signs_alike:
                    return await ask(asked)
                await self._client()
                return await self._clients.get().templates.send(asked, ask)

        return await call(send, exchange, read, self._settings, self._fetcher)

    async def check(self, timeout: float) -> Outcome:  # noqa: ASYNC109
        """List one model, which is free."""
        from providers.gemini_request import first_model

        async def send() -> object:
            with _credentials_trouble:
                client = await self._client()
                return await client.aio.models.list(config=first_model(timeout))

        return await checked(send, self._settings, timeout)

    async def aclose(self) -> None:
        """Let go of this event loop's connections."""
        opened = self._clients.pop()
        if opened is not None:
            await opened.client.aio.aclose()
            await opened.carrier.aclose()  # the SDK leaves a client that it was given open
        owned = self._owned.pop()
        if owned is not None:
            await owned.aclose()
        await self._fetcher.aclose()

    def _wire(self) -> tuple[Ask, Reader]:
        """How models that converse are asked, and their answers read."""
        if option(self._settings, "wire") == "interactions":
            return self._interact, interactions_wire.read
        return self._generate_content, google_wire.read

    async def _interact(self, request: UpstreamRequest) -> object:
        await import_off_loop("google.genai.interactions")
        client = await self._client()
        from providers import interactions_request

        # Raw, for the answer is read from its JSON; and one call, however long the SDK would go on by itself.
        create = _to_itself(client.aio.interactions).with_raw_response.create
        arguments = interactions_request.arguments(request)
        return await create(**arguments, timeout=request.timeout, automatic_continuation=False)

    async def _generate_content(self, request: UpstreamRequest) -> object:
        client = await self._client()
        from providers import gemini_request

        contents, config = gemini_request.contents(request), gemini_request.config_at_once(request)
        if request.stream:
            stream = await client.aio.models.generate_content_stream(
                model=request.model, contents=contents, config=config
            )
            # The request goes out with the first event asked for, and our transport takes in the whole answer then.
            return await anext(stream, None)
        return await client.aio.models.generate_content(model=request.model, contents=contents, config=config)

    async def _predict(self, request: UpstreamRequest) -> object:
        url = f"{self._models_url()}/{request.model}:predict"
        headers = {**self._settings.headers, **await self._signature(url)}
        return await self._owned.get().post(
            url, json=imagen_wire.body(request), headers=headers, timeout=request.timeout
        )

    async def _client(self) -> Client:
        await import_off_loop("google.genai")
        return self._clients.get().client

    def _open(self) -> _Opened:
        carrier = http_client(self._settings.proxy, self._auth())
        return _Opened(self._make_client(carrier), carrier, Templates(carrier))

    @property
    def _signs_alike(self) -> bool:
        """Whether one call is signed like the next: so it is by a key, not by a token that runs out."""
        return True

    def _auth(self) -> httpx2.Auth | None:
        """What signs a call of the SDK's, if it does not do that itself."""
        return None

    @abstractmethod
    def _make_client(self, carrier: httpx2.AsyncClient) -> Client: ...

    @abstractmethod
    def _models_url(self) -> str:
        """The address below which models stand."""

    @abstractmethod
    async def _signature(self, url: str) -> dict[str, str]:
        """The headers that authenticate a call to *url* which the SDK does not make."""


class GoogleProvider(Batching, _GenAIProvider):
    """The Gemini Developer API, and relays that speak its wire."""

    def __init__(self, settings: ProviderSettings) -> None:
        super().__init__(settings)
        self._batches = self._make_batches()

    def _make_batches(self) -> BatchProvider:
        relay = preset_for(option(self._settings, "preset") or None, self._settings.kind, self._settings.base_url)
        if relay is not None:
            return NoBatches(f"{relay.title} does not offer Google's Batch API")
        access = GoogleAccess(
            *_address(self._settings, DEVELOPER_URL, DEVELOPER_VERSION), self._client, self._signature
        )
        return GoogleBatches(self._settings, access, BatchCalls(self._settings, self._owned.get), self._fetcher)

    def _make_client(self, carrier: httpx2.AsyncClient) -> Client:
        from google.genai import Client

        base_url, version = _address(self._settings, DEVELOPER_URL, DEVELOPER_VERSION)
        key = self._settings.api_key
        return Client(
            vertexai=False,
            debug_config=_no_replays(),
            api_key="-" if key is None or self._auth() else key.reveal(),
            http_options=_http_options(self._settings, base_url, version, carrier),
        )

    def _auth(self) -> httpx2.Auth | None:
        key = self._settings.api_key
        return KeyAuth(key, BEARER) if key and self._settings.auth == BEARER else None

    def _models_url(self) -> str:
        return "/".join((*_address(self._settings, DEVELOPER_URL, DEVELOPER_VERSION), "models"))

    async def _signature(self, url: str) -> dict[str, str]:
        key = self._settings.api_key.reveal() if self._settings.api_key else ""
        return {"authorization": f"Bearer {key}"} if self._settings.auth == BEARER else {"x-goog-api-key": key}


class VertexProvider(Batching, _GenAIProvider):
    """Vertex AI (Gemini Enterprise Agent Platform).

    With ``project`` and ``location`` it signs with *load_credentials*, by default the application-default credentials,
    which are looked for at the first call; with an ``api_key`` alone it calls in express mode.
    """

    def __init__(self, settings: ProviderSettings, load_credentials: Callable[[], Credentials] | None = None) -> None:
        super().__init__(settings)
        self._load_credentials = load_credentials or _application_default
        self._credentials: Credentials | None = None
        self._batches = NoBatches(
            "batches are not offered on Vertex, which takes them from Cloud Storage and BigQuery alone: "
            'a provider of kind "google" takes them'
        )

    async def _client(self) -> Client:
        await self._sign_in()
        return await super()._client()

    @property
    def _signs_alike(self) -> bool:
        return self._settings.api_key is not None

    async def _sign_in(self) -> None:
        if self._credentials is None and self._settings.api_key is None:
            self._credentials = await anyio.to_thread.run_sync(self._load_credentials)

    def _make_client(self, carrier: httpx2.AsyncClient) -> Client:
        from google.genai import Client

        location = option(self._settings, "location")
        base_url, version = _address(self._settings, vertex_url(location), VERTEX_VERSION)
        options = _http_options(self._settings, base_url, version, carrier)
        key = self._settings.api_key
        if key is not None:
            return Client(vertexai=True, api_key=key.reveal(), debug_config=_no_replays(), http_options=options)
        return Client(
            vertexai=True,
            project=option(self._settings, "project"),
            location=location,
            credentials=self._credentials,
            debug_config=_no_replays(),
            http_options=options,
        )

    def _models_url(self) -> str:
        location = option(self._settings, "location")
        root = "/".join(_address(self._settings, vertex_url(location), VERTEX_VERSION))
        place = "" if self._settings.api_key else f"/projects/{option(self._settings, 'project')}/locations/{location}"
        return f"{root}{place}/publishers/google/models"

    async def _signature(self, url: str) -> dict[str, str]:
        if self._settings.api_key is not None:
            return {"x-goog-api-key": self._settings.api_key.reveal()}
        await self._sign_in()
        assert self._credentials is not None
        return await anyio.to_thread.run_sync(_signed, self._credentials, url)


def vertex_url(location: str) -> str:
    """Vertex's host for *location*: a region, a multi-region (``us``, ``eu``), or ``global``."""
    if location in _PLACELESS:
        return "https://aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def _http_options(
    settings: ProviderSettings, base_url: str, version: str, client: httpx2.AsyncClient
) -> types.HttpOptions:
    from google.genai import types

    return types.HttpOptions(
        base_url=base_url,
        api_version=version,
        headers=dict(settings.headers),
        httpx_client=unused_sync_client(),
        httpx_async_client=client,
        retry_options=types.HttpRetryOptions(attempts=1),
    )


def _to_itself(interactions: Any) -> Any:
    """*interactions* without what the SDK takes from the environment: a log that shows keys, and a project to bill."""
    configuration = interactions.sdk_configuration
    configuration.debug_logger = _Mute()
    configuration.globals.user_project = None
    return interactions


class _Mute:
    """A log that keeps nothing."""

    def debug(self, msg: str, *args: Any, **kwargs: Any) -> None:
        """Forget *msg*."""


def _no_replays() -> DebugConfig:
    """Whatever GOOGLE_GENAI_CLIENT_MODE says: calls are made, not replayed or recorded."""
    from google.genai.client import DebugConfig

    return DebugConfig(client_mode=None)


def _address(settings: ProviderSettings, default_url: str, default_version: str) -> tuple[str, str]:
    """Base URL and API version; a version at the end of a configured base URL is taken as the version meant."""
    base_url = settings.base_url or default_url
    found = _VERSIONED.search(base_url)
    version = option(settings, "api_version") or (found[1] if found else default_version)
    return _VERSIONED.sub("", base_url).rstrip("/"), version


class _CredentialsTrouble:
    """Say it in the adapter's words when Google's credentials are not there or not accepted."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if type(error).__module__ == "google.auth.exceptions":
            raise CredentialsError(f"{type(error).__name__}: {error}") from None


_credentials_trouble: Final = _CredentialsTrouble()


def _signed(credentials: Credentials, url: str) -> dict[str, str]:
    """The headers with which *credentials* sign a call; fetches a token where the last one is used up."""
    from google.auth.transport.requests import Request

    headers: dict[str, str] = {}
    credentials.before_request(Request(), "POST", url, headers)  # type: ignore[no-untyped-call]
    return headers


def _application_default() -> Credentials:
    import google.auth

    credentials: Credentials
    credentials, _ = google.auth.default(scopes=["https://www.googleapis.com/auth/cloud-platform"])
    return credentials
