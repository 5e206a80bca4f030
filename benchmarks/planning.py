"""``python -m benchmarks.planning``: microseconds that a plan takes, by the number of lanes.

*new lanes*: nothing is known of them. *measured*: each has a history of calls, and the last plan was made within the same
second. *a second later*: each plan is made for another second, so that every history is looked at again. *new question*:
besides, nothing like the request was asked before, so that every constraint is examined. *looked at*: a measured plan, and
the figures of all its candidates, which carrying out a request does without; with any other kind they take as long.

Each figure is the median of repeated runs. All steps are put in order, which are two for each lane. The making of the
request is not included.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import cycle
from statistics import median
from typing import Final

from rich.console import Console
from rich.table import Table

from gateway import ImageRequest
from gateway.health.health import Event, LaneState, next_state
from gateway.router import router
from gateway.router.index import index
from gateway.router.lanes import Lane
from gateway.router.router import Situation
from providers.sizes import Size

COUNTS: Final = (1, 10, 100, 1_000)
KINDS: Final = ("new lanes", "measured", "a second later", "new question", "looked at")
LIMITS: Final = {10: (100.0, 30.0), 1_000: (5_000.0, 1_000.0)}
"""Microseconds that a plan over so many lanes may take, and would like to take at most."""
NOW: Final = 1_000.0
SIZES: Final[tuple[Size, ...]] = ("1K", "2K", "4K")
REQUEST: Final = ImageRequest(prompt="a fox", size="4K", aspect_ratio="16:9")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.planning", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.5, help="how long each figure is measured")
    table = Table("lanes", *KINDS, "gate", "aim", title="µs that a plan takes")
    for count, taken in plans(parser.parse_args().seconds).items():
        limits = (f"{limit:,.0f}" for limit in LIMITS.get(count, ()))
        table.add_row(f"{count:,}", *(f"{each:,.1f}" for each in taken.values()), *limits)
    Console().print(table)


def plans(seconds: float) -> dict[int, dict[str, float]]:
    """Microseconds by number of lanes and kind of plan, each measured for so many *seconds*."""
    return {
        count: {kind: timed(job, seconds) for kind, job in zip(KINDS, jobs(count), strict=True)} for count in COUNTS
    }


def jobs(count: int) -> Sequence[Callable[[], object]]:
    """The plans over *count* lanes, by the order of their kinds."""
    known = lanes(count)
    fresh = Situation(now=NOW, today=date(2026, 10, 1))
    measured = replace(fresh, states={lane.name: history(lane) for lane in known})

    moments = cycle([replace(measured, now=NOW + second) for second in range(60)])

    def later() -> object:
        return router.plan(REQUEST, known, next(moments))

    def new_question() -> object:
        index(known).fields.clear()
        return later()

    return (
        lambda: router.plan(REQUEST, known, fresh),
        lambda: router.plan(REQUEST, known, measured),
        later,
        new_question,
        lambda: router.plan(REQUEST, known, measured).candidates,
    )


def lanes(count: int) -> tuple[Lane, ...]:
    """Lanes of as many providers, no two of them at the same price, of ten models that differ in what they take."""
    return tuple(
        Lane(
            provider=f"provider-{number}",
            model="painter",
            upstream_model="painter",
            sizes=SIZES,
            prices={size: Decimal(500 + number * 7 % count) * (place + 1) / 10_000 for place, size in enumerate(SIZES)},
            seconds={"1K": 8.0, "2K": 14.0, "4K": 25.0},
            aspect_ratios=("1:1", "16:9"),
            references=number % 10,
        )
        for number in range(count)
    )


def history(lane: Lane) -> LaneState:
    """The state of *lane* after two dozen calls, one in eight of which failed."""
    state = LaneState()
    for number in range(24):
        event = Event(
            outcome="overloaded" if number % 8 == 7 else "ok",
            billed="maybe" if number % 8 == 7 else "yes",
            size="2K" if number % 3 else "4K",  # no size fails so often that it rests
            duration=20.0 + number % 5,
        )
        state = next_state(state, event, NOW - 480 + 20 * number)
    return state


def timed(job: Callable[[], object], seconds: float) -> float:
    """The median duration of *job* in microseconds."""
    job()
    taken: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until or len(taken) < 5:
        start = time.perf_counter()
        job()
        taken.append(time.perf_counter() - start)
    return median(taken) * 1e6


if __name__ == "__main__":
    main()
