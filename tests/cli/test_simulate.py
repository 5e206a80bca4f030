"""`simulate`: serves until it is told to end."""

import json
import signal
import tomllib
from pathlib import Path

import httpx2
import pytest

from gateway.batch import batch as batches
from gateway.batch import jobs
from gateway.configuration import config
from tests.cli.conftest import KEY, run, run_json, spawn, words


def ask(base_url, size="512", key=KEY):
    return httpx2.post(
        f"{base_url}/v1beta/models/gemini-3.1-flash-image:generateContent",
        headers={"x-goog-api-key": key},
        json={
            "contents": [{"parts": [{"text": "a cat"}]}],
            "generationConfig": {"imageConfig": {"imageSize": size}},
        },
        timeout=20,
    )


def ended(process, by=signal.SIGTERM):
    """What it still printed, after a signal that must end it cleanly."""
    process.send_signal(by)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    return out


def test_it_prints_a_configuration_to_paste_that_works_and_a_line_for_each_request():
    process = spawn("simulate", "--fault", "overloaded@4K", "--fault", "reset_early@2K", "--flavour", "new-api")
    text = "".join(iter(process.stdout.readline, "Ctrl-C ends it. Requests:\n"))
    url = text.split()[2]
    snippet = text[text.index("[") :]
    providers = tomllib.loads(snippet)["providers"]
    lanes = providers["sim-google"].pop("lanes")
    assert providers["sim-google"] == {"kind": "google", "base_url": url}
    assert providers["sim-openai"] == {"kind": "openai", "base_url": f"{url}/v1", "dialect": "new-api"}
    usual = config.load({"providers": {"google": {"kind": "google", "base_url": url}}}, environ={}).lanes
    assert {lane["model"] for lane in lanes} == {lane.model for lane in usual}, "no model is missing"
    Path("gateway.toml").write_text(snippet)
    assert run_json("doctor")["usable"] is True
    assert [ask(url, size).status_code for size in ("512", "4K")] == [200, 503]
    told = "".join(process.stdout.readline() for _ in range(4)) + ended(process)
    path = "/v1beta/models/gemini-3.1-flash-image:generateContent"
    assert f"POST {path} gemini-3.1-flash-image 512 200\n" in told
    assert f"POST {path} gemini-3.1-flash-image 4K 503 overloaded\n" in told
    assert "\x1b" not in told


@pytest.mark.parametrize(
    ("flavour", "model", "lane"),
    [
        ("openrouter", "nano-banana-pro", "sim-google/gemini-3-pro-image"),
        ("openai", "gpt-image-2", "sim-openai/gpt-image-2"),
    ],
)
def test_the_configuration_it_prints_serves_for_batches_as_it_stands(flavour, model, lane, monkeypatch):
    monkeypatch.setattr(jobs, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(jobs, "LOOK_SHARE", 0.0)
    monkeypatch.setattr(batches, "BREATH", 0.0)
    monkeypatch.setenv("SIMULATOR_KEY", KEY)
    process = spawn("simulate", "--quiet", "--flavour", flavour, "--batch-polls", "0", "--key", KEY)
    text = "".join(iter(process.stdout.readline, "Ctrl-C ends it. Requests:\n"))
    Path("gateway.toml").write_text(text[text.index("[") :])
    Path("foxes.txt").write_text("a fox\na hen\n")
    made = run_json("batch", "submit", "foxes.txt", "--name", "foxes", "--model", model)
    assert (made["lanes"], made["unconfirmed"]) == ({lane: 2}, 0)
    assert run_json("batch", "fetch", "foxes", "-o", "out")["done"] == 2
    ended(process)


def test_json_is_one_line_when_it_is_ready_and_ctrl_c_ends_it():
    process = spawn("simulate", "--json", "--quiet", "--key", KEY)
    ready = json.loads(process.stdout.readline())
    assert ready["openai_url"] == ready["url"] + "/v1"
    assert (ready["flavour"], ready["faults"]) == ("openrouter", [])
    assert ask(ready["google_url"]).status_code == 200
    assert ask(ready["google_url"], key="another").status_code == 400
    assert ended(process, signal.SIGINT) == ""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--fault", "nonsense"], "unknown fault 'nonsense'; known faults: bad_crc, bad_key"),
        (["--fault", "overloaded@8K"], "expected a size or a model after '@'"),
        (["--fault", "cut=much"], "fault 'cut=much'"),
        (["--flavour", "nonsense"], "unknown flavour 'nonsense'; known flavours: openrouter, openai"),
        (["--port", "70000"], "Invalid value for '--port'"),
    ],
    ids=lambda each: each[1] if isinstance(each, list) else "",
)
def test_nonsense_exits_2_with_what_is_known(options, told, monkeypatch):
    monkeypatch.delattr("providers.simulator.Simulator.start")  # which would serve for ever
    assert told in words(run("simulate", *options, status=2).stderr)


def test_a_taken_port_exits_2(google):
    port = google.url.rpartition(":")[2]
    told = words(run("simulate", "--port", port, status=2).stderr)
    assert f"127.0.0.1 port {port}: cannot be listened on: address already in use" in told


def test_an_address_of_another_machine_exits_2():
    told = words(run("simulate", "--host", "203.0.113.1", status=2).stderr)
    assert "203.0.113.1 port 0: cannot be listened on" in told


def test_batch_jobs_go_on_as_they_are_asked_to():
    process = spawn("simulate", "--json", "--quiet", "--batch-polls", "0", "--batch-failing", "0.5")
    url = json.loads(process.stdout.readline())["google_url"]
    lines = [{"request": {"contents": [{"parts": [{"text": "a cat"}]}]}, "metadata": {"key": key}} for key in "ab"]
    batch = {"displayName": "cats", "inputConfig": {"requests": {"requests": lines}}}
    with httpx2.Client(base_url=f"{url}/v1beta", headers={"x-goog-api-key": KEY}, timeout=20) as client:
        job = client.post("/models/gemini-3.1-flash-image:batchGenerateContent", json={"batch": batch}).json()
        seen = client.get(f"/{job['name']}").json()
    assert seen["done"] is True
    ended(process)
    assert seen["metadata"]["batchStats"]["failedRequestCount"] == "1"
