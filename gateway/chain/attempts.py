"""One attempt: a call to one lane, judged and written down however it ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import reduce
from typing import NamedTuple

import anyio
import anyio.lowlevel

from gateway.chain import verdicts
from gateway.chat.history import for_lane
from gateway.clock import Clock
from gateway.configuration.config import FallbackPolicy
from gateway.configuration.credentials import KEY_TROUBLE, Credentials
from gateway.events import AttemptEnded, AttemptStarted, Event
from gateway.health.cooldowns import Cause
from gateway.health.monitor import Entry, Monitor
from gateway.health.quotas import until_midnight
from gateway.money import entries as ledger_entries
from gateway.money import money
from gateway.money.ledger import Booking, Ledger
from gateway.request import ImageRequest
from gateway.result import Attempt
from gateway.router.lanes import Lane
from gateway.saving import Destination
from providers.dialects import as_edit
from providers.exchange import Exchange
from providers.images import ReferenceImage
from providers.outcome import Billed, Outcome, OutcomeName
from providers.request import UpstreamRequest
from providers.sanitise import sanitise, without_quotes
from providers.sizes import Size


class Step(NamedTuple):
    """A lane, and the size it is to be asked for."""

    lane: Lane
    size: Size

    @property
    def price(self) -> Decimal:
        """USD for one image, by the list."""
        return money.price(self.lane, self.size)

    @property
    def place(self) -> tuple[str, Size]:
        """The lane by name, and the size: what tells steps apart."""
        return self.lane.name, self.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """One request, ready to be carried out.

    *deadline* is on the monotonic clock, *destination* where images are saved. *last_resort* says that only one lane
    could serve, and its breaker is open: it may be asked all the same, now and then.
    """

    request: ImageRequest
    references: tuple[ReferenceImage, ...]
    steps: tuple[Step, ...]
    policy: FallbackPolicy
    deadline: float
    request_id: str
    destination: Destination | None = None
    last_resort: bool = False


@dataclass(slots=True, kw_only=True, eq=False)
class Tried:
    """One attempt with all that came of it; *outcome* changes once, when its images are saved.

    It was the *ordinal*-th to begin. *another_key*: its key was refused, and the provider has another to use.
    """

    ordinal: int
    step: Step
    attempt: Attempt
    outcome: Outcome
    verdict: verdicts.Verdict | None = None
    another_key: bool = False
    warnings: tuple[str, ...] = ()

    def is_judged(self, decision: str) -> bool:
        """Whether images came and the verdict on them is *decision*."""
        return self.verdict is not None and self.verdict.decision == decision

    @property
    def never_left(self) -> bool:
        """Whether the call did not even leave: asking for a smaller image does not change that."""
        return self.attempt.outcome == "transport" and self.free

    @property
    def free(self) -> bool:
        """Whether it cost nothing for certain."""
        return self.attempt.billed == "no"


@dataclass(slots=True, eq=False)
class Call:
    """A call under way, the *ordinal*-th of its order, let in with *number*.

    *dues* is the USD it drew on the allowance for retries. *slow*: another lane has begun meanwhile, *hedged* if that is
    paid for from the allowance for hedges. No *outcome* at the end means that it was cancelled. *ended* is set when nothing
    more will come of it.
    """

    number: int
    ordinal: int
    entry: Entry
    started: float
    dues: Decimal = Decimal(0)
    warnings: tuple[str, ...] = ()
    slow: bool = False
    hedged: bool = False
    exchange: Exchange = field(default_factory=Exchange)
    key: int | None = None
    outcome: Outcome | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def result(self, seconds: float) -> Outcome:
        """What came of it after so many *seconds*. Cancelled when it had been slow for long, it ran out of time."""
        return self.outcome or (self.out_of_time(seconds) if self.slow else self._cut_off("cancelled", ""))

    def out_of_time(self, seconds: float) -> Outcome:
        """What it is when its time is over."""
        return self._cut_off("timeout", f"no answer within {seconds:.0f} s")

    def _cut_off(self, name: OutcomeName, detail: str) -> Outcome:
        return Outcome(name=name, billed="maybe" if self.exchange.sent else "no", detail=detail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """Where the attempts of one *order* are made and written down."""

    order: Order
    credentials: Mapping[str, Credentials]
    monitor: Monitor
    clock: Clock
    emit: Callable[[Event], None]
    ledger: Ledger
    record_prompts: bool = False

    async def attempt(self, call: Call, book: list[Tried]) -> Tried:
        """Make the *call*, and write down in *book* what came of it, however it ends.

        Raises:
            GatewayError: a budget, or the state of the ledger, forbids it; nothing was sent.
        """
        booking = await self._reserved(call)
        try:
            self.emit(_started(self.order, call))
            with anyio.move_on_after(call.entry.lease):
                await self._ask(call)
            call.outcome = call.outcome or call.out_of_time(call.entry.lease)
        finally:  # no await in here: a second cancellation would interrupt it
            tried = self._judged(call)
            book.append(tried)
            self.ledger.settle(booking, tried.attempt.outcome, tried.attempt.billed, tried.attempt.cost)
            self._written_down(call, tried)
        return tried

    async def _reserved(self, call: Call) -> Booking:
        """The call's price in the ledger, before it is sent."""
        try:
            booking = await self.ledger.reserve(_entry(self.order, call, self.clock, self.record_prompts))
        except BaseException:  # there is no call then
            nothing = Outcome(name="cancelled", billed="no")
            self.monitor.ended(call.number, call.entry, "cancelled", nothing, 0.0, telling=False)
            raise
        call.warnings = booking.warnings
        return booking

    async def _ask(self, call: Call) -> None:
        lane = call.entry.lane
        credentials = self.credentials[lane.provider]
        call.key = credentials.pick(lane.model, call.started)
        request = upstream_request(self.order, call.entry)
        if self.order.destination is not None:
            call.exchange.folder = self.order.destination.folder
        await anyio.lowlevel.checkpoint_if_cancelled()  # another may have brought the images by now
        try:
            call.outcome = await credentials.adapters[call.key].generate(request, call.exchange)
        except Exception as error:  # a bug in an adapter must not cost the images of the calls beside it
            billed: Billed = "maybe" if call.exchange.sent else "no"
            detail = f"the adapter failed with {type(error).__name__}"
            call.outcome = Outcome(name="bad_response", billed=billed, detail=detail)

    def given_up(self, call: Call) -> Tried:
        """What *call*, which is under way, counts as if nobody waits for it any more."""
        return self._judged(call)

    def _judged(self, call: Call) -> Tried:
        duration = self.clock.monotonic() - call.started
        entry, outcome = call.entry, call.result(duration)
        attempt, verdict = judged(self.order, entry, outcome, duration)
        return Tried(
            ordinal=call.ordinal, step=Step(entry.lane, entry.size), attempt=attempt, outcome=outcome, verdict=verdict,
            another_key=self._rested_key(call, outcome), warnings=call.warnings,
        )  # fmt: skip

    def _rested_key(self, call: Call, outcome: Outcome) -> bool:
        """Whether the call's key was refused, is passed over from now on, and another one is left."""
        if call.key is None or outcome.name not in KEY_TROUBLE:
            return False
        cause = Cause(
            outcome=outcome.name, reset=until_midnight(self.clock.wall()), lasting=outcome.lasting,
            luck=self.monitor.luck(),
        )  # fmt: skip
        credentials, lane = self.credentials[call.entry.lane.provider], call.entry.lane
        return credentials.rest(call.key, lane.model, cause, self.clock.monotonic())

    def _written_down(self, call: Call, tried: Tried) -> None:
        attempt = tried.attempt
        if call.key is not None and tried.outcome.name == "ok":
            lane = call.entry.lane
            self.credentials[lane.provider].worked(call.key, lane.model, call.started)
        # What one key meets while another works is not the lane's fault.
        telling = call.key is not None and not tried.another_key
        self.monitor.ended(call.number, call.entry, attempt.outcome, tried.outcome, attempt.duration, telling)
        if attempt.cost is not None:
            self.monitor.put_by(attempt.cost.usd * self.order.policy.hedge)
        self.emit(_ended(self.order, call, tried))


