"""Scores of lanes and the first place, apart from everything that leads there."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.health.health import LaneState, concurrency
from gateway.router.ranking import Step, _skyline, ranked, steps, winner
from tests.gateway.lanes import FLASH, NOW, at


def step(name: str, price: float, seconds: float = 1.0, attempts: float = 1.0) -> Step:
    return Step(price, seconds, attempts, name, at(name, "1"), "1K", rate=1.0, markup=1.0)


def test_the_score_by_price_adds_a_tenth_of_a_cent_for_each_second_to_what_an_image_costs() -> None:
    state = LaneState(successes=90.0, failures=0.0, updated=NOW)
    made = steps(FLASH, ("1K",), state, NOW, concurrency(state) - 1)["1K"]
    # 0.05 · (1 + 0.5 · 0.01/0.99), and 8 s where the last free place is taken
    assert float(made.candidate.expected_cost) == pytest.approx(0.050253, abs=1e-6)
    assert made.price == pytest.approx(0.050253 + 0.008, abs=1e-6)
    assert made.attempts == pytest.approx(100 / 99)


def test_each_sort_settles_ties_by_the_other_scores() -> None:
    group = [step("a", 2, 2, 1), step("b", 1, 2, 2), step("c", 2, 1, 2), step("d", 2, 2, 2), step("e", 1, 2, 1)]
    assert "".join(each.name for each in ranked(group, "price")) == "ebcad"
    assert "".join(each.name for each in ranked(group, "latency")) == "cebad"
    assert "".join(each.name for each in ranked(group, "success")) == "eabcd"


def test_every_pair_of_contenders_is_drawn_equally_often() -> None:
    group = [step(name, 100 + place, 100 - place) for place, name in enumerate("abcde")]
    won = Counter(winner(group, "price", None, seed).name for seed in range(20))
    assert won == {"a": 8, "b": 6, "c": 4, "d": 2}  # the better of two: e never is


points = st.tuples(*[st.integers(0, 4).map(float)] * 3)


@given(st.sets(points, max_size=12))
def test_the_skyline_is_what_no_other_point_is_below(some: set[tuple[float, float, float]]) -> None:
    def is_below(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
        return one != other and all(a <= b for a, b in zip(one, other, strict=True))

    assert _skyline(some) == {point for point in some if not any(is_below(other, point) for other in some)}
