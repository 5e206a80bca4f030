"""Between a caller and a run of many requests: hands the requests to the run one at a time, and the results to the caller."""

from __future__ import annotations

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from functools import partial
from typing import Protocol, TypeVar

from gateway.bulk.run import Asked, Bulk, Ended, Signal
from gateway.request import ImageRequest
from providers.errors import InvalidRequest

Requests = Iterable[Asked] | AsyncIterable[Asked]
T = TypeVar("T")


class Call(Protocol):
    """Runs a function on the event loop, and returns what it returns."""

    def __call__(self, function: Callable[[], Awaitable[T]]) -> T: ...  # noqa: D102


class Feed:
    """The caller's requests, one at a time. A failure in making them is an end, which :meth:`check` raises."""

    def __init__(self, requests: Requests) -> None:
        """Take *requests*, of which none is asked for yet.

        Raises:
            InvalidRequest: they are not several.
        """
        if isinstance(requests, str | bytes | Mapping | ImageRequest) or not isinstance(
            requests, Iterable | AsyncIterable
        ):
            raise InvalidRequest("requests: expected an iterable of prompts, mappings or ImageRequests")
        self._iterator: Iterator[Asked] | AsyncIterator[Asked] = (
            aiter(requests) if isinstance(requests, AsyncIterable) else iter(requests)
        )
        self._coming: asyncio.Future[Asked] | None = None
        self._failure: Exception | None = None

    @property
    def is_async(self) -> bool:
        """Whether the requests can only be had asynchronously."""
        return isinstance(self._iterator, AsyncIterator)

    @property
    def pending(self) -> Signal:
        """What to hand to the run when there is no request at hand."""
        return Signal.NONE if self._coming is None or self._coming.done() else Signal.COMING

    def next(self, arrived: Callable[[], None]) -> Asked | Signal:
        """The next request, the end, or that it is on its way: then *arrived* is called when it is there."""
        if not isinstance(self._iterator, AsyncIterator):
            return self._made(lambda: next(self._iterator))  # type: ignore[arg-type]
        if self._coming is None:
            self._coming = asyncio.ensure_future(anext(self._iterator))
            self._coming.add_done_callback(lambda _: arrived())
        if not self._coming.done():
            return Signal.COMING
        coming, self._coming = self._coming, None
        return self._made(coming.result)

    def check(self) -> None:
        """Raise what the caller's requests failed with, if they did."""
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """Wait for no further request."""
        if self._coming is not None:
            self._coming.cancel()

    def _made(self, make: Callable[[], Asked]) -> Asked | Signal:
        try:
            return make()
        except (StopIteration, StopAsyncIteration):
            return Signal.END
        except Exception as error:  # the caller's own: raised when what is paid for has been handed over
            self._failure = error
            return Signal.END


async def results(bulk: Bulk, feed: Feed) -> AsyncGenerator[Ended, None]:
    """Hand the requests of *feed* to *bulk*, and to the caller what comes of them, in the order in which they end."""
    given: Asked | Signal = Signal.NONE
    try:
        while (answer := await bulk.step(given)) is not Signal.OVER:
            if isinstance(answer, Signal):
                given = feed.next(bulk.nudge)
                continue
            yield answer
            given = feed.pending
    finally:  # also where the caller stops early
        bulk.leave()
        feed.close()
    feed.check()


def results_in_thread(bulk: Bulk, feed: Feed, call: Call) -> Generator[Ended, None, None]:
    """:func:`results` for code without an event loop; the requests are made in the caller's thread.

    Raises:
        InvalidRequest: they can only be had asynchronously.
    """
    if feed.is_async:
        raise InvalidRequest("requests: an asynchronous iterable needs AsyncGateway")
    return _results_in_thread(bulk, feed, call)


def _results_in_thread(bulk: Bulk, feed: Feed, call: Call) -> Generator[Ended, None, None]:
    given: Asked | Signal = Signal.NONE
    try:
        while (answer := call(partial(bulk.step, given))) is not Signal.OVER:
            if isinstance(answer, Signal):
                given = feed.next(bulk.nudge)
                continue
            yield answer
            given = Signal.NONE
    finally:
        bulk.leave_soon()
    feed.check()