def judged(order: Order, entry: Entry, outcome: Outcome, duration: float) -> tuple[Attempt, verdicts.Verdict | None]:
    """The attempt that ended in *outcome* after *duration* seconds, and the verdict on the images, if any came."""
    name, verdict = outcome.name, None
    if name == "ok" and not outcome.images:
        name = "no_image"
    if name == "ok":
        verdict = verdicts.verdict(outcome.images, entry.size, order.request, order.policy.on_wrong_size)
        name = "ok" if verdict.as_asked else "wrong_size"
    attempt = Attempt(
        lane=entry.lane.name,
        size=entry.size,
        outcome=name,
        billed=outcome.billed,
        cost=money.cost_of(entry.lane, entry.size, outcome, entry.images),
        duration=duration,
        retry_after=outcome.retry_after,
        detail=_detail(outcome, verdict, order.request),
    )
    return attempt, verdict


def _detail(outcome: Outcome, verdict: verdicts.Verdict | None, request: ImageRequest) -> str:
    """What is to be said of an attempt; upstreams like to quote the prompts, which belong in no log and no error."""
    if not outcome.detail:
        return sanitise("; ".join(verdict.warnings)) if verdict and verdict.warnings else ""
    prompts = (request.prompt, *(turn.prompt for turn in request.history))
    return reduce(without_quotes, prompts, sanitise(outcome.detail))


