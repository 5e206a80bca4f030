"""`generate`: what is asked, saved, shown, and what happens when it goes wrong."""

import io
import json
import signal
from pathlib import Path

import pytest
from PIL import Image

from providers.simulator import faults
from tests.cli.conftest import FLASH, KEY, configure, google_table, relay_table, run, run_json, spawn, words


def pixels(path):
    with Image.open(path) as image:
        image.load()
        return image.size


def test_it_saves_the_image_and_says_what_it_is_and_cost(google):
    told = words(run("generate", "A cat", "--size", "512", "--aspect-ratio", "1:1", "-o", "cat").stdout)
    assert pixels("cat.jpg") == (512, 512)
    assert "saved cat.jpg 512 × 512 pixels, JPEG" in told
    assert f"lane google/{FLASH}" in told
    assert "cost $0.045 by list price; nothing else was spent" in told


def test_the_trail_shows_every_attempt_with_its_outcome_and_price(pair):
    told = words(run("generate", "A cat", "--size", "2K").stdout)
    assert f"1 google/{FLASH} 2K overloaded no –" in told
    assert f"2 relay/{FLASH} 2K ok yes $0.30" in told
    assert "1 HTTP 503 UNAVAILABLE" in told


def test_progress_goes_to_stderr_with_the_first_lane_and_its_usual_time(pair):
    told = run("generate", "A cat", "--size", "2K").stderr
    assert f"asking: google/{FLASH} at 2K, typically 14 s" in told
    assert f"google/{FLASH} at 2K: overloaded after" in told
    assert "not billed" in told


def test_json_on_stdout_is_the_whole_result_and_nothing_is_on_stderr(pair):
    result = run("generate", "A cat", "--size", "2K", "-o", "cat.png", "--json")
    told = json.loads(result.stdout)
    assert result.stderr == ""
    assert told["images"][0] == {
        "path": "cat.jpg",
        "mime_type": "image/jpeg",
        "width": 2048,
        "height": 2048,
        "bytes": Path("cat.jpg").stat().st_size,
    }
    assert (told["lane"], told["size"], told["downgraded"]) == (f"relay/{FLASH}", "2K", False)
    assert told["cost"] == told["total_cost"] == {"usd": 0.3, "basis": "catalogue"}
    assert [each["outcome"] for each in told["attempts"]] == ["overloaded", "ok"]


def test_a_downgrade_is_told_with_its_warning(google):
    google.inject(faults.overloaded(size="2K"))
    told = words(run("generate", "A cat", "--size", "2K").stdout)
    assert "size 1K, although 2K was asked for" in told
    assert f"warning 2K could not be had: google/{FLASH} was asked for 1K instead" in told


def test_without_a_name_the_file_is_named_after_the_prompt_and_nothing_is_overwritten(google):
    for _ in range(3):
        run("generate", "../A Cat, très [red]chic[/red]!", "--size", "512")
    assert sorted(Path().glob("*.jpg")) == [Path(f"a-cat-très-red-chic-red{n}.jpg") for n in ("-2", "-3", "")]


def test_a_long_prompt_makes_a_short_name_of_whole_words(google):
    run("generate", "word " * 100, "--size", "512")
    (path,) = Path().glob("*.jpg")
    assert len(path.stem) <= 48
    assert set(path.stem.split("-")) == {"word"}


def test_a_folder_takes_a_file_named_after_the_prompt(google):
    Path("posters").mkdir()
    run("generate", "A cat", "--size", "512", "-o", "posters")
    assert Path("posters/a-cat.jpg").exists()


def test_a_file_that_was_named_in_full_is_replaced(google):
    Path("cat.jpg").write_text("old")
    run("generate", "A cat", "--size", "512", "-o", "cat.jpg")
    assert pixels("cat.jpg") == (512, 512)
    assert not list(Path().glob(".*"))


def test_a_name_that_was_only_implied_replaces_nothing(google):
    Path("cat.jpg").write_text("precious")
    run("generate", "A cat", "--size", "512", "-o", "cat.png")
    assert Path("cat.jpg").read_text() == "precious"
    assert pixels("cat-2.jpg") == (512, 512)


def test_several_images_are_numbered(google):
    Path("cat.jpg").write_text("old")
    paths = [
        image["path"] for image in run_json("generate", "A cat", "--size", "512", "-n", "2", "-o", "cat.jpg")["images"]
    ]
    assert paths == ["cat.jpg", "cat-2.jpg"]
    assert all(map(pixels, paths))


def test_what_the_model_says_of_several_images_is_shown_apart(google):
    told = run("generate", "A cat", "--size", "512", "-n", "2").stdout.splitlines()
    said = [line.split(maxsplit=1) for line in told if "picture" in line]
    assert [(name, text.strip()) for name, text in said] == [("text", "Here is your picture.")] * 2


def test_the_prompt_can_come_from_stdin(google):
    run("generate", "-", "--size", "512", stdin="A cat\nwith a hat\n")
    assert google.requests[-1].json["contents"][0]["parts"][0]["text"] == "A cat\nwith a hat"


