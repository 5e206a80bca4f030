"""The Google adapter: Gemini's image models on Google's own wire, through the google-genai SDK.

It serves the Developer API and relays that pass Google's wire through (``base_url``, ``auth = "bearer"``).
"""

from __future__ import annotations

import re
from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

import anyio
import httpx2

from providers import google_wire
from providers.adapter import call, checked, fetcher_for, option
from providers.exchange import Exchange
from providers.loops import PerLoop
from providers.outcome import Outcome
from providers.provider import ProviderSettings
from providers.request import UpstreamRequest
from providers.secret import Secret
from providers.transport import http_client, unused_sync_client

if TYPE_CHECKING:
    from google.genai import Client, types

DEFAULT_BASE_URL: Final = "https://generativelanguage.googleapis.com"
DEFAULT_API_VERSION: Final = "v1beta"
"""Pinned: google-genai's own default moves with its releases, and relays document this one."""

_VERSIONED: Final = re.compile(r"/(v\d\w*)/?$")


class GoogleProvider:
    """Calls ``generateContent``."""

    def __init__(self, settings: ProviderSettings) -> None:
        self._settings = settings
        self._clients = PerLoop(self._make_client)
        self._fetcher = fetcher_for(settings)

    async def generate(self, request: UpstreamRequest, exchange: Exchange) -> Outcome:
        """Draw. See :class:`providers.provider.Provider`."""
        client = await self._client()

        async def send() -> object:
            return await client.aio.models.generate_content(
                model=request.model, contents=_contents(request), config=_config(request)
            )

        return await call(send, exchange, google_wire.read, self._settings, self._fetcher)

    async def check(self, timeout: float) -> Outcome:  # noqa: ASYNC109
        """List one model, which is free."""
        client = await self._client()

        async def send() -> object:
            return await client.aio.models.list(
                config={"page_size": 1, "http_options": {"timeout": int(timeout * 1000)}}
            )

        return await checked(send, self._settings, timeout)

    async def aclose(self) -> None:
        """Let go of this event loop's connections."""
        client = self._clients.pop()
        if client is not None:
            await client.aio.aclose()
        await self._fetcher.aclose()

    async def _client(self) -> Client:
        # The SDK's first import takes a third of a second: not on the event loop.
        await anyio.to_thread.run_sync(_import_sdk)
        return self._clients.get()

    def _make_client(self) -> Client:
        from google.genai import Client, types

        base_url, api_version = _address(self._settings)
        key = self._settings.api_key
        bearer = _BearerAuth(key) if key and self._settings.auth == "bearer" else None
        return Client(
            vertexai=False,
            api_key="-" if key is None or bearer else key.reveal(),
            http_options=types.HttpOptions(
                base_url=base_url,
                api_version=api_version,
                headers=dict(self._settings.headers),
                httpx_client=unused_sync_client(),
                httpx_async_client=http_client(self._settings.proxy, bearer),
                retry_options=types.HttpRetryOptions(attempts=1),
            ),
        )


class _BearerAuth(httpx2.Auth):
    """Sends the key as a bearer token, and takes out the header in which the SDK would send it a second time."""

    def __init__(self, key: Secret) -> None:
        self._key = key

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        request.headers.pop("x-goog-api-key", None)
        request.headers["authorization"] = f"Bearer {self._key.reveal()}"
        yield request


def _import_sdk() -> None:
    import google.genai  # noqa: F401


def _address(settings: ProviderSettings) -> tuple[str, str]:
    """Base URL and API version; a version at the end of a configured base URL is taken as the version meant."""
    base_url = settings.base_url or DEFAULT_BASE_URL
    found = _VERSIONED.search(base_url)
    written = found[1] if found else DEFAULT_API_VERSION
    return _VERSIONED.sub("", base_url).rstrip("/"), option(settings, "api_version") or written


def _contents(request: UpstreamRequest) -> types.Content:
    from google.genai import types

    images = [types.Part.from_bytes(data=image.data, mime_type=image.mime_type) for image in request.images]
    return types.Content(role="user", parts=[types.Part.from_text(text=request.prompt), *images])


def _config(request: UpstreamRequest) -> types.GenerateContentConfig:
    from google.genai import types

    asked: dict[str, Any] = {
        "system_instruction": request.system_instruction,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
    }
    return types.GenerateContentConfig(
        **{name: value for name, value in asked.items() if value is not None},
        response_modalities=["TEXT", "IMAGE"],
        image_config=_image_config(request),
        thinking_config=_thinking(request),
        tools=[types.Tool(google_search=types.GoogleSearch())] if request.grounding else None,
        http_options=types.HttpOptions(timeout=max(1, int(request.timeout * 1000))),
        # The SDK's own parsing drops finishMessage and warns of reasons it does not know: the answer is read from JSON.
        should_return_http_response=True,
    )


def _image_config(request: UpstreamRequest) -> types.ImageConfig | None:
    from google.genai import types

    if request.size is None and request.aspect_ratio is None:
        return None
    return types.ImageConfig(image_size=request.size, aspect_ratio=request.aspect_ratio)


def _thinking(request: UpstreamRequest) -> types.ThinkingConfig | None:
    from google.genai import types

    if request.thinking is None:
        return None
    return types.ThinkingConfig(thinking_level=types.ThinkingLevel(request.thinking.upper()))
