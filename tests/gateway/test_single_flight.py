"""Single flight: what is under way is shared, among tasks and threads; and what comes too late is kept."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway import AllAttemptsFailed, AsyncGateway, DeadlineExceeded, Gateway, ImageResult, OutcomeUnknown
from gateway.state.claims import Answer, Claim
from gateway.state.memory import MemoryClaims
from providers.exchange import Exchange
from providers.outcome import Outcome
from providers.request import UpstreamRequest
from tests.gateway.caches import ended, images_in, painters
from tests.gateway.upstreams import Studio, draws, fails, hangs, image, picture_of


def aboard(gateway: AsyncGateway) -> int:
    """How many requests share what is under way."""
    return sum(flight.aboard for flight in gateway._dispatcher.flights._flights.values())


def at_once(studio: Studio, *requests: dict[str, Any]) -> list[ImageResult | BaseException]:
    """What becomes of these requests at the same time; the first of them is the one that draws."""

    async def job() -> list[ImageResult | BaseException]:
        calls = [studio.gateway.generate(**{"prompt": "a fox", **fields}) for fields in requests]
        first = asyncio.create_task(calls[0])
        while not aboard(studio.gateway):
            await asyncio.sleep(0)
        return await asyncio.gather(first, *calls[1:], return_exceptions=True)

    return studio.time.run(job)


# Under way


def test_the_same_request_at_the_same_time_is_drawn_once() -> None:
    studio = painters()
    results = at_once(studio, {}, {}, {"tags": {"a": "b"}})
    assert len(studio.calls) == 1
    first, *others = [each for each in results if isinstance(each, ImageResult)]
    assert (first.cached, first.cost.usd) == (False, Decimal("0.05"))
    assert [(each.cached, each.cost.usd, each.attempts) for each in others] == [(True, 0, ())] * 2
    assert len({each.request_id for each in (first, *others)}) == 3
    assert {each.images[0].data for each in others} == {first.images[0].data}


def test_who_pays_may_leave_while_another_waits() -> None:
    async def job() -> None:
        payer = asyncio.create_task(studio.gateway.generate("a fox"))
        await asyncio.sleep(1)
        waiter = asyncio.create_task(studio.gateway.generate("a fox"))
        await asyncio.sleep(1)
        payer.cancel()
        with pytest.raises(asyncio.CancelledError):
            await payer
        assert (await waiter).images
        assert studio.time.now == 1005.0

    studio = painters()
    studio.time.run(job)
    assert len(studio.calls) == 1


def test_who_waits_may_leave_and_the_one_who_pays_goes_on() -> None:
    async def job() -> None:
        payer = asyncio.create_task(studio.gateway.generate("a fox"))
        await asyncio.sleep(1)
        waiter = asyncio.create_task(studio.gateway.generate("a fox"))
        await asyncio.sleep(1)
        waiter.cancel()
        assert (await payer).images

    studio = painters()
    studio.time.run(job)
    assert len(studio.calls) == 1


def test_when_the_last_has_left_nothing_goes_on() -> None:
    async def job() -> None:
        tasks = [asyncio.create_task(studio.gateway.generate("a fox")) for _ in range(2)]
        await asyncio.sleep(1)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        assert [each.in_flight for each in studio.gateway.health()] == [0, 0]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert (await studio.gateway.generate("a fox")).images

    studio = painters()
    studio.script("first", hangs())
    studio.time.run(job)
    assert len(studio.calls) == 2


@pytest.mark.parametrize("fields", [{}, {"idempotency_key": "order 7", "cache": False}])
def test_who_is_cancelled_while_it_takes_its_turn_keeps_nobody_waiting(
    fields: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    take = MemoryClaims.claim

    async def slowly(claims: MemoryClaims, claim: Claim) -> Answer:
        answer = await take(claims, claim)
        await asyncio.sleep(1)
        return answer

    async def job() -> None:
        task = asyncio.create_task(studio.gateway.generate("a fox", **fields))
        await asyncio.sleep(0.5)
        task.cancel()
        await asyncio.wait([task])
        assert (await studio.gateway.generate("a fox", **fields)).images
        assert studio.time.now == 1006.5  # of which the store takes one second, and the upstream five

    studio = painters()
    monkeypatch.setattr(MemoryClaims, "claim", slowly)
    studio.time.run(job)
    assert len(studio.calls) == 1


def test_a_time_limit_of_the_callers_own_ends_the_flight() -> None:
    async def job() -> None:
        with anyio.move_on_after(1):
            await studio.gateway.generate("a fox")
        assert studio.time.now == 1001.0
        assert [each.in_flight for each in studio.gateway.health()] == [0, 0]

    studio = painters()
    studio.time.run(job)


@pytest.mark.parametrize("times", [1, 2])
def test_a_key_whose_request_was_cancelled_is_in_doubt_though_another_draws_the_same(times: int) -> None:
    async def job() -> None:
        task = asyncio.create_task(studio.gateway.generate("a fox", idempotency_key="order 7"))
        await asyncio.sleep(1)
        waiter = asyncio.create_task(studio.gateway.generate("a fox"))
        await asyncio.sleep(1)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task
        with pytest.raises(OutcomeUnknown):
            await studio.gateway.generate("a fox", idempotency_key="order 7")
        assert (await waiter).images

    studio = painters()
    studio.time.run(job)
    assert len(studio.calls) == 2


def test_all_who_wait_get_the_same_error_each_its_own() -> None:
    studio = painters()
    for provider in ("first", "second"):
        studio.script(provider, *[fails("bad_response")] * 9)
    first, second = at_once(studio, {}, {})
    assert isinstance(first, AllAttemptsFailed)
    assert isinstance(second, AllAttemptsFailed)
    assert first is not second
    assert (str(first), first.attempts) == (str(second), second.attempts)
    assert len(studio.calls) == len(first.attempts)


def test_who_waits_keeps_its_own_deadline() -> None:
    studio = painters()
    studio.script("first", draws(seconds=20.0))
    patient, hasty = at_once(studio, {}, {"deadline": 8})
    assert isinstance(patient, ImageResult)
    assert isinstance(hasty, DeadlineExceeded)
    assert "has not ended in time" in str(hasty)
    assert len(studio.calls) == 1


def test_who_has_more_time_takes_over_when_the_one_who_pays_has_none_left() -> None:
    studio = painters()
    studio.script("first", draws(seconds=20.0))
    hasty, patient = at_once(studio, {"deadline": 8, "fallback": []}, {"fallback": []})
    assert isinstance(hasty, DeadlineExceeded)
    assert isinstance(patient, ImageResult)
    assert not patient.cached


def test_who_takes_nothing_smaller_draws_for_itself() -> None:
    studio = painters()
    studio.script("first", draws(picture_of("2K")))
    easy, strict = at_once(studio, {"size": "4K"}, {"size": "4K", "min_size": "4K"})
    assert isinstance(easy, ImageResult)
    assert isinstance(strict, ImageResult)
    assert (easy.size, strict.size) == ("2K", "4K")


def test_threads_share_one_call() -> None:
    """Each with an event loop of its own; the upstream answers when all are there."""
    studio = painters()
    count = 4

    async def answer(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        while aboard(studio.gateway) < count:
            await asyncio.sleep(0)
        return await draws(seconds=0.0)(request, exchange)

    studio.script("first", answer)
    gateway = studio.gateway

    async def all_of_them() -> list[ImageResult]:
        def one() -> ImageResult:
            return asyncio.run(gateway.generate("a fox"))

        return list(await asyncio.gather(*(asyncio.to_thread(one) for _ in range(count))))

    results = asyncio.run(all_of_them())
    assert len(studio.calls) == 1
    assert sorted(each.cached for each in results) == [False] + [True] * (count - 1)


def test_a_loop_that_ends_leaves_its_flight_to_those_who_wait() -> None:
    studio = painters()
    studio.script("first", hangs())
    gateway = studio.gateway

    async def main() -> ImageResult:
        begun = asyncio.Event()
        loop = asyncio.get_running_loop()

        def abandoned() -> None:
            async def short() -> None:
                task = asyncio.create_task(gateway.generate("a fox"))
                while not studio.calls:
                    await asyncio.sleep(0)
                loop.call_soon_threadsafe(begun.set)
                while aboard(gateway) < 2:
                    await asyncio.sleep(0)
                del task

            asyncio.run(short())

        thread = asyncio.create_task(asyncio.to_thread(abandoned))
        await begun.wait()
        studio.script("first", draws(seconds=0.0))
        result = await gateway.generate("a fox")
        await thread
        return result

    assert asyncio.run(main()).images
    assert len(studio.calls) == 2


def test_the_sync_face_shares_the_call_among_threads() -> None:
    async def answer(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        while aboard(gateway._gateway) < 2:
            await asyncio.sleep(0)
        return await draws(seconds=0.0)(request, exchange)

    def one(_: int) -> ImageResult:
        both.wait()
        return gateway.generate("a fox")

    studio, both = painters(), threading.Barrier(2)
    studio.script("first", answer)
    with Gateway(studio.config, load=studio.load) as gateway, ThreadPoolExecutor(2) as pool:
        assert sorted(each.cached for each in pool.map(one, range(2))) == [False, True]
        assert gateway.generate("a fox").cached
    assert len(studio.calls) == 1


# Late


def hedged(folder: Path) -> Studio:
    """A studio in which the second lane's image comes after 50 seconds, and the first lane's after 70."""
    studio = painters(folder)
    studio.gateway._dispatcher.monitor.put_by(Decimal(1))
    studio.script("first", draws(image(1025, 1024), seconds=70.0))
    return studio


def test_the_image_that_comes_second_lands_in_the_cache(tmp_path: Path) -> None:
    async def job() -> ImageResult:
        result = await studio.gateway.generate("a fox")
        assert studio.time.now == 1050.0
        await asyncio.sleep(30)
        return result

    studio = hedged(tmp_path)
    told = ended(studio)
    result = studio.time.run(job)
    assert [(each.attempts, each.total_usd) for each in told] == [(2, Decimal("0.11"))]
    assert (result.lane, result.total_cost.usd) == ("second/painter", Decimal("0.11"))
    assert {(each.lane, each.billed) for each in result.attempts} == {
        ("first/painter", "maybe"), ("second/painter", "yes"),
    }  # fmt: skip
    assert len(images_in(tmp_path)) == 2
    assert [each.in_flight for each in studio.gateway.health()] == [0, 0]
    assert studio.draw().images[0].data == result.images[0].data
    for path in images_in(tmp_path):
        if path.read_bytes() == result.images[0].data:
            path.write_bytes(b"image/forged")
    spare = studio.draw()
    assert (spare.cached, spare.lane) == (True, "first/painter")
    assert len(studio.calls) == 2


def test_a_call_that_was_not_sent_is_given_up_and_costs_nothing(tmp_path: Path) -> None:
    async def job() -> ImageResult:
        result = await studio.gateway.generate("a fox")
        await asyncio.sleep(0)
        assert [each.in_flight for each in studio.gateway.health()] == [0, 0]
        return result

    studio = hedged(tmp_path)
    studio.script("first", hangs(sent=False))
    result = studio.time.run(job)
    assert {(each.lane, each.billed) for each in result.attempts} == {
        ("first/painter", "no"), ("second/painter", "yes"),
    }  # fmt: skip
    assert result.total_cost.usd == Decimal("0.06")


def test_a_call_that_begins_in_the_moment_in_which_the_image_comes_is_given_up(tmp_path: Path) -> None:
    studio = hedged(tmp_path)
    studio.script("first", draws(seconds=45.0))  # just when the second lane is let in
    result = studio.draw()
    assert result.lane == "first/painter"
    assert [call.provider for call in studio.calls] == ["first"]
    assert [each.in_flight for each in studio.gateway.health()] == [0, 0]


def test_the_books_say_what_the_late_image_cost(tmp_path: Path) -> None:
    async def job() -> list[tuple[str, str]]:
        await studio.gateway.generate("a fox")
        await asyncio.sleep(30)
        entries = await studio.gateway._dispatcher.setups.current.state.ledger.entries()
        return sorted((each.lane, each.settlement.billed) for each in entries if each.settlement)

    studio = hedged(tmp_path)
    assert studio.time.run(job) == [("first/painter", "yes"), ("second/painter", "yes")]


def test_closing_does_not_wait_for_what_is_late(tmp_path: Path) -> None:
    async def job() -> None:
        await studio.gateway.generate("a fox")
        await studio.gateway.aclose()
        assert studio.time.now == 1050.0
        assert [each.in_flight for each in studio.gateway.health()] == [0, 0]

    studio = hedged(tmp_path)
    studio.time.run(job)
    assert len(images_in(tmp_path)) == 1


def test_without_the_cache_the_call_that_lost_is_given_up(tmp_path: Path) -> None:
    async def job() -> None:
        await studio.gateway.generate("a fox", cache=False)
        assert [each.in_flight for each in studio.gateway.health()] == [0, 0]

    studio = hedged(tmp_path)
    studio.time.run(job)


def test_closing_waits_for_who_still_waits(tmp_path: Path) -> None:
    async def job() -> None:
        task = asyncio.create_task(studio.gateway.generate("a fox"))
        await asyncio.sleep(1)
        await studio.gateway.aclose()
        assert studio.time.now == 1005.0
        assert (await task).images

    studio = painters(tmp_path)
    studio.time.run(job)
