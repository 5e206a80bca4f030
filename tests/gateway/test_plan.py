"""A plan: what each step promises, and how the whole reads."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import NamedTuple

import pytest

from gateway import Candidate, Plan
from gateway.health.health import LaneState
from gateway.router.lanes import Lane
from gateway.router.router import Situation
from providers.sizes import Size
from tests.gateway.lanes import CALM, FLASH, NOW, at, planned
from tests.gateway.virtual_time import TODAY

CHEAP = at("cheap", "0.05")
OLD = replace(FLASH, model="old", upstream_model="old-001", aliases=(), lane_class="legacy")


def test_a_candidate_says_what_to_expect() -> None:
    state = LaneState(successes=10.0, updated=NOW, typical={"2K": 30.0})
    (step,) = planned(FLASH, situation=replace(CALM, states={FLASH.name: state}), size="2K", min_size="2K").candidates
    assert (step.lane, step.size, step.expected_seconds) == ("acme/flash", "2K", 30.0)
    assert step.success_rate == pytest.approx(19 / 20)
    assert step.expected_cost == Decimal("0.082105")  # 0.08 · (1 + 0.5 · (1/19))


def test_a_plan_reads_as_a_table() -> None:
    plan = planned(CHEAP, at("dear", "0.09", retired=date(2026, 11, 1)), OLD, size="4K", fallback=["switch"])
    assert str(plan) == (
        "#  lane         size  USD     seconds  success\n"
        "1  cheap/flash  4K    0.0528  25       90%\n"
        "2  dear/flash   4K    0.0950  25       90%\n"
        "\n"
        "left out:\n"
        "  acme/old  quality  a legacy model is taken only when it is named"
    )


def test_a_plan_with_nothing_in_it_says_so() -> None:
    assert str(planned(OLD)).startswith("no lane can serve this request\n\nleft out:\n  acme/old")


def test_a_plan_shows_its_warnings() -> None:
    assert str(planned(FLASH, grounding=True)).endswith("\nwarning: acme/flash does not support grounding: not sent")


def test_the_figures_of_a_plan_are_worked_out_once_when_somebody_looks_at_them() -> None:
    looks: list[str] = []

    class Told(NamedTuple):
        name: str
        size: Size

        @property
        def candidate(self) -> Candidate:
            looks.append(self.name)
            return Candidate(self.name, self.size, Decimal(1), 2.0, 0.9)

    plan = Plan((Told("a/b", "1K"), Told("c/d", "2K")))
    assert [(step.name, step.size) for step in plan.steps] == [("a/b", "1K"), ("c/d", "2K")]
    assert not looks
    assert plan.candidates == (
        Candidate("a/b", "1K", Decimal(1), 2.0, 0.9),
        Candidate("c/d", "2K", Decimal(1), 2.0, 0.9),
    )
    assert plan == Plan(plan.candidates)
    assert looks == ["a/b", "c/d"]


def test_a_plan_travels_with_its_candidates() -> None:
    plan = planned(CHEAP, OLD, size="4K")
    for copied in (pickle.loads(pickle.dumps(plan)), copy.deepcopy(plan), replace(plan)):
        assert copied == plan
        assert copied.steps == plan.candidates
        assert (type(copied.candidates), len(copied.candidates)) == (tuple, 2)


def test_a_plan_has_no_candidates_unless_it_is_given_some() -> None:
    assert Plan().candidates == ()


def test_the_situation_defaults_to_switching_before_downgrading() -> None:
    assert Situation(now=0, today=TODAY).fallback == ("switch", "downgrade")


def test_a_lane_is_named_after_its_provider_and_model() -> None:
    assert Lane(provider="acme", model="flash", upstream_model="x").name == "acme/flash"
