"""Rows 50 to 52: what happens around the requests: threads, event loops, forks, and the end of the process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from decimal import Decimal
from typing import Any

import pytest

from gateway import AsyncGateway, Gateway
from gateway.configuration import config
from tests.faults.socket_time import SocketTime
from tests.faults.stage import Ended, body, both, delivers, provider, staged
from tests.gateway.upstreams import lane
from tests.providers.bodies import encoded
from tests.providers.wire import KEY, Upstream, Wire, answer
from tests.relays.relay import Asked, Relay, as_json, png

PATIENCE = 30
"""Seconds after which a process that hangs is ended by its own alarm."""
ROOT = config.__file__.rpartition("/gateway/")[0]


def tables(kind: str, url: str, lanes: int = 1) -> dict[str, Any]:
    made = [lane(f"painter-{number}", price=0.05, sizes=("1K",)) for number in range(lanes)]
    return {"providers": {"first": provider(kind, url, lanes=made)}}


@both
def test_row_50_one_client_serves_several_loops_and_threads(kind: str) -> None:
    async def draws(gateway: AsyncGateway) -> list[tuple[str, Decimal]]:
        results = await asyncio.gather(*(gateway.generate("a fox") for _ in range(3)))
        await gateway.aclose()
        return [(result.attempts[-1].outcome, result.total_cost.usd) for result in results]

    def in_a_thread(gateway: AsyncGateway) -> list[tuple[str, Decimal]]:
        together.wait(30)
        return asyncio.run(draws(gateway))

    async def main() -> int:
        async with Upstream(delivers(kind)) as upstream:
            gateway = AsyncGateway(config.load(tables(kind, upstream.url), environ={"KEY": KEY}))
            drawn = await asyncio.gather(*(asyncio.to_thread(in_a_thread, gateway) for _ in range(4)))
            (health,) = gateway.health()
        assert drawn == [[("ok", Decimal("0.05"))] * 3] * 4
        assert (health.state, health.in_flight) == ("closed", 0)
        assert health.success_rate == pytest.approx(21 / 22, abs=1e-3)  # none of the twelve was lost
        return len(upstream.requests)

    together = threading.Barrier(4)
    assert asyncio.run(main()) == 12


@both
def test_row_50_one_sync_client_serves_several_threads(kind: str) -> None:
    async def main() -> list[str]:
        async with Upstream(delivers(kind)) as upstream:
            with Gateway(config.load(tables(kind, upstream.url), environ={"KEY": KEY})) as gateway:

                def draws(_: int) -> str:
                    return str(gateway.generate("a fox").total_cost.usd)

                with ThreadPoolExecutor(8) as threads:
                    return await asyncio.to_thread(lambda: list(threads.map(draws, range(16))))

    assert asyncio.run(main()) == ["0.05"] * 16


@contextmanager
def running(script: str, configuration: dict[str, Any]) -> Iterator[subprocess.Popen[str]]:
    """A process of its own that runs *script*, in which ``CONFIG`` is the configuration; it is ended with the block."""
    code = f"import signal\nsignal.alarm({PATIENCE})\nCONFIG = {configuration!r}\n{script}"
    environ = {**os.environ, "KEY": KEY, "PYTHONPATH": ROOT}
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environ, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # its children too


def printed(script: str, configuration: dict[str, Any]) -> list[Any]:
    """What the processes of *script* print, each line as JSON."""
    with running(script, configuration) as process:
        try:
            told, _ = process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail("a process hangs")
    assert process.returncode == 0, told
    return [json.loads(line) for line in told.splitlines()]


FORKS = """
import json, os, signal, sys
from gateway import Gateway, GatewayError

gateway = Gateway.from_config(CONFIG)
gateway.plan("a fox")
{before}

def work():
    ids, rests = [], []
    for lane in gateway.health():
        try:
            ids.append(gateway.generate("a fox", model=lane.lane.partition("/")[2]).request_id)
        except GatewayError as error:
            ids.append(type(error).__name__)
    rests = [round(health.until or 0, 1) for health in gateway.health()]
    print(json.dumps([ids, rests]), flush=True)

