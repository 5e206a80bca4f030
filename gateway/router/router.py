"""The router: which lanes may serve a request, and in which order. Pure: no I/O, no clock, no await.

Constraints first, each with a reason; then the order; then the steps, smaller sizes included if the request allows them.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, MutableMapping, Sequence
from datetime import date
from typing import Final

from gateway.health.health import FRESH, LAST_LANE_PACE, forgiven, is_probing, is_resting
from gateway.request import ImageRequest, Sort
from gateway.router import constraints, premium, ranking
from gateway.router.constraints import Question, floor_of, ladder
from gateway.router.index import Index, index
from gateway.router.lanes import Lane
from gateway.router.plan import Exclusion, Learning, Plan
from gateway.router.ranking import Runner, Step
from gateway.router.situation import Kind, Situation

__all__ = ["Kind", "Situation", "floor_of", "ladder", "lane_warnings", "note", "plan"]

RETIREMENT_NOTICE: Final = 60
"""Days before a lane's retirement from which results carry a warning."""
KINDS_KEPT: Final = 1_000
"""Kinds of requests of which it is remembered where the last one went."""

Tiers = Sequence[Sequence[Runner]]


def plan(request: ImageRequest, lanes: Sequence[Lane], situation: Situation) -> Plan:
    """The steps to try, in order, and the lanes that are left out."""
    asked = constraints.question(request, situation)
    known = index(lanes)
    may = known.field(asked)
    tiers, unfit = _fit(known, may.tiers, asked, situation)
    last = None if tiers else _last_resort(may.tiers, situation)
    if last is not None:
        tiers, unfit = _with(last, unfit, situation)
    sort = request.providers.sort or situation.sort
    incumbent = situation.incumbents.get(Kind.of(request))
    learning = None
    last_lane = request.history[-1].lane if request.history else ""
    going_on = bool(last_lane) and any(runner.name == last_lane for tier in tiers for runner in tier)
    if request.quality == "auto" and request.model is None and tiers and not going_on:
        tiers, learning = _learnt(tiers, sort, incumbent, situation)
    steps = _steps(tiers, asked, sort, incumbent, last_lane, situation.seed)
    if steps and "switch" not in asked.fallback:
        steps, others = _staying(steps, tiers)
        unfit += others
    return Plan(
        steps,
        (*may.excluded, *unfit),
        (*_told(last if tiers else None), *(lane_warnings(steps[0].lane, request, situation.today) if steps else ())),
        learning,
        last_resort=last is not None and bool(tiers),
    )


def note(incumbents: MutableMapping[Kind, str], request: ImageRequest, planned: Plan) -> None:
    """Write into *incumbents* where *request* goes by its plan, unless that is to try a lane out.

    To be called for requests that are carried out, not for those that only ask for a plan.
    """
    if not planned.steps or (planned.acceptance is not None and planned.acceptance.trial is not None):
        return
    if request.history:  # it goes where its conversation goes
        return
    kind = Kind.of(request)
    incumbents.pop(kind, None)
    incumbents[kind] = planned.steps[0].name
    if len(incumbents) > KINDS_KEPT:
        del incumbents[next(iter(incumbents))]


def lane_warnings(lane: Lane, request: ImageRequest, today: date) -> Iterator[str]:
    """What a caller should know about getting an image from *lane*."""
    ignored = lane.unsupported(request.parameters())
    if ignored:
        yield f"{lane.name} does not support {', '.join(ignored)}: not sent"
    if lane.retired is not None and (lane.retired - today).days <= RETIREMENT_NOTICE:
        advice = f"; its replacement is {lane.replacement}" if lane.replacement else ""
        when = f"retires on {lane.retired}" if lane.retired > today else f"was retired by its vendor on {lane.retired}"
        yield f"{lane.name} {when}{advice}"


def _fit(
    known: Index, tiers: Tiers, asked: Question, situation: Situation
) -> tuple[list[list[Runner]], list[Exclusion]]:
    """The lanes that may be asked now, with what is known of them, and those that may not."""
    states, in_flight, quotas, second = situation.states, situation.in_flight, situation.quotas, int(situation.now)
    fit: list[list[Runner]] = []
    unfit: list[Exclusion] = []
    for tier in tiers:
        runners = []
        for fresh in tier:
            name = fresh.name
            if not (name in states or name in in_flight or name in quotas):
                runners.append(fresh)  # nothing is known of it: it stands there as it is
                continue
            runner = known.now(fresh, states.get(name, FRESH), second, in_flight.get(name, 0))
            if runner.at_ease and name not in quotas:
                runners.append(runner)
                continue
            found = _admitted(runner, asked, situation)
            if isinstance(found, Exclusion):
                unfit.append(found)
            else:
                runners.append(found)
        if runners:
            fit.append(runners)
    return fit, unfit


