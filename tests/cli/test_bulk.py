"""`bulk`: a file of prompts becomes images, a manifest and a contact sheet, and nothing is paid for twice."""

import json
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from providers.simulator import faults
from tests.cli.conftest import run, words


def prompts(*lines, name="prompts.csv", header="prompt,size"):
    """The name of a new file with these rows."""
    Path(name).write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return name


def foxes(count):
    return [f"fox {number},512" for number in range(count)]


def manifest():
    return [json.loads(line) for line in Path("out/manifest.jsonl").read_text().splitlines()]


def sheet():
    return Path("out/index.html").read_text(encoding="utf-8")


class Terminal:
    """A stream with a person before it."""

    def isatty(self):
        return True


# What one gets


def test_each_row_becomes_a_file_a_line_and_a_picture_on_the_sheet(google):
    result = run("bulk", prompts(*foxes(5)), "-o", "out")
    images = sorted(Path("out").glob("*.jpg"))
    assert len(images) == google.billed == 5
    assert "5 of 5 done for $0.225" in result.stdout
    done = [line for line in manifest() if line.get("state") == "done"]
    assert {line["files"][0]["name"] for line in done} == {path.name for path in images}
    assert sheet().count("<img ") == 5


def test_thumbnails_are_small_copies(google):
    run("bulk", prompts("fox,1K"), "-o", "out")
    (small,) = Path("out/thumbnails").iterdir()
    with Image.open(small) as image:
        assert max(image.size) == 480
    (full,) = Path("out").glob("*.jpg")
    assert small.stat().st_size < full.stat().st_size / 4
    assert f'href="{full.name}"' in sheet()
    assert f'src="thumbnails/{small.name}"' in sheet()


