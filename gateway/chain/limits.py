"""What is left of an order's calls, time and money."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from gateway.chain.attempts import Call, Desk, Step, Tried
from gateway.health.health import typical_seconds
from gateway.money import money

Lack = Literal["calls", "time", "money"]


@dataclass(slots=True)
class Limits:
    """The limits of the order of *desk*, of which *tried* is the part that is used up."""

    desk: Desk
    tried: Sequence[Tried]
    begun: int = 0
    _uncounted: int = 0
    _committed: Decimal = Decimal(0)

    @property
    def spent(self) -> Decimal:
        """USD that the attempts so far did or may have cost."""
        return money.total(tried.attempt for tried in self.tried).usd

    def begin(self, step: Step, images: int) -> int:
        """Count a call for *images* images, at its list price until it ends; the number of calls begun."""
        self.begun += 1
        self._committed += step.price * images
        return self.begun

    def end(self, call: Call) -> None:
        """What *call* cost is now among what was tried."""
        self._committed -= money.price(call.entry.lane, call.entry.size) * call.entry.images

    def uncount(self) -> None:
        """A call that was begun could not be booked, and was never sent."""
        self._uncounted += 1

    def lack(self, step: Step) -> Lack | None:
        """What there is not enough left of for a call."""
        if self.calls < 1:
            return "calls"
        if self.time_to_spare(step) < 0:
            return "time"
        limit = self.desk.order.request.max_cost
        over = limit is not None and self.spent + self._committed + step.price > limit
        return "money" if over else None

    @property
    def calls(self) -> int:
        """Calls that may still be made: the limit counts one image; each further image has a call of its own."""
        order = self.desk.order
        return order.policy.max_attempts + order.request.n - 1 - (self.begun - self._uncounted)

    @property
    def time(self) -> float:
        """Seconds to the deadline."""
        return self.desk.order.deadline - self.desk.clock.monotonic()

    def typical(self, step: Step) -> float:
        """Seconds a call usually takes."""
        return typical_seconds(self.desk.monitor.state(step.lane), step.lane, step.size)

    def time_to_spare(self, step: Step) -> float:
        """Seconds that are left beyond what a call usually takes."""
        return self.time - self.typical(step)

    def lease(self, step: Step) -> float:
        """Seconds a call may last at most."""
        return min(self.time, step.lane.timeout or math.inf)

    def shares(self, step: Step, images: int) -> list[int]:
        """How many of *images* images each call of a step asks for, as far as calls and money go; at least one call."""
        limit, each = self.desk.order.request.max_cost, step.lane.images_per_call
        if limit is not None:
            images = min(images, math.floor((limit - self.spent - self._committed) / step.price))
        return [min(each, images - start) for start in range(0, images, each)][: self.calls]
