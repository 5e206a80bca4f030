"""`generate_many`: many requests, as many at once as the lanes take, one result at a time."""

from __future__ import annotations

import gc
import weakref
from collections.abc import AsyncIterator, Iterator
from itertools import count
from typing import Any

import anyio
import pytest

from gateway import (
    AllAttemptsFailed,
    ConfigError,
    ContentBlocked,
    GatewayError,
    ImageRequest,
    ImageResult,
    InvalidRequest,
)
from gateway.bulk.run import MOST
from providers.exchange import Exchange
from providers.images import GeneratedImage
from providers.outcome import Outcome, Part
from providers.request import UpstreamRequest
from tests.gateway.upstreams import Answer, Studio, draws, fails, lane, relay, studio

Ends = list[tuple[int, ImageResult | GatewayError]]


def one(**keys: Any) -> Studio:
    """One upstream with one lane at $0.05."""
    return studio(only=relay(lane(price=0.05), **keys))


def every(painters: Studio, requests: Any, concurrency: int | None = None, **terms: Any) -> Ends:
    """All results of a run, in the order in which they came."""

    async def run() -> Ends:
        return [ended async for ended in painters.gateway.generate_many(requests, concurrency, **terms)]

    return painters.time.run(run)


def at_once(painters: Studio, seconds: float = 5.0) -> tuple[Answer, list[int]]:
    """An answer that notes how many calls are under way."""
    under_way: list[int] = []
    now = 0

    async def answer(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        nonlocal now
        now += 1
        under_way.append(now)
        try:
            return await draws(seconds=seconds)(request, exchange)
        finally:
            now -= 1

    return answer, under_way


def kinds(ends: Ends) -> list[str]:
    """What came of each request, in the order of the requests."""
    return [type(ended).__name__ for _, ended in sorted(ends, key=lambda each: each[0])]


# What comes out


def test_results_come_in_the_order_in_which_they_end_with_the_place_of_their_request() -> None:
    painters = one()
    painters.script("only", draws(seconds=9), draws(seconds=3), draws(seconds=6))
    ends = every(painters, ["a fox", "a hen", "an owl"])
    assert [index for index, _ in ends] == [1, 2, 0]
    assert kinds(ends) == ["ImageResult"] * 3


def test_results_that_were_not_taken_at_once_come_in_that_order_too() -> None:
    painters = one()
    painters.script("only", draws(seconds=9), draws(seconds=3), draws(seconds=6), draws(seconds=1))
    order: list[int] = []

    async def run() -> None:
        async for index, _ in painters.gateway.generate_many(["a fox", "a hen", "an owl", "a cat"]):
            order.append(index)
            await anyio.sleep(100)

    painters.time.run(run)
    assert order == [3, 1, 2, 0]


def test_a_request_is_a_prompt_or_a_mapping_or_a_request() -> None:
    painters = one()
    ends = every(painters, ["a fox", {"prompt": "a hen", "size": "2K"}, ImageRequest(prompt="an owl", size="4K")])
    assert kinds(ends) == ["ImageResult"] * 3
    assert sorted(call.request.size or "" for call in painters.calls) == ["1K", "2K", "4K"]


def test_a_request_that_cannot_be_meant_ends_at_its_place_and_stops_no_other() -> None:
    ends = every(one(), ["a fox", {"prompt": "a hen", "size": "9K"}, 7, {1: 2}, "an owl"])
    assert kinds(ends) == ["ImageResult", "InvalidRequest", "InvalidRequest", "InvalidRequest", "ImageResult"]
    assert "size" in str(dict(ends)[1])
    assert "int" in str(dict(ends)[2])


def test_a_provider_that_is_not_configured_is_the_error_of_its_request_alone() -> None:
    ends = every(one(), [{"prompt": "a fox", "providers": {"only": ["nobody"]}}, "an owl"])
    assert kinds(ends) == ["InvalidRequest", "ImageResult"]


def test_errors_are_handed_over_and_not_raised() -> None:
    painters = one()
    painters.script("only", fails("blocked"), draws())
    assert kinds(every(painters, ["a fox", "an owl"], 1)) == ["ContentBlocked", "ImageResult"]


def test_an_error_holds_no_frames_that_would_keep_images_alive() -> None:
    painters = one()
    painters.script("only", fails("blocked"))
    ((_, error),) = every(painters, ["a fox"])
    assert isinstance(error, ContentBlocked)
    assert error.__traceback__ is None


def test_a_configuration_that_cannot_be_used_stops_the_run_after_what_was_paid_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    painters = one()
    generate = painters.gateway.generate

    async def broken(request: ImageRequest) -> ImageResult:
        if request.prompt == "a fox":
            raise ConfigError("state: the ledger's file is none")
        return await generate(request)

    monkeypatch.setattr(painters.gateway, "generate", broken)
    taken: Ends = []

    async def run() -> None:
        async for ended in painters.gateway.generate_many(["an owl", "a fox", "a hen", "a cat"], 2):
            taken.append(ended)

    with pytest.raises(ConfigError, match="ledger's file"):
        painters.time.run(run)
    assert [index for index, _ in taken] == [0]
    assert len(painters.calls) == 1


@pytest.mark.parametrize("requests", ["a fox", b"a fox", {"prompt": "a fox"}, ImageRequest(prompt="a fox"), 7, None])
def test_something_that_is_not_several_requests_is_refused_at_once(requests: Any) -> None:
    with pytest.raises(InvalidRequest, match="requests"):
        one().gateway.generate_many(requests)


@pytest.mark.parametrize(
    ("terms", "named"),
    [
        ({"concurrency": 0}, "concurrency"),
        ({"concurrency": True}, "concurrency"),
        ({"budget": 0}, "budget"),
        ({"budget": float("nan")}, "budget"),
        ({"budget": "5"}, "budget"),
        ({"run": " "}, "run"),
        ({"run": "x" * 201}, "run"),
    ],
)
def test_terms_that_cannot_be_meant_are_refused_at_once(terms: Any, named: str) -> None:
    with pytest.raises(InvalidRequest, match=named):
        one().gateway.generate_many(["a fox"], **terms)


def test_no_requests_are_no_results() -> None:
    assert every(one(), []) == []


# How many at once, and how far ahead


def test_there_are_as_many_calls_at_once_as_the_lane_takes_which_grows() -> None:
    painters = one()
    answer, under_way = at_once(painters)
    painters.script("only", *[answer] * 60)
    assert len(every(painters, ["a fox"] * 60)) == 60
    assert under_way[:8] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert 8 < max(under_way) <= MOST


def test_a_number_is_a_cap() -> None:
    painters = one()
    answer, under_way = at_once(painters)
    painters.script("only", *[answer] * 20)
    every(painters, ["a fox"] * 20, 3)
    assert max(under_way) == 3


def test_a_lane_gets_no_more_requests_than_it_takes_so_that_none_waits_its_deadline_away() -> None:
    painters = one(max_concurrency=2)
    ends = every(painters, [{"prompt": "a fox", "deadline": 20}] * 30, 30)
    assert kinds(ends) == ["ImageResult"] * 30


def test_a_lane_that_a_request_may_not_use_makes_no_room_for_it() -> None:
    tables = {"small": relay(lane("small"), max_concurrency=1), "large": relay(lane("large"), max_concurrency=8)}
    painters = studio(None, **tables)
    answer, under_way = at_once(painters)
    painters.script("small", *[answer] * 6)
    every(painters, [{"prompt": "a fox", "model": "small", "deadline": 20}] * 6)
    assert max(under_way) == 1


def test_requests_are_read_no_further_than_there_is_room() -> None:
    painters = one()
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        for number in count():
            read += 1
            yield f"fox {number}"

    async def run() -> None:
        results = painters.gateway.generate_many(endless(), 4)
        await anext(results)
        assert read <= 5
        await anyio.sleep(1000)  # nobody takes results: no further calls are begun
        assert read <= 5
        assert len(painters.calls) <= 5
        await results.aclose()

    painters.time.run(run)


class Tracked(GeneratedImage):
    """An image one can have a weak reference to."""

    __slots__ = ("__weakref__",)


def test_no_more_images_are_alive_than_the_window_holds() -> None:
    painters = one()
    alive: weakref.WeakSet[Tracked] = weakref.WeakSet()
    meanwhile: list[int] = []

    async def answer(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        exchange.sent = True
        await anyio.sleep(5)
        drawn = Tracked(data=bytes(100_000), mime_type="image/png", width=1024, height=1024)
        alive.add(drawn)
        meanwhile.append(len(alive))
        return Outcome(name="ok", billed="yes", parts=(Part(image=drawn),))

    painters.script("only", *[answer] * 200)

    async def run() -> list[int]:
        counts = []
        async for _, ended in painters.gateway.generate_many(["a fox"] * 200, 5):
            assert isinstance(ended, ImageResult)
            del ended
            counts.append(len(alive))
        return counts

    gc.disable()  # what stays alive only for want of a collection counts too
    try:
        counts = painters.time.run(run)
    finally:
        gc.enable()
    assert len(counts) == 200
    assert max(counts) <= 5 + 1  # the one that was handed over just now
    assert max(meanwhile) <= 5


async def _slowly(*prompts: str, seconds: float) -> AsyncIterator[str]:
    for prompt in prompts:
        await anyio.sleep(seconds)
        yield prompt


def test_results_do_not_wait_for_requests_that_are_still_to_come() -> None:
    painters = one()
    came: list[float] = []

    async def run() -> None:
        async for _ in painters.gateway.generate_many(_slowly("a fox", "an owl", seconds=100)):
            came.append(painters.time.now - 1000)

    painters.time.run(run)
    assert came == [pytest.approx(105), pytest.approx(205)]


def test_a_slow_taker_loses_no_request_that_came_meanwhile() -> None:
    painters = one()

    async def run() -> int:
        taken = 0
        with anyio.fail_after(5000):
            async for _ in painters.gateway.generate_many(_slowly("a fox", "an owl", "a hen", seconds=30), 2):
                taken += 1
                await anyio.sleep(50)
        return taken

    assert painters.time.run(run) == 3


@pytest.mark.parametrize("asynchronous", [False, True])
def test_when_making_the_requests_fails_what_was_begun_is_handed_over_first(asynchronous: bool) -> None:
    painters = one()

    def broken() -> Iterator[str]:
        yield "a fox"
        raise RuntimeError("the database is gone")

    async def broken_later() -> AsyncIterator[str]:
        for prompt in broken():
            yield prompt

    taken: Ends = []

    async def run() -> None:
        async for ended in painters.gateway.generate_many(broken_later() if asynchronous else broken()):
            taken.append(ended)

    with pytest.raises(RuntimeError, match="database"):
        painters.time.run(run)
    assert kinds(taken) == ["ImageResult"]


# Lanes that rest


def test_requests_wait_for_lanes_that_rest_as_long_as_that_costs_nothing() -> None:
    painters = one()
    painters.script("only", *[fails("rate_limited", retry_after=30)] * 3)
    ends = every(painters, ["a fox"] * 20)
    assert kinds(ends) == ["ImageResult"] * 20
    assert painters.time.now - 1000 < 300


def test_a_rest_that_is_too_long_is_not_waited_for() -> None:
    painters = one()
    painters.script("only", fails("quota_exhausted"))
    ends = every(painters, ["a fox"] * 3, 1)
    assert kinds(ends)[0] == "AllAttemptsFailed"
    assert kinds(ends)[1:] == ["NoLaneAvailable"] * 2
    assert painters.time.now - 1000 < 60


def test_what_may_have_been_charged_is_not_tried_again() -> None:
    painters = one()
    painters.script("only", fails("timeout", billed="maybe", retry_after=5))
    ((_, error),) = every(painters, [{"prompt": "a fox", "fallback": ()}])
    assert isinstance(error, AllAttemptsFailed)
    assert len(painters.calls) == 1


def test_requests_that_wait_do_not_keep_others_from_other_lanes() -> None:
    painters = studio(None, tired=relay(lane("tired")), fresh=relay(lane("fresh")))
    painters.script("tired", fails("rate_limited", retry_after=500))
    came: list[tuple[int, float]] = []

    async def run() -> None:
        requests = [{"prompt": "a fox", "model": "tired"}] * 3 + [{"prompt": "a fox", "model": "fresh"}] * 20
        async for index, _ in painters.gateway.generate_many(requests):
            came.append((index, painters.time.now - 1000))

    painters.time.run(run)
    assert max(seconds for index, seconds in came if index >= 3) < 100
    assert len(came) == 23
