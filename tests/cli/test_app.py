"""What all commands have in common."""

import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from gateway.cli import report
from gateway.cli.consoles import stdout
from providers.images import GeneratedImage
from tests.cli.conftest import FLASH, configure, google_table, run, words

COMMANDS = ("demo", "generate", "plan", "lanes", "doctor", "health", "schema", "simulate")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_an_example_and_can_speak_json(command):
    told = run(command, "--help").stdout
    assert f"image-gateway {command}" in words(told.partition("Example")[2])
    assert "--json" in told
    assert "--verbose" in told


def test_the_commands_are_listed_when_none_is_given():
    told = run(status=2).output
    assert all(command in told for command in COMMANDS)


def test_the_version_is_the_distributions():
    assert run("--version").stdout == f"image-gateway {version('image-gateway')}\n"


def test_help_loads_neither_the_sdks_nor_the_simulator():
    code = "import sys; from gateway.cli.app import app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"openai", "google.genai", "PIL", "providers.simulator.simulator", "gateway.cli.generate"} & set(loaded)


def test_a_reader_that_stops_early_is_no_occasion_for_a_traceback(google):
    script = f'"{sys.executable}" -m gateway.cli lanes; "{sys.executable}" -m gateway.cli lanes --json'
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(["sh", "-c", script], stdout=writer, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writer)
    assert done.stderr == ""


def test_a_stream_that_cannot_take_a_character_gets_a_question_mark(google):
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-m", "gateway.cli", "doctor"], capture_output=True, env=environment, check=True
    )
    assert b"?" in done.stdout
    assert done.stdout.isascii()


def test_colours_are_for_terminals_alone(google, monkeypatch):
    assert "\x1b" not in run("plan", "A cat").output
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert "\x1b[" in run("plan", "A cat").stdout


def test_what_a_model_says_cannot_move_the_cursor_or_pass_as_markup(capsys):
    from decimal import Decimal

    from gateway.result import Attempt, Cost, ImageResult

    free = Cost(Decimal(0), "catalogue")
    result = ImageResult(
        images=(GeneratedImage(data=b"x", mime_type="image/png", width=1, height=1),),
        text="\x1b]0;title\x07[bold]hi[/bold] sk-abcdefghijkl",
        lane="a/b",
        provider="a",
        model="b",
        requested_size="1K",
        size="1K",
        downgraded=False,
        cost=free,
        total_cost=free,
        attempts=(Attempt(lane="a/b", size="1K", outcome="ok", billed="no", detail="\x1b[2Jgone"),),
        warnings=("beware\x1b[31m",),
        request_id="r",
        elapsed=1.0,
    )
    report.show(result, ["x\x1b[31m.png"], stdout())
    told = capsys.readouterr().out
    assert "[bold]hi[/bold] [key]" in told
    assert all(character.isprintable() or character == "\n" for character in told)


def test_a_mistake_in_any_command_is_told_without_a_traceback(simulate):
    configure(google=google_table(simulate(), kind="gogle"))
    assert "providers.google.kind: expected a kind that is installed: google" in words(run("lanes", status=2).stderr)
    assert FLASH not in run("lanes", status=2).output
