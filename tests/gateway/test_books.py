"""What a request leaves in the books, and what the books forbid: ledger, budgets and idempotency keys at work."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway import AllAttemptsFailed, BudgetExceeded, GatewayError, InvalidRequest, OutcomeUnknown
from gateway.configuration import config as configuration
from gateway.money.entries import Entry
from tests.gateway.upstreams import Studio, draws, fails, hangs, lane, relay, studio, tables, two


def entries(painters: Studio) -> list[Entry]:
    return painters.time.run(painters.gateway.ledger.entries)


def under(*budgets: dict[str, Any]) -> Studio:
    """The usual two lanes, at $0.05 and $0.06, under these budgets."""
    providers = {"first": relay(lane(price=0.05)), "second": relay(lane(price=0.06))}
    return Studio(configuration.load({**tables(**providers), "budgets": list(budgets)}, environ={}))


# The ledger


def test_every_call_is_in_the_books_with_what_it_cost() -> None:
    painters = two()
    painters.script("first", fails("timeout", "maybe"))
    result = painters.draw(tags={"team": "art"}, task="poster")
    told = [(each.id, each.lane, str(each.usd), each.state, each.tags, each.task) for each in entries(painters)]
    assert told == [
        (f"{result.request_id}/1", "first/painter", "0.05", "settled", {"team": "art"}, "poster"),
        (f"{result.request_id}/2", "second/painter", "0.06", "settled", {"team": "art"}, "poster"),
    ]


def test_a_call_that_was_free_costs_nothing_in_the_books() -> None:
    painters = two()
    painters.script("first", fails("overloaded", "no"))
    painters.draw()
    assert [str(each.usd) for each in entries(painters)] == ["0", "0.06"]


def test_a_call_is_in_the_books_before_it_is_sent() -> None:
    painters = two()
    seen: list[tuple[str, str]] = []

    async def looks(request: Any, exchange: Any) -> Any:
        seen.extend((each.lane, each.state) for each in await painters.gateway.ledger.entries())
        return await draws()(request, exchange)

    painters.script("first", looks)
    painters.draw()
    assert seen == [("first/painter", "reserved")]


def test_a_cancelled_call_is_settled_as_what_it_may_have_cost() -> None:
    painters = two()
    painters.script("first", hangs())

    async def job() -> None:
        task = asyncio.ensure_future(painters.gateway.generate("a fox"))
        await asyncio.sleep(2)
        task.cancel()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    painters.time.run(job)
    (entry,) = entries(painters)
    assert entry.settlement is not None
    assert (entry.settlement.outcome, entry.settlement.billed, str(entry.usd)) == ("cancelled", "maybe", "0.05")


# Budgets


def test_a_hard_budget_refuses_before_sending() -> None:
    painters = under({"usd": 0.12, "per": "day"})
    painters.draw()
    painters.draw()
    with pytest.raises(BudgetExceeded, match=r"the budget of \$0\.12 per day") as caught:
        painters.draw()
    assert len(painters.calls) == 2
    assert caught.value.retry_after is not None
    assert painters.gateway.health()[0].in_flight == 0


def test_a_providers_budget_leaves_the_others_to_be_asked() -> None:
    painters = under({"usd": 0.05, "per": "day", "provider": "first"})
    assert [painters.draw().lane for _ in range(3)] == ["first/painter", "second/painter", "second/painter"]


def test_a_soft_budget_warns_on_the_result() -> None:
    painters = under({"usd": 0.05, "per": "day", "mode": "soft"})
    assert painters.draw().warnings == ()
    assert any("budget" in warning for warning in painters.draw().warnings)


def test_many_requests_at_once_do_not_overspend() -> None:
    painters = under({"usd": 0.30, "per": "day"})

    async def job() -> list[Any]:
        requests = (painters.gateway.generate("a fox") for _ in range(20))
        return await asyncio.gather(*requests, return_exceptions=True)

    ended = painters.time.run(job)
    assert sum(each.usd for each in entries(painters)) <= Decimal("0.30")
    assert {type(each) for each in ended if isinstance(each, Exception)} == {BudgetExceeded}


# Idempotency keys


def test_the_same_key_and_request_are_carried_out_once() -> None:
    painters = two()
    first, again = painters.draw(idempotency_key="order-17"), painters.draw(idempotency_key="order-17")
    assert len(painters.calls) == 1
    assert (again.images, again.request_id, again.total_cost) == (first.images, first.request_id, first.total_cost)


def test_a_second_request_waits_for_the_first_under_the_same_key() -> None:
    painters = two()

    async def job() -> list[Any]:
        return await asyncio.gather(*(painters.gateway.generate("a fox", idempotency_key="k") for _ in range(5)))

    results = painters.time.run(job)
    assert len(painters.calls) == 1
    assert len({result.request_id for result in results}) == 1


def test_the_same_key_for_another_request_is_an_error() -> None:
    painters = two()
    painters.draw(idempotency_key="order-17")
    with pytest.raises(InvalidRequest, match="idempotency_key"):
        painters.draw("a hare", idempotency_key="order-17")
    assert len(painters.calls) == 1


def test_an_image_that_was_drawn_before_and_cannot_be_saved_is_on_the_error(tmp_path: Path) -> None:
    painters = two()
    drawn = painters.draw(idempotency_key="order 7")
    with pytest.raises(GatewayError, match="drawn before, but could not be saved") as failed:
        painters.draw(idempotency_key="order 7", save_to=tmp_path / "nowhere" / "fox.png")
    assert failed.value.images == drawn.images


def test_a_key_whose_call_was_free_may_be_used_again() -> None:
    painters = studio(first=relay())
    painters.script("first", fails("region"))
    with pytest.raises(AllAttemptsFailed):
        painters.draw(idempotency_key="k")
    painters.time.now += 30_000
    assert painters.draw(idempotency_key="k").lane == "first/painter"


def test_a_key_whose_outcome_nobody_knows_stays_shut_until_a_second_charge_is_allowed() -> None:
    painters = studio(first=relay())
    painters.script("first", fails("timeout", "maybe"))
    with pytest.raises(AllAttemptsFailed):
        painters.draw(idempotency_key="k")
    with pytest.raises(OutcomeUnknown, match="allow_second_charge"):
        painters.draw(idempotency_key="k")
    assert len(painters.calls) == 1
    assert painters.draw(idempotency_key="k", allow_second_charge=True).lane == "first/painter"


def test_a_call_that_a_budget_forbade_is_none_of_the_attempts() -> None:
    providers = {"first": relay(lane(price=0.05)), "second": relay(lane(price=0.06))}
    told = {**tables({"max_attempts": 1}, **providers), "budgets": [{"usd": 0.01, "per": "day", "provider": "first"}]}
    painters = Studio(configuration.load(told, environ={}))
    assert painters.draw().lane == "second/painter"
