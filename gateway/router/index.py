"""What of a decision depends on the lanes and on what is asked, but not on the moment: worked out once and kept."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, TypeVar

from gateway.health.health import FRESH, LaneState
from gateway.router.constraints import Checks, Objection, Question, checks, likeness, objection, served, sets_apart
from gateway.router.lanes import Lane
from gateway.router.plan import Exclusion
from gateway.router.ranking import Runner, steps
from providers.sizes import Size

_Key = TypeVar("_Key")

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
    """The answers that have been worked out for *lanes*, which it keeps alive: they are recognised by their identity.

    *likeness* is a number for each of them, the same for lanes that most questions cannot tell apart.
    """

    lanes: tuple[Runner, ...]
    likeness: tuple[int, ...]
    fields: OrderedDict[Question, Field]
    recent: dict[tuple[str, tuple[Size, ...]], Runner]

    @classmethod
    def of(cls, lanes: Sequence[Lane]) -> Index:
        """An index of *lanes* without answers."""
        kinds: dict[object, int] = {}
        alike = tuple(kinds.setdefault(likeness(lane), len(kinds)) for lane in lanes)
        return cls(tuple(_fresh(lane) for lane in lanes), alike, OrderedDict(), {})

    def field(self, asked: Question) -> Field:
        """Which lanes may serve what is *asked*, however they are doing."""
        found = self.fields.get(asked)
        if found is None:
            found = self.fields[asked] = self._field(asked)
            _bound(self.fields, QUESTIONS_KEPT)
        return found

    def now(self, fresh: Runner, state: LaneState, second: int, in_flight: int) -> Runner:
        """*fresh* with what is known of the lane.

        That ages by whole seconds, so that under load, when it matters, most of it has been worked out before.
        """
        key = fresh.name, fresh.sizes
        found = self.recent.get(key)
        if found is None or found.state is not state or found.second != second or found.in_flight != in_flight:
            found = self.recent[key] = fresh.now(state, second, in_flight)
        return found

    def _field(self, asked: Question) -> Field:
        excluded: list[Exclusion] = []
        tiers: dict[tuple[int, int], list[Runner]] = {}
        answers: dict[int, _Answer] = {}
        raised = checks(asked)
        kinds = range(len(self.lanes)) if sets_apart(asked) else self.likeness
        for fresh, kind in zip(self.lanes, kinds, strict=True):
            found = answers.get(kind)
            if found is None:
                found = answers[kind] = _answer(fresh.lane, asked, raised)
            against, sizes, place = found
            if against is None:
                tiers.setdefault(place, []).append(Runner(fresh.name, fresh.lane, sizes, fresh.steps))
            else:
                excluded.append(Exclusion(lane=fresh.name, reason=against[0], detail=against[1]))
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

_Answer = tuple[Objection | None, tuple[Size, ...], tuple[int, int]]
"""What speaks against a lane; or else the sizes it may be asked for, and its place."""


def _fresh(lane: Lane) -> Runner:
    sizes = tuple(size for size in lane.sizes if size in lane.prices)
    return Runner(lane.name, lane, sizes, steps(lane, sizes, FRESH, 0.0, 0))


def _answer(lane: Lane, asked: Question, raised: Checks) -> _Answer:
    against = objection(lane, asked, raised)
    return (None, served(lane, asked), _place(lane, asked)) if against is None else (against, (), (0, 0))


def _place(lane: Lane, asked: Question) -> tuple[int, int]:
    """Where the caller's own order puts a lane: by model, then by provider."""
    if asked.named is None and not asked.order:
        return 0, 0
    models = asked.named or ()
    model = next((place for place, name in enumerate(models) if lane.answers_to(name)), len(models))
    provider = asked.order.index(lane.provider) if lane.provider in asked.order else len(asked.order)
    return model, provider


def _bound(kept: OrderedDict[_Key, Any], limit: int) -> None:
    while len(kept) > limit:
        kept.popitem(last=False)
