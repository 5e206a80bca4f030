"""A trial from the command line to the report, judged in a real browser by the keyboard alone."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Response, expect

from providers.simulator import Simulator, faults
from tests.cli.conftest import FLASH, configure, google_table, relay_table, spawn

LANES = (f"google/{FLASH}", f"relay/{FLASH}")
PROMPTS = """\
title = "Launch posters"
bar = "The headline is spelt right, and it can be printed as it is."
cleanup_usd_per_hour = 60
aspect_ratio = "16:9"
task = "poster"
prompts = ["A poster that says HELLO", "A night market <b>in</b> the rain", "A chess club", "Three trumpets"]
"""


@dataclass
class Visit:
    """A page, and all that it asked for, was told and complained of."""

    page: Page
    command: subprocess.Popen[str]
    complaints: list[str] = field(default_factory=list)
    answers: list[Response] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("response", lambda answer: self.answers.append(answer))

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def press(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def type(self, text: str) -> None:
        self.page.keyboard.type(text)

    def shows(self, count: str) -> None:
        expect(self.page.locator("#count")).to_have_text(count)

    @property
    def cards(self) -> Locator:
        return self.page.locator(".card")

    def asked(self) -> list[str]:
        """The hosts of all requests."""
        return [urlsplit(answer.url).hostname or answer.url for answer in self.answers]

    def told(self) -> str:
        """All that the browser has been sent so far but for the images, and all that the page holds now."""
        texts = [answer.text() for answer in self.answers if "/images/" not in answer.url]
        return "\n".join([*texts, *(answer.url for answer in self.answers), self.page.content()])


@pytest.fixture
def visit(chromium: Browser, simulate: Callable[..., Simulator], folder: Path) -> Iterator[Visit]:
    """The page of a trial of four prompts on two lanes, one of which refuses one prompt."""
    google, relay = simulate(), simulate("new-api", faults=[faults.prompt_blocked(count=1)])
    configure({"state": "sqlite:///state.db"}, google=google_table(google), relay=relay_table(relay))
    (folder / "prompts.toml").write_text(PROMPTS, encoding="utf-8")
    command = spawn("trial", "prompts.toml", "--lanes", ",".join(LANES), "--no-browser", "-o", "posters")
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    made = Visit(context.new_page(), command)
    made.page.goto(address(command))
    yield made
    context.close()


def address(command: subprocess.Popen[str]) -> str:
    """Where the command says that the page is."""
    assert command.stderr is not None
    said = []
    for line in command.stderr:
        said.append(line)
        if line.startswith("Judge the images at "):
            return line.split()[-1]
    pytest.fail("".join(said))


def written(kind: str) -> list[dict[str, Any]]:
    lines = Path("posters/trial.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in map(json.loads, lines) if line["kind"] == kind]


def test_a_trial_is_judged_by_keyboard_from_the_first_pair_to_the_report(visit: Visit) -> None:
    page = visit.page
    visit.shows("1 of 4")
    expect(visit.cards.first).to_be_focused()
    expect(page.locator("#acceptance")).to_have_text("The headline is spelt right, and it can be printed as it is.")
    pictures_arrive(page)

    # Nothing goes on before everything is judged.
    visit.press("Enter")
    expect(page.locator("#status")).to_contain_text("accept or reject it first")
    visit.shows("1 of 4")
    zoom_and_help(visit)

    for number in range(1, 5):
        visit.shows(f"{number} of 4" if number < 4 else "4 of 4")
        judge(visit, minutes=number)
        if number == 2:
            undo_and_change(visit)
    visit.shows("4 of 4 judged")
    expect(page.locator("#done")).to_be_focused()

    told = visit.told()
    assert not [word for word in (*LANES, "google/", "relay", "flash", "gemini") if word in told]
    assert_judged()

    visit.press("Enter")
    expect(page.get_by_role("table")).to_be_visible()
    assert_reported(visit)
    assert visit.complaints == []
    assert set(visit.asked()) == {"127.0.0.1"}


def pictures_arrive(page: Page) -> None:
    for picture in page.locator(".card img").all():
        expect(picture).to_have_js_property("complete", True)
        assert picture.evaluate("image => image.naturalWidth") == 1376


def zoom_and_help(visit: Visit) -> None:
    full, keys = visit.page.locator("#full"), visit.page.locator("#keys")
    visit.press("z")
    expect(full).to_be_visible()
    expect(full.get_by_role("heading")).to_have_text("Image 1, 1376 × 768")
    visit.press("Escape")
    expect(full).to_be_hidden()
    visit.press("Space", "Space", "?")
    expect(keys).to_be_visible()
    visit.press("a", "Escape")  # behind a dialog no key judges
    expect(keys).to_be_hidden()
    expect(visit.cards.first).to_be_focused()
    expect(visit.cards.first).not_to_have_attribute("data-verdict", "accepted")


def judge(visit: Visit, minutes: int) -> None:
    """Reject the first image for a reason, with *minutes* of cleaning up, and accept the other, if there is one."""
    visit.press("r")
    visit.type("The HEADLINE is cut off")
    visit.press("Escape")
    visit.type(f"{minutes}.5")
    if visit.cards.count() == 2:
        visit.press("Escape", "ArrowRight")
        expect(visit.cards.nth(1)).to_be_focused()
        visit.press("a")
        expect(visit.cards.nth(1)).to_have_attribute("aria-label", "Image 2 of 2, accepted")
    visit.press("Enter")


def undo_and_change(visit: Visit) -> None:
    """Take the second prompt back, see what was said of it, and say something else."""
    visit.shows("3 of 4")
    visit.press("u")
    visit.shows("2 of 4")
    first = visit.cards.first
    expect(first).to_have_attribute("data-verdict", "rejected")
    expect(first.locator(".reason")).to_have_value("The HEADLINE is cut off")
    expect(first.locator(".minutes")).to_have_value("2.5")
    visit.press("a", "Enter")


def assert_judged() -> None:
    """What was written down is what was typed, and the undone verdicts are not in it any more."""
    undone = {line["id"] for line in written("withdrawn")}
    assert 1 <= len(undone) <= 2
    last = {line["id"]: line for line in written("verdict")}
    assert len(last) == len(written("drawn")) == 7
    rejected = sorted(line["minutes"] for line in last.values() if not line["accepted"])
    assert rejected == [1.5, 3.5, 4.5]
    assert {line["reason"] for line in last.values() if not line["accepted"]} == {"The HEADLINE is cut off"}
    assert [line["minutes"] for line in last.values() if line["accepted"] and line["minutes"]] == [2.5]


def assert_reported(visit: Visit) -> None:
    """The page and the terminal tell the same, and they tell what was judged."""
    rows = visit.page.get_by_role("row")
    assert rows.count() == 3
    text = visit.page.locator("#report").inner_text()
    assert "Not decided: 20 prompts have to be judged" in text
    drawn = {line["id"]: line["lane"] for line in written("drawn")}
    last = {line["id"]: line for line in written("verdict")}
    accepted = Counter(drawn[name] for name, line in last.items() if line["accepted"])
    judged = Counter(drawn.values())
    for lane in LANES:
        row = visit.page.get_by_role("row", name=lane)
        expect(row).to_contain_text(f"{accepted[lane]} of {judged[lane]}")
    assert sorted(judged.values()) == [3, 4]
    assert visit.page.locator("svg .range").count() == 2
    out, _ = visit.command.communicate(timeout=60)
    assert visit.command.returncode == 0
    for lane in LANES:
        assert f"{accepted[lane]} of {judged[lane]}" in out
    assert 'acceptance = ["posters"]' in out


def test_what_goes_wrong_is_told_and_everything_works_without_single_keys(visit: Visit) -> None:
    page = visit.page
    visit.shows("1 of 4")
    visit.press("?", "Space", "Escape")  # switches single keys off
    visit.press("a")
    assert visit.cards.first.get_attribute("data-verdict") is None
    for accept in page.get_by_role("button", name="Accept").all():
        accept.focus()
        visit.press("Enter")
    visit.command.kill()
    visit.command.wait()
    page.get_by_role("button", name="Next").focus()
    visit.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("start the trial again to go on")
    visit.shows("1 of 4")
    expect(visit.cards.first).to_have_attribute("data-verdict", "accepted")
