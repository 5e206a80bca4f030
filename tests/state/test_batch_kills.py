"""A batch of a thousand lines whose process is killed again and again: nothing is lost, nothing is paid for twice."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.money.entries import Entry
from gateway.state import open_state
from providers.simulator import BatchBehaviour, Simulator
from tests.gateway.batch_worker import MOMENTS
from tests.state.books import Place
from tests.state.test_processes import leases_over

LINES = 1000


def tables(simulator: Simulator, state: str, blobs: Path) -> dict[str, Any]:
    lane = {"model": "gemini-3.1-flash-image", "sizes": ["512"], "batch_price": {"512": 0.0225}}
    google = {"kind": "google", "base_url": simulator.google_url, "api_key": "canary-key-0123456789", "lanes": [lane]}
    return {"gateway": {"state": state, "blobs": str(blobs)}, "providers": {"google": google}}


def worked(order: dict[str, Any]) -> tuple[int, list[Any]]:
    """How a process that carried out *order* ended, and what it had fetched."""
    command = [sys.executable, "-m", "tests.gateway.batch_worker", json.dumps(order)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert ended.returncode in (0, -9), ended.stderr
    return ended.returncode, [json.loads(line) for line in ended.stdout.splitlines()]


async def books(url: str, *, over: bool) -> list[Entry]:
    """The ledger; *over*: as if the leases of all who have died were, where life is told by leases."""
    state = open_state(url)
    try:
        if over:
            await leases_over(state)
        return await state.ledger.entries()
    finally:
        await state.engine.aclose()


def test_a_thousand_lines_and_five_processes_end_with_every_key_and_a_ledger_that_equals_the_bill(
    shared_place: Place,
    tmp_path: Path,
) -> None:
    with Simulator(batches=BatchBehaviour(polls=2, failing=0.03)) as simulator:
        order = {"tables": tables(simulator, shared_place.url, tmp_path / "blobs"), "name": "posters", "lines": LINES}
        fetched = []
        for moment in MOMENTS:
            status, results = worked({**order, "moment": moment})
            assert status == (0 if moment == "never" else -9), moment
            fetched.append(results)
            asyncio.run(books(shared_place.url, over=True))
        jobs, bill, billed = simulator.batches, simulator.bill, simulator.billed
    first, *again = [(job.total, job.succeeded, job.failed) for job in jobs]
    assert first == (1000, 970, 30), "it was sent twice, or never"
    assert again == [(11, 11, 0), (19, 19, 0)]  # those that had failed by the time of the kill, and the others
    assert [len(results) for results in fetched[:2]] == [0, 0]
    assert 0 < len(fetched[2]) <= 399 - 11
    assert Counter(key for key, _, _ in fetched[-1]) == Counter(f"row-{number}" for number in range(LINES))
    assert {(good, outcome) for _, good, outcome in fetched[-1]} == {(True, "ok")}
    entries = asyncio.run(books(shared_place.url, over=True))
    assert {entry.state for entry in entries} == {"settled"}
    assert sum((entry.usd for entry in entries), Decimal(0)) == bill == LINES * Decimal("0.0225")
    assert billed == LINES
    assert Counter(entry.number for entry in entries) == {1: 1000, 2: 30}
