"""``python -m benchmarks.routing``: what an accepted image costs with ``quality="auto"``, and with the best fixed lane.

A simulated world without sockets: prices, failure rates and what people accept drift, each task in its own way. Requests go
through the real ``router.plan``, ``health.next_state`` and ``acceptance.Verdicts``; a share of the results is judged, some
requests later. For each task the spend per accepted image, failed attempts that are billed and cleaning up included, is
compared with that of the lane that turns out best when the same requests all go to one lane.

Fair means: for each request and lane all chance is drawn beforehand, so every policy meets the same luck (common random
numbers). A fixed lane that fails gives way to the other lanes, the cheapest first, as a fixed configuration would; it
pays for its failures, and for what the others deliver. It knows nothing and excludes nothing; four attempts are the limit
for all. The best is picked per task in hindsight, which no policy could do beforehand.
"""

from __future__ import annotations

import argparse
import json
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from random import Random
from typing import Final, NamedTuple

from gateway import ImageRequest
from gateway.health.health import Event, LaneState, next_state
from gateway.router import router
from gateway.router.acceptance import Verdicts
from gateway.router.lanes import Lane
from gateway.router.router import Kind, Situation

GATE: Final = 1.05
"""Our spend per accepted image may be so many times that of the best fixed lane."""
MAX_ATTEMPTS: Final = 4
EPOCHS: Final = 20
"""Prices change so many times."""
PACE: Final = 1.0
"""Seconds between requests."""
JUDGED: Final = 0.5
"""The share of results that somebody judges."""
VERDICT_DELAY: Final = 25
"""Requests after which a verdict arrives."""
BILLED: Final = 0.6
"""The share of failures that is billed."""
LIST: Final[Mapping[str, tuple[str, str, float]]] = {
    "vendor/flash": ("standard", "0.067", 8.0),
    "relay/flash": ("standard", "0.045", 12.0),
    "other/lite": ("standard", "0.034", 5.0),
    "vendor/pro": ("premium", "0.134", 10.0),
    "relay/pro": ("premium", "0.090", 14.0),
}
"""The lanes: class, first price in USD, seconds."""


class Taste(NamedTuple):
    """What a task is like: the share accepted by class at the beginning and at the end, and USD to clean up a reject."""

    standard: tuple[float, float]
    premium: tuple[float, float]
    cleanup: float


TASKS: Final[Mapping[str, Taste]] = {
    "poster": Taste((0.30, 0.30), (0.90, 0.90), 0.40),  # lettering: premium pays from the first day on
    "icon": Taste((0.92, 0.92), (0.95, 0.95), 0.05),  # standard is as good
    "portrait": Taste((0.85, 0.35), (0.92, 0.92), 0.25),  # standard gets worse: premium begins to pay
    "scene": Taste((0.35, 0.88), (0.90, 0.90), 0.25),  # standard gets better: premium no longer pays
}


class Luck(NamedTuple):
    """What befalls a request on one lane, if it goes there."""

    fails: bool
    billed: bool
    accepted: bool
    cleanup: float
    seconds: float


