"""What the transport makes of real connections, under both real SDKs."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import threading
import zlib
from typing import Any

import httpx2
import pytest

from providers import transport
from providers.exchange import Exchange
from providers.extraction import Limits
from providers.http11 import Http11Transport
from providers.outcome import Outcome
from providers.provider import Provider
from providers.transport import MAX_ERROR_BODY, AnswerRefusedError, RecordingTransport, http_client, recording
from tests.providers.bodies import encoded, written
from tests.providers.wire import (
    BODY,
    GOOD,
    KEY,
    KINDS,
    PICTURE,
    Authority,
    Script,
    Upstream,
    Wire,
    answer,
    answering,
    ask,
    drawing,
    gzipped,
    make,
    parting,
    picture,
    played,
)

both = pytest.mark.parametrize("kind", KINDS)
every_dialect = pytest.mark.parametrize("kind", [*KINDS, "chat"])

LARGE = 24 * 2**20
"""Bytes of a reference image beyond what the kernel's buffers take in."""


def in_half(data: bytes) -> bytes:
    return data[: len(data) // 2]


class TestImages:
    @every_dialect
    @pytest.mark.parametrize("framing", ["length", "chunked", "close"])
    def test_arrive_whatever_frames_the_body(self, kind: str, framing: str) -> None:
        outcome, exchange, _ = played(kind, answering(answer(BODY[kind], framing=framing)))
        assert [image.data for image in outcome.images] == [PICTURE]
        assert (outcome.name, outcome.billed) == ("ok", "yes")
        assert (exchange.sent, exchange.status, exchange.failure) == (True, 200, None)

    @every_dialect
    def test_arrive_byte_by_byte(self, kind: str) -> None:
        whole = answer(BODY[kind], framing="chunked")
        outcome, _, _ = played(kind, answering(*(whole[place : place + 1] for place in range(len(whole)))))
        assert [image.data for image in outcome.images] == [PICTURE]

    @every_dialect
    @pytest.mark.parametrize("framing", ["length", "chunked"])
    def test_arrive_in_gzip_that_nobody_asked_for(self, kind: str, framing: str) -> None:
        whole = answer(gzipped(BODY[kind]), framing=framing, headers=["Content-Encoding: gzip"])
        assert [image.data for image in played(kind, answering(whole))[0].images] == [PICTURE]

    @both
    def test_of_many_megabytes_arrive(self, kind: str) -> None:
        large = picture(1024, 1024)
        body = BODY[kind].replace(encoded(PICTURE).encode(), encoded(large).encode())
        outcome, exchange, _ = played(kind, answering(answer(body, framing="chunked")))
        assert [image.data for image in outcome.images] == [large]
        assert len(exchange.body) < 500

    @both
    def test_are_not_in_what_the_sdk_parses(self, kind: str) -> None:
        _, exchange, _ = played(kind, answering(answer(BODY[kind])))
        (marker,) = exchange.images
        assert exchange.images[marker] == PICTURE
        assert json.loads(exchange.body) == json.loads(BODY[kind].replace(encoded(PICTURE).encode(), marker.encode()))

    @both
    @pytest.mark.parametrize(
        "content_type",
        ["text/html", "text/plain; charset=utf-16", "image/png", "x", "", "application/json; charset=no"],
    )
    def test_arrive_under_a_wrong_content_type(self, kind: str, content_type: str) -> None:
        whole = answer(BODY[kind], headers=[f"Content-Type: {content_type}"])
        assert [image.data for image in played(kind, answering(whole))[0].images] == [PICTURE]

    @both
    def test_arrive_behind_a_byte_order_mark(self, kind: str) -> None:
        outcome, _, _ = played(kind, answering(answer(b"\xef\xbb\xbf" + BODY[kind])))
        assert [image.data for image in outcome.images] == [PICTURE]

    @both
    def test_cannot_be_had_for_a_string_that_looks_like_a_marker(self, kind: str) -> None:
        own = encoded(PICTURE)
        for forged in ("0" * 40, f"{0:032x}{0:08x}", f"{1:040x}", "a" * 40):
            document = json.loads(json.dumps(GOOD[kind]).replace(own, forged))
            outcome, exchange, _ = played(
                kind, answering(answer(written([document] if kind == "openai" else document)))
            )
            assert exchange.images == {}
            assert outcome.images == ()

    @both
    def test_arrive_over_a_connection_that_is_used_again(self, kind: str) -> None:
        async def main() -> tuple[list[bool], int]:
            async with Upstream(answering(answer(BODY[kind]))) as upstream:
                provider = make(kind, upstream.url)
                outcomes = [await provider.generate(drawing(), Exchange()) for _ in range(3)]
                await provider.aclose()
            return [outcome.images[0].data == PICTURE for outcome in outcomes], upstream.connections

        assert asyncio.run(main()) == ([True] * 3, 1)


async def refused(kind: str, request: Any) -> Any:
    """A call to a port where nobody listens any more."""
    async with Upstream(answering(b"")) as upstream:
        pass
    return await ask(kind, upstream.url, request)


def expect(kind: str, script: Script, request: Any = None) -> tuple[str, str, bool, int | None, str | None]:
    """Outcome, billed, sent, status and failure of a call that has to fail without an image."""
    outcome, exchange, upstream = played(kind, script, request)
    assert outcome.images == ()
    assert len(outcome.detail) > 3
    assert upstream.connections == 1
    return outcome.name, outcome.billed, exchange.sent, exchange.status, exchange.failure


NOT_SENT = ("transport", "no", False, None, "transport")
NO_ANSWER = ("transport", "maybe", True, None, "transport")
CUT = ("transport", "maybe", True, 200, "transport")
REFUSED = ("bad_response", "maybe", True, 200, "bad_response")


@both
class TestBeforeTheRequestIsSent:
    def test_a_refused_connection_costs_nothing(self, kind: str) -> None:
        outcome, exchange = asyncio.run(refused(kind, drawing()))
        assert (outcome.name, outcome.billed, exchange.sent) == ("transport", "no", False)
        assert (exchange.status, exchange.failure) == (None, "transport")

    def test_an_unknown_host_costs_nothing(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(*_: object, **__: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        outcome, exchange = asyncio.run(ask(kind, "http://nowhere.invalid"))
        assert (outcome.name, outcome.billed, exchange.sent) == ("transport", "no", False)

    def test_tls_to_a_plain_port_costs_nothing(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.send(b"HTTP/1.1 400 The plain HTTP request was sent to HTTPS port\r\n\r\n")
            await wire.client_left()

        async def main() -> Any:
            async with Upstream(script) as upstream:
                return await ask(kind, upstream.url.replace("http:", "https:"))

        outcome, exchange = asyncio.run(main())
        assert (outcome.name, outcome.billed, exchange.sent, exchange.status) == ("transport", "no", False, None)

    def test_a_reset_while_the_request_is_being_sent_costs_nothing(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.head()
            wire.reset()

        assert expect(kind, script, drawing(reference=LARGE)) == NOT_SENT

    def test_a_close_while_the_request_is_being_sent_costs_nothing(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.head()

        assert expect(kind, script, drawing(reference=LARGE)) == NOT_SENT

    def test_an_upstream_that_does_not_read_runs_into_the_time_limit(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.head()
            await asyncio.Event().wait()

        assert expect(kind, script, drawing(reference=LARGE, timeout=0.3)) == NOT_SENT


@both
class TestAfterTheRequestIsSent:
    def test_a_reset_may_have_cost(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            wire.reset()

        assert expect(kind, script) == NO_ANSWER

    def test_a_reset_after_a_large_request_may_have_cost(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            wire.reset()

        assert expect(kind, script, drawing(reference=LARGE)) == NO_ANSWER

    @pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", b"HTTP/1.1 100 Continue\r\n\r\n"])
    def test_a_close_before_the_answer_may_have_cost(self, kind: str, start: bytes) -> None:
        assert expect(kind, answering(start)) == NO_ANSWER

    def test_silence_until_the_time_limit_may_have_cost(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await asyncio.Event().wait()

        assert expect(kind, script, drawing(timeout=0.2)) == ("timeout", "maybe", True, None, "timeout")

    def test_an_answer_that_stops_is_given_up_after_the_read_gap_not_the_whole_time(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(in_half(answer(BODY[kind])))
            await asyncio.Event().wait()

        monkeypatch.setattr(transport, "READ_GAP", 0.1)
        assert expect(kind, script, drawing(timeout=3600)) == ("timeout", "maybe", True, 200, "timeout")

    def test_the_read_gap_does_not_count_before_the_answer_begins(
        self, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[float | None] = []
        handle = Http11Transport.handle_async_request

        async def noting(self: Http11Transport, request: httpx2.Request) -> httpx2.Response:
            asked.append(request.extensions["timeout"]["read"])
            return await handle(self, request)

        monkeypatch.setattr(Http11Transport, "handle_async_request", noting)
        assert played(kind, answering(answer(BODY[kind])), drawing(timeout=90))[0].name == "ok"
        assert asked == [90]

    @pytest.mark.parametrize(
        "data",
        [
            b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\r\n",
            b"<html>hello</html>\r\n\r\n",
            b"\0" * 1000,
            b"HTTP/9 x\r\n\r\n",
        ],
    )
    def test_bytes_that_are_not_http_may_have_cost(self, kind: str, data: bytes) -> None:
        assert expect(kind, answering(data)) == NO_ANSWER

    def test_a_header_of_200_kilobytes_is_refused(self, kind: str) -> None:
        assert expect(kind, answering(answer(BODY[kind], headers=["X-Long: " + "x" * 200_000]))) == NO_ANSWER

    @pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
    def test_a_body_shorter_than_its_length_is_no_answer(self, kind: str, share: float) -> None:
        body = BODY[kind]
        assert expect(kind, parting(answer(body[: int(share * len(body))], length=len(body)))) == CUT

    def test_a_whole_document_shorter_than_its_length_is_no_answer(self, kind: str) -> None:
        assert expect(kind, parting(answer(BODY[kind], length=len(BODY[kind]) + 1))) == CUT

    @pytest.mark.parametrize("less", [5, 7, 300])
    def test_a_chunked_body_without_its_end_is_no_answer(self, kind: str, less: int) -> None:
        assert expect(kind, answering(answer(BODY[kind], framing="chunked")[:-less])) == CUT

    def test_chunks_that_are_none_are_no_answer(self, kind: str) -> None:
        head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        assert expect(kind, answering(head + b"zz\r\n" + BODY[kind])) == CUT

    def test_a_body_that_ends_with_the_connection_in_the_middle_of_an_image_is_refused(self, kind: str) -> None:
        assert expect(kind, answering(in_half(answer(BODY[kind], framing="close")))) == REFUSED

    def test_a_body_that_ends_with_the_connection_outside_a_string_is_no_success(self, kind: str) -> None:
        body = BODY[kind][:-2]
        assert expect(kind, answering(answer(body, framing="close"))) == ("bad_response", "maybe", True, 200, None)

    def test_a_body_that_ends_with_a_reset_in_its_middle_is_no_answer(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(in_half(answer(BODY[kind], framing="close")))
            wire.reset()

        outcome, exchange, _ = played(kind, script)
        assert (outcome.images, outcome.billed, exchange.sent) == ((), "maybe", True)
        assert exchange.failure == "transport"

    def test_an_upstream_that_only_half_closes_has_answered(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(answer(BODY[kind], framing="close"))
            await wire.half_close()

        outcome, exchange, _ = played(kind, script)
        assert [image.data for image in outcome.images] == [PICTURE]
        assert exchange.failure is None

    @pytest.mark.parametrize("framing", ["length", "close"])
    def test_gzip_that_stops_halfway_is_refused(self, kind: str, framing: str) -> None:
        whole = answer(in_half(gzipped(BODY[kind])), framing=framing, headers=["Content-Encoding: gzip"])
        assert expect(kind, answering(whole)) == REFUSED

    def test_gzip_with_a_changed_byte_is_refused(self, kind: str) -> None:
        body = bytearray(gzipped(BODY[kind]))
        body[len(body) // 2] ^= 0xFF
        outcome, exchange, _ = played(kind, answering(answer(bytes(body), headers=["Content-Encoding: gzip"])))
        assert (outcome.name, outcome.billed, outcome.images) == ("bad_response", "maybe", ())
        assert exchange.failure == "bad_response"

    def test_a_plain_body_that_says_it_is_gzip_is_refused(self, kind: str) -> None:
        assert expect(kind, answering(answer(BODY[kind], headers=["Content-Encoding: gzip"]))) == REFUSED

    def test_an_error_body_over_its_limit_is_refused(self, kind: str) -> None:
        for framing in ("length", "chunked"):
            whole = answer(b" " * (MAX_ERROR_BODY + 1), status="500 Oops", framing=framing)
            assert expect(kind, answering(whole)) == ("bad_response", "maybe", True, 500, "bad_response")

    def test_an_error_body_at_its_limit_is_read(self, kind: str) -> None:
        _, exchange, _ = played(kind, answering(answer(b" " * MAX_ERROR_BODY, status="500 Oops")))
        assert (exchange.failure, len(exchange.body)) == (None, MAX_ERROR_BODY)


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


async def fetched(script: Script, limits: Limits) -> tuple[Exchange, Exception | httpx2.Response]:
    """What a bare client over the transport with *limits* gets."""
    exchange = Exchange()
    async with Upstream(script) as upstream, httpx2.AsyncClient(transport=RecordingTransport(limits=limits)) as client:
        try:
            with recording(exchange):
                return exchange, await client.post(upstream.url, content=b"{}")
        except httpx2.TransportError as error:
            return exchange, error


class TestLimits:
    small = Limits(images=10_000, text=10_000)

    @pytest.mark.parametrize("head", [b"", b'["'], ids=["blanks", "one string"])
    def test_stop_a_decompression_bomb(self, head: bytes) -> None:
        packer = zlib.compressobj(9, wbits=31)
        bomb = packer.compress(head) + b"".join(packer.compress(b" " * 2**20) for _ in range(64)) + packer.flush()
        exchange, error = asyncio.run(fetched(answering(answer(bomb, headers=["Content-Encoding: gzip"])), self.small))
        assert isinstance(error, AnswerRefusedError)
        assert str(error) == "the answer's text is over the limit of 10000 bytes"
        assert (exchange.failure, exchange.failure_detail) == ("bad_response", str(error))
        assert (exchange.body, exchange.images) == (b"", {})

    @pytest.mark.parametrize("framing", ["length", "chunked"])
    def test_stop_images_that_are_too_large(self, framing: str) -> None:
        body = written([encoded(picture(80, 80))])
        exchange, error = asyncio.run(fetched(answering(answer(body, framing=framing)), self.small))
        assert str(error) == "the answer's images are over the limit of 10000 bytes"
        assert exchange.failure == "bad_response"

    def test_stop_an_endless_answer(self) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\n[")
            while True:
                await wire.send(b"1," * 1000)

        exchange, error = asyncio.run(fetched(script, self.small))
        assert isinstance(error, AnswerRefusedError)
        assert exchange.failure == "bad_response"

    def test_let_through_what_is_within_them(self) -> None:
        exchange, response = asyncio.run(fetched(answering(answer(written(["x" * 9000]))), self.small))
        assert isinstance(response, httpx2.Response)
        assert response.json() == ["x" * 9000]
        assert exchange.failure is None

    def test_are_those_of_the_extractor_unless_told(self) -> None:
        assert RecordingTransport()._limits == Limits()


class TestTheAnswerOfABareClient:
    @pytest.mark.parametrize("framing", ["length", "chunked"])
    def test_is_plain_though_it_came_compressed_or_in_chunks(self, framing: str) -> None:
        packed = answer(gzipped(written(["x" * 100])), framing=framing, headers=["Content-Encoding: gzip", "X-Mine: 1"])
        _, response = asyncio.run(fetched(answering(packed), Limits()))
        assert isinstance(response, httpx2.Response)
        assert response.json() == ["x" * 100]
        assert {"content-encoding", "transfer-encoding"}.isdisjoint(response.headers)
        assert response.headers["content-length"] == str(len(response.content))
        assert response.headers["x-mine"] == "1"

    def test_after_a_recording_is_not_in_its_record(self) -> None:
        async def main() -> tuple[Exchange, Exchange, httpx2.Response]:
            outer, inner = Exchange(), Exchange()
            async with Upstream(answering(answer(b"{}"))) as upstream, http_client() as client:
                with recording(outer):
                    with recording(inner):
                        pass
                    await client.post(upstream.url)
                outer_body, outer.body = outer.body, b"as it was"
                assert outer_body == b"{}"
                return outer, inner, await client.post(upstream.url)

        outer, inner, response = asyncio.run(main())
        assert (outer.status, outer.body, inner.status) == (200, b"as it was", None)
        assert response.content == b"{}"


class TestOtherStatuses:
    @both
    @pytest.mark.parametrize("status", [201, 202, 400, 401, 403, 404, 413, 418, 451, 499, 502, 504, 529, 599])
    def test_reach_the_caller_untouched(self, kind: str, status: int) -> None:
        body = b'{"error": {"message": "as it was", "image": "' + encoded(PICTURE).encode() + b'"}}'
        _, exchange, upstream = played(kind, answering(answer(body, status=f"{status} X", headers=["X-Mine: 1"])))
        assert (exchange.status, exchange.body, exchange.images) == (status, body, {})
        assert (exchange.failure, exchange.headers["x-mine"]) == (None, "1")
        assert len(upstream.requests) == 1

    @both
    def test_may_have_no_body(self, kind: str) -> None:
        _, exchange, _ = played(kind, answering(answer(b"", status="204 No Content")))
        assert (exchange.status, exchange.body, exchange.failure) == (204, b"", None)

    @both
    def test_may_be_in_gzip(self, kind: str) -> None:
        packed = gzipped(b'{"error": {"code": 429, "message": "slowly"}}')
        outcome, _, _ = played(
            kind, answering(answer(packed, status="429 No", headers=["Content-Encoding: gzip", "Retry-After: 7"]))
        )
        assert (outcome.name, outcome.retry_after) == ("rate_limited", 7)


class TestRequests:
    @both
    def test_ask_for_a_plain_body(self, kind: str) -> None:
        _, _, upstream = played(kind, answering(answer(BODY[kind])))
        assert upstream.requests[0].headers["accept-encoding"] == "identity"

    @both
    def test_carry_the_key_once(self, kind: str) -> None:
        _, _, upstream = played(kind, answering(answer(BODY[kind])))
        (request,) = upstream.requests
        carriers = {name: value for name, value in request.headers.items() if KEY in value}
        expected = {"google": {"x-goog-api-key": KEY}, "openai": {"authorization": f"Bearer {KEY}"}}
        assert carriers == expected[kind]
        assert KEY not in request.line
        assert KEY.encode() not in request.body

    def test_carry_googles_key_as_a_bearer_token_alone_where_that_is_asked(self) -> None:
        _, _, upstream = played("google", answering(answer(BODY["google"])), auth="bearer")
        headers = upstream.requests[0].headers
        assert headers["authorization"] == f"Bearer {KEY}"
        assert "x-goog-api-key" not in headers

    @both
    def test_carry_the_headers_of_the_settings(self, kind: str) -> None:
        _, _, upstream = played(kind, answering(answer(BODY[kind])), headers={"X-Title": "mine"})
        assert upstream.requests[0].headers["x-title"] == "mine"

    @both
    def test_outside_a_recording_work_all_the_same(self, kind: str) -> None:
        async def main() -> Any:
            async with Upstream(answering(answer(BODY[kind]))) as upstream, http_client() as client:
                return (await client.post(upstream.url, content=b"{}")).status_code

        assert asyncio.run(main()) == 200

    @both
    def test_of_two_calls_at_once_are_recorded_apart(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            received = await wire.request()
            drawn = picture(seed=2 if b"second" in received.body else 1)
            if b"second" not in received.body:
                await second_answered.wait()
            await wire.send(answer(BODY[kind].replace(encoded(PICTURE).encode(), encoded(drawn).encode())))
            second_answered.set()

        async def main() -> list[bytes]:
            async with Upstream(script) as upstream:
                provider = make(kind, upstream.url)
                outcomes = await asyncio.gather(
                    *(provider.generate(drawing(prompt), Exchange()) for prompt in ("first", "second"))
                )
                await provider.aclose()
            return [outcome.images[0].data for outcome in outcomes]

        second_answered = asyncio.Event()
        assert asyncio.run(main()) == [PICTURE, picture(seed=2)]


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


class TestCancelling:
    @both
    def test_while_connecting_leaves_the_request_unsent(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            connected.set()
            await asyncio.Event().wait()  # never a word of TLS

        async def main() -> Exchange:
            async with Upstream(script) as upstream:
                return await cancelled(kind, upstream.url.replace("http:", "https:"), connected)

        connected = asyncio.Event()
        exchange = asyncio.run(main())
        assert (exchange.sent, exchange.status, exchange.failure) == (False, None, None)

    @both
    def test_while_waiting_for_the_answer_leaves_it_sent(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            received.set()
            await asyncio.Event().wait()

        async def main() -> Exchange:
            async with Upstream(script) as upstream:
                return await cancelled(kind, upstream.url, received)

        received = asyncio.Event()
        exchange = asyncio.run(main())
        assert (exchange.sent, exchange.status, exchange.failure) == (True, None, None)

    @both
    def test_while_the_request_is_being_sent_leaves_it_unsent(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.head()
            begun.set()
            await asyncio.Event().wait()

        async def main() -> Exchange:
            async with Upstream(script) as upstream:
                return await cancelled(kind, upstream.url, begun, reference=LARGE)

        begun = asyncio.Event()
        assert asyncio.run(main()).sent is False

    @both
    def test_closes_the_connection(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            received.set()
            await wire.client_left()
            left.set()

        async def main() -> bool:
            async with Upstream(script) as upstream:
                await cancelled(kind, upstream.url, received)
                async with asyncio.timeout(10):
                    await left.wait()
            return left.is_set()

        received, left = asyncio.Event(), asyncio.Event()
        assert asyncio.run(main())


async def cancelled(kind: str, url: str, moment: asyncio.Event, reference: int = 0) -> Exchange:
    """The record of a call that is cancelled at *moment*."""
    provider, exchange = make(kind, url), Exchange()
    call = asyncio.create_task(provider.generate(drawing(reference=reference), exchange))
    await moment.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    await provider.aclose()
    return exchange


class TestLoopsAndThreads:
    @both
    def test_one_adapter_serves_several_at_once(self, kind: str) -> None:
        async def draw(provider: Provider) -> list[bytes]:
            outcomes = [await provider.generate(drawing(), Exchange()) for _ in range(3)]
            await provider.aclose()
            return [image.data for outcome in outcomes for image in outcome.images]

        def in_a_thread(provider: Provider) -> list[bytes]:
            together.wait(30)
            return asyncio.run(draw(provider))

        async def main() -> tuple[list[list[bytes]], int]:
            async with Upstream(answering(answer(BODY[kind]))) as upstream:
                provider = make(kind, upstream.url)
                drawn = await asyncio.gather(*(asyncio.to_thread(in_a_thread, provider) for _ in range(4)))
            return drawn, upstream.connections

        together = threading.Barrier(4)
        assert asyncio.run(main()) == ([[PICTURE] * 3] * 4, 4)

    @both
    def test_one_adapter_serves_one_after_the_other(self, kind: str) -> None:
        async def draw(provider: Provider) -> list[bytes]:
            outcome = await provider.generate(drawing(), Exchange())
            await provider.aclose()
            return [image.data for image in outcome.images]

        async def serve() -> Any:
            async with Upstream(answering(answer(BODY[kind]))) as upstream:
                shared = make(kind, upstream.url)
                return [await asyncio.to_thread(asyncio.run, draw(shared)) for _ in range(3)]

        assert asyncio.run(serve()) == [[PICTURE]] * 3

    @both
    def test_closing_an_adapter_closes_its_connections(self, kind: str) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(answer(BODY[kind]))
            await wire.client_left()
            left.set()

        async def main() -> bool:
            async with Upstream(script) as upstream:
                await ask(kind, upstream.url)
                async with asyncio.timeout(10):
                    await left.wait()
            return left.is_set()

        left = asyncio.Event()
        assert asyncio.run(main())

    @both
    def test_an_adapter_works_on_after_it_was_closed(self, kind: str) -> None:
        async def main() -> list[str]:
            async with Upstream(answering(answer(BODY[kind]))) as upstream:
                provider = make(kind, upstream.url)
                names = []
                for _ in range(2):
                    names.append((await provider.generate(drawing(), Exchange())).name)
                    await provider.aclose()
            return names

        assert asyncio.run(main()) == ["ok", "ok"]
