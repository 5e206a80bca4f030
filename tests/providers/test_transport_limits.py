"""How much of an answer the transport takes in, whatever its status, and what it hands to whoever asks without an adapter."""

from __future__ import annotations

import asyncio
import zlib

import httpx2
import pytest

from providers.exchange import Exchange
from providers.extraction import Limits
from providers.transport import AnswerRefusedError, RecordingTransport, http_client, recording
from tests.providers.bodies import encoded, written
from tests.providers.wire import (
    PICTURE,
    Script,
    Upstream,
    Wire,
    answer,
    answering,
    both,
    gzipped,
    picture,
    played,
)


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
