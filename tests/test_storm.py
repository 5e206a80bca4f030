"""The storm benchmark, in short scenes with this gateway alone; the whole of it is ``make storm``."""

from __future__ import annotations

import asyncio
import io
import subprocess
import sys
from functools import cache

import pytest
from PIL import Image

from benchmarks.storm.__main__ import play
from benchmarks.storm.lanes import LANES
from benchmarks.storm.pictures import EDGE, Size, picture, size_of
from benchmarks.storm.scenes import SCENES, Scene
from benchmarks.storm.score import Delivery, Score
from benchmarks.storm.traffic import traffic
from benchmarks.storm.virtual_time import Clock
from benchmarks.storm.world import World

SHARE = 0.2
"""Scenes last three minutes instead of fifteen."""

GATEWAY = "image_gateway"
CHEAPEST = LANES[0].prices


@cache
def gateway_in(scene: str) -> Score:
    return play(GATEWAY, scene, SHARE)


def scene_called(name: str) -> Scene:
    return next(scene for scene in SCENES if scene.name == name).striking(LANES[0].name)


@pytest.mark.parametrize("scene", ["calm", "503-at-4k", "daily-quota", "downgrade", "refusals"])
def test_every_image_arrives_at_the_size_asked(scene: str) -> None:
    score = gateway_in(scene)
    assert (score.as_asked, score.wrong, score.errors) == (score.requests, 0, {})


def test_a_lane_whose_day_is_over_is_left_alone() -> None:
    assert 1 <= gateway_in("daily-quota").into_the_fault <= 5


def test_a_lane_that_hangs_gets_few_calls() -> None:
    score = gateway_in("hang")
    assert 1 <= score.into_the_fault <= 25
    assert score.wrong == 0


def test_a_scene_repeats_itself_exactly() -> None:
    assert play(GATEWAY, "hang", SHARE) == gateway_in("hang")


def test_even_the_chance_of_the_operating_system_repeats_itself() -> None:
    code = (
        "from benchmarks.storm.virtual_time import seed; seed(1); import random; print(random.SystemRandom().random())"
    )
    drawn = {subprocess.run([sys.executable, "-c", code], check=True, capture_output=True).stdout for _ in range(2)}
    assert len(drawn) == 1


@pytest.mark.parametrize("size", EDGE)
def test_the_pictures_have_every_pixel_they_claim(size: Size) -> None:
    with Image.open(io.BytesIO(picture(size))) as image:
        image.load()
        assert image.size == (EDGE[size], EDGE[size])
    assert size_of(picture(size)) == size


def test_an_image_cut_short_is_none_of_the_pictures() -> None:
    assert size_of(picture("1K")[:-1]) is None


@pytest.mark.parametrize(
    ("delivery", "wrong", "delivered"),
    [
        (Delivery(1, "4K", 30, size="4K"), False, True),
        (Delivery(1, "4K", 30, size="1K"), True, False),
        (Delivery(1, "4K", 30, size="1K", told=True), False, True),
        (Delivery(1, "1K", 30, size=None), True, False),
        (Delivery(1, "1K", 30, size=None, told=True), True, False),
        (Delivery(1, "1K", 30, error="TimeoutError"), False, False),
    ],
    ids=["as asked", "smaller", "smaller and told", "empty", "empty and told", "error"],
)
def test_a_success_without_the_image_asked_for_is_wrong(delivery: Delivery, wrong: bool, delivered: bool) -> None:
    assert (delivery.wrong, delivery.delivered) == (wrong, delivered)


def test_the_best_price_is_that_of_the_cheapest_lane_without_a_fault() -> None:
    world, requests = World(scene_called("503-at-4k")), traffic(15, seed=1)
    best = dict(zip(requests, world.price_of_the_best(requests), strict=True))
    struck = {request for request in requests if request.size == "4K" and 60 <= request.at < 660}
    assert {best[request] for request in struck} == {LANES[1].prices["4K"]}
    assert all(best[request] == CHEAPEST[request.size] for request in requests if request not in struck)


def test_the_best_price_uses_a_quota_up_before_it_goes_elsewhere() -> None:
    world, requests = World(scene_called("rate-limit")), traffic(15, seed=1)
    prices = list(world.price_of_the_best(requests))
    third_minute = [number for number, request in enumerate(requests) if 120 <= request.at < 180]
    cheap = [prices[number] == CHEAPEST[requests[number].size] for number in third_minute]
    assert cheap == [True] * 20 + [False] * (len(third_minute) - 20)


def test_an_hour_passes_at_once() -> None:
    clock = Clock()

    async def sleep() -> None:
        await asyncio.sleep(3600)

    clock.run(sleep)
    assert clock.now == pytest.approx(4600)


def test_the_clock_stands_while_a_thread_works() -> None:
    clock = Clock()

    async def work() -> float:
        timer = asyncio.create_task(asyncio.sleep(3600))
        await asyncio.to_thread(sum, range(10**6))
        timer.cancel()
        return clock.now

    assert clock.run(work) == 1000.0


def test_a_thread_that_waits_for_the_loop_does_not_hold_the_clock() -> None:
    clock = Clock()

    async def work() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.to_thread(loop.await_from_thread, lambda: asyncio.sleep(3600))

    clock.run(work)
    assert clock.now == pytest.approx(4600)
