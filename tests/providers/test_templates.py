"""Requests made from a template: byte for byte what the SDK would have sent, without the SDK building them anew."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest
from google.oauth2.credentials import Credentials
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from providers.exchange import Exchange
from providers.google import VertexProvider
from providers.provider import Provider, ProviderSettings
from providers.request import UpstreamRequest
from providers.templates import KEPT, Ask, Templates
from providers.transport import http_client
from tests.providers.wire import BODY, KEY, Upstream, answer, answering, drawing, make

kinds = pytest.mark.parametrize("kind", ["google", "openai", "chat"])
prompts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


class Carried(httpx2.AsyncBaseTransport):
    """Stands below our transport: keeps what would leave, and answers."""

    def __init__(self, body: bytes) -> None:
        self.requests: list[httpx2.Request] = []
        self._body = body

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.extensions["trace"]("http11.send_request_body.complete", {})
        self.requests.append(request)
        return httpx2.Response(200, content=self._body)


@pytest.fixture
def carried(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Carried]]:
    def begin(kind: str) -> Carried:
        carried = Carried(BODY[kind])
        monkeypatch.setattr("providers.transport.Http11Transport", lambda: carried)
        return carried

    return begin


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The prompts for which an SDK was asked to build a request."""
    prompts: list[str] = []
    send = Templates.send

    async def noted(self: Templates, request: UpstreamRequest, ask: Ask) -> object:
        async def asked(request: UpstreamRequest) -> object:
            prompts.append(request.prompt)
            return await ask(request)

        return await send(self, request, asked)

    monkeypatch.setattr(Templates, "send", noted)
    return prompts


def run(provider: Provider, *requests: UpstreamRequest) -> list[str]:
    """The outcomes of *requests*, one after the other."""

    async def main() -> list[str]:
        outcomes = [(await provider.generate(request, Exchange())).name for request in requests]
        await provider.aclose()
        return outcomes

    return asyncio.run(main())


def facts(request: httpx2.Request) -> tuple[Any, ...]:
    return request.method, str(request.url), sorted(request.headers.raw), request.content, request.extensions["timeout"]


@kinds
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(prompt=prompts)
def test_a_request_from_a_template_is_byte_for_byte_the_sdk_s_own(
    kind: str, prompt: str, carried: Callable[[str], Carried], monkeypatch: pytest.MonkeyPatch
) -> None:
    request = replace(drawing(prompt), size="2K", aspect_ratio="16:9", system_instruction="Be brief")
    through = carried(kind)
    run(make(kind, "http://upstream"), drawing("first"), request)
    with monkeypatch.context() as patched:
        patched.setattr(Templates, "send", lambda self, request, ask: ask(request))
        run(make(kind, "http://upstream"), request)
    _, ours, theirs = through.requests
    assert facts(ours) == facts(theirs)
    assert json.loads(ours.content)


@kinds
def test_the_sdk_builds_a_request_once_for_all_prompts_and_nothing_of_that_is_sent(kind: str, built: list[str]) -> None:
    async def main() -> list[bytes]:
        async with Upstream(answering(answer(BODY[kind]))) as upstream:
            provider = make(kind, upstream.url)
            for number in range(4):
                assert (await provider.generate(drawing(f"cat {number}"), Exchange())).name == "ok"
            await provider.aclose()
        return [received.body for received in upstream.requests]

    sent = asyncio.run(main())
    assert [f"cat {number}".encode() in body for number, body in enumerate(sent)] == [True] * 4
    assert len(built) == 2  # to see that it comes out the same
    assert not any("cat" in prompt for prompt in built)


@kinds
@pytest.mark.parametrize(
    "change", [{"size": "2K"}, {"size": "2K", "aspect_ratio": "3:2"}, {"model": "other"}, {"timeout": 50.0}]
)
def test_what_else_changes_is_built_anew(
    kind: str, change: dict[str, Any], carried: Callable[[str], Carried], built: list[str]
) -> None:
    through = carried(kind)
    run(make(kind, "http://upstream"), drawing(), replace(drawing(), **change))
    assert len(built) == 4
    assert facts(through.requests[0]) != facts(through.requests[1])


def test_time_limits_are_each_call_s_own(carried: Callable[[str], Carried]) -> None:
    through = carried("google")
    run(make("google", "http://upstream"), drawing(timeout=19.25), drawing(timeout=19.75))
    assert [request.extensions["timeout"]["write"] for request in through.requests] == [19.25, 19.75]


def test_a_token_that_runs_out_signs_no_call_but_its_own(carried: Callable[[str], Carried]) -> None:
    through, options = carried("google"), {"project": "p", "location": "eu"}
    settings = ProviderSettings(name="vertex", kind="vertex", options=options)

    class Changing(Credentials):
        def before_request(self, request: Any, method: str, url: str, headers: dict[str, str]) -> None:
            self.token = secrets.token_hex(8)
            super().before_request(request, method, url, headers)

        @property
        def expired(self) -> bool:
            return True

        def refresh(self, request: object) -> None:
            self.token = secrets.token_hex(8)

    run(VertexProvider(settings, lambda: Changing("t")), drawing(), drawing())
    first, second = (request.headers["authorization"] for request in through.requests)
    assert first != second


def test_requests_with_something_new_in_each_are_left_to_the_sdk() -> None:
    carried = Carried(BODY["google"])

    async def main() -> None:
        client = http_client()
        client._transport._inner = carried  # type: ignore[attr-defined]

        async def ask(request: UpstreamRequest) -> object:
            return await client.post("http://upstream", json={"text": request.prompt, "id": secrets.token_hex(8)})

        templates = Templates(client)
        for _ in range(2):
            await templates.send(drawing(), ask)

    asyncio.run(main())
    first, second = (json.loads(request.content)["id"] for request in carried.requests)
    assert first != second


def test_a_prompt_that_stands_in_two_places_is_left_to_the_sdk() -> None:
    carried = Carried(BODY["google"])

    async def main() -> None:
        client = http_client()
        client._transport._inner = carried  # type: ignore[attr-defined]
        await Templates(client).send(
            drawing("a cat"),
            lambda request: client.post("http://upstream", json=[request.prompt, request.prompt]),
        )

    asyncio.run(main())
    assert [json.loads(request.content) for request in carried.requests] == [["a cat", "a cat"]]


def test_no_more_are_kept_than_a_few_and_the_oldest_goes(carried: Callable[[str], Carried], built: list[str]) -> None:
    carried("google")
    kept = [drawing(timeout=float(seconds)) for seconds in range(10, 10 + KEPT)]
    run(make("google", "http://upstream"), *kept, drawing(timeout=9.0), kept[-1], kept[0])
    assert len(built) == 2 * (KEPT + 1 + 1)


def test_what_the_sdk_refuses_to_build_is_told_as_ever() -> None:
    async def refuse(request: UpstreamRequest) -> Awaitable[object]:
        raise ValueError("no such model")

    async def main() -> None:
        await Templates(http_client()).send(drawing(), refuse)

    with pytest.raises(ValueError, match="no such model"):
        asyncio.run(main())


def test_the_key_that_signs_shows_in_no_template(carried: Callable[[str], Carried]) -> None:
    carried("google")
    provider: Any = make("google", "http://upstream")

    async def main() -> str:
        await provider.generate(drawing(), Exchange())
        return repr(provider._clients.get().templates._kept)

    shown = asyncio.run(main())
    assert "Template(" in shown
    assert KEY not in shown
