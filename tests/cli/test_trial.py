"""`trial`: prompts on several lanes, drawn, judged and reported. The page has its own tests, in a browser."""

import json
import signal
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest

from gateway.cli import trial as command
from gateway.trial.journal import Journal, Revealed, Verdict
from providers.simulator import Simulator, faults
from tests.cli.conftest import FLASH, configure, google_table, relay_table, run, run_json, spawn, words

GOOGLE, RELAY = f"google/{FLASH}", f"relay/{FLASH}"
LANES = ("--lanes", f"{GOOGLE},{RELAY}")
PROMPTS = """\
title = "Launch posters"
bar = "It can be printed."
cleanup_usd_per_hour = 60
prompts = ["a fox", "an owl"]
"""


@pytest.fixture
def lanes(simulate: Callable[..., Simulator], folder: Path) -> tuple[Simulator, Simulator]:
    first, second = simulate(), simulate("new-api")
    configure(google=google_table(first), relay=relay_table(second))
    (folder / "prompts.toml").write_text(PROMPTS, encoding="utf-8")
    return first, second


@pytest.fixture
def judge(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who accepts what the relay draws, rejects the rest with six minutes of work, and never opens the page."""

    def judged(trial: command._Trial, wanted: command.Wanted) -> None:
        known = trial.journal.trial()
        for image in known.drawn.values():
            good = image.lane == RELAY
            trial.journal.add(Verdict(id=image.id, accepted=good, minutes=0 if good else 6))
        trial.journal.add(Revealed(prompts=len(trial.plan.prompts)))

    monkeypatch.setattr(command, "_judge", judged)


@pytest.mark.usefixtures("judge")
def test_a_trial_tells_what_it_will_cost_and_what_came_of_it(lanes: tuple[Simulator, Simulator]) -> None:
    result = run("trial", "prompts.toml", *LANES)
    assert "Expected: $0." in result.stderr
    assert "for 4 images" in result.stderr
    assert f"{GOOGLE}: 2 of 2" in result.stderr
    told = words(result.stdout)
    assert f"{RELAY} 2 of 2 $0.00 0.200" in told
    assert f"{GOOGLE} 0 of 2 $12.00 –" in told
    assert "Not decided: 20 prompts have to be judged" in told
    assert 'acceptance = ["trial-launch-posters"]' in told
    assert max(map(len, result.stdout.splitlines()[:7])) <= 80
    assert [len(each.requests) for each in lanes] == [2, 2]


@pytest.mark.usefixtures("judge")
def test_json_has_every_figure_and_nothing_else_is_on_stdout(lanes: tuple[Simulator, Simulator]) -> None:
    told = run_json("trial", "prompts.toml", *LANES, "-o", "mine")
    assert (told["title"], told["judged"], told["folder"]) == ("Launch posters", 2, "mine")
    relay = next(row for row in told["rows"] if row["lane"] == RELAY)
    assert (relay["generated"], relay["accepted"], relay["retries"], relay["spend"]) == (2, 2, 0, 0.4)
    assert relay["cost"] == pytest.approx(0.2)
    assert told["recommendation"]["lane"] is None


@pytest.mark.usefixtures("judge")
def test_the_same_command_again_draws_nothing_and_reports_the_same(lanes: tuple[Simulator, Simulator]) -> None:
    first = run("trial", "prompts.toml", *LANES)
    again = run("trial", "prompts.toml", *LANES)
    assert again.stdout == first.stdout
    assert run("trial", "prompts.toml", *LANES, "--report-only").stdout == first.stdout
    assert [len(each.requests) for each in lanes] == [2, 2]


@pytest.mark.usefixtures("judge")
def test_a_prompt_that_is_added_later_is_all_that_is_drawn(lanes: tuple[Simulator, Simulator], folder: Path) -> None:
    run("trial", "prompts.toml", *LANES)
    (folder / "prompts.toml").write_text(PROMPTS.replace('"an owl"', '"an owl", "a hen"'), encoding="utf-8")
    assert "for 2 images" in run("trial", "prompts.toml", *LANES).stderr
    assert [len(each.requests) for each in lanes] == [3, 3]


@pytest.mark.usefixtures("judge")
def test_the_budget_is_kept_and_the_rest_can_be_drawn_later(lanes: tuple[Simulator, Simulator]) -> None:
    result = run("trial", "prompts.toml", *LANES, "--budget", "0.30")
    assert "of which at most $0.30 will be spent" in result.stderr
    assert "images were not drawn: the budget of $0.30 does not suffice" in words(result.stderr)
    drawn = Journal(Path("trial-launch-posters")).trial().drawn.values()
    assert sum(image.usd for image in drawn) <= Decimal("0.30")
    run("trial", "prompts.toml", *LANES)
    assert len(Journal(Path("trial-launch-posters")).trial().drawn) == 4


@pytest.mark.usefixtures("lanes")
def test_aliases_name_lanes_and_what_names_none_is_told_with_the_nearest() -> None:
    result = run("trial", "prompts.toml", "--lanes", "google/nano-banana-2,relai/flash", status=2)
    told = words(result.stderr)
    assert "'relai/flash' is not configured" in told
    assert f"configured are: {GOOGLE}, {RELAY}" in told


@pytest.mark.usefixtures("lanes")
@pytest.mark.parametrize("names", [GOOGLE, f"{GOOGLE},google/nano-banana-2", ","])
def test_a_single_lane_is_no_trial(names: str) -> None:
    assert "expected 2 to 16 different lanes" in words(run("trial", "prompts.toml", "--lanes", names, status=2).stderr)


@pytest.mark.usefixtures("lanes")
def test_a_plan_that_cannot_be_meant_costs_nothing(folder: Path, lanes: tuple[Simulator, Simulator]) -> None:
    (folder / "prompts.toml").write_text(PROMPTS + "sise = 1\n", encoding="utf-8")
    result = run("trial", "prompts.toml", *LANES, status=2)
    assert "prompts.toml, line 5: sise: unknown key; the nearest known key is size" in words(result.stderr)
    assert [len(each.requests) for each in lanes] == [0, 0]


@pytest.mark.usefixtures("lanes")
def test_a_report_on_nothing_says_so() -> None:
    assert "there is no trial yet; without --report-only it begins" in words(
        run("trial", "prompts.toml", *LANES, "--report-only", status=2).stderr
    )


def test_the_page_opens_in_the_browser_and_the_command_ends_with_its_report(
    lanes: tuple[Simulator, Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command.webbrowser, "open", accept_everything)
    told = run_json("trial", "prompts.toml", *LANES)
    assert [(row["lane"], row["accepted"]) for row in told["rows"]] == [(GOOGLE, 2), (RELAY, 2)]
    again = run_json("trial", "prompts.toml", *LANES)  # there is nothing left to judge, and no page
    assert again == told


def accept_everything(address: str) -> None:
    """A visitor who likes all that the page shows."""
    state = ask(f"{address}state")
    while sheet := state["sheet"]:
        verdicts = [{"id": image["id"], "accepted": True} for image in sheet["images"]]
        state = ask(f"{address}verdicts", {"key": sheet["key"], "verdicts": verdicts})
    ask(f"{address}reveal", {})


def ask(address: str, document: Any = None) -> Any:
    headers = {"X-Trial-Token": urlsplit(address).path.split("/")[1]}
    body = None if document is None else json.dumps(document).encode()
    with urlopen(Request(address, body, headers), timeout=30) as answer:
        return json.loads(answer.read())


def test_lanes_that_draw_nothing_end_in_a_report_and_status_1(lanes: tuple[Simulator, Simulator]) -> None:
    for each in lanes:
        each.inject(faults.balance())
    result = run("trial", "prompts.toml", *LANES, status=1)
    assert "balance" in result.stderr
    assert "0 of 2" in result.stdout


def test_ctrl_c_at_the_page_keeps_the_verdicts_and_shows_no_lane(lanes: tuple[Simulator, Simulator]) -> None:
    process = spawn("trial", "prompts.toml", *LANES, "--no-browser")
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("(Ctrl-C"):
            break
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "the same command goes on with them" in words(rest)


def test_ctrl_c_while_drawing_waits_for_what_is_being_paid_for(
    simulate: Callable[..., Simulator], folder: Path
) -> None:
    slow = [faults.slow(0.5)]
    configure({"state": "sqlite:///state.db"}, google=google_table(simulate(faults=slow)),
              relay=relay_table(simulate("new-api", faults=slow)))  # fmt: skip
    prompts = [f"fox {n}" for n in range(12)]
    (folder / "prompts.toml").write_text(PROMPTS.replace('["a fox", "an owl"]', json.dumps(prompts)))
    process = spawn("trial", "prompts.toml", *LANES, "--no-browser", "-o", "mine")
    assert process.stderr is not None
    for line in process.stderr:
        if "1 of 12" in line:
            break
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert "waiting for the images under way" in words(rest)
    trial = Journal(Path("mine")).trial()
    assert 2 <= len(trial.drawn) < 24
    assert not trial.failed
