"""Single flight: requests for the same thing that are under way in one process share what the first of them does.

A flight is a task of its own, so it outlives the caller who began it as long as another one waits for it. It may go on
after it has landed, for what arrives late.
"""

from __future__ import annotations

import asyncio
import copy
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import anyio

from gateway.events import warn
from gateway.forking import survives
from gateway.result import ImageResult
from providers.errors import DeadlineExceeded

Land = Callable[[ImageResult], None]
"""Gives everybody aboard the result."""
Work = Callable[[Land], Awaitable[None]]
"""What a flight does: it lands, or raises."""


class Grounded(Exception):  # noqa: N818 - it never leaves this module
    """The flight was cancelled, or its event loop ended: whoever still waits has to begin another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """The wish of request *request_id* for what *key* stands for, within *seconds*.

    Those with the same *terms* get each other's errors; others fail for reasons of their own.
    """

    key: str
    request_id: str
    seconds: float
    terms: str = ""


@dataclass(slots=True, eq=False)
class _Flight:
    """A flight begun by *ticket* on *loop*. *aboard* is how many wait for it, *waiting* those who are to be told."""

    ticket: Ticket
    loop: asyncio.AbstractEventLoop
    task: asyncio.Task[None] | None = None
    aboard: int = 0
    waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = field(default_factory=list)
    ended: ImageResult | BaseException | None = None

    def ends(self, how: ImageResult | BaseException) -> None:
        """Note how it ended, once, and wake those who wait."""
        if self.ended is None:
            self.ended = how
        for loop, event in self.waiting:
            _tell(loop, event.set)


class Flights:
    """The flights of one gateway. Any thread and any event loop may join."""

    def __init__(self) -> None:
        self.after_fork()
        survives(self)

    def after_fork(self) -> None:
        """Free the lock, and let go of the flights of the parent process."""
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}
        self._late: set[_Flight] = set()

    async def joined(self, ticket: Ticket, work: Work) -> tuple[ImageResult, bool]:
        """What the flight under way for the ticket's key lands with, or else what *work* does; and whether that was ours.

        Raises:
            DeadlineExceeded: another's flight did not land within the ticket's seconds.
            Exception: what *work* raised, here or in another request on the same terms.
        """
        ends = asyncio.get_running_loop().time() + ticket.seconds
        while True:
            flight, event, ours = self._boarded(ticket, work)
            try:
                await self._waited(event, None if ours else ends - asyncio.get_running_loop().time())
            finally:
                await self._left(flight)
            match flight.ended:
                case ImageResult() as result:
                    return result, ours
                case None:
                    raise DeadlineExceeded(
                        f"request {flight.ticket.request_id} for the same image has not ended in time"
                    )
                case Grounded():
                    continue
                case error if ours:
                    raise error
                case error if flight.ticket.terms == ticket.terms:
                    raise copy.copy(error)  # each raises an error of its own, with its own trace

    def end_late(self) -> None:
        """Give up, on the running event loop, what flights that have landed are still doing."""
        loop = asyncio.get_running_loop()
        for flight in [each for each in self._late if each.loop is loop]:
            _cancel(flight)

    def _boarded(self, ticket: Ticket, work: Work) -> tuple[_Flight, asyncio.Event, bool]:
        """The flight, an event that is set when it lands, and whether it begins with this."""
        loop, event = asyncio.get_running_loop(), asyncio.Event()
        with self._lock:
            flight = self._flights.get(ticket.key)
            ours = flight is None or flight.loop.is_closed()
            if flight is None or ours:
                flight = self._flights[ticket.key] = _Flight(ticket, loop)
            flight.aboard += 1
            flight.waiting.append((loop, event))
        if ours:  # after the lock, which an eager task would want as well
            flight.task = loop.create_task(self._flown(flight, work))
        return flight, event, ours

    async def _waited(self, event: asyncio.Event, seconds: float | None) -> None:
        with anyio.move_on_after(seconds):
            await event.wait()

    async def _left(self, flight: _Flight) -> None:
        """One less is aboard. A flight that has not landed is cancelled with the last; here it is waited for."""
        with self._lock:
            flight.aboard -= 1
            forsaken = flight.ended is None and not flight.aboard
            if forsaken:
                self._taken_off(flight)
        if forsaken:
            _cancel(flight)
            if flight.task is not None and flight.loop is asyncio.get_running_loop():
                await _over(flight.task)

    async def _flown(self, flight: _Flight, work: Work) -> None:
        def land(result: ImageResult) -> None:
            self._ended(flight, result)

        try:
            await work(land)
        except asyncio.CancelledError:
            self._ended(flight, Grounded())
            raise
        except Exception as error:
            if flight.ended is not None:  # nobody waits for the rest
                warn(f"what was late for request {flight.ticket.request_id} is lost: {type(error).__name__}")
            self._ended(flight, error)
        finally:
            self._ended(flight, Grounded())
            with self._lock:
                self._late.discard(flight)

    def _ended(self, flight: _Flight, how: ImageResult | BaseException) -> None:
        with self._lock:
            self._taken_off(flight)
            self._late.add(flight)
            flight.ends(how)

    def _taken_off(self, flight: _Flight) -> None:
        """Nobody may join it any more."""
        if self._flights.get(flight.ticket.key) is flight:
            del self._flights[flight.ticket.key]


def _cancel(flight: _Flight) -> None:
    if flight.task is not None:
        _tell(flight.loop, flight.task.cancel)


async def _over(task: asyncio.Task[None]) -> None:
    """Wait for the end of a *task* that was cancelled, and is soon over, even if the one who waits is cancelled again."""
    again = None
    with anyio.CancelScope(shield=True):
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError as error:
                again = error
    if again is not None:
        raise again


def _tell(loop: asyncio.AbstractEventLoop, what: Callable[[], object]) -> None:
    with suppress(RuntimeError):  # its loop is closed: nobody is there any more
        loop.call_soon_threadsafe(what)
