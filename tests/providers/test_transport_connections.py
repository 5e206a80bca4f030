"""On which ways the transport goes to an upstream: certificates, redirects, proxies."""

from __future__ import annotations

import asyncio
import ssl
from typing import Any

import pytest

from providers.exchange import Exchange
from providers.outcome import Outcome
from tests.providers.wire import (
    BODY,
    KEY,
    PICTURE,
    Authority,
    Upstream,
    Wire,
    answer,
    answering,
    ask,
    both,
)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


async def asked_over_tls(kind: str, server: ssl.SSLContext) -> tuple[Outcome, Exchange, int]:
    async with Upstream(answering(answer(BODY[kind])), tls=server) as upstream:
        return *await ask(kind, upstream.url.replace("http:", "https:")), len(upstream.requests)


@both
class TestCertificates:
    def test_of_a_known_authority_are_accepted(
        self, kind: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        outcome, _, asked = asyncio.run(asked_over_tls(kind, authority.server()))
        assert [image.data for image in outcome.images] == [PICTURE]
        assert asked == 1

    @pytest.mark.parametrize(("address", "days"), [("127.0.0.1", -1), ("127.0.0.2", 1)], ids=["expired", "wrong host"])
    def test_that_are_wrong_cost_nothing(
        self, kind: str, address: str, days: int, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        outcome, exchange, asked = asyncio.run(asked_over_tls(kind, authority.server(address, days)))
        assert (outcome.name, outcome.billed, exchange.sent, asked) == ("transport", "no", False, 0)
        assert "certificate" in outcome.detail.lower()

    def test_of_unknown_authorities_cost_nothing(self, kind: str, authority: Authority) -> None:
        outcome, exchange, asked = asyncio.run(asked_over_tls(kind, authority.server()))
        assert (outcome.name, outcome.billed, exchange.sent, asked) == ("transport", "no", False, 0)


class TestRedirects:
    @both
    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_are_not_followed_and_the_key_stays(self, kind: str, status: int) -> None:
        async def main() -> Any:
            async with Upstream(answering(answer(BODY[kind]))) as other:
                redirect = answer(b"", status=f"{status} Away", headers=[f"Location: {other.url}/elsewhere"])
                async with Upstream(answering(redirect)) as upstream:
                    outcome, exchange = await ask(kind, upstream.url)
                return outcome, exchange, other.connections, len(upstream.requests)

        outcome, exchange, elsewhere, asked = asyncio.run(main())
        assert (elsewhere, asked, exchange.status) == (0, 1, status)
        assert outcome.images == ()
        assert outcome.billed == "no"


VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")


class TestProxies:
    @both
    def test_of_the_environment_are_ignored(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        async def main() -> Any:
            async with Upstream(answering(answer(b"{}"))) as proxy, Upstream(answering(answer(BODY[kind]))) as upstream:
                for name in VARIABLES:
                    monkeypatch.setenv(name, proxy.url)
                monkeypatch.delenv("NO_PROXY", raising=False)
                monkeypatch.delenv("no_proxy", raising=False)
                outcome, _ = await ask(kind, upstream.url)
                return outcome, proxy.connections

        outcome, through_the_proxy = asyncio.run(main())
        assert [image.data for image in outcome.images] == [PICTURE]
        assert through_the_proxy == 0

    @both
    def test_are_used_when_configured(self, kind: str) -> None:
        async def main() -> Any:
            async with Upstream(answering(answer(BODY[kind]))) as proxy:
                return *await ask(kind, "http://upstream.invalid", proxy=proxy.url), proxy

        outcome, exchange, proxy = asyncio.run(main())
        assert [image.data for image in outcome.images] == [PICTURE]
        assert proxy.requests[0].target.startswith("http://upstream.invalid/v1")
        assert exchange.sent

    @both
    def test_that_refuse_a_tunnel_leave_the_request_unsent(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(answer(b"", status="407 Proxy Authentication Required"))

        async def main() -> Any:
            async with Upstream(script) as proxy:
                return *await ask(kind, "https://upstream.invalid", proxy=proxy.url), proxy

        outcome, exchange, proxy = asyncio.run(main())
        assert [request.line for request in proxy.requests] == ["CONNECT upstream.invalid:443 HTTP/1.1"]
        assert (outcome.name, outcome.billed, exchange.sent) == ("transport", "no", False)
        assert KEY not in str(proxy.requests[0].headers)

    @both
    def test_whose_tunnel_leads_nowhere_leave_the_request_unsent(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(b"HTTP/1.1 200 Connection established\r\n\r\n")

        async def main() -> Any:
            async with Upstream(script) as proxy:
                return await ask(kind, "https://upstream.invalid", proxy=proxy.url)

        outcome, exchange = asyncio.run(main())
        assert (outcome.name, outcome.billed, exchange.sent) == ("transport", "no", False)

    @both
    def test_open_a_tunnel_through_which_the_request_is_sent(
        self, kind: str, authority: Authority, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def main() -> Any:
            async with Upstream(answering(answer(BODY[kind])), tls=authority.server()) as upstream:

                async def script(wire: Wire) -> None:
                    await wire.request()
                    await wire.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    await wire.join("127.0.0.1", upstream.port)

                async with Upstream(script) as proxy:
                    return *await ask(kind, upstream.url.replace("http:", "https:"), proxy=proxy.url), proxy

        monkeypatch.setenv("SSL_CERT_FILE", str(authority.path))
        outcome, exchange, proxy = asyncio.run(main())
        assert [image.data for image in outcome.images] == [PICTURE]
        assert (exchange.sent, len(proxy.requests)) == (True, 1)
        assert KEY not in str(proxy.requests[0].headers)

    @both
    def test_that_are_not_there_leave_the_request_unsent(self, kind: str) -> None:
        async def main() -> Any:
            async with Upstream(answering(b"")) as proxy:
                pass
            return await ask(kind, "http://upstream.invalid", proxy=proxy.url)

        outcome, exchange = asyncio.run(main())
        assert (outcome.name, outcome.billed, exchange.sent) == ("transport", "no", False)
