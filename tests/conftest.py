"""The canary: no key of any test may show in a log, an error or what is printed, in the whole suite. And fixtures for all."""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from providers.errors import GatewayError
from providers.secret import Secret

# Time is no criterion on a loaded machine. CI runs the same examples each time; everybody else finds new ones.
settings.register_profile(
    "suite", deadline=None, derandomize=bool(os.environ.get("CI")), suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

SHORTEST = 8
"""Characters below which a test's key is too common a word to look for."""


class Canary(logging.Handler):
    """Knows every key that was made, and notes where one is seen."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.keys: set[str] = set()
        self.seen: list[str] = []

    def look(self, where: str, text: str) -> None:
        """Note it if *text* holds a key."""
        if any(key in text for key in self.keys):
            self.seen.append(f"a key shows in {where}")

    def emit(self, record: logging.LogRecord) -> None:
        """Look at a log record as it would be printed."""
        self.look(f"the log of {record.name}", self.format(record))


@pytest.fixture(scope="session")
def canary() -> Iterator[Canary]:
    """The one canary, which learns the keys from the class that holds them."""
    watcher = Canary()
    make_secret, make_error = Secret.__init__, GatewayError.__init__

    def watched_secret(self: Secret, value: str) -> None:
        make_secret(self, value)
        if len(value) >= SHORTEST:
            watcher.keys.add(value)

    def watched_error(self: GatewayError, message: str, **fields: object) -> None:
        make_error(self, message, **fields)  # type: ignore[arg-type]
        watcher.look(f"the message of {type(self).__name__}", message)
        watcher.look(f"the attempts of {type(self).__name__}", repr(fields))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Secret, "__init__", watched_secret)
        patch.setattr(GatewayError, "__init__", watched_error)
        root = logging.getLogger()
        level = root.level
        root.addHandler(watcher)
        root.setLevel(logging.DEBUG)
        yield watcher
        root.setLevel(level)
        root.removeHandler(watcher)


@pytest.fixture(autouse=True)
def no_key_shows(canary: Canary) -> Iterator[None]:
    """After each test: no key was logged or raised in it."""
    yield
    seen, canary.seen[:] = list(canary.seen), []
    assert not seen, "; ".join(dict.fromkeys(seen))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """No key was printed either: what pytest captured is in the report."""
    report = yield
    watcher = getattr(item, "funcargs", {}).get("canary")
    printed = "".join(text for _, text in report.sections)
    if watcher is not None and any(key in printed for key in watcher.keys):
        report.outcome, report.longrepr = "failed", "a key shows in what was printed or logged"
        report.sections.clear()
    return report


@pytest.fixture
def toml(tmp_path: Path) -> Any:
    """Writes a gateway.toml and gives its path."""

    def write(text: str | bytes) -> Path:
        path = tmp_path / "gateway.toml"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        (tmp_path / "keys").mkdir(exist_ok=True)
        (tmp_path / "keys" / "second").write_text("second-key\n")
        return path

    return write
