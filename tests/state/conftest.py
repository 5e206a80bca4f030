"""The backends under test."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.state.books import Place
from tests.state.redis_server import RedisServer

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def shared_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One healthy server for all tests that only need one; each uses a prefix of its own."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.kill()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    """A server for one test, which may do to it what it likes."""
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@pytest.fixture(params=["memory", "sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each backend in turn."""
    return _place(request, tmp_path)


@pytest.fixture(params=["sqlite", "redis"])
def shared_place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Each backend that several processes share."""
    return _place(request, tmp_path)


def _place(request: pytest.FixtureRequest, folder: Path) -> Place:
    if request.param == "memory":
        return Place("memory", "memory")
    if request.param == "sqlite":
        return Place("sqlite", f"sqlite:///{folder / 'state.db'}")
    server: RedisServer = request.getfixturevalue("shared_redis")
    return Place("redis", f"{server.url}?timeout=20&prefix=test{next(_numbers)}")  # time is no criterion here
