"""Real gateways of others, started on loopback between this gateway and the simulator.

They are installed by ``make peers``; without them these tests do not run, and under CI that is a failure.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from providers.simulator import Simulator

HOME = Path(__file__).parents[2] / ".peers"
LITELLM = HOME / "litellm" / "bin" / "litellm"
PORTKEY = HOME / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
MASTER_KEY = "sk-peers-master-key"
STARTING = 180.0
"""Seconds a peer may take to start: LiteLLM needs thirty on two cores."""


@pytest.fixture(scope="session")
def google() -> Iterator[Simulator]:
    with Simulator() as simulator:
        yield simulator


@pytest.fixture(scope="session")
def litellm(google: Simulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A LiteLLM proxy in front of the simulator; its base URL."""
    _need(LITELLM)
    folder = tmp_path_factory.mktemp("litellm")
    config = folder / "config.yaml"
    rows = {
        "gemini": {"model": "gemini/gemini-3-pro-image", "api_base": f"{google.google_url}/v1beta"},
        "gpt": {"model": "openai/gpt-image-2", "api_base": google.openai_url},
        "openrouter": {"model": "openrouter/google/gemini-3-pro-image", "api_base": google.openai_url},
    }
    models = [{"model_name": name, "litellm_params": {**row, "api_key": "sk-upstream"}} for name, row in rows.items()]
    settings = {"model_list": models, "general_settings": {"master_key": MASTER_KEY}}
    config.write_text(json.dumps(settings))  # JSON is YAML
    port = _free_port()
    command = [
        str(LITELLM),
        "--config",
        str(config),
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--telemetry",
        "False",
    ]
    with _running(
        command, f"http://127.0.0.1:{port}/health/liveliness", folder / "log", LITELLM_LOCAL_MODEL_COST_MAP="True"
    ):
        yield f"http://127.0.0.1:{port}/v1"


@pytest.fixture(scope="session")
def portkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A Portkey gateway; its base URL."""
    _need(PORTKEY)
    port = _free_port()
    command = ["node", str(PORTKEY), f"--port={port}", "--headless"]
    log = tmp_path_factory.mktemp("portkey") / "log"
    with _running(command, f"http://127.0.0.1:{port}/", log):
        yield f"http://127.0.0.1:{port}/v1"


def _need(program: Path) -> None:
    if program.exists():
        return
    if os.environ.get("CI"):
        pytest.fail(f"{program.name} is not installed: run make peers")
    pytest.skip("make peers installs the peers and runs these tests")


@contextlib.contextmanager
def _running(command: list[str], url: str, log: Path, **environment: str) -> Iterator[None]:
    # The loopback addresses of this test are private on purpose; Portkey refuses those unless it is told.
    environ = {**os.environ, **environment, "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"}
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output, env=environ, start_new_session=True)
        try:
            _wait_for(url, process, log)
            yield
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until the server answers at all. Another program's start is the one thing here that can only be polled."""
    until = time.monotonic() + STARTING
    with httpx2.Client(trust_env=False, timeout=5) as client:
        while time.monotonic() < until and process.poll() is None:
            with contextlib.suppress(httpx2.HTTPError):
                client.get(url)
                return
            time.sleep(0.2)
    sys.stderr.write(log.read_text()[-4000:])
    pytest.fail("the peer did not start; its log is above")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
