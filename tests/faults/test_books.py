"""Rows 49 and 53: what the books hold when a process is killed, and what happens when they cannot be written."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

from gateway import AsyncGateway, GatewayError, OutcomeUnknown
from gateway.configuration import config
from gateway.state import open_state
from tests.faults.stage import both, delivers
from tests.faults.test_process import running, tables
from tests.providers.wire import KEY, Upstream
from tests.relays.relay import Asked, Relay

DRAWING = """
import asyncio
from gateway import AsyncGateway
from gateway.configuration.config import load
asyncio.run(AsyncGateway(load(CONFIG)).generate("a fox", idempotency_key="order-17"))
"""


def with_books(tables: dict[str, Any], path: Path) -> dict[str, Any]:
    return {**tables, "gateway": {"state": f"sqlite:///{path}"}}


def test_row_49_a_call_that_was_in_flight_at_kill_9_is_unknown_after_the_restart_and_not_retried(
    tmp_path: Path,
) -> None:
    asked, end = threading.Event(), threading.Event()

    def hangs(_: Asked) -> Any:
        asked.set()
        end.wait(30)
        raise ConnectionAbortedError

    with Relay(hangs) as relay:
        configuration = with_books(tables("openai", relay.url), tmp_path / "state.db")
        with running(DRAWING, configuration) as process:
            assert asked.wait(20)
            process.kill()
            process.wait()
        calls = len(relay.asked)
        gateway = config.load(configuration, environ={"KEY": KEY})
        entries, error = asyncio.run(_after_the_restart(gateway))
        assert [(each.state, str(each.usd)) for each in entries] == [("unknown", "0.05")]
        assert isinstance(error, OutcomeUnknown)
        assert len(relay.asked) == calls == 1
        end.set()


async def _after_the_restart(loaded: config.Config) -> tuple[list[Any], BaseException]:

    async with AsyncGateway(loaded) as gateway:
        (error,) = await asyncio.gather(gateway.generate("a fox", idempotency_key="order-17"), return_exceptions=True)
    state = open_state(loaded.state)
    try:
        return await state.ledger.entries(), error  # type: ignore[return-value]
    finally:
        await state.engine.aclose()


@both
@pytest.mark.parametrize("trouble", ["no such folder", "not a database"])
def test_row_53_where_the_books_cannot_be_written_nothing_is_sent(kind: str, trouble: str, tmp_path: Path) -> None:
    path = tmp_path / "state.db"
    if trouble == "no such folder":
        (tmp_path / "file").write_bytes(b"")
        path = tmp_path / "file" / "state.db"
    else:
        path.write_bytes(b"no database at all" * 500)

    async def main() -> None:

        async with Upstream(delivers(kind)) as upstream:
            loaded = config.load(with_books(tables(kind, upstream.url), path), environ={"KEY": KEY})
            gateway = AsyncGateway(loaded)
            with pytest.raises(GatewayError, match=r"state\.db"):
                await gateway.generate("a fox")
            assert upstream.requests == []
            assert gateway.health()[0].in_flight == 0
            await gateway.aclose()

    asyncio.run(main())