def _last_resort(tiers: Tiers, situation: Situation) -> Runner | None:
    """The lane to ask although its breaker is open: the only one that could serve is slowed down, and never shut out.

    A lane with a cooldown could not serve: its next call would surely end as the last one did.
    """
    states, now = situation.states, situation.now
    able = [each for tier in tiers for each in tier if not is_resting(states.get(each.name, FRESH), now)]
    if len(able) != 1:
        return None
    (only,) = able
    state, usage = states.get(only.name, FRESH), situation.quotas.get(only.name)
    full = usage is not None and constraints.used_up(only.lane, usage, 1, now) is not None
    sizes = constraints.rested(only.lane, state, only.sizes, now)
    return None if full or not sizes else only.at(sizes)


def _with(last: Runner, unfit: list[Exclusion], situation: Situation) -> tuple[list[list[Runner]], list[Exclusion]]:
    """The lanes and exclusions with the *last* resort among the lanes, or else the time at which it will be."""
    others = [each for each in unfit if each.lane != last.name]
    wait = situation.states[last.name].last_call + LAST_LANE_PACE - situation.now
    if wait <= 0:
        return [[last]], others
    detail = f"failures: as the only lane that could serve it is asked again in {wait:.0f} s"
    return [], [*others, Exclusion(lane=last.name, reason="circuit_open", detail=detail, retry_after=wait)]


def _told(last: Runner | None) -> tuple[str, ...]:
    if last is None:
        return ()
    return (
        f"{last.name} is the only lane that could serve, and fails: it is asked at most every {LAST_LANE_PACE:.0f} s",
    )


def _admitted(runner: Runner, asked: Question, situation: Situation) -> Runner | Exclusion:
    """*runner* at the sizes it may be asked for now, or why it may not be asked."""
    name, lane, state, now = runner.name, runner.lane, runner.state, situation.now
    against = constraints.indisposed(lane, state, now)
    if against is None and name in situation.quotas:
        images = min(asked.n, lane.images_per_call)
        against = constraints.used_up(lane, situation.quotas[name], images, now)
    if against is not None:
        return against
    rested = constraints.rested(lane, state, runner.sizes, now)
    if not rested:
        return constraints.resting(lane, state, runner.sizes, now)
    probing = is_probing(state, now)
    if probing:
        runner = runner.now(forgiven(state), runner.second, runner.in_flight)
    return runner if rested == runner.sizes and not probing else runner.at(rested)._replace(probing=probing)


def _learnt(
    tiers: Tiers, sort: Sort, incumbent: str | None, situation: Situation
) -> tuple[list[list[Runner]], Learning]:
    """The tiers in the order that the verdicts on the request's task suggest, and what these say."""
    estimates, choice = premium.conclude(tiers, situation.acceptance, incumbent, situation.seed)
    parted = premium.by_class(tiers, choice)
    if sort == "price":
        parted = premium.by_cost(parted, estimates)
    return parted, premium.learning(tuple(estimates.values()), choice)


def _steps(tiers: Tiers, asked: Question, sort: Sort, incumbent: str | None, last_lane: str, seed: int) -> list[Step]:
    """Lanes and sizes in the order in which the chain gives way. A conversation stays with its *last_lane* if it may."""
    switching = asked.fallback[:1] == ("switch",)
    groups = (ranking.switching_first if switching else ranking.downgrading_first)(tiers, asked.sizes)
    probing = {runner.name for tier in tiers for runner in tier if runner.probing}
    ordered = [step for group in groups for step in _probes_last(ranking.ranked(group, sort), probing)]
    if groups and len(groups[0]) > 1:
        stays = (step for step in groups[0] if step.name == last_lane and step.name not in probing)
        first = next(stays, None) or ranking.winner(groups[0], sort, incumbent, seed)
        ordered.remove(first)
        ordered.insert(0, first)
    if switching:
        return ordered
    every = {runner.name: runner for tier in tiers for runner in tier}
    return [every[begun.name].steps[size] for begun in ordered for size in every[begun.name].sizes]


def _probes_last(steps: Sequence[Step], probing: Container[str]) -> list[Step]:
    """The steps with those of lanes whose breaker is half open at the end.

    Such a lane is tried by a request that would go there first anyway, and has time to go elsewhere; but nobody is sent
    there who has already met a failure.
    """
    return sorted(steps, key=lambda step: step.name in probing) if probing else list(steps)


def _staying(steps: Sequence[Step], tiers: Tiers) -> tuple[list[Step], list[Exclusion]]:
    """The steps of the first lane alone, and the others left out."""
    chosen = steps[0].lane
    others = [runner.lane for tier in tiers for runner in tier if runner.lane is not chosen]
    return [step for step in steps if step.lane is chosen], [
        constraints.not_switched_to(lane, chosen) for lane in others
    ]
