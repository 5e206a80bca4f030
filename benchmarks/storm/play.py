"""One contender in one scene, in this process, which it takes over: the last line printed is the score as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.storm.pictures import size_of
from benchmarks.storm.scenes import SCENES, Scene
from benchmarks.storm.score import Delivery, Score, score
from benchmarks.storm.traffic import PATIENCE, Request, traffic
from benchmarks.storm.virtual_time import Clock, seed, take_over
from benchmarks.storm.world import World

if TYPE_CHECKING:
    from benchmarks.storm.contenders import Contender

SEED = 2026


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm.play", description=__doc__)
    parser.add_argument("contender", help="a module of benchmarks.storm.contenders")
    parser.add_argument("scene", choices=[scene.name for scene in SCENES])
    parser.add_argument("--share", type=float, default=1.0, help="play the scene in this share of its time")
    parser.add_argument("--trace", type=Path, help="write every call and every delivery to this file, one JSON a line")
    asked = parser.parse_args()
    scene = next(scene for scene in SCENES if scene.name == asked.scene).shortened(asked.share)
    clock = Clock()
    take_over(clock)
    seed(SEED)
    module = import_module(f"benchmarks.storm.contenders.{asked.contender}")
    print(json.dumps(clock.run(lambda: _play(asked.contender, module.Contestant, scene, asked.trace)).as_dict()))


async def _play(name: str, contestant: type[Contender], scene: Scene, trace: Path | None) -> Score:
    world = World(scene.striking(contestant.lanes[0]), SEED)
    requests = traffic(scene.minutes, SEED)
    async with world.open():
        contender = contestant(world.urls)
        deliveries = list(await asyncio.gather(*(_deliver(contender, request, world) for request in requests)))
        await asyncio.sleep(max(PATIENCE.values()))  # calls that nobody waits for any more come to their end
        await contender.aclose()
    if trace:
        _write_trace(trace, world, deliveries)
    return score(name, world, deliveries, list(world.price_of_the_best(requests)))


async def _deliver(contender: Contender, request: Request, world: World) -> Delivery:
    """Ask when it is time, and wait as long as a caller would."""
    now = asyncio.get_running_loop().time
    await asyncio.sleep(world.started + request.at - now())
    started = now()
    try:
        async with asyncio.timeout(PATIENCE[request.size] + 1):
            data, told = await contender.draw(request.prompt, request.size)
    except Exception as error:
        return Delivery(request.number, request.size, now() - started, error=type(error).__name__)
    return Delivery(request.number, request.size, now() - started, size_of(data), told)


def _write_trace(path: Path, world: World, deliveries: list[Delivery]) -> None:
    with path.open("w") as file:
        for call in world.calls:
            file.write(json.dumps({name: getattr(call, name) for name in call.__slots__}) + "\n")
        for delivery in deliveries:
            file.write(json.dumps({name: getattr(delivery, name) for name in delivery.__slots__}) + "\n")


if __name__ == "__main__":
    main()
