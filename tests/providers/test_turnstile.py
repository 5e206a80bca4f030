"""A crowd is let through a few at a time, so that whatever else runs on the event loop runs in between."""

from __future__ import annotations

import asyncio

from providers.turnstile import PER_TURN, begin, turn


def passing(count: int) -> list[tuple[int, int]]:
    """The turn of the event loop in which each of *count* came through, in the order in which they did."""
    passed: list[tuple[int, int]] = []
    turns = 0

    async def pass_by(number: int) -> None:
        await turn()
        passed.append((turns, number))

    async def main() -> None:
        nonlocal turns
        crowd = asyncio.gather(*(pass_by(number) for number in range(count)))
        while not crowd.done():
            await asyncio.sleep(0)
            turns += 1

    asyncio.run(main())
    return passed


def test_who_comes_alone_does_not_wait() -> None:
    async def main() -> bool:
        waited = asyncio.create_task(turn())
        await asyncio.sleep(0)
        return waited.done()

    assert asyncio.run(main())


def test_no_more_than_a_few_pass_in_one_turn_of_the_loop() -> None:
    turns = [turn for turn, _ in passing(10 * PER_TURN)]
    assert max(turns.count(each) for each in turns) == PER_TURN
    assert max(turns) - min(turns) < 12


def test_all_pass_in_the_order_in_which_they_came() -> None:
    assert [number for _, number in passing(50)] == list(range(50))


def test_who_gave_up_waiting_takes_nobody_s_place() -> None:
    async def main() -> list[bool]:
        crowd = [asyncio.create_task(turn()) for _ in range(3 * PER_TURN)]
        await asyncio.sleep(0)
        for gone in crowd[PER_TURN : 2 * PER_TURN]:
            gone.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [each.done() and not each.cancelled() for each in crowd[2 * PER_TURN :]]

    assert asyncio.run(main()) == [True] * PER_TURN


def test_a_crowd_that_comes_while_another_waits_passes_after_it() -> None:
    async def main() -> list[str]:
        passed: list[str] = []

        async def pass_by(name: str) -> None:
            await turn()
            passed.append(name)

        first = [asyncio.create_task(pass_by("first")) for _ in range(2 * PER_TURN)]
        await asyncio.sleep(0)
        second = [asyncio.create_task(pass_by("second")) for _ in range(PER_TURN)]
        await asyncio.gather(*first, *second)
        return passed

    assert asyncio.run(main()) == ["first"] * 2 * PER_TURN + ["second"] * PER_TURN


def test_requests_go_on_before_others_begin() -> None:
    async def main() -> list[str]:
        passed: list[str] = []

        async def beginner() -> None:
            await begin()
            passed.append("begins")
            await turn()
            passed.append("goes on")

        await asyncio.gather(*(beginner() for _ in range(4 * PER_TURN)))
        return passed

    assert asyncio.run(main()) == (["begins"] * PER_TURN + ["goes on"] * PER_TURN) * 4
