"""`Gateway.generate_many`: the same run for code without an event loop."""

from __future__ import annotations

import gc
import threading
from collections.abc import AsyncIterator, Iterator

import anyio.to_thread
import pytest

from gateway import Gateway, ImageResult, InvalidRequest
from providers.exchange import Exchange
from providers.outcome import Outcome
from providers.request import UpstreamRequest
from tests.gateway.upstreams import Studio, draws, lane, relay, studio

AT_ONCE = draws(seconds=0.0)


@pytest.fixture
def painters() -> Studio:
    made = studio(only=relay(lane(price=0.05)))
    made.script("only", *[AT_ONCE] * 1000)
    return made


def gateway_over(painters: Studio) -> Gateway:
    return Gateway(painters.config, load=painters.load)


def test_every_request_comes_back_with_its_place(painters: Studio) -> None:
    with gateway_over(painters) as gateway:
        ends = list(gateway.generate_many(f"fox {number}" for number in range(40)))
    assert sorted(index for index, _ in ends) == list(range(40))
    assert all(isinstance(ended, ImageResult) for _, ended in ends)


def test_requests_are_made_in_the_callers_own_thread_which_may_use_the_gateway_itself(painters: Studio) -> None:
    makers = set()

    def requests(gateway: Gateway) -> Iterator[str]:
        for number in range(5):
            makers.add(threading.current_thread())
            gateway.generate("a sketch")
            yield f"fox {number}"

    with gateway_over(painters) as gateway:
        assert len(list(gateway.generate_many(requests(gateway)))) == 5
    assert makers == {threading.current_thread()}


def test_no_more_is_read_than_there_is_room_for(painters: Studio) -> None:
    read = []

    def requests() -> Iterator[str]:
        while True:
            read.append(1)
            yield "a fox"

    with gateway_over(painters) as gateway:
        results = gateway.generate_many(requests(), 3)
        for _ in range(10):
            next(results)
        assert len(read) <= 10 + 3 + 1
        results.close()
    assert len(painters.calls) <= 10 + 3 + 1


def test_an_abandoned_run_begins_no_further_calls_and_closing_waits_for_those_under_way(painters: Studio) -> None:
    let_go, begun = threading.Event(), threading.Semaphore(0)
    ended = []

    async def slow(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        exchange.sent = True
        begun.release()
        await anyio.to_thread.run_sync(let_go.wait)
        ended.append(1)
        return await AT_ONCE(request, exchange)

    painters.script("only", AT_ONCE, *[slow] * 100)
    gateway = gateway_over(painters)
    for _ in gateway.generate_many(["a fox"] * 100, 4):
        assert all(begun.acquire(timeout=20) for _ in range(3))
        break
    gc.collect()
    let_go.set()
    gateway.close()
    assert len(painters.calls) == 1 + 3
    assert len(ended) == 3


def test_the_callers_own_failure_is_raised_after_the_results(painters: Studio) -> None:
    def requests() -> Iterator[str]:
        yield "a fox"
        raise KeyError("row 2")

    taken = []
    with gateway_over(painters) as gateway, pytest.raises(KeyError, match="row 2"):
        taken.extend(gateway.generate_many(requests()))
    with gateway_over(painters) as gateway:
        results = gateway.generate_many(requests())
        assert next(results)[0] == 0


def test_asynchronous_requests_need_the_asynchronous_gateway(painters: Studio) -> None:
    async def requests() -> AsyncIterator[str]:
        yield "a fox"

    with gateway_over(painters) as gateway, pytest.raises(InvalidRequest, match="AsyncGateway"):
        gateway.generate_many(requests())  # type: ignore[arg-type]


def test_terms_are_refused_at_the_call(painters: Studio) -> None:
    with gateway_over(painters) as gateway, pytest.raises(InvalidRequest, match="concurrency"):
        gateway.generate_many(["a fox"], 0)
