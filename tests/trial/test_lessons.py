"""What a trial taught reaches the router of a later process, by the configuration alone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gateway import ConfigError
from gateway.configuration import config
from gateway.router.acceptance import Verdicts
from gateway.trial import lessons
from gateway.trial.journal import Trial
from tests.gateway.upstreams import Studio, lane, relay
from tests.trial.trials import CHEAP, FINE, kept, lines, trial, verdict

YES, NO = [True], [False]


def gateway(*folders: Path) -> Studio:
    """A gateway with a standard lane, a premium one four times as dear, and what the trials in *folders* taught."""
    return Studio(config.load(tables(*folders), environ={}))


def tables(*folders: Path) -> dict[str, Any]:
    return {
        "router": {"acceptance": list(map(str, folders))} if folders else {},
        "providers": {
            "first": relay(lane(price=0.05)),
            "second": relay(lane(price=0.20, **{"class": "premium"})),
        },
    }


def judged(folder: Path, cheap: Sequence[bool], fine: Sequence[bool], minutes: float = 0.0) -> Path:
    kept(folder, *lines(len(cheap), cheap, fine, minutes))
    return folder


def first(painters: Studio, task: str) -> str:
    return painters.gateway.plan("a fox", quality="auto", task=task).candidates[0].lane


def test_a_later_gateway_goes_to_premium_where_the_trial_showed_that_it_pays(tmp_path: Path) -> None:
    folder = judged(tmp_path / "posters", NO * 25, YES * 25, minutes=5)
    assert first(gateway(), "poster") == CHEAP
    assert first(gateway(folder), "poster") == FINE
    assert first(gateway(folder), "icon") == CHEAP


def test_the_figures_are_those_of_the_trial(tmp_path: Path) -> None:
    folder = judged(tmp_path / "posters", [*YES * 18, *NO * 6], YES * 24, minutes=3)
    planned = gateway(folder).gateway.plan("a fox", quality="auto", task="poster")
    assert planned.acceptance is not None
    assert {row.lane: (row.verdicts, round(row.accepted or 0, 2)) for row in planned.acceptance.rows} == {
        CHEAP: (24, 0.75),
        FINE: (24, 1.0),
    }


def test_a_reload_takes_in_what_was_judged_meanwhile_and_counts_nothing_twice(tmp_path: Path) -> None:
    folder = judged(tmp_path / "posters", YES * 5, YES * 5)
    painters = gateway(folder)
    kept(folder, *list(lines(8, YES * 8, YES * 8))[1:])
    painters.gateway.reload(tables(folder))
    planned = painters.gateway.plan("a fox", quality="auto", task="poster")
    assert planned.acceptance is not None
    assert [row.verdicts for row in planned.acceptance.rows] == [8, 8]


def test_a_verdict_that_was_changed_replaces_the_earlier_one() -> None:
    verdicts = Verdicts()
    verdicts.recall(lessons.judged(trial(1, YES, YES)))
    verdicts.recall(lessons.judged(Trial.of([*lines(1, YES, YES), verdict(0, CHEAP, False, 6)])))
    tally = verdicts.of("poster")[CHEAP]
    assert (tally.judged, tally.accepted, tally.cleanup) == (1, 0, pytest.approx(6, rel=0.01))


def test_failed_attempts_at_an_image_count_into_its_cost() -> None:
    from decimal import Decimal

    from tests.trial.trials import BEGUN, drawn

    verdicts = Verdicts()
    lost = drawn(0, lost=Decimal("0.03"))
    verdicts.recall(lessons.judged(Trial.of([BEGUN, lost, verdict(0, CHEAP, True)])))
    assert verdicts.of("poster")[CHEAP].cost == pytest.approx(0.08)


def test_a_folder_without_a_trial_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape("router.acceptance[0]: expected the folder of a trial")):
        gateway(tmp_path)
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[router]\nsort = "price"\nacceptance = ["nowhere"]\n[providers.a]\nkind = "google"\napi_key = "x"\n'
    )
    with pytest.raises(ConfigError, match=re.escape("line 3: router.acceptance[0]")):
        config.load(file, environ={})


def test_a_folder_is_found_beside_the_configuration(tmp_path: Path) -> None:
    judged(tmp_path / "posters", YES, YES)
    file = tmp_path / "gateway.toml"
    file.write_text(
        '[router]\nacceptance = ["posters"]\n[providers.a]\nkind = "google"\napi_key = "the-key-in-the-file"\n'
    )
    assert config.load(file, environ={}).acceptance == (tmp_path / "posters",)
