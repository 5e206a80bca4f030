"""Rows 30 to 34: quotas, and what upstreams say about how long they last. None of it is billed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from tests.faults.answers import THROTTLED, quota, refuses
from tests.faults.socket_time import SocketTime
from tests.faults.stage import body, both, fate, moves_on, played, staged
from tests.providers.wire import Script, Wire, answer, answering

LIMITED = ("rate_limited", "no")
DRAWN = ("ok", "yes")


def in_turn(*answers: bytes) -> Script:
    """Gives *answers* one after the other, whatever connection they are asked for on."""
    left = list(answers)

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(left.pop(0))

    return script


@both
def test_row_30_a_retry_info_of_3_s_is_waited_out_once(kind: str) -> None:
    ended = played(kind, in_turn(quota("Minute", "3s"), answer(body(kind))))
    assert (ended.told, ended.asked, ended.spent) == ((LIMITED, DRAWN), ("first", "first"), "0.05")
    assert ended.attempts[0].retry_after == 3.0
    assert 3.0 <= ended.seconds <= 3.6  # jitter goes upward only
    assert ended.health["first"].state == "closed"


@both
def test_row_30_a_second_429_is_not_waited_out(kind: str) -> None:
    ended = played(kind, in_turn(*[quota("Minute", "3s")] * 2))
    assert (ended.told, ended.asked, ended.spent) == ((LIMITED, LIMITED, DRAWN), ("first", "first", "second"), "0.10")
    assert 3.0 <= ended.seconds <= 3.6
    assert ended.health["first"].state == "open"


@both
@pytest.mark.parametrize(("delay", "deadline"), [("3s", 29), ("6s", 90), ("47s", 600)])
def test_row_30_a_wait_that_takes_too_much_of_the_time_left_is_not_begun(
    kind: str, delay: str, deadline: float
) -> None:
    ended = played(kind, in_turn(quota("Minute", delay)), fields={"deadline": deadline})
    assert (ended.told, ended.asked, ended.seconds) == ((LIMITED, DRAWN), ("first", "second"), 0)


async def shut_for(kind: str, script: Script, time: SocketTime, times: int) -> list[float]:
    """Seconds for which the first lane is shut after each of *times* failures, each met when the last rest was over."""
    async with staged(kind, script, time=time) as stage:
        rests = []
        for _ in range(times):
            ended = await stage.draw()
            assert ended.asked == ("first", "second")
            assert ended.health["first"].state == "open"
            until = ended.health["first"].until
            assert until is not None
            rests.append(until)
            assert (await stage.draw()).asked == ("second",)
            await asyncio.sleep(until + 0.001)
        return rests


@both
def test_row_31_a_quota_per_day_shuts_the_lane_until_midnight_pacific_whatever_retry_info_says(kind: str) -> None:
    noon_in_california = datetime(2026, 10, 1, 19, tzinfo=UTC)
    time = SocketTime(wall=noon_in_california)
    (rest,) = time.run(lambda: shut_for(kind, answering(quota("Day", "47s")), time, 1))
    assert 12 * 3600 <= rest <= 12 * 3600 + 120
    assert fate(kind, answering(quota("Day", "47s"))) == moves_on("quota_exhausted", "no", 1)


@both
def test_row_32_a_429_without_details_shuts_the_lane_for_20_s_doubled_each_time_up_to_60_s(kind: str) -> None:
    time = SocketTime()
    rests = time.run(lambda: shut_for(kind, refuses(THROTTLED), time, 4))
    for rest, base in zip(rests, (20, 40, 60, 60), strict=True):
        assert base <= rest <= 1.2 * base  # jitter goes upward only
    assert fate(kind, refuses(THROTTLED)) == moves_on("rate_limited", "no", 1)


def rest_after(kind: str, headers: Iterable[str], **more: object) -> tuple[float | None, float, float]:
    """The hint taken from a 429, the seconds the request took, and those for which the lane is shut."""
    ended = played(kind, refuses(THROTTLED, headers=headers, **more))
    assert (ended.told, ended.asked) == ((LIMITED, DRAWN), ("first", "second"))
    until = ended.health["first"].until
    assert until is not None
    return ended.attempts[0].retry_after, ended.seconds, until


BAD_HINTS = ("nan", "inf", "-inf", "-5", "1e309", "1e1", "٣", "３", "0x10", "1_0", "+5", "", "86401", "9" * 400, "3;4")


@both
@pytest.mark.parametrize("hint", BAD_HINTS, ids=lambda hint: hint[:10])
def test_row_33_a_retry_after_that_is_no_sane_number_is_ignored(kind: str, hint: str) -> None:
    for headers in ([f"Retry-After: {hint}"], [f"Retry-After-Ms: {hint}" if hint != "86401" else "Retry-After-Ms: x"]):
        told, waited, rest = rest_after(kind, headers)
        assert (told, waited) == (None, 0)
        assert 20 <= rest <= 24
    details = [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{hint}s"}]
    told, waited, rest = rest_after(kind, (), details=details)
    assert (told, waited) == (None, 0)
    assert 20 <= rest <= 24


NOW = datetime(2026, 10, 1, 12, tzinfo=UTC)


@both
@pytest.mark.parametrize("skew", [-1, 0, 1])
def test_row_34_a_retry_after_date_counts_from_the_answers_own_date_whatever_our_clock_says(
    kind: str, skew: int
) -> None:
    theirs = datetime.now(UTC) + timedelta(hours=skew)
    headers = [f"Date: {format_datetime(theirs)}", f"Retry-After: {format_datetime(theirs + timedelta(seconds=30))}"]
    told, _, rest = rest_after(kind, headers)
    assert told == 30
    assert 30 <= rest <= 36


@both
@pytest.mark.parametrize(
    "headers",
    [
        [f"Date: {format_datetime(NOW)}", "Retry-After: Fri, 31 Dec 9999 23:59:59 GMT"],
        [f"Date: {format_datetime(NOW)}", f"Retry-After: {format_datetime(NOW - timedelta(seconds=30))}"],
        [f"Date: {format_datetime(NOW)}", "Retry-After: Thu, 32 Oct 2026 99:99:99 GMT"],
        [f"Date: {format_datetime(NOW)}", "Retry-After: Thu, 01 Oct 99999999999 12:00:00 GMT"],
        [f"Retry-After: {format_datetime(NOW + timedelta(seconds=30))}"],
    ],
    ids=["year 9999", "in the past", "no date", "a year beyond all", "without a date to count from"],
)
def test_row_34_a_retry_after_date_that_makes_no_sense_is_ignored(kind: str, headers: list[str]) -> None:
    told, waited, rest = rest_after(kind, headers)
    assert (told, waited) == (None, 0)
    assert 20 <= rest <= 24