def test_every_option_reaches_the_upstream(google):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    Path("day.png").write_bytes(buffer.getvalue())
    run(
        "generate", "Make it night", "--size", "1k", "--aspect-ratio", "16:9", "--image", "day.png", "--image", "day.png",
        "--model", "nano-banana-2", "--system-instruction", "Be bold", "--temperature", "0.5", "--top-p", "0.9",
        "--seed", "7", "--thinking", "high", "--grounding", "--tag", "team=red", "--tag", "a=b=c", "--max-cost", "0.5",
    )  # fmt: skip
    asked = google.requests[-1]
    config = asked.json["generationConfig"]
    assert (asked.size, asked.aspect_ratio, asked.images, asked.model) == ("1K", "16:9", 2, FLASH)
    assert (config["temperature"], config["topP"], config["seed"]) == (0.5, 0.9, 7)
    assert list(config["thinkingConfig"].values()) == ["HIGH"]
    assert asked.json["systemInstruction"]["parts"][0]["text"] == "Be bold"
    assert "googleSearch" in asked.json["tools"][0]


def test_with_the_cache_the_same_request_is_given_again_for_nothing(google):
    run("generate", "A cat", "--size", "512", "--cache")
    told = words(run("generate", "A cat", "--size", "512", "--cache", "-o", "again").stdout)
    assert "saved again.jpg" in told
    assert "cost $0.00, from the cache" in told
    run("generate", "A cat", "--size", "512", "--no-cache")
    assert google.billed == 2


def test_a_failure_exits_1_with_the_error_the_advice_and_the_trail(google):
    google.inject(faults.bad_key())
    result = run("generate", "A cat", "-o", "cat", status=1)
    told = words(result.stderr)
    assert result.stdout == ""
    assert "AllAttemptsFailed" in told
    assert "no attempt succeeded; nothing was spent" in told
    assert "→ The key was refused: check api_key of the provider" in told
    assert f"1 google/{FLASH} 1K auth no" in told
    assert not list(Path().glob("*.jpg"))


def test_a_failure_in_json_is_a_document_too(google):
    google.inject(faults.prohibited())
    error = run_json("generate", "A cat", status=1)["error"]
    assert error["type"] == "ContentBlocked"
    assert error["attempts"][0]["outcome"] == "blocked"
    assert error["images"] == []


@pytest.mark.parametrize("given", [["-o", "cat.jpg"], []], ids=["named", "unnamed"])
def test_images_that_were_paid_for_are_kept_when_the_request_fails(google, given):
    google.inject(faults.wrong_size("512"))
    result = run("generate", "cat", "--size", "2K", "--min-size", "2K", *given, status=1)
    assert pixels("cat-rejected.jpg") == (512, 512)
    assert not Path("cat.jpg").exists()
    told = words(result.stderr)
    assert "paid for, and kept: cat-rejected.jpg" in told
    assert "at most $0.101 was spent" in told


def test_json_says_where_paid_images_are(google):
    google.inject(faults.wrong_size("512"))
    error = run_json("generate", "cat", "--size", "2K", "--min-size", "2K", status=1)["error"]
    assert error["images"] == ["cat-rejected.jpg"]


def test_an_image_that_cannot_be_written_where_it_should_be_is_saved_elsewhere(google, folder, monkeypatch):
    spare = folder / "spare"
    spare.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(spare))
    result = run("generate", "A cat", "--size", "512", "-o", "c" * 253)  # with its suffix it is too long
    (path,) = spare.glob("*")
    assert pixels(path) == (512, 512)
    assert f"could not be written (File name too long): the image was saved as {path}" in words(result.stderr)


NONSENSE = {
    "size": (["--size", "8K"], "size: expected one of"),
    "ratio": (["--aspect-ratio", "wide"], "aspect_ratio: expected a ratio"),
    "floor": (["--size", "1K", "--min-size", "2K"], "2K is above size 1K"),
    "tag": (["--tag", "red"], "tag: expected KEY=VALUE, not 'red'"),
    "image": (["--image", "none.png"], "images[0] (none.png): cannot be read: No such file"),
    "not an image": (["--image", "gateway.toml"], "images[0] (gateway.toml)"),
    "folder": (["-o", "none/cat.png"], "output: there is no folder 'none'"),
    "file as folder": (["-o", "gateway.toml/cat.png"], "output: there is no folder 'gateway.toml'"),
    "new folder": (["-o", "none/"], "output: expected a file name or an existing folder, not 'none/'"),
    "stdout": (["-o", "-"], "output: expected a file name or an existing folder, not '-'"),
    "long name": (["-o", "c" * 300], "output: cannot be a file: File name too long"),
    "provider": (["--only", "nobody"], "'nobody' is not configured; configured are: google"),
    "model": (["--model", "dall-e"], "no lane can serve this request"),
    "fallback": (["--fallback", "give-up"], "fallback: expected 'switch' or 'downgrade'"),
    "cost": (["--max-cost", "-1"], "max_cost"),
    "configuration": (["-c", "none.toml"], "none.toml: expected a file that can be read: No such file"),
    "option": (["--bogus"], "No such option: --bogus"),
    "number": (["--seed", "seven"], "Invalid value for '--seed'"),
}


