"""Which lanes take batch jobs, at what price, and which of them a request goes to. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import date

from gateway.batch.intake import shown
from gateway.batch.jobs import Line
from gateway.chain import conclusion
from gateway.chain.attempts import Order, Step, upstream_request
from gateway.configuration.config import Config
from gateway.health.monitor import Entry
from gateway.money import money
from gateway.request import ImageRequest
from gateway.router import router
from gateway.router.lanes import Lane
from gateway.router.plan import Exclusion, Plan
from providers.batches import BatchLine, BatchProvider
from providers.errors import BudgetExceeded, GatewayError, NoLaneAvailable


@dataclass(frozen=True, slots=True)
class Offers:
    """The lanes of *config* that take jobs, *lanes*, as they are there: by batch prices. The others are *excluded*."""

    config: Config
    lanes: Mapping[str, Lane]
    excluded: tuple[Exclusion, ...]

    @classmethod
    def of(cls, config: Config, able: Collection[str]) -> Offers:
        """What the lanes of *config* offer, of which the providers *able* can be given jobs."""
        lanes, excluded = {}, []
        for lane in config.lanes:
            why = "" if lane.batch_prices else "has no batch_price"
            if lane.provider not in able:
                why = "its provider takes no batch jobs"
            if why:
                excluded.append(Exclusion(lane=lane.name, reason="capability", detail=why))
            else:
                lanes[lane.name] = money.in_batches(lane)
        return cls(config, lanes, tuple(excluded))

    def step(self, key: str, request: ImageRequest, weights: tuple[int, ...], today: date) -> Step:
        """The lane and size for the request *key*, whose reference images have *weights* bytes.

        A line is not downgraded, and breakers do not count: they tell how calls fare that are answered at once.

        Raises:
            NoLaneAvailable: no lane takes it as a line of a batch.
            BudgetExceeded: ``max_cost`` fits no lane.
        """
        situation = router.Situation(
            now=0.0, today=today, egress_country=self.config.egress_country, models=self.config.models,
            sort=self.config.sort, references=weights,
        )  # fmt: skip
        asked = request.model_copy(update={"fallback": ("switch",)})
        planned = router.plan(asked, tuple(self.lanes.values()), situation)
        roomy = [each for each in planned.steps if request.n <= self.lanes[each.name].images_per_call]
        if not roomy:
            raise self._nowhere(key, request, planned)
        return Step(self.lanes[roomy[0].name], roomy[0].size)

    def _nowhere(self, key: str, request: ImageRequest, planned: Plan) -> GatewayError:
        several = tuple(
            Exclusion(
                lane=each.lane, reason="capability",
                detail=f"draws {self.lanes[each.lane].images_per_call} image(s) for a line, not {request.n}; "
                "give it as several lines",
            )
            for each in planned.candidates
        )  # fmt: skip
        error = conclusion.no_lane_error(Plan((), (*planned.excluded, *several, *self.excluded)))
        kind = type(error) if isinstance(error, BudgetExceeded | NoLaneAvailable) else NoLaneAvailable
        reasons = str(error).partition(": ")[2]
        return kind(f"{shown(key)} can be served by no lane as a line of a batch: {reasons}", plan=error.plan)


def takes_batches(adapter: object) -> bool:
    """Whether *adapter* can be given jobs."""
    return isinstance(adapter, BatchProvider) and bool(getattr(adapter, "takes_batches", True))


def travelling(line: Line, order: Order, timeout: float) -> BatchLine:
    """*line* as the upstream gets it; *timeout* is seconds for each exchange with it."""
    entry = Entry(lane=order.steps[0].lane, size=line.size, images=line.images, lease=timeout)
    return BatchLine(str(line.number), replace(upstream_request(order, entry), stream=False))
