"""Row 48: a cancelled request is written down with what it may have cost, once, and leaves nothing behind."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.events import AttemptEnded, Event
from tests.faults.socket_time import SocketTime
from tests.faults.stage import body, both, staged
from tests.providers.wire import Script, Wire, answer

NOT_SENT = ("cancelled", "no", None)
SENT = ("cancelled", "maybe", "0.05")


async def never_a_word(wire: Wire) -> None:
    """Not even of TLS."""
    await wire.client_left()


async def never_answers(wire: Wire) -> None:
    await wire.request()
    await wire.client_left()


def stops_halfway(kind: str) -> Script:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(answer(body(kind))[:2000])
        await wire.client_left()

    return script


def booked(kind: str, script: Script, *, times: int = 1, after: float = 2.0, n: int = 1, **more: Any) -> list[object]:
    """What is written down of a request that is cancelled *times* times, first *after* so many seconds."""
    time, events = SocketTime(), list[Event]()

    async def main() -> None:
        async with staged(kind, script, time=time, **more) as stage:
            stage.gateway.on_event(events.append)
            before = stage.health["first"]
            request = asyncio.create_task(stage.gateway.generate("a fox", n=n))
            await asyncio.sleep(after)
            for _ in range(times):
                request.cancel()
                await asyncio.sleep(0)  # the next one interrupts the cleaning up
            with pytest.raises(asyncio.CancelledError):
                await request
            await asyncio.sleep(1)
            assert stage.health["first"] == before  # closed, with nothing in flight, and no worse for it
            assert stage.calls("second") == 0

    time.run(main)
    ended = [event for event in events if isinstance(event, AttemptEnded)]
    return [(event.outcome, event.billed, str(event.usd) if event.usd else None) for event in ended]


@both
@pytest.mark.parametrize("times", [1, 2, 3])
def test_row_48_cancelled_before_it_is_sent_costs_nothing(kind: str, times: int) -> None:
    assert booked(kind, never_a_word, times=times, scheme="https") == [NOT_SENT]


@both
@pytest.mark.parametrize("times", [1, 2, 3])
def test_row_48_cancelled_after_it_is_sent_may_have_been_billed(kind: str, times: int) -> None:
    assert booked(kind, never_answers, times=times) == [SENT]


@both
def test_row_48_cancelled_in_mid_response_may_have_been_billed(kind: str) -> None:
    assert booked(kind, stops_halfway(kind), times=2) == [SENT]


@both
def test_row_48_every_call_under_way_is_booked_once(kind: str) -> None:
    assert booked(kind, never_answers, times=2, n=3) == [SENT] * 3


@both
def test_row_48_cancelled_before_the_first_step_books_nothing(kind: str) -> None:
    assert all(each == NOT_SENT for each in booked(kind, never_answers, after=0.0))
