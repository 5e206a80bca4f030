"""Lanes and situations for tests of the router."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

from gateway import ImageRequest, Plan
from gateway.health.cooldowns import Cooldown
from gateway.health.health import LaneState
from gateway.router import router
from gateway.router.lanes import Lane
from gateway.router.router import Situation
from providers.outcome import OutcomeName
from providers.sizes import Size
from tests.gateway.virtual_time import TODAY

NOW = 1000.0
CALM = Situation(now=NOW, today=TODAY)

FLASH = Lane(
    provider="acme",
    model="flash",
    upstream_model="flash-001",
    aliases=("quick",),
    sizes=("1K", "2K", "4K"),
    prices={"1K": Decimal("0.05"), "2K": Decimal("0.08"), "4K": Decimal("0.12")},
    seconds={"1K": 8.0, "2K": 14.0, "4K": 25.0},
    references=3,
    capabilities=frozenset({"seed", "temperature"}),
)


def at(provider: str, price: str | None = None, base: Lane = FLASH, **facts: Any) -> Lane:
    """A lane like *base* at *provider*, every size at *price* if it is given."""
    if price is not None:
        facts["prices"] = dict.fromkeys(facts.get("sizes", base.sizes), Decimal(price))
    return replace(base, provider=provider, **facts)


def planned(*lanes: Lane, situation: Situation = CALM, **fields: Any) -> Plan:
    return router.plan(ImageRequest(**{"prompt": "a fox", **fields}), lanes, situation)


def steps(plan: Plan) -> list[tuple[str, Size]]:
    """The candidates as (provider, size)."""
    return [(step.lane.partition("/")[0], step.size) for step in plan.candidates]


def order(plan: Plan) -> list[str]:
    """The providers of the candidates, each once, in order."""
    return list(dict.fromkeys(provider for provider, _ in steps(plan)))


def why(plan: Plan) -> dict[str, tuple[str, str]]:
    """Reason and detail of each exclusion, by provider."""
    return {each.lane.partition("/")[0]: (each.reason, each.detail) for each in plan.excluded}


CHEAP, DEAR = at("cheap", "0.05"), at("dear", "0.09")
PRO = replace(FLASH, model="pro", upstream_model="pro-001", aliases=("best",), lane_class="premium")


def resting(cause: OutcomeName, until: float = NOW + 12, latched: bool = False) -> LaneState:
    """A lane that rests for *cause*."""
    return LaneState(cooldowns={cause: Cooldown(until=until, latched=latched)})
