"""`--watch`: looks again and again, until Ctrl-C; SIGHUP reloads the configuration."""

import json
import os
import signal
from pathlib import Path

import pytest

from gateway.cli import watching
from gateway.cli.options import Common
from gateway.cli.reloading import reloading
from gateway.client import AsyncGateway
from tests.cli.conftest import FLASH, configure, google_table, relay_table, run, spawn, words

AN_HOUR = 3600


@pytest.fixture
def two(pair):
    """Both upstreams, of which only google is configured yet; and what configures both."""
    configure(google=google_table(pair[0]))
    return lambda: configure(google=google_table(pair[0]), relay=relay_table(pair[1]))


def read_until(stream, told):
    """The lines up to the one that has *told* in it."""
    lines = []
    while not lines or told not in lines[-1]:
        lines.append(stream.readline())
        assert lines[-1], f"ended without {told!r}: {lines}"
    return words(" ".join(lines))


def lanes_of(line):
    return [lane["lane"] for lane in json.loads(line)["lanes"]]


@pytest.mark.parametrize("command", ["health", "doctor"])
def test_a_hangup_reloads_a_mistake_changes_nothing_and_ctrl_c_ends_it(two, command):
    process = spawn(command, "--watch", str(AN_HOUR), "--json")
    assert lanes_of(process.stdout.readline()) == [f"google/{FLASH}"]

    two()
    process.send_signal(signal.SIGHUP)
    read_until(process.stderr, "reloaded gateway.toml: 2 lanes")
    assert lanes_of(process.stdout.readline()) == [f"google/{FLASH}", f"relay/{FLASH}"]

    Path("gateway.toml").write_text("[providers.google]\nkind = 'gogle'")
    process.send_signal(signal.SIGHUP)
    told = read_until(process.stderr, "still the one before")
    assert "gateway.toml, line 2: providers.google.kind: expected a kind that is installed" in told
    assert lanes_of(process.stdout.readline()) == [f"google/{FLASH}", f"relay/{FLASH}"]

    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_people_get_a_table_each_time(two):
    process = spawn("health", "--watch", str(AN_HOUR))
    read_until(process.stdout, f"google/{FLASH} ")
    two()
    process.send_signal(signal.SIGHUP)
    told = read_until(process.stdout, f"relay/{FLASH} ")
    assert told.startswith("lane state success")
    assert "\x1b" not in told


def test_it_looks_again_whenever_the_time_has_passed_until_it_is_interrupted(google):
    looks = []

    def look():
        looks.append("")
        if len(looks) == 3:
            raise KeyboardInterrupt

    watching.every(0, look, AsyncGateway.from_config("gateway.toml"), Common(as_json=True))
    assert len(looks) == 3


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
def test_nonsense_for_seconds_exits_2(google, seconds):
    assert "Invalid value for '--watch'" in words(run("health", "--watch", seconds, status=2).stderr)


def test_a_configuration_with_a_mistake_is_not_watched(google):
    Path("gateway.toml").write_text("[providers.google]")
    assert "providers.google.kind" in run("doctor", "--watch", "60", status=2).stderr


def test_the_handler_of_before_is_restored(two):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        gateway = AsyncGateway.from_config("gateway.toml")
        with reloading(gateway, "gateway.toml") as pause:
            two()
            os.kill(os.getpid(), signal.SIGHUP)
            pause(AN_HOUR)
            assert len(gateway.config.lanes) == 2
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_several_hangups_at_once_are_each_heard(two, capsys):
    gateway = AsyncGateway.from_config("gateway.toml")
    with reloading(gateway, None) as pause:
        signal.raise_signal(signal.SIGHUP)
        signal.raise_signal(signal.SIGHUP)
        two()
        pause(AN_HOUR)
        pause(AN_HOUR)
    assert capsys.readouterr().err.count("reloaded gateway.toml: 2 lanes") == 2


def test_where_there_are_no_hangups_the_time_passes_all_the_same(two, monkeypatch):
    monkeypatch.delattr(signal, "SIGHUP")
    gateway = AsyncGateway.from_config("gateway.toml")
    with reloading(gateway, None) as pause:
        two()
        pause(0)
    assert len(gateway.config.lanes) == 1
