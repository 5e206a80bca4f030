"""What the transport makes of real connections, under both real SDKs."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

import httpx2
import pytest

from providers import transport
from providers.exchange import Exchange
from providers.http11 import Http11Transport
from providers.transport import MAX_ERROR_BODY, http_client
from tests.providers.bodies import encoded, written
from tests.providers.wire import (
    BODY,
    GOOD,
    KEY,
    LARGE,
    PICTURE,
    Script,
    Upstream,
    Wire,
    answer,
    answering,
    ask,
    both,
    drawing,
    every_dialect,
    gzipped,
    make,
    parting,
    picture,
    played,
)


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
