"""The real command line, run against simulators."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from typer.testing import CliRunner, Result

from gateway.cli.app import app
from gateway.configuration.secrets import USUAL_KEYS
from providers.simulator import Simulator, faults

KEY = "canary-key-0123456789"
FLASH = "gemini-3.1-flash-image"

_spawned: list[tuple[subprocess.Popen[str], threading.Timer]] = []


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to work in, without any configuration around."""
    for name in (*USUAL_KEYS, "IMAGE_GATEWAY_CONFIG", "NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path.with_name(f"{tmp_path.name}-state")))
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    structlog.reset_defaults()
    while _spawned:
        process, watchdog = _spawned.pop()
        watchdog.cancel()
        with process:
            process.kill()


@pytest.fixture
def simulate() -> Iterator[Callable[..., Simulator]]:
    """Starts simulators and stops them afterwards."""
    started: list[Simulator] = []

    def start(*args: Any, **options: Any) -> Simulator:
        started.append(Simulator(*args, **options))
        started[-1].start()
        return started[-1]

    yield start
    for simulator in started:
        simulator.stop()


@pytest.fixture
def google(simulate: Callable[..., Simulator]) -> Simulator:
    """A healthy upstream on Google's wire, the only one that is configured."""
    simulator = simulate()
    configure(google=google_table(simulator))
    return simulator


@pytest.fixture
def pair(simulate: Callable[..., Simulator]) -> tuple[Simulator, Simulator]:
    """Google, overloaded at 2K, and a healthy relay that is dearer."""
    first, second = simulate(faults=[faults.overloaded(size="2K")]), simulate("new-api")
    configure(google=google_table(first), relay=relay_table(second))
    return first, second


def google_table(simulator: Simulator, **more: Any) -> dict[str, Any]:
    """A provider on Google's wire with one lane."""
    lane = {"model": FLASH, "sizes": ["512", "1K", "2K", "4K"]}
    return {"kind": "google", "base_url": simulator.google_url, "lanes": [lane], **more}


def relay_table(simulator: Simulator, **more: Any) -> dict[str, Any]:
    """A relay with one lane."""
    lane = {"model": FLASH, "sizes": ["1K", "2K"], "price": {"1K": 0.2, "2K": 0.3}}
    return {"kind": "openai", "base_url": simulator.openai_url, "dialect": "new-api", "lanes": [lane], **more}


def configure(gateway: dict[str, Any] | None = None, **providers: Any) -> None:
    """Write ``gateway.toml`` here."""
    tables = [f"gateway = {_toml(gateway or {})}"]
    tables += [f"[providers]\n{name} = {_toml(table)}" if not number else f"{name} = {_toml(table)}"
               for number, (name, table) in enumerate(providers.items())]  # fmt: skip
    Path("gateway.toml").write_text("\n".join(tables))


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value)


def run(*arguments: str, status: int = 0, stdin: str | bytes = "") -> Result:
    """The command line in this process; it must end with *status* and never in a traceback."""
    result = CliRunner().invoke(app, arguments, input=stdin, catch_exceptions=False)
    assert result.exit_code == status, result.output
    return result


def run_json(*arguments: str, status: int = 0, stdin: str = "") -> Any:
    """What the command prints with ``--json``: one document and nothing else."""
    return json.loads(run(*arguments, "--json", status=status, stdin=stdin).stdout)


def _heeds_ctrl_c() -> None:
    """Whoever runs the tests in the background of a shell has them, and their children, ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def spawn(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    """The command line as a process of its own, which does not outlive the test."""
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway.cli", *arguments],
        preexec_fn=_heeds_ctrl_c,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, **environment},
    )
    watchdog = threading.Timer(60, process.kill)  # so that a test that waits for a line that never comes ends
    watchdog.start()
    _spawned.append((process, watchdog))
    return process


def words(text: str) -> str:
    """*text* on one line, so that it does not matter where a terminal's lines end."""
    return " ".join(text.replace("│", " ").split())
