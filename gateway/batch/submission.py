"""A job on its way into the book: every line checked, routed and priced before anything is written or sent."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import anyio.to_thread

from gateway import references
from gateway.batch import intake
from gateway.batch.intake import Requests
from gateway.batch.jobs import Job, Line
from gateway.batch.offers import Offers
from gateway.blobs import Blobs
from gateway.request import ImageRequest
from gateway.setup import Setup
from providers.errors import GatewayError, InvalidRequest
from providers.sanitise import sanitise

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
MAX_DEADLINE: Final = 30 * 86_400
"""Seconds: as long as jobs are remembered."""


@dataclass(frozen=True, slots=True)
class Submission:
    """A *job* with its *lines*, and the documents of its *requests*, by number."""

    job: Job
    lines: tuple[Line, ...]
    requests: dict[int, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """How a job is submitted: under *name* (None: one is made), to be back within *deadline* seconds (None: no matter when).

    Raises:
        InvalidRequest: one of them cannot be meant.
    """

    name: str | None = None
    deadline: float | None = None

    def __post_init__(self) -> None:
        if self.name is not None and not (isinstance(self.name, str) and _NAME.fullmatch(self.name)):
            raise InvalidRequest(
                "name: expected 1 to 64 letters, digits, dots, hyphens and underscores, beginning with a letter or digit"
            )
        seconds = self.deadline
        if seconds is not None and (isinstance(seconds, bool) or not 0 < seconds <= MAX_DEADLINE):
            raise InvalidRequest(f"deadline: expected seconds, more than 0 and at most {MAX_DEADLINE:,}")


async def prepared(requests: Requests, terms: Terms, setup: Setup, offers: Offers, now: datetime) -> Submission:
    """The job that *requests* make *now*. Nothing is sent; reference images are kept in the state of *setup*.

    Raises:
        InvalidRequest: a request cannot be meant, or none of the lanes ever takes it as a line of a batch.
        NoLaneAvailable: no lane takes it now.
        BudgetExceeded: its ``max_cost`` fits no lane.
    """
    asked = intake.keyed(requests, setup.check)
    token = secrets.token_hex(8)
    lines, documents = [], {}
    for number, (key, request) in enumerate(asked.items(), 1):
        document, weights = await _put_down(key, request, setup.state.blobs)
        step = offers.step(key, request, weights, now.date())
        quoted = step.price * request.n
        lines.append(
            Line(
                key=key,
                number=number,
                lane=step.lane.name,
                size=step.size,
                images=request.n,
                quoted=quoted,
                started=now,
            )
        )
        documents[number] = document
    job = Job(
        id=terms.name or token, token=token, lines=len(lines), created=now,
        fingerprint=intake.fingerprint({line.key: documents[line.number] for line in lines}),
        deadline=now + timedelta(seconds=float(terms.deadline)) if terms.deadline is not None else None,
    )  # fmt: skip
    return Submission(job, tuple(lines), documents)


async def _put_down(key: str, request: ImageRequest, blobs: Blobs) -> tuple[dict[str, Any], tuple[int, ...]]:
    """The document of the request *key*, and the bytes of its reference images."""
    if not request.images:
        return intake.document(request, (), blobs), ()
    given = await anyio.to_thread.run_sync(intake.loaded, key, request)
    try:
        document = await anyio.to_thread.run_sync(intake.document, request, given, blobs)
    except OSError as error:
        raise GatewayError(f"{intake.shown(key)}: its images cannot be kept: {sanitise(error)}") from None
    return document, references.weights(given)
