"""One scripted server and one event loop for the whole corpus."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.corpus.adapters import Adapters
from tests.corpus.server import ScriptedServer


@pytest.fixture(scope="session")
def server() -> Iterator[ScriptedServer]:
    scripted = ScriptedServer()
    yield scripted
    scripted.close()


@pytest.fixture(scope="session")
def adapters(server: ScriptedServer) -> Iterator[Adapters]:
    with asyncio.Runner() as runner:
        made = Adapters(server, runner)
        yield made
        runner.run(made.aclose())
