"""Rows 35 to 37: keys that are refused or cannot be keys, and places that are refused. None of it is billed."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gateway import AsyncGateway, ConfigError
from tests.faults.answers import REGION, WRONG_KEY, refusal, refuses
from tests.faults.socket_time import SocketTime
from tests.faults.stage import BOTH_KEYS, OTHER_KEY, Stage, body, both, fate, moves_on, staged
from tests.providers.bodies import written
from tests.providers.wire import KEY, Received, Script, Wire, answer

HOUR = 3600.0


def keys_used(stage: Stage, method: str = "POST") -> list[str]:
    """The keys of the calls with that *method* that reached the first upstream."""
    requests = stage.requests("first", method)
    return [next(key for key in (KEY, OTHER_KEY) if carries(request, key)) for request in requests]


def carries(request: Received, key: str) -> bool:
    return any(key in value for value in request.headers.values())


def knows_only(kind: str, key: str) -> Script:
    """Refuses every key but *key*."""

    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            known = carries(request, key)
            await wire.send(answer(body(kind)) if known else refusal(WRONG_KEY))

    return script


@both
def test_row_35_a_401_on_one_key_is_followed_by_the_next_key_and_the_first_is_let_alone(kind: str) -> None:
    time = SocketTime()

    async def main() -> None:
        async with staged(kind, knows_only(kind, OTHER_KEY), time=time, api_key=BOTH_KEYS) as stage:
            ended = await stage.draw()
            assert (ended.told, ended.asked) == ((("auth", "no"), ("ok", "yes")), ("first", "first"))
            assert ended.spent == "0.05"
            assert (ended.health["first"].state, ended.health["first"].success_rate > 0.9) == ("closed", True)
            for _ in range(12):  # an hour, every five minutes
                await asyncio.sleep(HOUR / 12)
                assert (await stage.draw()).told == (("ok", "yes"),)
            assert keys_used(stage) == [KEY, *[OTHER_KEY] * 13]
            free = keys_used(stage, "GET")
            assert (set(free), len(free) <= 7) == (
                {KEY},
                True,
            )  # every ten minutes a free call asks whether it is good again

    time.run(main)


@both
def test_row_35_a_401_on_the_only_key_latches_the_lane_until_the_key_changes(kind: str) -> None:
    time = SocketTime()

    async def main() -> None:
        async with staged(kind, refuses(WRONG_KEY), time=time) as stage:
            ended = await stage.draw()
            assert ended.told == (("auth", "no"), ("ok", "yes"))
            assert (ended.health["first"].state, ended.health["first"].reason) == ("latched", "auth")
            for _ in range(3):
                await asyncio.sleep(24 * HOUR)
                assert (await stage.draw()).asked == ("second",)
            assert stage.calls() == 1

    time.run(main)
    assert fate(kind, refuses(WRONG_KEY)) == moves_on("auth", "no", 1)


@both
def test_row_35_a_free_call_that_finds_the_key_good_again_ends_the_latch(kind: str) -> None:
    time, accepted = SocketTime(), [False]

    async def script(wire: Wire) -> None:
        while True:
            request = await wire.request()
            listed = answer(written({"models": [], "data": [], "object": "list"}))
            good = listed if request.line.startswith("GET") else answer(body(kind))
            await wire.send(good if accepted[0] else refusal(WRONG_KEY))

    async def main() -> None:
        async with staged(kind, script, time=time) as stage:
            await stage.draw()
            assert stage.health["first"].state == "latched"
            accepted[0] = True
            await asyncio.sleep(601)
            await stage.draw()  # checks are made beside requests
            await asyncio.sleep(1)
            ended = await stage.draw()
            assert (ended.told, ended.asked, ended.spent) == ((("ok", "yes"),), ("first",), "0.05")

    time.run(main)


BAD_KEYS = {
    "newline": "sk-canary\n-0123456789", "newlines at the end": "sk-canary-0123456789\n\n",
    "NUL": "sk-canary\0-0123456789", "umlaut": "sk-canäry-0123456789", "blank": "sk-canary 0123456789",
}  # fmt: skip
SOURCES = [
    pytest.param(source, key, id=f"{name} in {source}")
    for name, key in BAD_KEYS.items() for source in ("literal", "env", "file")
    if (name, source) != ("NUL", "env")  # no environment holds one
]  # fmt: skip


@both
@pytest.mark.parametrize(("source", "key"), SOURCES)
def test_row_36_what_cannot_be_a_key_is_refused_at_load_and_not_shown(
    kind: str, source: str, key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_bytes(key.encode())
    if source == "env":
        monkeypatch.setenv("BAD_KEY", key)
    reference = {"literal": key, "env": "env:BAD_KEY", "file": f"file:{tmp_path / 'key'}"}[source]
    with pytest.raises(ConfigError) as refused:
        AsyncGateway.from_config({"providers": {"first": {"kind": kind, "api_key": reference}}})
    told = f"{refused.value!r} {refused.value} {refused.value.__cause__!r} {refused.value.__context__!r}"
    assert "providers.first.api_key" in told
    assert "0123456789" not in told
    assert "sk-can" not in told


@both
def test_row_37_a_region_refusal_is_remembered_for_six_hours_and_no_other_key_is_tried(kind: str) -> None:
    time = SocketTime()
    script = refuses("400 Bad Request", **REGION)

    async def main() -> None:
        async with staged(kind, script, time=time, api_key=BOTH_KEYS) as stage:
            ended = await stage.draw()
            assert (ended.told, ended.asked) == ((("region", "no"), ("ok", "yes")), ("first", "second"))
            (left_out,) = stage.gateway.plan("a fox").excluded
            assert (left_out.lane, left_out.reason) == ("first/painter", "region")
            assert left_out.retry_after == pytest.approx(6 * HOUR)
            await asyncio.sleep(6 * HOUR - 1)
            assert (await stage.draw()).asked == ("second",)
            await asyncio.sleep(2)
            assert (await stage.draw()).asked == ("first", "second")
            assert keys_used(stage) == [KEY] * 2

    time.run(main)
    assert fate(kind, script) == moves_on("region", "no", 1)
