"""A real Redis server of one's own, to be killed, paused, restarted and made read-only."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import redis

HOW_TO_INSTALL = "these tests need a real server: apt-get install redis-server, or put redis-server on the PATH"


class RedisServer:
    """A server on a free port, which writes everything to *folder* before it answers."""

    def __init__(self, folder: Path, *options: str) -> None:
        program = shutil.which("redis-server")
        if program is None:
            pytest.fail(HOW_TO_INSTALL)
        self.port, bus = _free_ports()
        self._command = [
            program, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(folder), "--save", "",
            "--appendonly", "yes", "--appendfsync", "always", "--loglevel", "warning", "--cluster-port", str(bus),
            *options,
        ]  # fmt: skip
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(10_000):  # until it listens; each refusal takes a moment
            try:
                socket.create_connection(("127.0.0.1", self.port), 30).close()
                return
            except ConnectionRefusedError:
                assert self._process.poll() is None, "redis-server ended at once"
        raise AssertionError("redis-server does not listen")

    def kill(self) -> None:
        self._process.send_signal(signal.SIGCONT)
        self._process.kill()
        self._process.wait()

    def pause(self) -> None:
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def tell(self, *words: str) -> object:
        """Run a command, as an operator would."""
        with closing(redis.Redis(port=self.port, protocol=2, decode_responses=True)) as client:
            return client.execute_command(*words)


def _free_ports() -> tuple[int, int]:
    with closing(socket.socket()) as first, closing(socket.socket()) as second:
        for free in (first, second):
            free.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]