def _entry(order: Order, call: Call, clock: Clock, with_prompt: bool) -> ledger_entries.Entry:
    lane, request = call.entry.lane, order.request
    return ledger_entries.Entry(
        request_id=order.request_id, number=call.ordinal, lane=lane.name, provider=lane.provider, model=lane.model,
        size=call.entry.size, images=call.entry.images, quoted=money.price(lane, call.entry.size) * call.entry.images,
        started=clock.wall(), task=request.task, tags=request.tags, prompt=request.prompt if with_prompt else None,
    )  # fmt: skip


def _started(order: Order, call: Call) -> AttemptStarted:
    lane = call.entry.lane
    return AttemptStarted(
        request_id=order.request_id, number=call.ordinal, lane=lane.name, provider=lane.provider, model=lane.model,
        size=call.entry.size, images=call.entry.images,
    )  # fmt: skip


def _ended(order: Order, call: Call, tried: Tried) -> AttemptEnded:
    lane, attempt = call.entry.lane, tried.attempt
    return AttemptEnded(
        request_id=order.request_id, number=call.ordinal, lane=lane.name, provider=lane.provider, model=lane.model,
        size=attempt.size, outcome=attempt.outcome, billed=attempt.billed,
        usd=attempt.cost.usd if attempt.cost else None, basis=attempt.cost.basis if attempt.cost else None,
        seconds=attempt.duration, retry_after=attempt.retry_after, detail=attempt.detail,
        usage=tried.outcome.usage, import_seconds=call.exchange.import_seconds, tags=order.request.tags,
    )  # fmt: skip


def upstream_request(order: Order, entry: Entry) -> UpstreamRequest:
    """The request in the lane's terms, without what the lane does not support."""
    request, lane = order.request, entry.lane
    unsupported = {each.partition("=")[0] for each in lane.unsupported(request.parameters())}
    supported = {name: value for name, value in request.parameters().items() if name not in unsupported}
    asked = UpstreamRequest(
        model=lane.upstream_model,
        catalogue_model=lane.model,
        prompt=request.prompt,
        images=order.references,
        history=for_lane(request.history, lane, len(order.references)),
        size=entry.size if lane.takes_size else None,
        aspect_ratio=request.aspect_ratio,
        n=entry.images,
        stream=bool(lane.stream),
        timeout=entry.lease,
        **supported,
    )
    return asked if lane.turns else as_edit(asked)
