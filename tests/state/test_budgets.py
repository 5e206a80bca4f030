"""Which budgets a call is paid from, and when days and months begin."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from gateway.money.budgets import Budget, charges, counter, ends
from gateway.money.entries import micro, usd
from tests.state.books import a_day, entry


def test_a_budget_is_for_everything_a_provider_a_tag_or_both() -> None:
    art = entry(provider="google", tags={"team": "art", "job": "7"})
    assert a_day("1").applies_to(art)
    assert a_day("1", provider="google").applies_to(art)
    assert not a_day("1", provider="relay").applies_to(art)
    assert a_day("1", tag=("team", "art")).applies_to(art)
    assert not a_day("1", tag=("team", "web")).applies_to(art)
    assert not a_day("1", tag=("art", "team")).applies_to(art)
    assert not a_day("1", provider="relay", tag=("team", "art")).applies_to(art)


def test_budgets_over_the_same_money_share_a_counter_and_the_lowest_hard_cap_holds() -> None:
    shared = (a_day("10"), a_day("8", mode="soft"), a_day("9"))
    (charge,) = charges(shared, entry())
    assert charge.cap == 9_000_000
    assert {counter(each, entry().started) for each in shared} == {charge.counter}
    (soft,) = charges(shared[1:2], entry())
    assert soft.cap is None


def test_other_scopes_periods_and_zones_have_counters_of_their_own() -> None:
    budgets = (
        a_day("1"), a_day("1", provider="google"), a_day("1", tag=("team", "art")), a_day("1", zone="Asia/Hong_Kong"),
        Budget(usd=Decimal(1), per="month"),
    )  # fmt: skip
    assert len({counter(each, entry().started) for each in budgets}) == 5


@pytest.mark.parametrize(
    ("per", "zone", "at", "end"),
    [
        ("day", "UTC", "2026-10-01T23:59:59", "2026-10-02T00:00:00"),
        ("day", "UTC", "2026-10-02T00:00:00", "2026-10-03T00:00:00"),
        ("day", "Asia/Hong_Kong", "2026-10-01T15:59:59", "2026-10-01T16:00:00"),
        ("day", "Europe/Berlin", "2026-10-25T00:30:00", "2026-10-25T23:00:00"),  # a day of 25 hours
        ("day", "Europe/Berlin", "2026-03-29T00:30:00", "2026-03-29T22:00:00"),  # one of 23
        ("month", "UTC", "2026-12-31T23:59:59", "2027-01-01T00:00:00"),
        ("month", "UTC", "2028-02-29T12:00:00", "2028-03-01T00:00:00"),
        ("month", "America/Los_Angeles", "2026-11-01T06:59:59", "2026-11-01T07:00:00"),
        ("month", "America/Los_Angeles", "2026-11-01T07:00:00", "2026-12-01T08:00:00"),
    ],
)
def test_days_and_months_end_at_midnight_in_the_budgets_zone(per: str, zone: str, at: str, end: str) -> None:
    budget = Budget(usd=Decimal(1), per=per, zone=zone)  # type: ignore[arg-type]
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    over = datetime.fromisoformat(end).replace(tzinfo=UTC)
    assert ends(budget, moment) == over
    assert counter(budget, moment) != counter(budget, over)


def test_the_books_never_hold_less_than_was_charged() -> None:
    assert micro(Decimal("0.0000001")) == 1
    assert micro(Decimal("0.0336")) == 33_600
    assert usd(micro(Decimal("0.0336"))) == Decimal("0.0336")
