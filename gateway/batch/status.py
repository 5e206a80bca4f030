"""How a job is doing, in figures and as a table for people. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from gateway.batch.jobs import Chunk, Job, Line
from gateway.money import money

BatchStage = Literal["running", "cancelling", "cancelled", "done"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """How the job *id*, submitted at *created* (UTC), is doing.

    ``done``: every line has its result or error. *total*, *succeeded*, *failed* and *pending* are numbers of lines; *drawn* is
    how many of the pending ones upstreams say are drawn, as far as they tell, *unconfirmed* how many wait to be sent or have
    not been confirmed by an upstream: whoever fetches finds out, and sends what is missing. *lanes* is lines by lane.
    *reserved* is USD for what is not settled yet, *settled* USD that the others did or may have cost. *twice* is how many lines
    were paid for twice, since their answers came after the *deadline* (UTC). *look* is seconds until it is worth another look,
    None if it is over. *details* is what upstreams complained of last.
    """

    id: str
    state: BatchStage
    created: datetime
    deadline: datetime | None
    total: int
    succeeded: int
    failed: int
    pending: int
    drawn: int
    unconfirmed: int
    twice: int
    lanes: Mapping[str, int]
    reserved: Decimal
    settled: Decimal
    look: float | None = None
    details: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether every line has its result or error."""
        return self.pending == 0

    def __str__(self) -> str:
        rows = [
            ("batch", self.id),
            ("state", self.state),
            ("lines", f"{self.total}: {self.succeeded} succeeded, {self.failed} failed, {self.pending} pending"),
            *((("drawn", f"{self.drawn} of the pending, upstream"),) if self.drawn else ()),
            *(
                (("waiting", f"{self.unconfirmed} of the pending, not confirmed by an upstream"),)
                if self.unconfirmed
                else ()
            ),
            *(("lane", f"{lane}: {lines}") for lane, lines in self.lanes.items()),
            ("cost", f"{money.dollars(self.settled)} settled, {money.dollars(self.reserved)} reserved"),
            ("since", f"{self.created:%Y-%m-%d %H:%M} UTC"),
            *((("deadline", f"{self.deadline:%Y-%m-%d %H:%M} UTC"),) if self.deadline else ()),
            *((("twice", f"{self.twice} lines were paid for twice: their answers came late"),) if self.twice else ()),
            *(("note", detail) for detail in self.details),
        ]
        return "\n".join(f"{name:<9}{told}" for name, told in rows)


def status(
    job: Job, lines: Collection[Line], chunks: Collection[Chunk], *, cancelled: bool, now: datetime
) -> BatchStatus:
    """How *job* is doing *now*."""
    states = Counter(line.state for line in lines)
    over = states["succeeded"] + states["failed"]
    going = [chunk for chunk in chunks if not chunk.settled]
    arrived = {chunk.name for chunk in chunks if chunk.id}
    complaints = (chunk.detail for chunk in chunks if chunk.detail)
    return BatchStatus(
        id=job.id,
        state=_stage(over == job.lines, cancelled),
        created=job.created,
        deadline=job.deadline,
        total=job.lines,
        succeeded=states["succeeded"],
        failed=states["failed"],
        pending=job.lines - over,
        drawn=sum((chunk.succeeded or 0) + (chunk.failed or 0) for chunk in going),
        unconfirmed=sum(line.state in ("waiting", "submitted") and line.chunk not in arrived for line in lines),
        twice=sum(bool(line.extra) for line in lines),
        lanes=Counter(line.lane for line in lines),
        reserved=sum((line.quoted for line in lines if line.state in ("waiting", "submitted")), Decimal(0)),
        settled=money.total(attempt for line in lines for attempt in line.attempts).usd,
        look=None if over == job.lines else pause(job, lines, chunks, now),
        details=tuple(dict.fromkeys(complaints)),
    )


def pause(job: Job, lines: Collection[Line], chunks: Collection[Chunk], now: datetime) -> float:
    """Seconds until something can be done about *job*: at once, when a chunk may be asked about, or at the deadline."""
    if any(line.state in ("waiting", "chain") for line in lines):
        return 0.0
    moments = [chunk.not_before or now for chunk in chunks if not chunk.settled]
    if job.deadline is not None and job.deadline > now:
        moments.append(job.deadline)
    return max(0.0, (min(moments, default=now) - now).total_seconds())


def _stage(over: bool, cancelled: bool) -> BatchStage:
    if cancelled:
        return "cancelled" if over else "cancelling"
    return "done" if over else "running"
