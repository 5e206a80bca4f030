"""`generate_many` within a budget, begun anew under a name, and stopped early."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway import AllAttemptsFailed, BudgetExceeded, ImageResult, NoLaneAvailable
from tests.gateway.test_bulk import every, kinds, one
from tests.gateway.upstreams import Studio, draws, fails, hangs, lane, relay, studio

# Money


def test_the_budget_holds_for_all_together() -> None:
    painters = one()
    ends = every(painters, ["a fox"] * 40, budget=Decimal("1.02"))
    assert kinds(ends).count("ImageResult") == 20  # $0.05 each
    assert kinds(ends).count("BudgetExceeded") == 20
    assert len(painters.calls) == 20


def test_the_budget_counts_failures_that_were_billed() -> None:
    painters = one()
    painters.script("only", *[fails("blocked", billed="yes"), draws()] * 50)
    ends = every(painters, ["a fox"] * 60, budget=1.0)
    assert len(painters.calls) == 20
    assert kinds(ends).count("ImageResult") == 10


def test_what_a_dear_fallback_would_cost_is_never_beyond_the_budget() -> None:
    painters = studio(None, cheap=relay(lane(price=0.05)), dear=relay(lane(price=0.50)))
    painters.script("cheap", *[fails("overloaded")] * 100)
    every(painters, ["a fox"] * 50, budget=2.2)
    assert sum(call.provider == "dear" for call in painters.calls) <= 4


def test_the_request_that_no_longer_fits_says_what_the_budget_was_and_what_is_spent() -> None:
    ends = every(one(), ["a fox"] * 3, budget=0.12)
    error = next(ended for _, ended in ends if isinstance(ended, BudgetExceeded))
    assert "the budget of $0.12 for this run is used up: $0.10 is spent" in str(error)
    assert "nothing was sent" in str(error)


def test_a_request_that_exceeds_its_own_max_cost_is_not_told_of_the_run() -> None:
    ((_, error),) = every(one(), [{"prompt": "a fox", "max_cost": 0.01}], budget=5)
    assert isinstance(error, BudgetExceeded)
    assert "run" not in str(error)


def test_cheaper_requests_still_fit_when_a_dear_one_does_not() -> None:
    painters = studio(None, only=relay(lane(price={"1K": 0.05, "4K": 0.50}, sizes=["1K", "4K"])))
    ends = every(painters, [{"prompt": "a fox", "size": "4K", "min_size": "4K"}, "an owl"], 1, budget=0.2)
    assert kinds(ends) == ["BudgetExceeded", "ImageResult"]


# Runs that are begun anew


def test_a_run_with_a_name_is_paid_for_once() -> None:
    painters = one()
    first = every(painters, ["a fox", "an owl"], run="spring")
    again = every(painters, ["a fox", "an owl", "a hen"], run="spring")
    assert len(painters.calls) == 3
    ids = {index: ended.request_id for index, ended in first if isinstance(ended, ImageResult)}
    assert {index: ended.request_id for index, ended in again if isinstance(ended, ImageResult) and index < 2} == ids


def test_another_request_at_the_same_place_of_a_run_is_drawn() -> None:
    painters = one()
    every(painters, ["a fox"], run="spring")
    assert kinds(every(painters, ["an owl"], run="spring")) == ["ImageResult"]
    assert len(painters.calls) == 2


def test_a_key_of_the_callers_own_stays() -> None:
    painters = one()
    every(painters, [{"prompt": "a fox", "idempotency_key": "mine"}], run="spring")
    every(painters, [{"prompt": "a fox", "idempotency_key": "mine"}], run="summer")
    assert len(painters.calls) == 1


# Stopping early


def _stopped_after_one(painters: Studio, **fields: Any) -> Callable[[], Coroutine[Any, Any, None]]:
    async def run() -> None:
        async with painters.gateway as gateway:
            results = gateway.generate_many([{"prompt": f"fox {number}", **fields} for number in range(50)], 4)
            async for _ in results:
                break
            await results.aclose()

    return run


def test_calls_under_way_end_when_the_caller_stops_and_no_other_begins(tmp_path: Path) -> None:
    painters = one()
    painters.script("only", draws(seconds=1), *[draws(seconds=20)] * 10)
    painters.time.run(_stopped_after_one(painters, save_to=tmp_path))
    assert len(painters.calls) == 4
    assert len(list(tmp_path.iterdir())) == 4


def test_after_a_stop_a_failed_call_is_not_followed_by_a_paid_one() -> None:
    painters = studio(None, first=relay(lane(price=0.05)), second=relay(lane(price=0.06)))
    painters.script("first", draws(seconds=1), *[fails("overloaded", seconds=20)] * 10)
    painters.time.run(_stopped_after_one(painters))
    assert [call.provider for call in painters.calls] == ["first"] * 4


def test_requests_without_a_call_under_way_are_cancelled_when_the_caller_stops() -> None:
    painters = one()
    painters.script("only", draws(seconds=1), *[fails("rate_limited", retry_after=300)] * 10)
    painters.time.run(_stopped_after_one(painters))
    assert painters.time.now - 1000 < 100


def test_a_loop_that_ends_takes_hanging_calls_with_it() -> None:
    painters = one()
    painters.script("only", draws(seconds=1), *[hangs()] * 10)

    async def run() -> None:
        async for _ in painters.gateway.generate_many(["a fox"] * 9, 4):
            break

    painters.time.run(run)
    assert len(painters.calls) >= 4


def test_lanes_that_are_all_gone_end_every_request() -> None:
    painters = one()
    painters.script("only", *[fails("balance")] * 30)
    ends = every(painters, ["a fox"] * 30)
    assert len(ends) == 30
    assert all(isinstance(ended, NoLaneAvailable | AllAttemptsFailed) for _, ended in ends)
