"""The soft timeout: beside a call that is slow beyond measure another lane is asked, and the first good image wins."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path

import anyio
import pytest

from gateway import AllAttemptsFailed, BudgetExceeded
from gateway.saving import Destination
from providers.outcome import Part
from tests.gateway.endings import failure
from tests.gateway.upstreams import Studio, draws, fails, hangs, lane, relay, studio, two


def thrifty(painters: Studio, usd: str = "1.00") -> Studio:
    """*painters*, which have so many USD put by for hedges."""
    painters.gateway._dispatcher.monitor.put_by(Decimal(usd))
    return painters


def put_by(painters: Studio) -> Decimal:
    """USD left for hedges."""
    return painters.gateway._dispatcher.monitor.put_by_so_far()


def times(painters: Studio) -> list[tuple[str, float]]:
    """Who was called, and how many seconds after the start."""
    return [(call.provider, call.at - 1000.0) for call in painters.calls]


def test_another_lane_starts_after_45_seconds_and_the_first_good_image_wins() -> None:
    painters = thrifty(two())
    painters.script("first", draws(seconds=70.0))
    result = painters.draw()
    assert times(painters) == [("first", 0.0), ("second", 45.0)]
    assert (result.lane, result.elapsed, len(result.images)) == ("second/painter", 50.0, 1)


def test_the_call_that_lost_is_written_down_with_what_it_may_cost() -> None:
    painters = thrifty(two())
    painters.script("first", draws(seconds=70.0))
    result = painters.draw()
    assert {(attempt.lane, attempt.billed) for attempt in result.attempts} == {
        ("first/painter", "maybe"), ("second/painter", "yes"),
    }  # fmt: skip
    assert (result.cost.usd, result.total_cost.usd) == (Decimal("0.06"), Decimal("0.11"))
    assert [each.in_flight for each in painters.gateway.health()] == [0, 0]


def test_the_first_call_is_kept_and_may_win_after_all() -> None:
    painters = thrifty(two())
    painters.script("first", draws(seconds=48.0))
    result = painters.draw()
    assert (result.lane, result.elapsed) == ("first/painter", 48.0)
    assert times(painters)[1] == ("second", 45.0)


def test_when_both_succeed_in_the_same_moment_one_image_is_returned_and_both_are_booked() -> None:
    painters = thrifty(two())
    painters.script("first", draws(seconds=50.0))
    result = painters.draw()
    assert (len(result.images), len(result.attempts)) == (1, 2)
    assert result.total_cost.usd == Decimal("0.11")


def test_a_call_that_ends_in_time_has_none_beside_it() -> None:
    painters = thrifty(two())
    painters.script("first", draws(seconds=44.5))
    assert painters.draw().elapsed == 44.5
    assert len(painters.calls) == 1


def test_a_lane_that_is_slow_by_nature_gets_as_long_as_its_95th_percentile() -> None:
    """Its catalogue says 30 s, so 69 s is still usual."""
    slow, other = lane("gemini-3-pro-image", price={"4K": 0.03}, sizes=("4K",)), lane(price=0.06)
    painters = thrifty(studio(first=relay(slow), second=relay(other)))
    painters.script("first", draws(seconds=100.0))
    painters.draw(size="4K")
    (_, start), (_, beside) = times(painters)
    state, slow_lane = (
        painters.gateway._dispatcher.monitor.states["first/gemini-3-pro-image"],
        painters.gateway.config.lanes[0],
    )
    assert state is not None
    assert beside - start == pytest.approx(2.3 * slow_lane.seconds["4K"])
    assert beside - start > 45


def test_a_hedge_that_fails_leaves_the_first_call_to_itself() -> None:
    painters = thrifty(two())
    painters.script("first", draws(seconds=60.0))
    painters.script("second", fails("overloaded", "no"))
    result = painters.draw()
    assert (result.lane, result.elapsed) == ("first/painter", 60.0)
    assert sorted(attempt.outcome for attempt in result.attempts) == ["ok", "overloaded"]


def test_a_first_call_that_fails_leaves_the_hedge_to_itself() -> None:
    painters = thrifty(two())
    painters.script("first", fails("overloaded", "no", seconds=46.0))
    painters.script("second", draws(seconds=20.0))
    result = painters.draw()
    assert (result.lane, result.elapsed) == ("second/painter", 65.0)
    assert len(painters.calls) == 2


def test_no_lane_is_asked_twice_when_both_fail() -> None:
    painters = thrifty(two())
    painters.script("first", fails("bad_response", "maybe", seconds=50.0))
    painters.script("second", fails("bad_response", "maybe", seconds=1.0))
    failure(painters, AllAttemptsFailed)
    assert [provider for provider, _ in times(painters)] == ["first", "second"]


# What it may cost


def test_a_hedge_draws_its_price_from_what_was_put_by() -> None:
    painters = thrifty(two(), "1.00")
    painters.script("first", draws(seconds=70.0))
    painters.draw()
    booked = Decimal("0.11") * Decimal("0.02")
    assert put_by(painters) == Decimal("1.00") - Decimal("0.06") + booked


def test_at_first_nothing_is_put_by_and_a_slow_call_stays_alone_until_it_is_overdue() -> None:
    painters = two()
    painters.script("first", draws(seconds=70.0))
    painters.draw()
    assert times(painters) == [("first", 0.0), ("second", 46.0)]  # twice the 95th percentile, paid for as a retry


def test_two_percent_of_what_is_spent_is_put_by() -> None:
    painters = two()
    for _ in range(50):
        painters.draw()
    assert put_by(painters) == Decimal("0.05")
    for _ in range(10):
        painters.draw()
    start = painters.time.now
    painters.script("first", draws(seconds=70.0))
    painters.draw()
    assert [call.at - start for call in painters.calls[-2:]] == [0.0, 45.0]
    assert put_by(painters) == Decimal("0.0022")  # a hedge costs $0.06; 2 % of both calls were put by afterwards


def test_nothing_is_put_by_where_hedging_is_switched_off() -> None:
    painters = two({"hedge": 0})
    painters.draw()
    assert put_by(painters) == 0


def test_free_failures_put_nothing_by() -> None:
    painters = two()
    painters.script("first", fails("overloaded", "no"))
    painters.draw()
    assert put_by(painters) == Decimal("0.0012")  # of the second lane's $0.06


def test_the_limit_of_a_request_counts_both_calls() -> None:
    painters = thrifty(two())
    painters.script("first", draws(seconds=70.0))
    result = painters.draw(max_cost=0.10)
    assert (len(painters.calls), result.elapsed) == (1, 70.0)


def test_a_hedge_that_money_ruled_out_is_no_reason_for_an_error_about_money() -> None:
    painters = thrifty(two())
    painters.script("first", fails("overloaded", "no", seconds=60.0), fails("overloaded", "no"))
    painters.script("second", fails("overloaded", "no"))
    error = failure(painters, AllAttemptsFailed, max_cost=0.10)
    assert not isinstance(error, BudgetExceeded)


# Who is asked


def test_a_smaller_size_is_no_hedge() -> None:
    painters = thrifty(studio(first=relay(lane(sizes=("2K", "4K")))))
    painters.script("first", draws(seconds=80.0))
    assert painters.draw(size="4K").elapsed == 80.0
    assert painters.asked == [("first", "4K")]


def test_a_lane_that_is_shut_is_no_hedge() -> None:
    painters = thrifty(two())
    painters.script("second", *[fails("rate_limited", retry_after=100.0)])
    with pytest.raises(AllAttemptsFailed):
        painters.draw(providers={"only": ["second"]})
    painters.script("first", draws(seconds=70.0))
    assert painters.draw().elapsed == 70.0


def test_a_request_for_one_attempt_gets_no_hedge() -> None:
    painters = thrifty(two({"max_attempts": 1}))
    painters.script("first", draws(seconds=70.0))
    assert painters.draw().elapsed == 70.0
    assert len(painters.calls) == 1


def test_a_request_that_may_not_switch_gets_no_hedge() -> None:
    painters = thrifty(two())
    painters.script("first", draws(seconds=70.0))
    assert painters.draw(fallback=[]).elapsed == 70.0


def test_cancelling_the_request_ends_both_calls() -> None:
    async def job() -> None:
        task = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.sleep(60.0)
        assert [each.in_flight for each in painters.gateway.health()] == [1, 1]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert [each.in_flight for each in painters.gateway.health()] == [0, 0]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    painters = thrifty(two())
    painters.script("first", hangs())
    painters.script("second", hangs())
    painters.time.run(job)


def test_an_image_is_saved_though_the_other_call_ends_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    take = Destination.take

    async def take_slowly(self: Destination, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        await anyio.sleep(3.0)
        return await take(self, parts)

    monkeypatch.setattr(Destination, "take", take_slowly)
    painters = thrifty(two())
    painters.script("first", draws(seconds=50.0))
    painters.script("second", draws(seconds=6.0))  # ends in the second in which the first is being written
    result = painters.draw(save_to=tmp_path / "fox")
    assert result.lane == "first/painter"
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [result.images[0].data]
