"""Having prompts drawn: on the lanes that were asked for, at the size that was asked for, and never paid twice."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from gateway import NoLaneAvailable
from gateway.configuration import config
from gateway.trial import drawing
from gateway.trial.drawing import AT_ONCE, Drawing, tasks
from gateway.trial.journal import FILE, IMAGES, Journal
from providers.exchange import Exchange
from providers.outcome import Outcome
from providers.request import UpstreamRequest
from tests.gateway.upstreams import Studio, draws, fails, hangs, lane, picture_of, relay, studio, tables
from tests.trial.trials import BEGUN, CHEAP, FINE, kept, plan


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return kept(tmp_path / "trial", BEGUN)


def painters() -> Studio:
    return studio(
        {"max_attempts": 4}, first=relay(lane(price=0.05)), second=relay(lane(price=0.20)), third=relay(lane())
    )


def prepared(studio: Studio, journal: Journal, prompts: int = 2, budget: str | None = None, **more: Any) -> Drawing:
    lanes = [lane for lane in studio.config.lanes if lane.name in (CHEAP, FINE)]
    wanted = list(tasks(studio.gateway, plan(prompts, **more), lanes, journal.trial(), journal))
    return Drawing(
        gateway=studio.gateway, journal=journal, tasks=wanted, ended=lambda line: None, clock=studio.time.clock,
        budget=None if budget is None else Decimal(budget),
    )  # fmt: skip


def make(studio: Studio, journal: Journal, prompts: int = 2, budget: str | None = None, **more: Any) -> Drawing:
    work = prepared(studio, journal, prompts, budget, **more)
    studio.time.run(work.run)
    return work


def on_disk(folder: Path) -> Studio:
    """Painters whose state outlives them."""
    providers = tables(first=relay(lane(price=0.05)), second=relay(lane(price=0.2)))
    return Studio(config.load({**providers, "gateway": {"state": f"sqlite:///{folder}/state.db"}}, environ={}))


def test_every_prompt_is_drawn_once_by_each_lane_and_by_no_other(journal: Journal) -> None:
    studio = painters()
    make(studio, journal, prompts=3)
    assert sorted((call.provider, call.request.prompt) for call in studio.calls) == [
        (name, f"prompt {n}") for name in ("first", "second") for n in range(3)
    ]
    assert set(journal.trial().drawn) == {(f"key{n}", name) for n in range(3) for name in (CHEAP, FINE)}


def test_what_was_drawn_is_kept_with_its_figures(journal: Journal) -> None:
    studio = painters()
    studio.script("second", draws(seconds=7.0))
    make(studio, journal, prompts=1)
    found = journal.trial().drawn["key0", FINE]
    assert (found.usd, found.lost, found.price) == (Decimal("0.2"), 0, Decimal("0.2"))
    assert (found.attempts, found.seconds, found.task, found.size) == (1, pytest.approx(7.0), "poster", "1K")
    assert journal.image(found) == picture_of("1K").data
    assert (journal.folder / IMAGES / f"{found.id}.png").exists()


def test_no_name_of_a_file_tells_the_lane(journal: Journal) -> None:
    make(painters(), journal, prompts=2)
    names = [path.name for path in (journal.folder / IMAGES).iterdir()]
    assert len(names) == 4
    assert not any(word in name for name in names for word in ("first", "second", "painter"))


def test_a_lane_in_trouble_is_not_replaced_by_another_nor_by_a_smaller_size(journal: Journal) -> None:
    studio = painters()
    studio.script("first", fails("blocked"))
    make(studio, journal, prompts=1, size="4K")
    assert sorted(studio.asked) == [("first", "4K"), ("second", "4K")]
    failed = journal.trial().failed["key0", CHEAP]
    assert (failed.reason, failed.lost, failed.attempts) == ("blocked", Decimal("0.05"), 1)


def test_an_image_that_is_too_small_is_a_failure_that_was_paid_for(journal: Journal) -> None:
    studio = painters()
    studio.script("first", draws(picture_of("2K")))
    make(studio, journal, prompts=1, size="4K")
    failed = journal.trial().failed["key0", CHEAP]
    assert (failed.reason, failed.lost) == ("wrong_size", Decimal("0.05"))


def test_a_free_failure_that_passes_is_tried_again_and_counts_as_a_retry(journal: Journal) -> None:
    studio = painters()
    studio.script("first", fails("overloaded"), fails("overloaded"))
    make(studio, journal, prompts=1)
    assert journal.trial().drawn["key0", CHEAP].attempts == 3


def test_a_failure_that_may_have_been_billed_is_not_tried_again(journal: Journal) -> None:
    studio = painters()
    studio.script("first", fails("timeout"))
    make(studio, journal, prompts=1)
    make(studio, journal, prompts=1)
    assert sorted(call.provider for call in studio.calls) == ["first", "second"]
    assert journal.trial().failed["key0", CHEAP].lost == Decimal("0.05")


def test_a_free_failure_that_lasts_is_tried_again_by_the_next_run(journal: Journal) -> None:
    studio = painters()
    studio.script("first", fails("invalid"))
    make(studio, journal, prompts=1)
    assert journal.trial().failed["key0", CHEAP].lost == 0
    make(studio, journal, prompts=1)
    assert ("key0", CHEAP) in journal.trial().drawn
    assert not journal.trial().failed


def test_a_run_that_goes_on_pays_for_nothing_that_is_there(journal: Journal) -> None:
    make(painters(), journal, prompts=2)
    later = painters()
    make(later, journal, prompts=3)
    assert {(call.provider, call.request.prompt) for call in later.calls} == {
        ("first", "prompt 2"),
        ("second", "prompt 2"),
    }


def test_what_was_paid_for_and_not_written_down_is_found_again(tmp_path: Path, journal: Journal) -> None:
    make(on_disk(tmp_path), journal, prompts=1)
    (journal.folder / FILE).unlink()  # as if it had been killed before the lines were written
    journal.add(BEGUN)
    later = on_disk(tmp_path)
    make(later, journal, prompts=1)
    assert later.calls == []
    assert journal.image(journal.trial().drawn["key0", CHEAP]) == picture_of("1K").data
    assert len(list((journal.folder / IMAGES).iterdir())) == 2


def test_a_call_whose_end_nobody_knows_counts_as_paid_and_is_not_repeated(tmp_path: Path, journal: Journal) -> None:
    given_up = on_disk(tmp_path)
    work = prepared(given_up, journal, prompts=1)

    async def interrupted() -> None:
        with anyio.CancelScope() as scope:

            async def under_way(request: UpstreamRequest, exchange: Exchange) -> Outcome:
                exchange.sent = True
                scope.cancel()
                return await hangs()(request, exchange)

            given_up.script("first", under_way)
            await work.run()
        await given_up.gateway.aclose()

    given_up.time.run(interrupted)
    later = on_disk(tmp_path)
    make(later, journal, prompts=1)
    assert "first" not in [call.provider for call in later.calls]
    failed = journal.trial().failed["key0", CHEAP]
    assert (failed.reason, failed.lost >= Decimal("0.05")) == ("OutcomeUnknown", True)


def test_the_budget_ends_the_drawing_before_it_is_exceeded(journal: Journal) -> None:
    studio = painters()
    work = make(studio, journal, prompts=4, budget="0.60")
    spent = sum(each.usd for each in journal.trial().drawn.values())
    assert spent <= Decimal("0.60")
    assert work.left_out == 8 - len(studio.calls) > 0
    make(studio, journal, prompts=4)
    assert len(journal.trial().drawn) == 8


def test_what_was_not_spent_after_all_stays_in_the_budget(journal: Journal) -> None:
    studio = painters()
    studio.script("second", *[fails("invalid")] * 8)
    assert make(studio, journal, prompts=8, budget="0.90").left_out == 0
    assert len(studio.calls) == 16


def test_a_lane_gets_two_calls_at_a_time_and_lanes_do_not_wait_for_each_other(journal: Journal) -> None:
    studio = painters()
    make(studio, journal, prompts=6)
    first = [call.at for call in studio.calls if call.provider == "first"]
    second = [call.at for call in studio.calls if call.provider == "second"]
    assert first == pytest.approx(second)
    assert all(first.count(at) <= AT_ONCE for at in first)
    assert max(first) - min(first) == pytest.approx(10, abs=0.5)


def test_after_a_stop_nothing_is_begun_and_what_is_under_way_is_kept(journal: Journal) -> None:
    studio = painters()
    work = prepared(studio, journal, prompts=5)
    work.ended = lambda line: work.stop()
    studio.time.run(work.run)
    assert len(studio.calls) == len(journal.trial().drawn) == 4
    assert work.left_out == 6


def test_a_lane_that_cannot_draw_this_is_told_before_anything_is_paid(journal: Journal) -> None:
    studio = painters()
    with pytest.raises(NoLaneAvailable) as caught:
        make(studio, journal, aspect_ratio=None, size="512")
    assert caught.value.plan is not None
    assert studio.calls == []


def test_a_trial_says_what_it_expects_to_cost(journal: Journal) -> None:
    sums = drawing.expected(prepared(painters(), journal, prompts=10).tasks)
    assert {name: count for name, (count, _) in sums.items()} == {CHEAP: 10, FINE: 10}
    assert 0.5 <= sums[CHEAP][1] < 0.6
    assert 2 <= sums[FINE][1] < 2.4
