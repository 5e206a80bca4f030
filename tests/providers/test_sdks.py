"""The SDKs do only what we asked of them: one request per call, over our transport, to our address, with our key."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from providers.exchange import Exchange
from tests.providers.wire import (
    BODY,
    KEY,
    PICTURE,
    Received,
    Upstream,
    Wire,
    answer,
    answering,
    ask,
    both,
    drawing,
    make,
    played,
)

EAGER = ["x-should-retry: true", "Retry-After: 0", "retry-after-ms: 1"]
"""What would make openai's SDK try again at once."""


class TestRetries:
    @both
    @pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504, 529])
    def test_are_never_made_by_an_sdk(self, kind: str, status: int) -> None:
        body = b'{"error": {"code": %d, "message": "no", "status": "UNAVAILABLE"}}' % status
        _, exchange, upstream = played(kind, answering(answer(body, status=f"{status} No", headers=EAGER)))
        assert (exchange.status, len(upstream.requests), upstream.connections) == (status, 1, 1)

    @both
    def test_are_never_made_after_a_reset(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            wire.reset()

        _, _, upstream = played(kind, script)
        assert (len(upstream.requests), upstream.connections) == (1, 1)

    @both
    def test_are_never_made_after_a_close(self, kind: str) -> None:
        _, _, upstream = played(kind, answering(b""))
        assert (len(upstream.requests), upstream.connections) == (1, 1)

    @both
    def test_are_never_made_after_a_timeout(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await asyncio.Event().wait()

        _, _, upstream = played(kind, script, drawing(timeout=0.2))
        assert (len(upstream.requests), upstream.connections) == (1, 1)

    @both
    def test_are_never_made_by_a_check(self, kind: str) -> None:
        async def main() -> tuple[str, int]:
            async with Upstream(answering(answer(b"{}", status="500 No", headers=EAGER))) as upstream:
                provider = make(kind, upstream.url)
                outcome = await provider.check(20)
                await provider.aclose()
            return outcome.billed, len(upstream.requests)

        assert asyncio.run(main()) == ("no", 1)

    @both
    def test_by_the_caller_are_its_own_requests(self, kind: str) -> None:
        async def main() -> int:
            async with Upstream(answering(answer(b"{}", status="429 No", headers=EAGER))) as upstream:
                provider = make(kind, upstream.url)
                for _ in range(3):
                    await provider.generate(drawing(), Exchange())
                await provider.aclose()
            return len(upstream.requests)

        assert asyncio.run(main()) == 3


STRANGERS = {
    "GOOGLE_GENAI_USE_VERTEXAI": "true",
    "GOOGLE_GENAI_USE_ENTERPRISE": "true",
    "GOOGLE_CLOUD_PROJECT": "strange-project",
    "GOOGLE_CLOUD_LOCATION": "strange-location",
    "GOOGLE_API_KEY": "strange-key",
    "GEMINI_API_KEY": "strange-key",
    "GOOGLE_GENAI_API_VERSION": "v9strange",
    "GOOGLE_GENAI_CLIENT_MODE": "replay",
    "GOOGLE_GENAI_REPLAYS_DIRECTORY": "/strange",
    "GOOGLE_GENAI_HTTP_CLIENT": "httpx",
    "GOOGLE_API_USE_MTLS_ENDPOINT": "always",
    "OPENAI_API_KEY": "strange-key",
    "OPENAI_ADMIN_KEY": "strange-key",
    "OPENAI_ORG_ID": "strange-organisation",
    "OPENAI_PROJECT_ID": "strange-project",
    "OPENAI_WEBHOOK_SECRET": "strange-secret",
    "OPENAI_CUSTOM_HEADERS": "X-Strange: strange-header\nAuthorization: Bearer strange-key\nX-Goog-Api-Key: strange-key",
    "OPENAI_API_VERSION": "strange",
    "OPENAI_API_TYPE": "azure",
}
"""Variables by which the environment of a process could lead a call elsewhere."""

STRANGE_ADDRESSES = ("GOOGLE_GEMINI_BASE_URL", "GOOGLE_VERTEX_BASE_URL", "OPENAI_BASE_URL", "OPENAI_ENDPOINT")

_PER_LIBRARY = {"host", "x-stainless-read-timeout"}


def meaning(request: Received) -> dict[str, Any]:
    """Everything of *request* but its port."""
    headers = {name: value for name, value in request.headers.items() if name not in _PER_LIBRARY}
    return {"line": request.line, "headers": headers, "body": request.body}


@both
class TestTheEnvironment:
    def test_changes_nothing_about_a_request(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        async def main() -> tuple[Received, Received, int]:
            async with (
                Upstream(answering(answer(BODY[kind]))) as elsewhere,
                Upstream(answering(answer(BODY[kind]))) as upstream,
            ):
                await ask(kind, upstream.url)
                for name, value in STRANGERS.items():
                    monkeypatch.setenv(name, value)
                for name in STRANGE_ADDRESSES:
                    monkeypatch.setenv(name, elsewhere.url)
                await ask(kind, upstream.url)
                plain, strange = upstream.requests
                return plain, strange, elsewhere.connections

        for name in (*STRANGERS, *STRANGE_ADDRESSES):
            monkeypatch.delenv(name, raising=False)
        plain, strange, elsewhere = asyncio.run(main())
        assert elsewhere == 0
        assert meaning(strange) == meaning(plain)
        assert "strange" not in str(strange.headers) + strange.line

    @pytest.mark.parametrize("name", [*STRANGERS, *STRANGE_ADDRESSES])
    def test_leads_no_call_elsewhere_by_any_one_variable(
        self, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(name, STRANGERS.get(name, "http://127.0.0.1:9/strange"))
        outcome, _, upstream = played(kind, answering(answer(BODY[kind])))
        assert [image.data for image in outcome.images] == [PICTURE]
        (request,) = upstream.requests
        assert "strange" not in str(request.headers) + request.line
        assert KEY in str(request.headers)

    def test_lends_no_key_to_a_provider_that_has_none(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in STRANGERS.items():
            monkeypatch.setenv(name, value)
        _, _, upstream = played(kind, answering(answer(BODY[kind])), api_key=None)
        (request,) = upstream.requests
        assert "strange" not in str(request.headers) + request.line


WITH_AIOHTTP = """
import asyncio, sys, types

fake = types.ModuleType("aiohttp")
for name in ("ClientConnectorError", "ClientOSError", "ServerDisconnectedError", "ClientConnectorDNSError"):
    setattr(fake, name, type(name, (OSError,), {}))


class Used:
    def __init__(self, *args, **kwargs):
        print("aiohttp was used")
        raise SystemExit(3)

    async def _request(self, method, url, *, ssl=None, proxy=None): ...


for name in ("ClientSession", "TCPConnector", "ClientTimeout", "ClientResponse", "StreamReader"):
    setattr(fake, name, type(name, (Used,), {}))
sys.modules["aiohttp"] = fake

from tests.providers.wire import BODY, PICTURE, Upstream, answer, answering, ask, drawing
from google.genai import _api_client

assert _api_client.has_aiohttp and _api_client.aiohttp is fake


async def main():
    async with Upstream(answering(answer(BODY["google"]))) as upstream:
        outcome, exchange = await ask("google", upstream.url)
    return outcome.images[0].data == PICTURE, len(exchange.images), upstream.requests[0].headers["accept-encoding"]


print(asyncio.run(main()))
"""


class TestAiohttp:
    def test_is_not_used_by_googles_sdk_though_it_is_installed(self) -> None:
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", WITH_AIOHTTP], cwd=root, capture_output=True, text=True, timeout=120, check=False
        )
        assert (done.returncode, done.stdout.strip()) == (0, "(True, 1, 'identity')"), done.stderr


WITHOUT_ALIAS = """
import asyncio

from tests.providers.wire import BODY, PICTURE, Upstream, answer, answering, ask


async def main(kind):
    async with Upstream(answering(answer(BODY[kind]))) as upstream:
        outcome, exchange = await ask(kind, upstream.url)
    return outcome.name, outcome.images[0].data == PICTURE, len(exchange.images)


print([asyncio.run(main(kind)) for kind in ("google", "openai")])
"""


class TestAPlainProcess:
    def test_gets_its_images_as_the_tests_do(self) -> None:
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", WITHOUT_ALIAS],
            cwd=root, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert (done.stdout.strip(), done.stderr) == ("[('ok', True, 1), ('ok', True, 1)]", "")
