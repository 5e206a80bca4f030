"""Judging blind: what is shown in which order, and what counts as a verdict."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.trial.journal import Begun, Trial
from gateway.trial.judging import MAX_REASON, Sheet, judged_in_order, sheets, verdicts_on
from providers.errors import InvalidRequest
from tests.trial.trials import BEGUN, CHEAP, FINE, LANES, drawn, lines, name, plan, trial, verdict


def seeded(seed: str, prompts: int) -> Trial:
    begun = Begun(trial="t", seed=seed, rate=BEGUN.rate)
    return Trial.of([begun, *list(lines(prompts, (), ()))[1:]])


def test_a_lane_is_as_often_on_the_left_as_on_the_right() -> None:
    shown = sheets(plan(400), LANES, trial(400))
    left = sum(sheet.images[0].lane == CHEAP for sheet in shown)
    assert 160 < left < 240


def test_the_order_is_that_of_the_seed_and_of_no_other() -> None:
    def order(seed: str) -> list[tuple[str, ...]]:
        return [tuple(image.id for image in sheet.images) for sheet in sheets(plan(20), LANES, seeded(seed, 20))]

    assert order("a") == order("a")
    assert order("a") != order("b")
    assert sorted(map(sorted, order("a"))) == sorted(map(sorted, order("b")))


def test_prompts_that_are_added_leave_the_others_in_their_order() -> None:
    few = [sheet.prompt.key for sheet in sheets(plan(10), LANES, trial(10))]
    many = [sheet.prompt.key for sheet in sheets(plan(30), LANES, trial(30))]
    assert [key for key in many if key in few] == few


def test_where_a_lane_delivered_nothing_the_other_is_shown_alone_and_without_any_nothing() -> None:
    known = Trial.of([BEGUN, drawn(0, FINE), drawn(1, CHEAP), drawn(1, FINE)])
    shown = {sheet.prompt.key: len(sheet.images) for sheet in sheets(plan(3), LANES, known)}
    assert shown == {"key0": 1, "key1": 2}


def test_more_than_two_lanes_are_shown_side_by_side_each_image_once() -> None:
    third = replace(drawn(0), id="c" * 16, lane="third/painter")
    known = Trial.of([BEGUN, drawn(0, CHEAP), drawn(0, FINE), third])
    (sheet,) = sheets(plan(1), (*LANES, "third/painter"), known)
    assert {image.lane for image in sheet.images} == {*LANES, "third/painter"}


def test_judged_sheets_come_in_the_order_of_their_last_verdict() -> None:
    given = [verdict(1, CHEAP, True), verdict(0, CHEAP, True), verdict(0, FINE, True), verdict(1, FINE, True)]
    known = Trial.of([*lines(3, (), ()), *given])
    assert [sheet.prompt.key for sheet in judged_in_order(sheets(plan(3), LANES, known), known)] == ["key0", "key1"]


SHEET = Sheet(plan(1).prompts[0], (drawn(0, CHEAP), drawn(0, FINE)))


def answers(**more: Any) -> dict[str, Any]:
    one: dict[str, Any] = {"id": name(0, CHEAP), "accepted": True, "reason": " good ", "minutes": 1.5, **more}
    return {"verdicts": [one, {"id": name(0, FINE), "accepted": False}]}


def test_answers_become_verdicts() -> None:
    first, second = verdicts_on(SHEET, answers())
    assert (first.id, first.accepted, first.reason, first.minutes) == (name(0, CHEAP), True, "good", 1.5)
    assert (second.id, second.accepted, second.reason, second.minutes) == (name(0, FINE), False, "", 0)


@pytest.mark.parametrize(
    "change",
    [
        {"id": "another"}, {"id": name(0, FINE)}, {"accepted": "yes"}, {"accepted": None}, {"minutes": -1},
        {"minutes": 601}, {"minutes": float("nan")}, {"minutes": "5"}, {"reason": "x" * (MAX_REASON + 1)},
        {"lane": "first/painter"},
    ],
)  # fmt: skip
def test_what_is_no_verdict_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InvalidRequest):
        verdicts_on(SHEET, answers(**change))


def test_one_image_alone_cannot_be_judged() -> None:
    with pytest.raises(InvalidRequest, match="expected one on each image that is shown"):
        verdicts_on(SHEET, {"verdicts": answers()["verdicts"][:1]})
