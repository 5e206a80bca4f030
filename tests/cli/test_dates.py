"""Days are told as people tell them."""

from datetime import date, timedelta

import pytest

from gateway.cli.dates import ago, retirement

TODAY = date(2026, 11, 21)


@pytest.mark.parametrize(
    ("days", "told"), [(0, "today"), (-1, "1 day ago"), (-50, "50 days ago"), (1, "in 1 day"), (42, "in 42 days")]
)
def test_how_long_ago(days, told):
    assert ago(TODAY + timedelta(days=days), TODAY) == told


@pytest.mark.parametrize(
    ("days", "told"),
    [(42, "retires in 42 days"), (1, "retires in 1 day"), (0, "retired today"), (-50, "retired 50 days ago")],
)
def test_how_long_a_lane_has_left(days, told):
    day = TODAY + timedelta(days=days)
    assert retirement(day, TODAY) == f"{told} ({day})"
