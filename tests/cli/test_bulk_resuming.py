"""`bulk` begun anew: after a failure, a change of the file, Ctrl-C, and `kill -9`."""

import json
import re
import signal
import time
from collections import Counter
from pathlib import Path

from typer.testing import CliRunner

from gateway.cli.app import app
from providers.simulator import faults
from tests.cli.conftest import configure, google_table, run, spawn, words
from tests.cli.test_bulk import foxes, manifest, prompts, sheet

# Going on


def test_the_same_command_again_draws_nothing_that_is_done(google):
    name = prompts(*foxes(4))
    run("bulk", name, "-o", "out")
    result = run("bulk", name, "-o", "out")
    assert google.billed == 4
    assert "4 rows: 4 done before" in result.stderr


def test_rows_may_move_and_come_in_between(google):
    run("bulk", prompts(*foxes(4)), "-o", "out")
    run("bulk", prompts("an owl,512", *reversed(foxes(4))), "-o", "out")
    assert google.billed == 5


def test_failed_rows_are_tried_again(google):
    name = prompts(*foxes(3))
    google.inject(faults.internal(count=1))
    run("bulk", name, "-o", "out", "--concurrency", "1", status=1)
    assert "1 failed before, to be tried again" in run("bulk", name, "-o", "out").stderr
    assert len(list(Path("out").glob("*.jpg"))) == 3


def test_what_the_model_refused_is_asked_again_only_when_told(google):
    name = prompts(*foxes(2))
    google.inject(faults.prohibited(count=1))
    run("bulk", name, "-o", "out", status=1)
    asked = len(google.requests)
    assert "--again" in run("bulk", name, "-o", "out", status=1).stdout
    assert len(google.requests) == asked
    run("bulk", name, "-o", "out", "--again")
    assert len(google.requests) == asked + 1


def test_a_file_that_is_gone_comes_back_without_paying_as_long_as_it_is_remembered(google):
    name = prompts(*foxes(2))
    run("bulk", name, "-o", "out")
    gone, changed = Path("out").glob("*.jpg")
    before = gone.read_bytes(), changed.read_bytes()
    gone.unlink()
    changed.write_bytes(b"oops")
    assert "2 done before, whose files are gone or changed" in run("bulk", name, "-o", "out").stderr
    assert (gone.read_bytes(), changed.read_bytes()) == before
    assert google.billed == 2


def test_what_comes_back_without_paying_is_counted_once(google):
    name = prompts(*foxes(2))
    told = run("bulk", name, "-o", "out").stdout.splitlines()[0]
    next(Path("out").glob("*.jpg")).unlink()
    assert run("bulk", name, "-o", "out").stdout.splitlines()[0] == told


def test_without_a_lasting_state_done_rows_are_known_by_the_manifest_alone(google):
    configure(gateway={"state": "memory"}, google=google_table(google))
    name = prompts(*foxes(3))
    run("bulk", name, "-o", "out")
    next(Path("out").glob("*.jpg")).unlink()
    run("bulk", name, "-o", "out")
    assert google.billed == 4
    assert len(list(Path("out").glob("*.jpg"))) == 3


def test_another_prompt_under_the_same_key_replaces_no_image(google):
    run("bulk", prompts("a fox,512,hero", header="prompt,size,key"), "-o", "out")
    fox = Path("out/hero.jpg").read_bytes()
    run("bulk", prompts("an owl,512,hero", header="prompt,size,key"), "-o", "out")
    assert Path("out/hero.jpg").read_bytes() == fox
    assert len(list(Path("out").glob("hero-*.jpg"))) == 1
    assert google.billed == 2


def test_a_fresh_start_draws_everything_anew_and_replaces_nothing(google):
    name = prompts(*foxes(2))
    run("bulk", name, "-o", "out")
    run("bulk", name, "-o", "out", "--fresh")
    assert google.billed == 4
    assert len(list(Path("out").glob("*.jpg"))) == 4
    assert Path("out/manifest-1.jsonl").exists()


def test_files_of_others_in_the_folder_are_not_replaced(google):
    Path("out").mkdir()
    Path("out/hero.jpg").write_bytes(b"mine")
    run("bulk", prompts("a fox,512,hero", header="prompt,size,key"), "-o", "out")
    assert Path("out/hero.jpg").read_bytes() == b"mine"
    assert len(list(Path("out").glob("hero-*.jpg"))) == 1


def test_a_manifest_cut_off_in_the_middle_of_a_line_is_read_up_to_there(google):
    name = prompts(*foxes(2))
    run("bulk", name, "-o", "out")
    path = Path("out/manifest.jsonl")
    path.write_bytes(path.read_bytes() + b'{"key": "fo')
    run("bulk", name, "-o", "out")
    assert google.billed == 2
    assert all(json.loads(line) for line in path.read_text().splitlines())