@pytest.mark.parametrize(("options", "words_of_error"), NONSENSE.values(), ids=NONSENSE)
def test_nonsense_exits_2_says_what_was_expected_and_asks_nobody(google, options, words_of_error):
    result = run("generate", "A cat", *options, status=2)
    assert words_of_error in words(result.stderr)
    assert result.stdout == ""
    assert google.requests == []


def test_an_empty_prompt_exits_2(google):
    assert "expected a description of the image" in words(run("generate", "-", stdin=" \n", status=2).stderr)


def test_a_prompt_that_is_not_utf8_exits_2(google):
    assert "byte 1 is not" in words(run("generate", "-", stdin=b"a\xff", status=2).stderr)


def test_a_folder_without_permission_is_refused_before_anything_is_spent(google, monkeypatch):
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "cannot be written to" in words(run("generate", "A cat", status=2).stderr)
    assert google.requests == []


def test_without_any_configuration_it_says_how_to_get_started():
    assert "set one of GEMINI_API_KEY" in words(run("generate", "A cat", status=2).stderr)


def test_usage_errors_in_json_are_documents_too(google):
    error = run_json("generate", "A cat", "--size", "8K", status=2)["error"]
    assert error["type"] == "InvalidRequest"
    assert error["message"].startswith("size: expected one of")


def test_a_budget_that_no_lane_fits_exits_1_and_says_so(google):
    told = words(run("generate", "A cat", "--max-cost", "0.001", status=1).stderr)
    assert "BudgetExceeded" in told
    assert "→ Raise --max-cost" in told
    assert f"google/{FLASH} max_cost" in told


def test_fallback_none_gives_way_in_no_direction(pair):
    error = run_json("generate", "A cat", "--size", "2K", "--fallback", "none", status=1)["error"]
    assert [each["lane"] for each in error["attempts"]] == [f"google/{FLASH}"]


def test_preferences_of_providers_are_obeyed(pair):
    first, second = pair
    assert run_json("generate", "A cat", "--order", "relay")["provider"] == "relay"
    assert run_json("generate", "A cat", "--ignore", "google")["provider"] == "relay"
    assert run_json("generate", "A cat", "--only", "relay", "--sort", "latency")["provider"] == "relay"
    assert first.requests == []
    assert len(second.requests) == 3


def test_verbose_shows_the_events_on_stderr(google):
    result = run("generate", "A cat", "--size", "512", "-v", "--tag", "team=red", "--json")
    assert "image_attempt" in result.stderr
    assert "image_request" in result.stderr
    assert "'team': 'red'" in result.stderr
    assert "image_attempt" not in result.stdout


def test_a_key_is_never_shown_and_a_literal_one_is_warned_of(simulate):
    upstream = simulate(keys=["another"])
    configure(google=google_table(upstream, api_key=KEY))
    result = run("generate", "A cat", "-v", status=1)
    assert KEY not in result.output
    assert "a key stands in the configuration itself" in words(result.stderr)


def test_ctrl_c_exits_130_and_says_that_a_call_may_be_billed(simulate):
    upstream = simulate(faults=[faults.hang()])
    configure(google=google_table(upstream))
    process = spawn("generate", "A cat")
    while not upstream.requests:
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert f"a call that was already sent may be billed: google/{FLASH}" in words(told)
    assert "Traceback" not in told


def test_ctrl_c_before_anything_was_sent_says_that_too(simulate):
    upstream, dearer = simulate(faults=[faults.retry_after("4", count=1)]), simulate()
    configure(google=google_table(upstream), relay=relay_table(dearer))
    process = spawn("generate", "A cat", "--only", "google")
    while not upstream.requests:
        assert process.poll() is None
    process.stderr.readline()
    while "rate_limited" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 130
    assert "no call had been sent that could be billed" in told


def test_at_sigterm_the_call_that_is_being_paid_for_may_end(simulate):
    upstream = simulate(faults=[faults.slow(0.5)])
    configure(google=google_table(upstream))
    process = spawn("generate", "A cat", "--json")
    while not upstream.requests:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    printed, told = process.communicate(timeout=20)
    assert process.returncode == 0
    assert json.loads(printed)["attempts"][0]["outcome"] == "ok"
    assert "waiting for the call under way" in words(told)


def test_a_second_sigterm_gives_it_up_as_ctrl_c_does(simulate):
    upstream = simulate(faults=[faults.hang()])
    configure(google=google_table(upstream))
    process = spawn("generate", "A cat")
    while not upstream.requests:
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    while "waiting for the call" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=20)
    assert process.returncode == 130