@dataclass(slots=True)
class Account:
    """USD spent, cleaning up included, and images accepted."""

    usd: float = 0.0
    accepted: int = 0

    @property
    def cost(self) -> float:
        """USD per accepted image."""
        return self.usd / self.accepted if self.accepted else math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """*requests* requests; *quirks* says of each lane how much above or below its class a task's acceptance lies, *waves*
    when in the run its failures come."""

    requests: int
    quirks: Mapping[tuple[str, str], float]
    waves: Mapping[str, float]
    epochs: Sequence[tuple[Lane, ...]]

    @classmethod
    def of(cls, requests: int, draw: Random) -> World:
        """A world as *draw* will have it."""
        factors = dict.fromkeys(LIST, 1.0)
        epochs = []
        for _ in range(EPOCHS):
            epochs.append(tuple(_lane(name, factors[name]) for name in LIST))
            factors = {name: min(1.4, max(0.7, each * draw.uniform(0.92, 1.08))) for name, each in factors.items()}
        quirks = {(name, task): draw.uniform(-0.04, 0.04) for name in LIST for task in TASKS}
        return cls(requests=requests, quirks=quirks, waves={name: draw.random() for name in LIST}, epochs=epochs)

    def lanes(self, number: int) -> tuple[Lane, ...]:
        """The lanes at the prices of the time of request *number*."""
        return self.epochs[number * EPOCHS // self.requests]

    def luck(self, lane: Lane, task: str, number: int, draw: Random) -> Luck:
        """What befalls request *number* on *lane*."""
        when, taste = number / self.requests, TASKS[task]
        begin, end = taste.premium if lane.lane_class == "premium" else taste.standard
        accepted = begin + (end - begin) * _drift(when) + self.quirks[lane.name, task]
        # A few percent of failures always, and twice in the run a bad stretch with up to a half.
        failing = 0.03 + 0.47 * max(0.0, math.sin(2 * math.pi * (2 * when + self.waves[lane.name]))) ** 8
        return Luck(
            fails=draw.random() < failing,
            billed=draw.random() < BILLED,
            accepted=draw.random() < accepted,
            cleanup=draw.expovariate(1 / taste.cleanup),
            seconds=lane.seconds["1K"] * draw.uniform(0.7, 1.6),
        )


def _drift(when: float) -> float:
    """From 0 to 1 in the middle third of the run."""
    return min(1.0, max(0.0, 3 * when - 1))


def _lane(name: str, factor: float) -> Lane:
    provider, _, model = name.partition("/")
    lane_class, price, seconds = LIST[name]
    return Lane(
        provider=provider,
        model=model,
        upstream_model=model,
        lane_class=lane_class,  # type: ignore[arg-type]
        prices={"1K": round(Decimal(price) * Decimal(factor), 4)},
        seconds={"1K": seconds},
    )


def fixed(lane: Lane, lanes: Sequence[Lane], luck: Mapping[str, Luck], account: Account) -> None:
    """Book a request that goes to *lane*, and to the others if that fails, the cheapest first."""
    others = sorted((each for each in lanes if each is not lane), key=lambda each: each.prices["1K"])
    for each in [lane, *others][:MAX_ATTEMPTS]:
        met = luck[each.name]
        if met.fails:
            account.usd += float(each.prices["1K"]) * met.billed
            continue
        account.usd += float(each.prices["1K"]) + (0.0 if met.accepted else met.cleanup)
        account.accepted += met.accepted
        return


@dataclass(slots=True)
class Ours:
    """The gateway's policy: the plan, and what it learns from attempts and verdicts. *draw* is its own chance."""

    draw: Random
    verdicts: Verdicts = field(default_factory=Verdicts)
    states: dict[str, LaneState] = field(default_factory=dict)
    incumbents: dict[Kind, str] = field(default_factory=dict)
    pending: deque[tuple[int, str, bool, float]] = field(default_factory=deque)
    premium: int = 0

    def serve(self, request: ImageRequest, number: int, lanes: tuple[Lane, ...], luck: Mapping[str, Luck]) -> Account:
        """What request *number* costs, and whether its image is accepted."""
        now = 1_000.0 + number * PACE
        self._hear(number)
        situation = Situation(
            now=now, today=date(2026, 10, 1), states=self.states, incumbents=self.incumbents,
            acceptance=self.verdicts.of(request.task), seed=self.draw.getrandbits(64),
        )  # fmt: skip
        planned = router.plan(request, lanes, situation)
        router.note(self.incumbents, request, planned)
        by_name = {lane.name: lane for lane in lanes}
        account, lost = Account(), dict[str, Decimal]()
        for step in planned.candidates[:MAX_ATTEMPTS]:
            lane, met = by_name[step.lane], luck[step.lane]
            price = lane.prices["1K"]
            self._learn(lane, met, now)
            if not met.fails:
                self._deliver(lane, request, number, price, met, lost)
                account.usd += float(price) + (0.0 if met.accepted else met.cleanup)
                account.accepted += met.accepted
                break
            if met.billed:
                account.usd += float(price)
                lost[lane.name] = price
        return account

    def _learn(self, lane: Lane, met: Luck, now: float) -> None:
        event = Event(
            outcome="bad_response" if met.fails else "ok",
            billed="yes" if met.billed or not met.fails else "no",
            size="1K",
            duration=met.seconds,
        )
        self.states[lane.name] = next_state(self.states.get(lane.name, LaneState()), event, now)

    def _deliver(
        self, lane: Lane, request: ImageRequest, number: int, price: Decimal, met: Luck, lost: Mapping[str, Decimal]
    ) -> None:
        self.premium += lane.lane_class == "premium"
        self.verdicts.remember(str(number), lane.name, request.task, price, 1, lost)
        if self.draw.random() < JUDGED:
            self.pending.append((number, str(number), met.accepted, 0.0 if met.accepted else met.cleanup))

    def _hear(self, number: int) -> None:
        while self.pending and self.pending[0][0] + VERDICT_DELAY <= number:
            _, request_id, accepted, cleanup = self.pending.popleft()
            self.verdicts.judge(request_id, accepted, cleanup)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One task of a run: USD per accepted image with us (*ours*) and with the *best* fixed lane."""

    seed: int
    task: str
    ours: float
    best: float
    lane: str

    @property
    def ratio(self) -> float:
        """How many times the best fixed lane's cost ours is."""
        return self.ours / self.best


def run(requests: int, seed: int, tasks: Sequence[str] = tuple(TASKS)) -> list[Figure]:
    """The figures of one world, by task."""
    chance = Random(seed)
    world, policy = World.of(requests, chance), Ours(Random(seed + 1))
    asked = {task: ImageRequest(prompt="a fox", quality="auto", task=task) for task in tasks}
    ours = {task: Account() for task in tasks}
    others = {(name, task): Account() for name in LIST for task in tasks}
    for number in range(requests):
        task, lanes = chance.choice(tasks), world.lanes(number)
        luck = {lane.name: world.luck(lane, task, number, chance) for lane in lanes}
        for lane in lanes:
            fixed(lane, lanes, luck, others[lane.name, task])
        spent = policy.serve(asked[task], number, lanes, luck)
        ours[task].usd += spent.usd
        ours[task].accepted += spent.accepted
    best = {task: min(LIST, key=lambda name, task=task: others[name, task].cost) for task in tasks}  # type: ignore[misc]
    return [
        Figure(seed=seed, task=task, ours=ours[task].cost, best=others[best[task], task].cost, lane=best[task])
        for task in tasks
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.routing", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="requests of a run")
    parser.add_argument("--seed", type=int, action="append", help="the world; may be given several times (1, 2, 3)")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    asked = parser.parse_args()
    figures = [figure for seed in asked.seed or (1, 2, 3) for figure in run(asked.requests, seed)]
    if asked.json:
        print(json.dumps([{**_fields(figure), "ratio": figure.ratio} for figure in figures], indent=2))
        return
    print("seed  task       ours, USD  best fixed, USD  ratio  gate  held  best fixed lane")
    for each in figures:
        held = "yes" if each.ratio <= GATE else "NO"
        print(
            f"{each.seed:>4}  {each.task:<9} {each.ours:>10.4f} {each.best:>16.4f} {each.ratio:>6.3f}  {GATE:<4}  {held:<4}"
            f"  {each.lane}"
        )


def _fields(figure: Figure) -> dict[str, object]:
    return {name: getattr(figure, name) for name in ("seed", "task", "ours", "best", "lane")}


if __name__ == "__main__":
    main()
