"""Learning when premium pays, over a whole simulated run: see benchmarks/routing.py for the world and the fair means."""

from __future__ import annotations

from benchmarks.routing import run


def test_a_task_for_which_premium_pays_costs_hardly_more_than_with_the_best_lane_in_hindsight() -> None:
    (figure,) = run(12_000, 2, ("poster",))
    assert figure.lane == "relay/pro"
    assert figure.ratio <= 1.05
