"""A gateway over its books: what is sent is in them, what a budget forbids is not sent, and a key is paid for once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.configuration import config as configuration
from gateway.money.entries import Entry
from gateway.state.stores import StateUnavailable
from providers.errors import BudgetExceeded, ContentBlocked, InvalidRequest, OutcomeUnknown
from tests.gateway.upstreams import Studio, fails, hangs, lane, relay, tables
from tests.gateway.virtual_time import NOON, counted

Open = Callable[..., Studio]


@pytest.fixture(params=["memory", "sqlite"])
def painters(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Open:
    """Studios with two relays, at $0.05 and $0.06, over each kind of state, for whose threads virtual time waits."""
    monkeypatch.setattr(asyncio, "wrap_future", counted(asyncio.wrap_future))
    url = "memory" if request.param == "memory" else f"sqlite:///{tmp_path / 'state.db'}"

    def opened(*budgets: Mapping[str, Any], **more: Any) -> Studio:
        made = tables(first=relay(lane(price=0.05)), second=relay(lane(price=0.06)))
        made |= {"gateway": {"state": url, **more}, "budgets": list(budgets)}
        return Studio(configuration.load(made, environ={}))

    return opened


def books(painters: Studio) -> list[Entry]:
    async def read() -> list[Entry]:
        state = painters.gateway._dispatcher.setups.current.state
        await state.engine.flush()
        return await state.ledger.entries()

    return asyncio.run(read())


def told(painters: Studio) -> list[tuple[str, str, str]]:
    """Of each entry, the lane, what came of it, and what it counts for."""
    return [
        (each.lane, each.settlement.outcome if each.settlement else each.state, f"{each.usd:.2f}")
        for each in books(painters)
    ]


def test_every_call_is_in_the_books_with_what_it_cost(painters: Open) -> None:
    studio = painters()
    studio.script("first", fails("timeout"))
    result = studio.draw(task="poster", tags={"team": "art"})
    assert told(studio) == [("first/painter", "timeout", "0.05"), ("second/painter", "ok", "0.06")]
    first, second = books(studio)
    assert (first.request_id, first.number, second.number) == (result.request_id, 1, 2)
    assert (first.task, first.tags, first.prompt, first.started) == ("poster", {"team": "art"}, None, NOON)
    assert sum(each.usd for each in books(studio)) == result.total_cost.usd


def test_the_prompt_is_in_the_books_only_if_it_is_to_be_recorded(painters: Open) -> None:
    studio = painters(record_prompts=True)
    studio.draw("a fox")
    assert [each.prompt for each in books(studio)] == ["a fox"]


def test_what_a_budget_has_no_room_for_is_not_sent(painters: Open) -> None:
    studio = painters({"usd": 0.1, "per": "day"})
    studio.draw()
    studio.draw()
    with pytest.raises(BudgetExceeded, match=r"the budget of \$0.1 per day: \$0.1 is spent") as refused:
        studio.draw()
    assert refused.value.retry_after == 12 * 3600 - 10  # it is ten seconds past noon
    assert len(studio.calls) == 2
    assert len(books(studio)) == 2
    assert [each.in_flight for each in studio.gateway.health()] == [0, 0]


def test_where_one_providers_budget_is_used_up_another_provider_serves(painters: Open) -> None:
    studio = painters({"usd": 0.05, "per": "day", "provider": "first"})
    assert [studio.draw().lane for _ in range(2)] == ["first/painter", "second/painter"]


def test_a_soft_budget_is_a_warning_on_the_result(painters: Open) -> None:
    studio = painters({"usd": 0.01, "per": "month", "mode": "soft"})
    assert "the budget of $0.01 per month is exceeded" in studio.draw().warnings[0]


def test_a_failure_that_was_free_gives_the_money_back(painters: Open) -> None:
    studio = painters({"usd": 0.06, "per": "day"})
    studio.script("first", fails("overloaded", "no"))
    assert studio.draw().lane == "second/painter"
    assert told(studio) == [("first/painter", "overloaded", "0.00"), ("second/painter", "ok", "0.06")]


@pytest.mark.parametrize("times", [1, 2])
def test_a_call_that_is_cancelled_once_or_twice_is_settled(painters: Open, times: int) -> None:
    studio = painters()
    studio.script("first", hangs())

    async def cancelled() -> None:
        task = asyncio.create_task(studio.gateway.generate("a fox"))
        while not studio.calls:
            await asyncio.sleep(0)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with pytest.raises(asyncio.CancelledError):
            await task

    studio.time.run(cancelled)
    assert told(studio) == [("first/painter", "cancelled", "0.05")]


def test_the_same_key_is_paid_for_once_and_another_request_under_it_is_refused(painters: Open, tmp_path: Path) -> None:
    studio = painters()
    first = studio.draw(idempotency_key="order 7")
    again = studio.draw(idempotency_key="order 7", tags={"team": "art"}, save_to=tmp_path / "again")
    assert (again.request_id, again.images[0].data) == (first.request_id, first.images[0].data)
    assert (tmp_path / "again.png").read_bytes() == first.images[0].data
    assert len(studio.calls) == 1
    with pytest.raises(InvalidRequest, match="idempotency_key: order 7 was used for another request"):
        studio.draw("a wolf", idempotency_key="order 7")


def test_a_second_charge_has_to_be_allowed(painters: Open) -> None:
    studio = painters()
    studio.script("first", fails("timeout"), fails("timeout"))
    studio.script("second", fails("timeout"), fails("timeout"))
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it is
        studio.draw(idempotency_key="order 7")
    sent = len(studio.calls)
    with pytest.raises(OutcomeUnknown, match="order 7"):
        studio.draw(idempotency_key="order 7")
    assert len(studio.calls) == sent
    studio.time.now += 600  # the lanes have recovered
    studio.scripts.clear()
    assert studio.draw(idempotency_key="order 7", allow_second_charge=True).images
    assert len(studio.calls) == sent + 1


def test_a_refusal_that_was_paid_for_is_told_again(painters: Open) -> None:
    studio = painters()
    studio.script("first", fails("blocked"))
    for _ in range(2):
        with pytest.raises(ContentBlocked) as refused:
            studio.draw(idempotency_key="order 7")
        assert refused.value.attempts[0].outcome == "blocked"
    assert len(studio.calls) == 1


def test_what_cannot_be_written_down_is_not_sent(tmp_path: Path, painters: Open) -> None:
    studio = painters()
    studio.gateway._dispatcher.setups.current.state.ledger.reserve = unwritable  # type: ignore[method-assign]
    with pytest.raises(StateUnavailable, match="disk full"):
        studio.draw()
    assert studio.calls == []
    assert [each.in_flight for each in studio.gateway.health()] == [0, 0]


async def unwritable(*_: object) -> Any:
    raise StateUnavailable("disk full")


def test_what_is_spent_outlives_a_reload(painters: Open) -> None:
    studio = painters({"usd": 0.05, "per": "day"})
    studio.draw()
    made = tables(first=relay(lane(price=0.05)))
    state = studio.config.state
    studio.gateway.reload({**made, "gateway": {"state": state}, "budgets": [{"usd": 0.06, "per": "day"}]})
    with pytest.raises(BudgetExceeded):
        studio.draw()
