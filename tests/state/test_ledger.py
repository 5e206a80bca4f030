"""The ledger and the budgets, the same for every backend."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from gateway.money.entries import Entry
from gateway.money.ledger import Booking
from providers.errors import BudgetExceeded
from tests.state.books import NOON, Place, a_day, entry, paid, spent


def test_what_is_reserved_is_in_the_books_at_its_quoted_price(place: Place) -> None:
    async def main() -> None:
        booked = entry("0.24", images=2, task="poster", tags={"team": "ärt"}, prompt="a fox")
        await place.ledger().reserve(booked)
        (found,) = await place.ledger().entries()
        assert (found.state, found.usd, found.settlement) == ("reserved", Decimal("0.24"), None)
        assert (found.task, found.tags, found.prompt, found.images) == ("poster", {"team": "ärt"}, "a fox", 2)
        assert (found.id, found.started, found.lane) == (booked.id, NOON, "google/nano")

    place.run(main)


def test_what_is_settled_counts_what_it_cost(place: Place) -> None:
    async def main() -> None:
        ledger = place.ledger(a_day("10"))
        booking = await ledger.reserve(entry("0.24"))
        place.wall.moves(30)
        paid(ledger, booking, "0.151234")
        await place.states[0].engine.flush()
        (found,) = await place.ledger().entries()
        assert found.settlement is not None
        assert (found.state, found.usd) == ("settled", Decimal("0.151234"))
        assert (found.settlement.outcome, found.settlement.billed, found.settlement.basis) == ("ok", "yes", "reported")
        assert found.settlement.ended == NOON + timedelta(seconds=30)
        assert await ledger.used() == {a_day("10"): 151_234}

    place.run(main)


def test_a_call_that_was_free_gives_the_money_back(place: Place) -> None:
    async def main() -> None:
        ledger = place.ledger(a_day("0.24"))
        ledger.settle(await ledger.reserve(entry("0.24")), "rate_limited", "no", None)
        await ledger.reserve(entry("0.24"))  # there is room for it again
        assert await spent(ledger) == ["0.24"]
        assert sorted(each.usd for each in await ledger.entries()) == [0, Decimal("0.24")]

    place.run(main)


def test_settling_twice_and_reserving_twice_count_once(place: Place) -> None:
    async def main() -> None:
        ledger, booked = place.ledger(a_day("10")), entry("0.20")
        booking = await ledger.reserve(booked)
        await ledger.reserve(booked)
        assert await spent(ledger) == ["0.20"]
        paid(ledger, booking, "0.15")
        paid(ledger, booking, "0.19")
        await ledger.reserve(booked)
        assert await spent(ledger) == ["0.15"]
        assert [each.usd for each in await ledger.entries()] == [Decimal("0.15")]

    place.run(main)


def test_settling_what_was_never_reserved_changes_nothing(place: Place) -> None:
    async def main() -> None:
        ledger, stranger = place.ledger(a_day("10")), entry("0.20")
        await ledger.reserve(entry("0.10"))
        paid(ledger, Booking(stranger, ()), "0.15")
        await place.states[0].engine.flush()
        assert [each.usd for each in await ledger.entries()] == [Decimal("0.10")]

    place.run(main)


def test_entries_come_in_the_order_of_their_start_from_a_moment_on(place: Place) -> None:
    async def main() -> None:
        ledger = place.ledger()
        for hours in (3, 1, 2, 0):
            await ledger.reserve(entry(started=NOON + timedelta(hours=hours)))
        found = await ledger.entries(since=NOON + timedelta(hours=1))
        assert [each.started - NOON for each in found] == [timedelta(hours=hours) for hours in (1, 2, 3)]

    place.run(main)


def test_a_hard_budget_refuses_and_says_what_is_used_and_when_it_is_full_again(place: Place) -> None:
    async def main() -> None:
        ledger = place.ledger(a_day("0.50", provider="google"))
        for _ in range(5):
            await ledger.reserve(entry("0.10"))
        with pytest.raises(BudgetExceeded) as refused:
            await ledger.reserve(entry("0.10"))
        assert str(refused.value) == (
            "the budget of $0.50 per day at google: $0.5 is spent or reserved, and google/nano at 1K would take $0.10 "
            "more; nothing was sent. It is full again at 2026-10-02 00:00 UTC"
        )
        assert refused.value.retry_after == 12 * 3600
        await ledger.reserve(entry("0.10", provider="other"))
        assert len(await ledger.entries()) == 6

    place.run(main)


def test_a_refusal_by_one_budget_charges_no_other(place: Place) -> None:
    async def main() -> None:
        ledger = place.ledger(a_day("10"), a_day("0.05", tag=("team", "art")))
        with pytest.raises(BudgetExceeded, match=r"\$0.05 per day with team=art"):
            await ledger.reserve(entry("0.10", tags={"team": "art"}))
        assert await spent(ledger) == ["0.00", "0.00"]
        assert await ledger.entries() == []

    place.run(main)


def test_a_soft_budget_warns_and_lets_through(place: Place) -> None:
    async def main() -> None:
        ledger = place.ledger(a_day("0.15", mode="soft"))
        assert (await ledger.reserve(entry("0.10"))).warnings == ()
        (warning,) = (await ledger.reserve(entry("0.10"))).warnings
        assert (
            warning == "the budget of $0.15 per day is exceeded: $0.2 is spent or reserved until 2026-10-02 00:00 UTC"
        )

    place.run(main)


def test_the_next_day_the_budget_is_full_again(place: Place) -> None:
    async def main() -> None:
        ledger = place.ledger(a_day("0.10"))
        await ledger.reserve(entry("0.10"))
        await ledger.reserve(entry("0.10", started=NOON + timedelta(hours=12)))
        with pytest.raises(BudgetExceeded):
            await ledger.reserve(entry("0.10"))

    place.run(main)


def test_raising_the_cap_does_not_forget_what_was_spent(place: Place) -> None:
    async def main() -> None:
        await place.ledger(a_day("0.10")).reserve(entry("0.10"))
        raised = place.ledger(a_day("0.25"))
        await raised.reserve(entry("0.10"))
        with pytest.raises(BudgetExceeded):
            await raised.reserve(entry("0.10"))

    place.run(main)


def test_what_is_cancelled_while_it_is_reserved_does_not_stay_reserved(place: Place) -> None:
    async def main() -> None:
        ledger = place.ledger(a_day("10"))
        await ledger.reserve(entry("0.10"))
        for turns in range(6):  # at whichever point it is by then
            task = asyncio.create_task(ledger.reserve(entry("0.20")))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            if isinstance(ended, Booking):
                ledger.settle(ended, "cancelled", "no", None)
        await place.states[0].engine.flush()
        assert await spent(ledger) == ["0.10"]
        assert sum(each.usd for each in await ledger.entries()) == Decimal("0.10")

    place.run(main)


def test_many_threads_and_loops_never_reserve_more_than_the_cap(place: Place) -> None:
    ledger = place.ledger(a_day("10"))
    together = threading.Barrier(8)

    def in_a_thread(_: int) -> int:
        async def main() -> int:
            booked = await asyncio.gather(*(ledger.reserve(entry("0.15")) for _ in range(50)), return_exceptions=True)
            assert {type(each) for each in booked} <= {Booking, BudgetExceeded}
            return sum(isinstance(each, Booking) for each in booked)

        together.wait(30)
        return asyncio.run(main())

    with ThreadPoolExecutor(8) as threads:
        granted = sum(threads.map(in_a_thread, range(8)))

    async def main() -> None:
        assert granted == 66  # 66 x 0.15 = 9.90; a 67th would be 10.05
        assert await spent(ledger) == ["9.90"]
        assert len(await ledger.entries()) == 66

    place.run(main)


steps = some.lists(
    some.tuples(some.integers(0, 9), some.sampled_from(["reserve", "settle"]), some.integers(0, 300_000)), max_size=30
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=steps)
def test_a_counter_is_the_sum_of_what_its_entries_count_for(place: Place, steps: list[tuple[int, str, int]]) -> None:
    """Whatever is reserved and settled in whatever order, and however often."""

    async def main() -> None:
        budget = a_day("1.00", tag=("run", entry().id))  # a counter of its own
        ledger = place.ledger(budget)
        run = entry().request_id
        bookings: dict[int, Booking] = {}
        for number, step, micro in steps:
            if step == "settle" and number in bookings:
                paid(ledger, bookings[number], f"{micro / 1_000_000:.6f}")
            elif step == "reserve":
                wanted = entry(
                    f"{micro / 1_000_000:.6f}", request_id=run, number=number, tags=dict([budget.tag or ("", "")])
                )
                with suppress(BudgetExceeded):
                    bookings.setdefault(number, await ledger.reserve(wanted))
        await place.states[-1].engine.flush()
        ours: list[Entry] = [each for each in await ledger.entries() if each.request_id == run]
        assert {each.number for each in ours} == set(bookings)
        assert (await ledger.used()).get(budget, 0) == sum(each.usd for each in ours) * 1_000_000

    place.run(main)