for _ in range(3):
    child = os.fork()
    if not child:
        signal.alarm(5)  # a child that hangs is ended
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        os._exit(1)  # the thread of the gateway would keep this process alive
work()
gateway.close()
"""


def draws(_: Asked) -> tuple[int, str, bytes]:
    return as_json({"data": [{"b64_json": encoded(png())}]})


def throttles(_: Asked) -> tuple[int, str, bytes]:
    return as_json({"error": {"message": "Slowly.", "code": 429}}, 429)


def test_row_51_after_a_fork_parent_and_children_draw_and_share_no_request_id() -> None:
    with Relay(draws) as relay:
        told = printed(FORKS.format(before=""), tables("openai", relay.url, lanes=2))
    ids = [each for process_ids, _ in told for each in process_ids]
    assert len(relay.asked) == len(set(ids)) == 8


def test_row_51_after_a_fork_parent_and_children_throw_different_dice() -> None:
    with Relay(throttles) as relay:
        told = printed(FORKS.format(before=""), tables("openai", relay.url, lanes=8))
    rests = [tuple(process_rests) for _, process_rests in told]
    assert all(20 <= rest <= 24 for process_rests in rests for rest in process_rests)
    for number, one in enumerate(rests):  # where dice repeat, all eight rests are alike
        for other in rests[number + 1 :]:
            assert max(abs(a - b) for a, b in zip(one, other, strict=True)) > 0.15


def test_row_51_a_sync_client_that_has_been_used_works_in_a_forked_child_as_well() -> None:
    with Relay(draws) as relay:
        told = printed(FORKS.format(before='gateway.generate("a fox")'), tables("openai", relay.url))
    assert len({each for process_ids, _ in told for each in process_ids}) == 4


HELD = """
import os, signal, threading
from gateway import AsyncGateway
from gateway.configuration.config import load

held, let_go = threading.Event(), threading.Event()

def slow_dice():
    if threading.current_thread() is not threading.main_thread():
        held.set()
        let_go.wait(30)
    return 0.5

gateway = AsyncGateway(load(CONFIG), chance=slow_dice)
import asyncio
thread = threading.Thread(target=lambda: asyncio.run(gateway.generate("a fox")))
thread.start()
held.wait(30)  # some lock or other is held in that thread now
child = os.fork()
if not child:
    signal.alarm(5)  # a child that waits for a lock which nobody holds any more is ended
    gateway.health(), gateway.plan("a fox"), repr(gateway)
    asyncio.run(gateway.generate("a fox"))
    os._exit(0)
_, status = os.waitpid(child, 0)
let_go.set()
thread.join()
print(status, flush=True)
"""


def test_row_51_a_lock_that_another_thread_held_at_the_fork_is_free_in_the_child() -> None:
    with Relay(draws) as relay:
        assert printed(HELD, tables("openai", relay.url)) == [0]


@both
def test_row_52_closing_waits_for_the_requests_in_flight(kind: str) -> None:
    time = SocketTime()

    async def slowly(wire: Wire) -> None:
        await wire.request()
        await asyncio.sleep(20)
        await wire.send(answer(body(kind)))

    async def main() -> tuple[Ended, float]:
        async with staged(kind, slowly, time=time) as stage:
            begun = time.now
            request = asyncio.create_task(stage.draw())
            await asyncio.sleep(5)
            await stage.gateway.aclose()
            return await request, time.now - begun

    ended, seconds = time.run(main)
    assert (ended.told, ended.spent, seconds) == ((("ok", "yes"),), "0.05", pytest.approx(20))


SERVICE = """
import asyncio, json, signal
from gateway import AsyncGateway
from gateway.configuration.config import load

async def main():
    gateway, ending = AsyncGateway(load(CONFIG)), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ending.set)
    request = asyncio.create_task(gateway.generate("a fox"))
    await ending.wait()
    print(json.dumps("closing"), flush=True)
    await gateway.aclose()
    result = await request
    print(json.dumps([result.attempts[-1].outcome, str(result.total_cost.usd), len(result.attempts)]), flush=True)

asyncio.run(main())
"""


def test_row_52_a_service_that_closes_at_sigterm_delivers_what_it_has_paid_for() -> None:
    def answers_once_it_closes(_: Asked) -> tuple[int, str, bytes]:
        process.send_signal(signal.SIGTERM)
        lines.append(process.stdout.readline() if process.stdout else "")
        return draws(_)

    lines: list[str] = []
    with Relay(answers_once_it_closes) as relay, running(SERVICE, tables("openai", relay.url)) as process:
        process.wait()
        rest = process.stdout.read() if process.stdout else ""
    assert [json.loads(line) for line in (*lines, *rest.splitlines())] == ["closing", ["ok", "0.05", 1]]
    assert (process.returncode, len(relay.asked)) == (0, 1)
