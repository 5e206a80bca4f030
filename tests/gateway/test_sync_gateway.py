"""``Gateway``: the same job for code without an event loop, from any thread, and inside a running loop as well."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import FrameType

import anyio
import anyio.to_thread
import pytest

from gateway import ContentBlocked, Gateway, ImageRequest, InvalidRequest
from providers.exchange import Exchange
from providers.outcome import Outcome
from providers.request import UpstreamRequest
from tests.gateway.upstreams import Answer, Studio, draws, fails, relay, studio, two

AT_ONCE = draws(seconds=0.0)


def gateway_over(painters: Studio) -> Gateway:
    return Gateway(painters.config, load=painters.load)


@pytest.fixture
def painters() -> Studio:
    made = two()
    made.adapters.clear()
    made.script("first", *[AT_ONCE] * 100)
    return made


def loop_threads() -> int:
    return sum(thread.name == "image-gateway" for thread in threading.enumerate())


def test_a_request_is_drawn(painters: Studio) -> None:
    with gateway_over(painters) as gateway:
        assert gateway.generate("a fox", size="2K").size == "2K"
        assert gateway.generate(ImageRequest(prompt="a fox"), size="2K").size == "2K"


def test_errors_come_through_as_they_are(painters: Studio) -> None:
    painters.script("first", fails("blocked", seconds=0.0))
    with gateway_over(painters) as gateway:
        with pytest.raises(ContentBlocked) as caught:
            gateway.generate("a fox")
        assert len(caught.value.attempts) == 1
        with pytest.raises(InvalidRequest, match="size"):
            gateway.generate("a fox", size="8K")


def test_planning_and_health_need_no_thread(painters: Studio) -> None:
    gateway = gateway_over(painters)
    assert [step.lane for step in gateway.plan("a fox").candidates] == ["first/painter", "second/painter"]
    assert [health.lane for health in gateway.health()] == ["first/painter", "second/painter"]
    assert loop_threads() == 0
    gateway.close()


def test_it_works_inside_a_running_event_loop(painters: Studio) -> None:
    async def job() -> str:
        with gateway_over(painters) as gateway:
            return gateway.generate("a fox").lane

    assert asyncio.run(job()) == "first/painter"


def test_eight_threads_share_one_instance_and_one_loop() -> None:
    painters = studio(first=relay())
    together = threading.Barrier(8)

    async def meets_the_others(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        await anyio.to_thread.run_sync(together.wait, 30)
        return await AT_ONCE(request, exchange)

    painters.script("first", *[meets_the_others] * 8)
    with gateway_over(painters) as gateway, ThreadPoolExecutor(8) as threads:
        results = list(threads.map(lambda _: (gateway.generate("a fox"), loop_threads()), range(8)))
    assert {(result.lane, count) for result, count in results} == {("first/painter", 1)}
    assert len({result.request_id for result, _ in results}) == 8


def test_closing_ends_the_thread_and_the_connections(painters: Studio) -> None:
    gateway = gateway_over(painters)
    gateway.generate("a fox")
    assert loop_threads() == 1
    gateway.close()
    assert loop_threads() == 0
    assert [adapter.closed for adapter in painters.adapters] == [1, 1]


def test_closing_twice_or_before_the_first_call_is_harmless(painters: Studio) -> None:
    gateway = gateway_over(painters)
    gateway.close()
    gateway.generate("a fox")
    gateway.close()
    gateway.close()
    assert [adapter.closed for adapter in painters.adapters] == [1, 1]


def test_a_call_after_closing_starts_again(painters: Studio) -> None:
    gateway = gateway_over(painters)
    for _ in range(3):
        assert gateway.generate("a fox").lane == "first/painter"
        gateway.close()
    assert loop_threads() == 0


def test_two_instances_have_nothing_in_common(painters: Studio) -> None:
    others = two()
    others.script("first", fails("rate_limited", seconds=0.0))
    others.script("second", AT_ONCE)
    with gateway_over(painters) as one, gateway_over(others) as other:
        assert other.generate("a fox").lane == "second/painter"
        assert one.generate("a fox").lane == "first/painter"
        assert [health.state for health in other.health()] == ["open", "closed"]
        assert [health.state for health in one.health()] == ["closed", "closed"]


def test_it_is_shown_with_where_its_configuration_came_from(painters: Studio) -> None:
    assert repr(gateway_over(painters)) == "<Gateway mapping: 2 lanes>"


def test_from_config_takes_a_mapping() -> None:
    tables = {"providers": {"first": relay()}}
    assert Gateway.from_config(tables).plan("a fox").candidates[0].lane == "first/painter"


def test_reloading_swaps_the_configuration_and_closes_the_old_one(painters: Studio) -> None:
    with gateway_over(painters) as gateway:
        gateway.generate("a fox")
        gateway.reload({"providers": {"third": relay()}})
        assert [adapter.closed for adapter in painters.adapters] == [1, 1, 0]
        painters.script("third", AT_ONCE)
        assert gateway.generate("a fox").lane == "third/painter"


# Ctrl-C


@pytest.fixture
def interrupt() -> Iterator[Callable[[], bool]]:
    """Called in another thread until it says True: interrupts the main thread once it waits for a call."""
    done = threading.Event()

    def handler(number: int, frame: FrameType | None) -> None:
        names = [each.f_code.co_name for each, _ in traceback.walk_stack(frame)]
        if not done.is_set() and any(pair in (("result", "_call"), ("result", "call")) for pair in pairwise(names)):
            done.set()
            raise KeyboardInterrupt

    def poke() -> bool:
        ident = threading.main_thread().ident
        assert ident is not None
        signal.pthread_kill(ident, signal.SIGUSR1)
        return done.is_set()

    before = signal.signal(signal.SIGUSR1, handler)
    yield poke
    signal.signal(signal.SIGUSR1, before)


def interrupting(poke: Callable[[], bool]) -> Answer:
    async def answer(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        exchange.sent = True
        while not poke():
            await anyio.sleep(0)
        await anyio.sleep_forever()
        raise AssertionError("unreachable")

    return answer


def test_ctrl_c_ends_the_request_and_writes_down_what_it_may_cost(
    painters: Studio, interrupt: Callable[[], bool], caplog: pytest.LogCaptureFixture
) -> None:
    painters.script("first", interrupting(interrupt))
    caplog.set_level(logging.INFO, "image_gateway")
    with gateway_over(painters) as gateway, pytest.raises(KeyboardInterrupt):
        gateway.generate("a fox")
    attempt, request = [record.getMessage() for record in caplog.records if record.levelno == logging.INFO]
    assert "'outcome': 'cancelled', 'billed': 'maybe'" in attempt
    assert "'outcome': 'CancelledError'" in request
    assert loop_threads() == 0


def test_ctrl_c_while_closing_leaves_no_thread_behind(painters: Studio, interrupt: Callable[[], bool]) -> None:
    gateway = gateway_over(painters)
    gateway.generate("a fox")

    async def aclose() -> None:
        while not interrupt():
            await anyio.sleep(0)

    painters.adapters[0].aclose = aclose  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        gateway.close()
    assert loop_threads() == 0
    gateway.close()
    assert gateway.generate("a fox").lane == "first/painter"
    gateway.close()


def test_what_the_configuration_warns_of_is_logged_without_the_key(caplog: pytest.LogCaptureFixture) -> None:
    key = "sk-a-literal-key-0123"
    Gateway.from_config({"providers": {"p": {"kind": "google", "api_key": key}}})
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert record.name == "image_gateway"
    assert "providers.p.api_key: a key stands in the configuration itself" in record.getMessage()
    assert key not in record.getMessage()
