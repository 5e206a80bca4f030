"""What an adapter can do besides drawing at once: take many requests as one job, which is done within a day at half price."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol, runtime_checkable

from providers.outcome import Outcome
from providers.request import UpstreamRequest

BatchState = Literal["pending", "running", "succeeded", "failed", "cancelled", "expired"]
"""``failed``, ``cancelled`` and ``expired`` jobs may have lines that succeeded all the same, and are billed."""


GOING_ON: Final[frozenset[BatchState]] = frozenset({"pending", "running"})
"""States of a job of which more will come."""


@dataclass(frozen=True, slots=True)
class BatchLine:
    """One request of a job, found again by its *key*, whatever the order of the answers."""

    key: str
    request: UpstreamRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchProgress:
    """How the job *id* is doing, as the upstream tells: numbers of lines, None where it does not tell."""

    id: str
    state: BatchState
    total: int | None = None
    succeeded: int | None = None
    failed: int | None = None
    detail: str = ""

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state not in GOING_ON


@dataclass(frozen=True, slots=True)
class BatchAnswer:
    """What came of one line; its images are there as after a call of its own."""

    key: str
    outcome: Outcome


class BatchRefused(Exception):  # noqa: N818 - it says what happened
    """The upstream did not do what was asked of a job; *outcome* says why, and whether money may have been spent."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.detail)
        self.outcome = outcome


def not_offered(why: str) -> BatchRefused:
    """The refusal of what an upstream does not do at all; nothing was sent."""
    return BatchRefused(Outcome(name="invalid", billed="no", detail=why))


@runtime_checkable
class BatchProvider(Protocol):
    """An upstream that takes jobs. As with :class:`~providers.provider.Provider`: one call each, no retries, no waiting.

    Every method raises :class:`BatchRefused` when the upstream refuses or does not answer; ``model_gone`` says of a job that
    it is not there, or not any more. *timeout* is seconds for each exchange with it. An adapter of a kind that takes jobs, but
    is set up for an upstream that does not, refuses them as ``invalid``, and says so with ``takes_batches = False``.
    """

    async def submit_batch(self, name: str, lines: Sequence[BatchLine], timeout: float) -> BatchProgress:  # noqa: ASYNC109
        """Begin a job for one model. *name* is unique, so that :meth:`find_batch` finds it if the answer is lost."""
        ...

    async def find_batch(self, name: str, timeout: float) -> BatchProgress | None:  # noqa: ASYNC109
        """The job that was submitted under *name*, or None if there is none."""
        ...

    async def batch_progress(self, batch_id: str, timeout: float) -> BatchProgress:  # noqa: ASYNC109
        """How the job is doing."""
        ...

    def batch_answers(self, batch_id: str, timeout: float) -> AsyncIterator[BatchAnswer]:
        """The answers of a job that is over, one at a time, so that not all images are in memory at once."""
        ...

    async def cancel_batch(self, batch_id: str, timeout: float) -> None:  # noqa: ASYNC109
        """Ask that what has not begun be left undone. What is done is billed, and among the answers."""
        ...


class NoBatches:
    """The :class:`BatchProvider` of an upstream that takes no jobs: it says *why*."""

    def __init__(self, why: str) -> None:
        self._why = why

    async def submit_batch(self, name: str, lines: Sequence[BatchLine], timeout: float) -> BatchProgress:  # noqa: ASYNC109
        """See :class:`BatchProvider`."""
        raise not_offered(self._why)

    async def find_batch(self, name: str, timeout: float) -> BatchProgress | None:  # noqa: ASYNC109
        """See :class:`BatchProvider`."""
        raise not_offered(self._why)

    async def batch_progress(self, batch_id: str, timeout: float) -> BatchProgress:  # noqa: ASYNC109
        """See :class:`BatchProvider`."""
        raise not_offered(self._why)

    async def batch_answers(self, batch_id: str, timeout: float) -> AsyncIterator[BatchAnswer]:  # noqa: ASYNC109
        """See :class:`BatchProvider`."""
        raise not_offered(self._why)
        yield  # what makes it an iterator

    async def cancel_batch(self, batch_id: str, timeout: float) -> None:  # noqa: ASYNC109
        """See :class:`BatchProvider`."""
        raise not_offered(self._why)


class Batching:
    """What makes an adapter a :class:`BatchProvider`: it passes everything on to the one that ``_batches`` is."""

    _batches: BatchProvider

    @property
    def takes_batches(self) -> bool:
        """Whether there is any use in giving it a job."""
        return not isinstance(self._batches, NoBatches)

    async def submit_batch(self, name: str, lines: Sequence[BatchLine], timeout: float) -> BatchProgress:  # noqa: ASYNC109
        """See :class:`BatchProvider`."""
        return await self._batches.submit_batch(name, lines, timeout)

    async def find_batch(self, name: str, timeout: float) -> BatchProgress | None:  # noqa: ASYNC109
        """See :class:`BatchProvider`."""
        return await self._batches.find_batch(name, timeout)

    async def batch_progress(self, batch_id: str, timeout: float) -> BatchProgress:  # noqa: ASYNC109
        """See :class:`BatchProvider`."""
        return await self._batches.batch_progress(batch_id, timeout)

    def batch_answers(self, batch_id: str, timeout: float) -> AsyncIterator[BatchAnswer]:
        """See :class:`BatchProvider`."""
        return self._batches.batch_answers(batch_id, timeout)

    async def cancel_batch(self, batch_id: str, timeout: float) -> None:  # noqa: ASYNC109
        """See :class:`BatchProvider`."""
        await self._batches.cancel_batch(batch_id, timeout)
