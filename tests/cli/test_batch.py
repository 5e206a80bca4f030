"""`batch`: a job submitted from a file, looked at, fetched into a folder, cancelled."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from PIL import Image

from gateway.batch import batch as batches
from gateway.batch import jobs
from providers.simulator import BatchBehaviour, faults
from tests.cli.conftest import FLASH, KEY, configure, google_table, run, run_json, words


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    """Upstreams may be asked at any time: nobody waits in a test."""
    monkeypatch.setattr(jobs, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(jobs, "LOOK_SHARE", 0.0)
    monkeypatch.setattr(batches, "BREATH", 0.0)


@pytest.fixture
def google(simulate):
    """An upstream on Google's wire that takes jobs, the only one that is configured."""
    simulator = simulate(batches=BatchBehaviour(polls=1))
    lanes = [{"model": FLASH, "batch_price": {"512": 0.0225}}]
    configure(google=google_table(simulator, lanes=lanes, api_key=KEY))
    return simulator


def written(name, *lines):
    Path(name).write_text("\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines) + "\n")
    return name


@pytest.fixture
def foxes():
    return written("foxes.jsonl", *({"key": f"fox-{n}", "prompt": f"fox {n}", "size": "512"} for n in (1, 2, 3)))


def manifest(folder):
    return [json.loads(line) for line in (Path(folder) / "manifest.jsonl").read_text().splitlines()][1:]


def test_a_file_becomes_a_job_and_the_job_a_folder_of_images_named_by_their_keys(google, foxes):
    told = words(run("batch", "submit", foxes, "--name", "foxes").stdout)
    assert "batch foxes state running" in told
    assert "3: 0 succeeded, 0 failed, 3 pending" in told
    assert "image-gateway batch fetch foxes -o foxes" in told
    told = words(run("batch", "fetch", "foxes", "-o", "out").stdout)
    assert "3 of 3 are in out" in told
    for number in (1, 2, 3):
        with Image.open(f"out/fox-{number}.jpg") as image:
            assert image.size == (512, 512)
    assert {(each["key"], each["state"], each["usd"], each["lane"]) for each in manifest("out")} == {
        (f"fox-{number}", "done", "0.0225", f"google/{FLASH}") for number in (1, 2, 3)
    }
    assert len(google.batches) == 1


def test_a_csv_file_with_options_for_lines_that_do_not_say(google):
    written("foxes.csv", "key,prompt,size", "a,a fox,", "b,a hen,512")
    run("batch", "submit", "foxes.csv", "--name", "csv", "--size", "512")
    run("batch", "fetch", "csv", "-o", "out")
    assert sorted(path.name for path in Path("out").iterdir()) == ["a.jpg", "b.jpg", "manifest.jsonl"]


def test_fetching_again_neither_pays_nor_writes_again(google, foxes):
    run("batch", "submit", foxes, "--name", "foxes")
    run("batch", "fetch", "foxes", "-o", "out")
    files = {path.name: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    Path("out/fox-2.jpg").unlink()
    run("batch", "fetch", "foxes", "-o", "out")
    again = {path.name: path.stat().st_mtime_ns for path in Path("out").iterdir()}
    assert set(files) == set(again)
    assert files["fox-1.jpg"] == again["fox-1.jpg"]
    assert len(google.batches) == 1
    assert google.billed == 3


def test_a_bad_line_is_named_by_file_line_and_field_and_nothing_is_sent(google):
    written("foxes.jsonl", {"prompt": "a fox"}, {"prompt": "a hen", "size": "3K"}, {"prompt": "a pig", "colour": "red"})
    told = words(run("batch", "submit", "foxes.jsonl", status=2).stderr)
    assert "foxes.jsonl line 2: size: expected one of" in told
    assert "foxes.jsonl line 3: colour: there is no such field" in told
    assert google.requests == []


def test_the_table_of_all_jobs(google, foxes):
    assert words(run("batch", "status").stdout) == "There are no batch jobs."
    run("batch", "submit", foxes, "--name", "foxes")
    run("batch", "fetch", "foxes", "-o", "out")
    run("batch", "submit", foxes, "--name", "more")
    told = words(run("batch", "status").stdout)
    assert "foxes done 3 3 0 0 $0.0675 $0.00" in told
    assert "more running 3 0 0 3 $0.00 $0.0675" in told


def test_without_waiting_it_says_what_is_missing(google, foxes):
    google.inject(faults.overloaded(path="/batches/"))
    run("batch", "submit", foxes, "--name", "foxes")
    told = words(run("batch", "fetch", "foxes", "-o", "out", "--no-wait", status=1).stdout)
    assert "0 of 3 are in out" in told
    assert "3 are not back yet; fetch again" in told


def test_json_throughout(google, foxes):
    made = run_json("batch", "submit", foxes, "--name", "foxes")
    assert (made["id"], made["state"], made["pending"], made["reserved"]) == ("foxes", "running", 3, 0.0675)
    assert made["lanes"] == {f"google/{FLASH}": 3}
    told = run_json("batch", "fetch", "foxes", "-o", "out")
    assert told == {
        "id": "foxes", "total": 3, "done": 3, "failed": 0, "pending": 0, "manifest": "out/manifest.jsonl", "failures": [],
    }  # fmt: skip
    assert run_json("batch", "status", "foxes")["state"] == "done"
    assert [each["id"] for each in run_json("batch", "status")["jobs"]] == ["foxes"]
    assert run_json("batch", "cancel", "foxes")["state"] == "done"
    assert run_json("batch", "status", "hens", status=2)["error"]["type"] == "InvalidRequest"


def test_lines_that_failed_are_told_with_their_reason_and_the_status_is_one(google, foxes):
    google.inject(faults.image_safety(path="/lines/2"))
    run("batch", "submit", foxes, "--name", "foxes")
    told = run_json("batch", "fetch", "foxes", "-o", "out", status=1)
    assert (told["done"], told["failed"]) == (2, 1)
    assert [(each["key"], each["error"]) for each in told["failures"]] == [("fox-2", "ContentBlocked")]
    assert [each["key"] for each in manifest("out") if each["state"] == "failed"] == ["fox-2"]


def test_a_cancelled_job_says_so(google, foxes):
    google.inject(faults.overloaded(path=":batchGenerateContent"))
    run("batch", "submit", foxes, "--name", "foxes", status=3)
    assert "state cancel" in words(run("batch", "cancel", "foxes").stdout)


def test_a_job_that_could_not_be_sent_at_all_exits_1_and_can_be_submitted_again(simulate, foxes):
    lanes = [{"model": FLASH, "batch_price": {"512": 0.0225}}]
    simulator = simulate(batches=BatchBehaviour(polls=1))
    dead = google_table(simulator, lanes=lanes, api_key=KEY, base_url="http://127.0.0.1:9")
    configure(google=dead)
    refused = run("batch", "submit", foxes, "--name", "foxes", status=1)
    assert "nothing was sent: ConnectError" in words(refused.stderr)
    assert words(run("batch", "status").stdout) == "There are no batch jobs."
    configure(google={**dead, "base_url": simulator.google_url})
    run("batch", "submit", foxes, "--name", "foxes", status=0)


@pytest.mark.parametrize("fault", [faults.reset, faults.overloaded])
def test_a_job_that_may_have_arrived_or_has_to_wait_exits_3_and_is_kept(google, foxes, monkeypatch, fault):
    monkeypatch.setattr(jobs, "IN_TRANSIT", timedelta())
    google.inject(fault(path=":batchGenerateContent", count=1))
    made = run("batch", "submit", foxes, "--name", "foxes", status=3)
    assert "waiting 3 of the pending, not confirmed by an upstream" in words(made.stdout)
    assert "3 lines may not have arrived; fetching looks for them, and sends what is missing" in words(made.stderr)
    assert "3 of 3 are in out" in words(run("batch", "fetch", "foxes", "-o", "out").stdout)
    assert len(google.batches) == 1


def test_the_spending_is_in_the_ledger_at_batch_prices(google, foxes):
    run("batch", "submit", foxes, "--name", "foxes")
    run("batch", "fetch", "foxes", "-o", "out")
    assert run_json("spend")["total"]["usd"] == pytest.approx(0.0675)


def test_a_job_needs_a_state_that_outlives_the_command(simulate, foxes):
    simulator = simulate()
    table = google_table(simulator, lanes=[{"model": FLASH, "batch_price": {"512": 0.0225}}])
    configure({"state": "memory"}, google=table)
    told = words(run("batch", "submit", foxes, status=2).stderr)
    assert "gateway.state: a batch outlives the command" in told
    assert simulator.requests == []


def test_no_key_and_no_prompt_is_shown_anywhere(simulate, tmp_path):
    simulator = simulate(batches=BatchBehaviour(polls=1))
    lanes = [{"model": FLASH, "batch_price": {"512": 0.0225}}]
    configure(google=google_table(simulator, lanes=lanes, api_key=KEY))
    written("secret.jsonl", {"key": "a", "prompt": "an unreleased product", "size": "512"})
    submitted = run("batch", "submit", "secret.jsonl", "--name", "secret", "-v")
    fetched = run("batch", "fetch", "secret", "-o", "out", "-v")
    for text in (submitted.output, fetched.output, Path("out/manifest.jsonl").read_text()):
        assert KEY not in text
        assert "unreleased" not in text


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--name", "spring posters"], "name: expected 1 to 64 letters"),
        (["--deadline", "0"], "deadline: expected seconds, more than 0"),
    ],
)
def test_terms_that_cannot_be_meant_exit_2_and_send_nothing(google, foxes, options, told):
    assert told in words(run("batch", "submit", foxes, *options, status=2).stderr)
    assert google.requests == []
