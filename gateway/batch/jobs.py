"""What a batch job is made of, and what may become of its lines. Pure.

A *job* is what was submitted. Each of its *lines* is one request; lines travel upstream in *chunks*, each of which is one job
there. A line that fails in passing travels again, in another chunk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, Literal

from gateway.result import Attempt
from providers.batches import GOING_ON, BatchProgress, BatchState
from providers.outcome import Outcome, OutcomeName
from providers.sizes import Size

GRACE: Final = timedelta(seconds=120)
"""How long after a deadline a cancelled job may take to say what is done, before the rest is sent by the chain."""
TRIES: Final = 3
"""How often a line travels at most: once, and twice more after failures that pass."""
PASSING: Final[frozenset[OutcomeName]] = frozenset(
    {"overloaded", "rate_limited", "timeout", "transport", "bad_response", "cancelled"}
)
"""Outcomes after which a line travels again, unless it was billed for certain. Upstreams call lines they gave up cancelled."""
FIRST_LOOK: Final = 10.0
LAST_LOOK: Final = 300.0
LOOK_SHARE: Final = 0.1
"""Seconds between two looks at a chunk: a tenth of its age, at least and at most so many."""
IN_TRANSIT: Final = timedelta(seconds=60)
"""How long a chunk whose answer was lost may still be arriving: whoever looks sooner may not find it, and send it twice."""

LineState = Literal["waiting", "submitted", "chain", "succeeded", "failed"]
"""``waiting`` to be put into a chunk, ``submitted`` in one, in the hands of the ordinary ``chain``, or over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What was submitted under the name *id* at *created*, to be back by *deadline* (UTC; None: whenever it is done).

    *token* is unique: chunks are named by it upstream. *fingerprint* says what was asked for, of how many *lines*.
    """

    id: str
    token: str
    fingerprint: str
    lines: int
    created: datetime
    deadline: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The request *key*, the *number*-th of its job, on *lane* at *size* for *images* images.

    It travels the *tries*-th time, for *quoted* USD reserved at *started* (UTC), in *chunk*. *attempts* are those that have
    ended. *reference* leads to the result or the error in the archive, *extra* to a result that came too late, and was paid
    for all the same. *handed_over* is when it was given to the chain. *counters* are those of the budgets in which it is
    reserved, by name: budgets may change before it is settled. None: nobody has written them down yet.
    """

    key: str
    number: int
    lane: str
    size: Size
    images: int
    quoted: Decimal
    started: datetime
    state: LineState = "waiting"
    tries: int = 1
    chunk: str = ""
    attempts: tuple[Attempt, ...] = ()
    reference: str = ""
    extra: str = ""
    handed_over: datetime | None = None
    counters: tuple[str, ...] | None = None

    @property
    def is_over(self) -> bool:
        """Whether its result or error is there."""
        return self.state in ("succeeded", "failed")

    def travelling(self, chunk: str) -> Line:
        """The line in *chunk*."""
        return replace(self, state="submitted", chunk=chunk)

    def again(self, attempt: Attempt, now: datetime) -> Line:
        """The line after a failed *attempt*, to be put into another chunk."""
        return replace(
            self, state="waiting", chunk="", tries=self.tries + 1, started=now, attempts=(*self.attempts, attempt),
            counters=None,
        )  # fmt: skip

    def to_chain(self, now: datetime, attempt: Attempt | None = None) -> Line:
        """The line in the hands of the chain, after *attempt* if that has ended."""
        attempts = self.attempts if attempt is None else (*self.attempts, attempt)
        return replace(self, state="chain", handed_over=now, attempts=attempts)

    def over(self, succeeded: bool, reference: str, attempts: tuple[Attempt, ...]) -> Line:
        """The line at its end."""
        return replace(
            self, state="succeeded" if succeeded else "failed", reference=reference, attempts=attempts
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Lines that travel together to *lane*, under the unique *name*.

    *digest* is that of the provider's key with which they do, ``""`` if it was never written down. *id* is the upstream's own,
    ``""`` as long as nobody knows whether the chunk has arrived. The upstream is not to be asked before *not_before* (UTC).
    *stopping*: it was told to leave the rest undone. *settled*: nothing more will come of it. *total*, *succeeded* and *failed*
    are numbers of lines as far as the upstream tells, *detail* its latest complaint.
    """

    name: str
    lane: str
    begun: datetime
    digest: str = ""
    id: str = ""
    state: BatchState = "pending"
    not_before: datetime | None = None
    stopping: bool = False
    settled: bool = False
    total: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    detail: str = ""

    @property
    def is_over(self) -> bool:
        """Whether the upstream is done with it, and its answers can be had."""
        return self.state not in GOING_ON

    def told(self, progress: BatchProgress, now: datetime) -> Chunk:
        """The chunk as the upstream tells of it *now*."""
        known = replace(
            self, id=progress.id, state=progress.state, total=progress.total, succeeded=progress.succeeded,
            failed=progress.failed, detail=progress.detail,
        )  # fmt: skip
        return replace(known, not_before=now if progress.is_over else now + known.pause(now))

    def refused(self, outcome: Outcome, now: datetime) -> Chunk:
        """The chunk after the upstream gave no usable answer: it is asked again after a while."""
        pause = max(self.pause(now), timedelta(seconds=outcome.retry_after or 0.0))
        if not self.id and outcome.billed != "no":
            pause = max(pause, IN_TRANSIT)
        return replace(self, not_before=now + pause, detail=f"{outcome.name}: {outcome.detail}")

    def pause(self, now: datetime) -> timedelta:
        """How long to leave the upstream alone between two looks: the longer the chunk takes, the longer."""
        age = 0.0 if self.stopping else (now - self.begun).total_seconds()
        return timedelta(seconds=min(LAST_LOOK, max(FIRST_LOOK, LOOK_SHARE * age)))

    def is_due(self, now: datetime) -> bool:
        """Whether the upstream may be asked of it."""
        return not self.settled and (self.not_before is None or self.not_before <= now)


def is_passing(outcome: Outcome) -> bool:
    """Whether another try may end better than *outcome*, for which nobody was charged for certain."""
    return outcome.name in PASSING and outcome.billed != "yes"


def was_unreachable(outcome: Outcome) -> bool:
    """Whether *outcome* says of a chunk that its upstream could not be reached, and certainly has not got it."""
    return outcome.name in ("transport", "timeout") and outcome.billed == "no"


def unanswered(chunk: Chunk) -> Outcome:
    """What became of a line to which *chunk*, which is over, has no answer."""
    match chunk.state:
        case "cancelled":
            return Outcome(name="cancelled", billed="no", detail="cancelled before it was drawn")
        case "expired":
            return Outcome(name="timeout", billed="no", detail="the job expired before it was drawn")
        case "failed":
            told = chunk.detail or "no reason was given"
            return Outcome(name="overloaded", billed="no", detail=f"the whole job failed: {told}")
        case _:
            return Outcome(
                name="bad_response", billed="maybe", detail="the job is done, and has no answer to this line"
            )


def are_over(lines: Iterable[Line]) -> bool:
    """Whether every one of *lines* has its result or error."""
    return all(line.is_over for line in lines)
