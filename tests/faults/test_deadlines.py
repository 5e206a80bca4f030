"""Rows 45 and 47: too little time, and calls that take too much of it."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.socket_time import SocketTime
from tests.faults.stage import Ended, body, both, delivers, played, staged
from tests.providers.wire import Wire, answer


class Slowing:
    """Answers with a poster after *seconds*, which may be changed."""

    def __init__(self, kind: str) -> None:
        self.seconds = 0.0
        self._kind = kind

    async def __call__(self, wire: Wire) -> None:
        while True:
            await wire.request()
            await asyncio.sleep(self.seconds)
            await wire.send(answer(body(self._kind)))


@both
def test_row_45_a_deadline_below_the_typical_time_of_every_lane_means_no_attempt_and_no_charge(kind: str) -> None:
    ended = played(kind, delivers(kind), fields={"deadline": 9.9})
    assert type(ended.error).__name__ == "DeadlineExceeded"
    assert (ended.told, ended.spent, ended.seconds) == ((), "0.00", 0)
    assert {health.success_rate for health in ended.health.values()} == {0.9}
    assert played(kind, delivers(kind), fields={"deadline": 10}).told == (("ok", "yes"),)


def raced(kind: str, first: float, second: float, spent_before: int) -> Ended:
    """A request whose first lane takes *first* seconds and its second *second*, after so many quick ones."""
    time, slow, other = SocketTime(), Slowing(kind), Slowing(kind)

    async def main() -> Ended:
        async with staged(kind, slow, other, time=time, fallback={"hedge": 1}) as stage:
            for _ in range(spent_before):
                await stage.draw()
            slow.seconds, other.seconds = first, second
            return await stage.draw()

    return time.run(main)


@both
@pytest.mark.parametrize(("first", "second", "winner", "at"), [(70, 5, "second", 50), (48, 10, "first", 48)])
def test_row_47_at_the_soft_timeout_another_lane_starts_and_one_image_is_returned_and_both_are_booked(
    kind: str, first: float, second: float, winner: str, at: float
) -> None:
    ended = raced(kind, first, second, spent_before=2)
    assert ended.result is not None
    assert (ended.result.provider, len(ended.result.images), ended.seconds) == (winner, 1, pytest.approx(at))
    assert sorted(ended.asked) == ["first", "second"]
    assert all(billed != "no" for _, billed in ended.told)
    assert ended.spent == "0.15"
    assert {health.state for health in ended.health.values()} == {"closed"}


@both
def test_row_47_no_second_lane_starts_at_the_soft_timeout_before_its_price_has_been_put_by(kind: str) -> None:
    ended = raced(kind, 45.5, 0.1, spent_before=1)
    assert (ended.told, ended.asked, ended.spent) == ((("ok", "yes"),), ("first",), "0.05")
    assert ended.seconds == pytest.approx(45.5)