class Tags(HTMLParser):
    """The names and attributes of all tags of a page, and whether there is any handler or script."""

    def __init__(self):
        super().__init__()
        self.found = Counter()
        self.handlers = []

    def handle_starttag(self, tag, attrs):
        self.found[tag] += 1
        self.handlers += [name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")]


def test_hostile_prompts_and_errors_stay_text_on_the_sheet(google):
    hostile = '"</p><script>alert(1)</script><img src=x onerror=""alert(2)"">\u202e",512'
    google.inject(faults.prohibited(count=1))
    run("bulk", prompts(hostile, hostile.replace("alert", "evil")), "-o", "out", "--concurrency", "1", status=1)
    tags = Tags()
    tags.feed(sheet())
    assert tags.found["script"] == 0
    assert tags.found["img"] == 1
    assert tags.handlers == []
    assert "\u202e" not in sheet()
    assert "&lt;script&gt;" in sheet()


def test_failures_are_told_on_the_sheet_with_their_reason_and_lead_to_status_1(google):
    google.inject(faults.prohibited(count=1))
    result = run("bulk", prompts(*foxes(3)), "-o", "out", status=1)
    assert "2 of 3 done" in result.stdout
    assert "1 × ContentBlocked" in result.stdout
    assert "ContentBlocked" in sheet()
    assert "the model refused to draw this" in sheet()


def test_without_a_terminal_progress_is_some_lines(google):
    told = run("bulk", prompts(*foxes(45)), "-o", "out").stderr
    assert "45 rows: 45 new" in told
    assert "45 to draw, expected to cost" in told
    lines = [line for line in told.splitlines() if " of 45 done" in line]
    assert 10 <= len(lines) <= 20
    assert lines[-1] == "45 of 45 done · 0 failed · $2.025"


def test_json_is_one_document_and_nothing_is_on_stderr(google):
    google.inject(faults.prohibited(count=1))
    result = run("bulk", prompts(*foxes(3)), "-o", "out", "--json", status=1)
    told = json.loads(result.stdout)
    assert result.stderr == ""
    assert (told["rows"], told["done"], told["failed"], told["unknown"], told["not_begun"]) == (3, 2, 1, 0, 0)
    assert told["failures"][0]["error"] == "ContentBlocked"
    assert Path(told["sheet"]).exists()
    assert Path(told["manifest"]).exists()


def test_options_are_for_rows_that_do_not_say_otherwise(google):
    run("bulk", prompts("fox,512", "owl,"), "-o", "out", "--size", "1K", "--aspect-ratio", "16:9")
    assert sorted(request.size for request in google.requests) == ["1K", "512"]


def test_several_images_of_a_row_are_all_there(google):
    run("bulk", prompts("fox,512,2,fox", header="prompt,size,n,key"), "-o", "out")
    assert sorted(path.name for path in Path("out").glob("*.jpg")) == ["fox-2.jpg", "fox.jpg"]
    assert sheet().count("<img ") == 2


# Before any money is spent


def test_all_that_is_wrong_with_the_file_is_told_before_any_call(google):
    result = run("bulk", prompts("fox,9K", "owl,1K", ",1K"), "-o", "out", status=2)
    told = words(result.stderr)
    assert "prompts.csv line 2: size: expected one of" in told
    assert "prompts.csv line 4: prompt: required" in told
    assert google.requests == []


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (("--budget", "0"), "budget"),
        (("--size", "9K"), "size"),
        (("--concurrency", "0"), "concurrency"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(google, arguments, named):
    assert named in run("bulk", prompts("fox,"), "-o", "out", *arguments, status=2).stderr
    assert google.requests == []


def test_a_folder_that_cannot_be_one_is_refused(google):
    Path("out").write_text("a file")
    assert "output" in run("bulk", prompts("fox,"), "-o", "out", status=2).stderr


def test_a_manifest_that_is_none_is_refused(google):
    Path("out").mkdir()
    Path("out/manifest.jsonl").write_text("hello\n")
    assert "is not a manifest" in run("bulk", prompts("fox,"), "-o", "out", status=2).stderr
    assert google.requests == []


def test_nobody_is_asked_where_there_is_no_terminal(google):
    run("bulk", prompts(*[f"fox {number},2K" for number in range(110)]), "-o", "out", "--budget", "0.1", status=1)
    assert google.billed <= 1  # $0.101 each: not even the first fits, and nobody was asked


def test_a_person_at_a_terminal_is_asked_above_ten_dollars(google, monkeypatch):
    asked = []
    monkeypatch.setattr(Console, "is_terminal", True)
    monkeypatch.setattr("typer.get_text_stream", lambda name: Terminal())
    monkeypatch.setattr("typer.confirm", lambda question, err: asked.append(question))
    name = prompts(*[f"fox {number},1K" for number in range(160)])
    run("bulk", name, "-o", "out", status=1)
    assert [question.partition("$1")[0] for question in asked] == ["Spend about "]
    assert google.requests == []
    run("bulk", name, "-o", "out", "--budget", "0.01", status=1)
    assert len(asked) == 1


# The budget


def test_the_budget_holds_over_all_runs_into_the_folder(google):
    name = prompts(*foxes(10))
    result = run("bulk", name, "-o", "out", "--budget", "0.2", status=1)
    assert google.billed == 4  # $0.045 each
    assert "BudgetExceeded" in result.stdout
    assert "a larger --budget goes on" in result.stdout
    assert "the same command" not in result.stdout
    told = run("bulk", name, "-o", "out", "--budget", "0.2", status=1).stderr
    assert "the budget of $0.02 for this run is used up: $0.00 is spent" in told
    assert google.billed == 4
    run("bulk", name, "-o", "out", "--budget", "0.3", status=1)
    assert google.billed == 6
    run("bulk", name, "-o", "out")
    assert google.billed == 10


def test_a_lane_that_is_shut_meanwhile_is_told_of_once(google):
    google.inject(faults.bad_key())
    result = run("bulk", prompts(*foxes(3)), "-o", "out", status=1)
    told = [line for line in result.stderr.splitlines() if " rests: " in line]
    assert told
    assert len(set(told)) == len(told)