def _wait_until(holds):
    for _ in range(3000):
        if holds():
            return
        time.sleep(0.01)
    raise AssertionError("it never came to that")


def _ended():
    path = Path("out/manifest.jsonl")
    return path.read_text().count('"state": "done"') if path.exists() else 0


def _prompt(request):
    return re.search(r"fox \d+", request.body.decode())[0]


def test_a_run_that_is_killed_pays_for_nothing_twice(google):
    name = prompts(*foxes(40))
    google.inject(faults.slow(0.1))
    process = spawn("bulk", name, "-o", "out", "--concurrency", "4")
    _wait_until(lambda: _ended() >= 12)
    process.send_signal(signal.SIGKILL)
    process.wait()
    google.clear_faults()
    result = CliRunner().invoke(app, ["bulk", name, "-o", "out"])
    paid = Counter(_prompt(request) for request in google.requests)
    assert max(paid.values()) == 1
    lines = manifest()
    unknown = {line["key"] for line in lines if line.get("error") == "OutcomeUnknown"}
    assert len(unknown) <= 4
    assert len(list(Path("out").glob("*.jpg"))) == 40 - len(unknown)
    assert result.exit_code == (1 if unknown else 0)
    run("bulk", name, "-o", "out", "--again")
    assert len(list(Path("out").glob("*.jpg"))) == 40
    twice = [prompt for prompt, times in Counter(map(_prompt, google.requests)).items() if times > 1]
    assert {prompt.replace(" ", "-") for prompt in twice} <= {key.rpartition("-")[0] for key in unknown}


def test_calls_of_a_killed_run_that_no_memory_tells_of_are_unknown(google):
    configure(gateway={"state": "memory"}, google=google_table(google))
    name = prompts(*foxes(2))
    google.inject(faults.slow(30))
    process = spawn("bulk", name, "-o", "out")
    _wait_until(lambda: len(google.requests) == 2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    google.clear_faults()
    result = run("bulk", name, "-o", "out", status=1)
    assert "2 under way when an earlier run ended" in result.stderr
    assert "2 × OutcomeUnknown" in result.stdout
    assert "--again" in result.stdout
    assert len(google.requests) == 2


def test_ctrl_c_lets_calls_end_that_are_paid_for_and_says_how_to_go_on(google):
    name = prompts(*foxes(30))
    google.inject(faults.slow(0.3))
    process = spawn("bulk", name, "-o", "out", "--concurrency", "3")
    _wait_until(lambda: _ended() >= 3)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate()
    assert process.returncode == 130
    assert "Stopping: waiting for the calls under way" in stderr
    assert "the same command goes on" in stdout
    assert _ended() == google.billed == len(google.requests)
    assert _ended() < 30
    assert sheet().count("<img ") == _ended()


def test_after_ctrl_c_a_failed_call_is_not_followed_by_one_elsewhere(pair):
    first, second = pair
    first.clear_faults()
    first.inject(faults.overloaded(delay=1.5))
    process = spawn("bulk", prompts(*[f"fox {number},1K" for number in range(3)]), "-o", "out")
    _wait_until(lambda: len(first.requests) == 3)
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    assert second.requests == []


def test_ctrl_c_does_not_wait_for_lanes_that_rest(google):
    google.inject(faults.retry_after("300"))
    process = spawn("bulk", prompts(*foxes(20)), "-o", "out")
    _wait_until(lambda: len(google.requests) >= 1)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate()
    assert process.returncode == 130  # and not that of a process that had to be killed after a minute
    assert "0 of 20 done for $0.00" in stdout
    assert "OutcomeUnknown" not in stdout


def test_a_second_ctrl_c_gives_up_the_calls_under_way(google):
    name = prompts(*foxes(5))
    google.inject(faults.slow(40))
    process = spawn("bulk", name, "-o", "out")
    _wait_until(lambda: len(google.requests) >= 3)
    process.send_signal(signal.SIGINT)
    while "Stopping" not in process.stderr.readline():
        pass
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate()
    assert process.returncode == 130
    assert "OutcomeUnknown" in stdout


def test_two_runs_do_not_share_a_folder(google):
    name = prompts(*foxes(5))
    google.inject(faults.slow(40))
    spawn("bulk", name, "-o", "out")
    _wait_until(lambda: len(google.requests) >= 1)
    assert "another run uses this folder" in words(run("bulk", name, "-o", "out", status=2).stderr)
