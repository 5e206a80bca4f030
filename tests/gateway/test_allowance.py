"""What may be spent on second tries: buckets that successes fill and retries drain."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.health.allowance import Allowance, available, drawn, earned, for_hedges, for_retries

NOW = 50_000.0
DOLLAR = Decimal("1.00")


def spent(allowance: Allowance, usd: str, now: float = NOW) -> Allowance:
    """The bucket without *usd*, which it must hold."""
    left = drawn(allowance, Decimal(usd), now)
    assert left is not None
    return left


def test_the_bucket_for_retries_begins_full() -> None:
    assert available(for_retries(DOLLAR, NOW), NOW) == DOLLAR


def test_it_may_be_emptied_to_the_cent_and_not_beyond() -> None:
    empty = spent(for_retries(DOLLAR, NOW), "1.00")
    assert available(empty, NOW) == 0
    assert drawn(empty, Decimal("0.0001"), NOW) is None


def test_nothing_is_taken_from_a_bucket_that_does_not_hold_enough() -> None:
    low = spent(for_retries(DOLLAR, NOW), "0.97")
    assert drawn(low, Decimal("0.04"), NOW) is None
    assert available(low, NOW) == Decimal("0.03")


@pytest.mark.parametrize(("seconds", "usd"), [(60, "0.05"), (30, "0.025"), (600, "0.50"), (86_400, "1.00")])
def test_five_cents_a_minute_flow_back_up_to_its_capacity(seconds: float, usd: str) -> None:
    empty = spent(for_retries(DOLLAR, NOW), "1.00")
    assert available(empty, NOW + seconds) == Decimal(usd)


def test_what_flowed_back_is_there_to_be_spent() -> None:
    empty = spent(for_retries(DOLLAR, NOW), "1.00")
    assert available(spent(empty, "0.04", NOW + 60), NOW + 60) == Decimal("0.01")


def test_half_of_what_is_earned_beyond_its_capacity_fades_in_ten_minutes() -> None:
    rich = earned(for_retries(DOLLAR, NOW), Decimal(8), NOW)
    assert [round(available(rich, NOW + seconds), 6) for seconds in (0, 600, 1200, 1e6)] == [9, 5, 3, 1]


def test_what_fades_is_spent_first() -> None:
    rich = spent(earned(for_retries(DOLLAR, NOW), Decimal(2), NOW), "2.00")
    assert available(rich, NOW + 1e6) == DOLLAR


def test_a_capacity_of_nothing_stays_empty() -> None:
    none = earned(for_retries(Decimal(0), NOW), Decimal(5), NOW)
    assert available(none, NOW + 1e6) == 0
    assert drawn(none, Decimal("0.01"), NOW + 1e6) is None


def test_the_bucket_for_hedges_begins_empty_and_only_spending_fills_it() -> None:
    hedges = for_hedges(Decimal(5))
    assert available(hedges, NOW + 1e6) == 0
    assert available(earned(hedges, Decimal("0.02"), NOW), NOW + 1e6) == Decimal("0.02")


MONEY = st.decimals(0, 3, places=4)


@given(st.lists(st.tuples(st.sampled_from(["earn", "draw"]), MONEY, st.floats(0, 3e5)), max_size=60), MONEY)
def test_it_is_never_below_nothing_nor_above_what_it_holds_and_was_earned(
    history: list[tuple[str, Decimal, float]], capacity: Decimal
) -> None:
    bucket, now, income = for_retries(capacity, NOW), NOW, Decimal(0)
    for happened, usd, pause in history:
        now += pause
        held = available(bucket, now)
        after = earned(bucket, usd, now) if happened == "earn" else drawn(bucket, usd, now)
        assert (after is None) is (happened == "draw" and usd > held)
        bucket = after or bucket
        income += usd if happened == "earn" else 0
        assert 0 <= available(bucket, now) <= capacity + income


@given(st.lists(st.tuples(MONEY, st.floats(0, 600)), max_size=60))
def test_no_more_is_ever_drawn_than_was_there_and_flowed_back(history: list[tuple[Decimal, float]]) -> None:
    bucket, now, total = for_retries(DOLLAR, NOW), NOW, Decimal(0)
    for usd, pause in history:
        now += pause
        after = drawn(bucket, usd, now)
        total += usd if after is not None else 0
        bucket = after or bucket
    assert total <= DOLLAR + Decimal("0.05") * Decimal(now - NOW) / 60 + Decimal("1e-9")
