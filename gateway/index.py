"""What of a decision depends on the lanes and on what is asked, but not on the moment: worked out once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from gateway.constraints import Question, objection, served
from gateway.health import LaneState
from gateway.lanes import Lane
from gateway.plan import Exclusion
from gateway.ranking import Runner, Step, steps
from providers.sizes import Size

_Key = TypeVar("_Key")

FRESH: Final = LaneState()
"""The state of a lane that nothing is known of."""
COLLECTIONS_KEPT: Final = 8
"""Collections of lanes that are remembered: the configuration in force, some before it, and what tests make up."""
QUESTIONS_KEPT: Final = 256
"""Questions whose answer is remembered, per collection of lanes."""


class Field(NamedTuple):
    """The lanes that may serve what is asked, in tiers that the caller likes equally, best first; and those that may not.

    The lanes are shown as if nothing were known of their health.
    """

    tiers: tuple[tuple[Runner, ...], ...]
    excluded: tuple[Exclusion, ...]


@dataclass(slots=True, eq=False)
class Index:
    """The answers that have been worked out for *lanes*, which it keeps alive: they are recognised by their identity."""

    lanes: tuple[Lane, ...]
    fresh: dict[str, dict[Size, Step]]
    fields: OrderedDict[Question, Field]
    recent: dict[tuple[str, tuple[Size, ...]], tuple[LaneState, int, int, Mapping[Size, Step]]]

    @classmethod
    def of(cls, lanes: Sequence[Lane]) -> Index:
        """An index of *lanes* without answers."""
        return cls(tuple(lanes), {lane.name: _fresh(lane) for lane in lanes}, OrderedDict(), {})

    def field(self, asked: Question) -> Field:
        """Which lanes may serve what is *asked*, however they are doing."""
        found = self.fields.get(asked)
        if found is None:
            found = self.fields[asked] = self._field(asked)
            _bound(self.fields, QUESTIONS_KEPT)
        return found

    def steps(
        self, lane: Lane, sizes: tuple[Size, ...], state: LaneState, now: float, in_flight: int
    ) -> Mapping[Size, Step]:
        """What is expected of *lane* at each of *sizes*, see :func:`gateway.ranking.steps`.

        What is known ages by whole seconds, so that under load, when it matters, most of it has been worked out before.
        """
        second = int(now)
        known = self.recent.get((lane.name, sizes))
        if known is not None and known[0] is state and known[1:3] == (second, in_flight):
            return known[3]
        made = steps(lane, sizes, state, second, in_flight)
        self.recent[lane.name, sizes] = state, second, in_flight, made
        return made

    def _field(self, asked: Question) -> Field:
        excluded: list[Exclusion] = []
        tiers: dict[tuple[int, int], list[Runner]] = {}
        for lane in self.lanes:
            against = objection(lane, asked)
            if against is not None:
                excluded.append(against)
                continue
            place = _place(lane, asked)
            fresh = self.fresh[lane.name]
            tiers.setdefault(place, []).append(
                Runner(lane.name, lane, {size: fresh[size] for size in served(lane, asked)})
            )
        return Field(tuple(tuple(tiers[place]) for place in sorted(tiers)), tuple(excluded))


def index(lanes: Sequence[Lane]) -> Index:
    """The index of *lanes*."""
    key = tuple(map(id, lanes))
    found = _known.get(key)
    if found is None:
        found = _known[key] = Index.of(lanes)
        _bound(_known, COLLECTIONS_KEPT)
    return found


_known: Final[OrderedDict[tuple[int, ...], Index]] = OrderedDict()


def _fresh(lane: Lane) -> dict[Size, Step]:
    return steps(lane, [size for size in lane.sizes if size in lane.prices], FRESH, 0.0, 0)


def _place(lane: Lane, asked: Question) -> tuple[int, int]:
    """Where the caller's own order puts a lane: by model, then by provider."""
    models = asked.named or ()
    model = next((place for place, name in enumerate(models) if lane.answers_to(name)), len(models))
    provider = asked.order.index(lane.provider) if lane.provider in asked.order else len(asked.order)
    return model, provider


def _bound(kept: OrderedDict[_Key, Any], limit: int) -> None:
    while len(kept) > limit:
        kept.popitem(last=False)
