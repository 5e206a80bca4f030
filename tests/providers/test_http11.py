"""Our own HTTP/1.1 transport on real sockets: what it keeps, what it never does twice, and what it gives up on."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import httpx2
import pytest

from providers import dialling, http11
from providers.connection import BUFFER, Connection, SilenceError
from providers.http11 import Http11Transport
from tests.loop_turns import Turns
from tests.providers.wire import Script, Upstream, Wire, answer, answering, parting

LIMITS = {"connect": 5.0, "read": 5.0, "write": 5.0, "pool": 5.0}


async def untraced(event: str, info: dict[str, Any]) -> None:
    """What httpx2 calls a trace, without one."""


def request(url: str, body: bytes | Any = b"{}", *, method: str = "POST", **limits: float) -> httpx2.Request:
    extensions = {"timeout": {**LIMITS, **limits}, "trace": untraced}
    return httpx2.Request(method, url, content=body, extensions=extensions)


async def told(transport: Http11Transport, asked: httpx2.Request) -> bytes:
    """The body of the answer, its connection given back."""
    response = await transport.handle_async_request(asked)
    try:
        return await response.aread()
    finally:
        await response.aclose()


def after(script: Script, times: int = 2, **asked: Any) -> int:
    """How many connections *times* requests one after the other have taken."""

    async def main() -> int:
        async with Upstream(script) as upstream, Http11Transport() as transport:
            for _ in range(times):
                assert await told(transport, request(upstream.url, **asked)) == b"yes"
        return upstream.connections

    return asyncio.run(main())


class TestAConnection:
    @pytest.mark.parametrize("framing", ["length", "chunked"])
    def test_serves_the_next_request_too(self, framing: str) -> None:
        async def script(wire: Wire) -> None:
            while True:
                await wire.request()
                await wire.send(answer(b"yes", framing=framing))

        assert after(script, 3) == 1

    @pytest.mark.parametrize("header", ["Connection: close", "connection: Keep-Alive, CLOSE"])
    def test_that_the_upstream_wants_to_close_does_not(self, header: str) -> None:
        assert after(answering(answer(b"yes", headers=[header]))) == 2

    def test_of_http_1_0_does_not(self) -> None:
        assert after(answering(answer(b"yes").replace(b"HTTP/1.1", b"HTTP/1.0"))) == 2

    def test_on_which_more_came_than_was_asked_for_does_not(self) -> None:
        assert after(answering(answer(b"yes") + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")) == 2

    def test_that_the_upstream_has_closed_meanwhile_does_not(self) -> None:
        assert after(parting(answer(b"yes"))) == 2

    def test_whose_end_the_event_loop_has_not_seen_yet_does_not(self) -> None:
        async def main() -> int:
            async with Upstream(answering(answer(b"yes"))) as upstream, Http11Transport() as transport:
                await told(transport, request(upstream.url))
                ((connection, _),) = next(iter(transport._idle.values()))
                connection.transport.pause_reading()  # from now on the loop looks away
                for task in upstream._tasks:
                    task.cancel()
                await asyncio.gather(*upstream._tasks, return_exceptions=True)
                assert await told(transport, request(upstream.url)) == b"yes"
            return upstream.connections

        assert asyncio.run(main()) == 2

    def test_does_not_after_lying_idle_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http11, "IDLE_FOR", 0.0)
        assert after(answering(answer(b"yes"))) == 2

    def test_is_not_kept_beyond_a_number_of_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(http11, "MAX_IDLE", 0)
        assert after(answering(answer(b"yes"))) == 2

    def test_is_not_shared_while_in_use(self) -> None:
        async def main() -> tuple[list[bytes], int]:
            async with Upstream(answering(answer(b"yes"))) as upstream, Http11Transport() as transport:
                bodies = await asyncio.gather(*(told(transport, request(upstream.url)) for _ in range(3)))
            return bodies, upstream.connections

        assert asyncio.run(main()) == ([b"yes"] * 3, 3)

    def test_whose_answer_was_not_read_to_its_end_is_closed(self) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(answer(b"yes", length=1000))
            await wire.client_left()
            left.set()

        async def main() -> None:
            async with Upstream(script) as upstream, Http11Transport() as transport:
                response = await transport.handle_async_request(request(upstream.url))
                await response.aclose()
                async with asyncio.timeout(10):
                    await left.wait()

        left = asyncio.Event()
        asyncio.run(main())
        assert left.is_set()

    def test_is_closed_with_the_transport(self) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(answer(b"yes"))
            await wire.client_left()
            left.set()

        async def main() -> None:
            async with Upstream(script) as upstream, Http11Transport() as transport:
                await told(transport, request(upstream.url))
                await transport.aclose()
                async with asyncio.timeout(10):
                    await left.wait()

        left = asyncio.Event()
        asyncio.run(main())
        assert left.is_set()


class TestARequest:
    @pytest.mark.parametrize("size", [0, 1, 100_000, 3_000_000])
    def test_arrives_as_it_was(self, size: int) -> None:
        async def main() -> bytes:
            async with Upstream(answering(answer(b"yes"))) as upstream, Http11Transport() as transport:
                await told(transport, request(upstream.url, bytes(range(256)) * (size // 256 + 1)))
            return upstream.requests[0].body

        assert asyncio.run(main()) == bytes(range(256)) * (size // 256 + 1)

    def test_of_unknown_length_is_sent_in_chunks(self) -> None:
        async def pieces() -> Any:
            for number in range(3):
                yield b"%d" % number * 70_000

        async def main() -> tuple[dict[str, str], bytes]:
            async with Upstream(answering(answer(b"yes"))) as upstream, Http11Transport() as transport:
                await told(transport, request(upstream.url, pieces()))
            return upstream.requests[0].headers, upstream.requests[0].body

        headers, body = asyncio.run(main())
        assert headers["transfer-encoding"] == "chunked"
        assert body == b"0" * 70_000 + b"1" * 70_000 + b"2" * 70_000

    def test_without_a_body_has_none(self) -> None:
        async def main() -> tuple[str, bytes]:
            async with Upstream(answering(answer(b"yes"))) as upstream, Http11Transport() as transport:
                await told(transport, request(f"{upstream.url}/models?page=1", None, method="GET"))
            return upstream.requests[0].line, upstream.requests[0].body

        assert asyncio.run(main()) == ("GET /models?page=1 HTTP/1.1", b"")

    def test_that_would_break_out_of_its_headers_is_not_sent(self) -> None:
        async def main() -> int:
            async with Upstream(answering(answer(b"yes"))) as upstream, Http11Transport() as transport:
                asked = request(upstream.url)
                asked.headers["x-mine"] = "1\r\nx-evil: 2"
                with pytest.raises(httpx2.LocalProtocolError):
                    await told(transport, asked)
            return len(upstream.requests)

        assert asyncio.run(main()) == 0

    def test_that_fails_on_a_kept_connection_is_not_sent_again(self) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await wire.send(answer(b"yes"))
            await wire.request()  # and not a word

        async def main() -> int:
            async with Upstream(script) as upstream, Http11Transport() as transport:
                await told(transport, request(upstream.url))
                with pytest.raises(httpx2.RemoteProtocolError, match="left without an answer"):
                    await told(transport, request(upstream.url))
            return len(upstream.requests)

        assert asyncio.run(main()) == 2


class TestAnAnswer:
    def test_behind_others_that_ask_for_patience_is_found(self) -> None:
        patience = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        assert after(answering(patience + answer(b"yes"))) == 1

    def test_that_comes_together_with_others_is_taken_in_on_its_own(self) -> None:
        asked: list[Wire] = []
        all_asked = asyncio.Event()

        async def script(wire: Wire) -> None:
            await wire.request()
            asked.append(wire)
            if len(asked) == 5:
                all_asked.set()
            await all_asked.wait()
            await wire.send(answer(b"yes"))

        async def main() -> set[int]:
            turns = Turns()
            taken: list[int] = []

            async def ask(transport: Http11Transport, url: str) -> None:
                response = await transport.handle_async_request(request(url))
                taken.append(turns.taken)
                await response.aclose()

            async with Upstream(script) as upstream, Http11Transport() as transport:
                await asyncio.gather(*(ask(transport, upstream.url) for _ in range(5)))
            return set(taken)

        assert len(asyncio.run(main())) == 5

    def test_that_comes_before_the_request_has_left_counts(self) -> None:
        async def script(wire: Wire) -> None:
            await wire.head()
            await wire.send(answer(b"too large", status="413 No", headers=["Connection: close"]))
            await wire.half_close()

        async def main() -> tuple[int, bytes]:
            async with Upstream(script) as upstream, Http11Transport() as transport:
                response = await transport.handle_async_request(request(upstream.url, bytes(2**24)))
                return response.status_code, await response.aread()

        assert asyncio.run(main()) == (413, b"too large")

    def test_waits_in_the_network_while_nobody_takes_it(self) -> None:
        async def main() -> tuple[int, int]:
            async with Upstream(answering(answer(bytes(2**24)))) as upstream, Http11Transport() as transport:
                response = await transport.handle_async_request(request(upstream.url))
                connection = response.stream._exchange.connection  # type: ignore[attr-defined]
                for _ in range(200):
                    await asyncio.sleep(0)
                return len(connection._kept), len(await response.aread())

        kept, whole = asyncio.run(main())
        assert kept < 2 * BUFFER
        assert whole == 2**24


class TestTimeLimits:
    def test_of_a_silent_upstream(self) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            await asyncio.Event().wait()

        async def main() -> None:
            async with Upstream(script) as upstream, Http11Transport() as transport:
                await told(transport, request(upstream.url, read=0.05))

        with pytest.raises(httpx2.ReadTimeout, match=r"nothing came for 0\.05 s"):
            asyncio.run(main())

    def test_count_from_the_last_byte_that_came(self) -> None:
        clock = _Clock()

        async def main() -> None:
            connection = clock.connection()
            reading = asyncio.create_task(connection.read(lambda view: False, 10.0))
            await asyncio.sleep(0)
            for clock.now in (9.0, 18.0, 27.0):
                connection.buffer_updated(1)
                await asyncio.sleep(0)
                assert not reading.done()
            clock.now = 37.1
            await reading

        with pytest.raises(SilenceError):
            asyncio.run(main())

    def test_of_one_read_are_not_those_of_the_next(self) -> None:
        clock = _Clock()

        async def main() -> None:
            connection = clock.connection()
            for gap in (10.0, 100.0):
                reading = asyncio.create_task(connection.read(lambda view: True, gap))
                await asyncio.sleep(0)
                clock.now += gap - 5
                for _ in range(3):
                    await asyncio.sleep(0)
                assert not reading.done()
                connection.buffer_updated(1)
                await reading

        asyncio.run(main())

    def test_of_an_upstream_that_does_not_read(self) -> None:
        async def script(wire: Wire) -> None:
            await wire.head()
            await asyncio.Event().wait()

        async def main() -> None:
            async with Upstream(script) as upstream, Http11Transport() as transport:
                await told(transport, request(upstream.url, bytes(2**24), write=0.05))

        with pytest.raises(httpx2.WriteTimeout):
            asyncio.run(main())


class _Clock:
    """The time of an event loop, set by hand."""

    now = 0.0

    def connection(self) -> Connection:
        """A connection on the running event loop, which goes by this clock from now on."""
        asyncio.get_running_loop().time = lambda: self.now  # type: ignore[method-assign]
        connection = Connection()
        connection._transport = _Resumed()  # type: ignore[assignment]
        return connection


class _Resumed:
    def resume_reading(self) -> None:
        """There is nothing to resume."""


def addresses(*names: str) -> Any:
    """A resolver that knows only *names*."""

    async def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        families = [socket.AF_INET6 if ":" in name else socket.AF_INET for name in names]
        return [(family, socket.SOCK_STREAM, 6, "", (name, port)) for family, name in zip(families, names, strict=True)]

    return getaddrinfo


async def dialled(upstream: Upstream, *names: str) -> tuple[str, int]:
    """The peer that was reached at *names*."""
    asyncio.get_running_loop().getaddrinfo = addresses(*names)  # type: ignore[method-assign]
    connection = await dialling.dial("upstream.invalid", upstream.port)
    peer: tuple[str, int] = connection.transport.get_extra_info("peername")
    connection.abort()
    return peer


class TestDialling:
    def test_goes_on_to_the_next_address_when_one_refuses(self) -> None:
        async def main() -> bool:
            async with Upstream(answering(answer(b"yes"))) as upstream:
                return await dialled(upstream, "127.0.0.2", "127.0.0.1") == ("127.0.0.1", upstream.port)

        assert asyncio.run(main())

    def test_does_not_wait_for_an_address_that_is_silent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def connect(address: str, port: int) -> Connection:
            if address == "127.0.0.2":
                await asyncio.Event().wait()
            return await reach(address, port)

        async def main() -> bool:
            async with Upstream(answering(answer(b"yes"))) as upstream:
                return await dialled(upstream, "127.0.0.2", "127.0.0.1") == ("127.0.0.1", upstream.port)

        reach = dialling._connect
        monkeypatch.setattr(dialling, "_connect", connect)
        monkeypatch.setattr(dialling, "STAGGER", 0.0)
        assert asyncio.run(main())

    def test_tells_what_the_first_address_said_when_none_answers(self) -> None:
        async def main() -> None:
            async with Upstream(answering(b"")) as upstream:
                pass
            await dialled(upstream, "127.0.0.1", "127.0.0.2")

        with pytest.raises(ConnectionRefusedError, match=r"127\.0\.0\.1"):
            asyncio.run(main())

    def test_has_the_families_take_turns(self) -> None:
        async def main() -> list[str]:
            asyncio.get_running_loop().getaddrinfo = addresses("::1", "::2", "::3", "127.0.0.1", "::1")  # type: ignore
            return await dialling._addresses("upstream.invalid", 80)

        assert asyncio.run(main()) == ["::1", "127.0.0.1", "::2", "::3"]
