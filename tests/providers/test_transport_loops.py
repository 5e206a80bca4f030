"""What becomes of calls that are cancelled, and of those on several event loops and threads."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from providers.exchange import Exchange
from providers.provider import Provider
from tests.providers.wire import (
    BODY,
    LARGE,
    PICTURE,
    Upstream,
    Wire,
    answer,
    answering,
    ask,
    both,
    drawing,
    make,
)


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
