"""Virtual time for a whole process: what reads a clock reads ours, and the event loop jumps instead of waiting.

Contenders have no clock to inject, so :func:`take_over` comes before they are imported. Sockets stay real: on loopback a
byte that was sent has arrived, and the clock moves only when no socket is ready and no thread is at work.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import datetime as datetimes
import gc
import os
import random
import selectors
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar

import anyio.to_thread

T = TypeVar("T")

EPOCH: Final = datetimes.datetime(2026, 11, 2, 12, tzinfo=datetimes.UTC).timestamp() - 1000.0
"""Unix time of the virtual clock's zero: a Monday, 19 hours before midnight in California."""
THREADS: Final = 512
"""Worker threads at most; Python's own limit is 32, or the number of cores and 4."""
NOTHING_LEFT: Final = 30.0
"""Real seconds without a timer, a byte or a thread at work after which nobody is coming any more."""


class Clock:
    """Seconds on the virtual clock, and how many threads are at work for the event loop."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.at_work = 0

    def monotonic(self) -> float:
        """What ``time.monotonic`` tells."""
        return self.now

    def time(self) -> float:
        """What ``time.time`` tells."""
        return EPOCH + self.now

    def run(self, job: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run *job* on an event loop that lives by this clock."""
        with asyncio.Runner(loop_factory=lambda: VirtualLoop(self)) as runner:
            return runner.run(job())


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on virtual time. It has threads enough that the number of cores makes no difference."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(_Selector(clock))
        self._virtual = clock
        self._threads = ThreadPoolExecutor(THREADS)
        self._tasks: set[asyncio.Task[None]] = set()

    def time(self) -> float:
        """Seconds on the virtual clock."""
        return self._virtual.now

    def run_in_executor(self, executor: Executor | None, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """As usual, and counted: while a thread works, the clock stands."""
        self._count(1)
        job = (executor or self._threads).submit(func, *args)
        future = asyncio.wrap_future(job, loop=self)
        job.add_done_callback(lambda _: self._thread_is_done())  # after the future's own callback
        return future

    def await_from_thread(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """In a thread that a call of :meth:`run_in_executor` runs: the result of a coroutine; waiting is not working."""
        done: Future[T] = Future()

        async def run() -> None:
            try:
                result = await function()
            except BaseException as error:
                self._count(1)
                done.set_exception(error)
            else:
                self._count(1)
                done.set_result(result)

        def start() -> None:
            self._count(-1)
            self._tasks.add(task := self.create_task(run()))
            task.add_done_callback(self._tasks.discard)

        self.call_soon_threadsafe(start)
        return done.result()

    def _thread_is_done(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has seen the result, and is closed already
            self.call_soon_threadsafe(self._count, -1)

    def _count(self, change: int) -> None:
        self._virtual.at_work += change


class _Selector(selectors.DefaultSelector):
    """Instead of waiting for the next timer it moves the clock there, unless something real is under way."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(timeout)
        ready = super().select(0)
        if ready:
            return ready
        if self._clock.at_work:
            return super().select(None)  # the thread wakes the loop when it is done
        if timeout is None:
            ready = super().select(NOTHING_LEFT)
            if not ready:
                raise RuntimeError("the event loop waits for something that cannot come")
            return ready
        os.sched_yield()
        ready = super().select(0)
        if not ready:
            self._clock.now += timeout
        return ready


def take_over(clock: Clock) -> None:
    """Put *clock* in the place of every clock of this process. What was imported from :mod:`time` before keeps its own."""
    time.time, time.time_ns = clock.time, lambda: int(clock.time() * 1e9)
    time.monotonic, time.monotonic_ns = clock.monotonic, lambda: int(clock.now * 1e9)
    time.perf_counter, time.perf_counter_ns = clock.monotonic, lambda: int(clock.now * 1e9)
    real_sleep = time.sleep

    def sleep(seconds: float, /) -> None:
        if threading.current_thread() is threading.main_thread():
            raise RuntimeError("time.sleep would stop the event loop")
        real_sleep(seconds)

    time.sleep = sleep  # type: ignore[assignment]
    _replace_in_type(datetimes.datetime, "now", lambda cls, tz=None: cls.fromtimestamp(clock.time(), tz))
    _replace_in_type(
        datetimes.datetime, "utcnow", lambda cls: cls.fromtimestamp(clock.time(), datetimes.UTC).replace(tzinfo=None)
    )
    _replace_in_type(datetimes.date, "today", lambda cls: cls.fromtimestamp(clock.time()))
    _count_worker_threads(clock)


def seed(number: int) -> None:
    """Make chance repeat itself, that of the operating system included."""
    random.seed(number)
    random._urandom = random.Random(number).randbytes  # type: ignore[attr-defined]


def _replace_in_type(type_: type, name: str, function: Callable[..., Any]) -> None:
    """Set a class method of a built-in type, which ``setattr`` refuses: a subclass would not be what libraries check for."""
    namespace = gc.get_referents(type_.__dict__)[0]
    namespace[name] = classmethod(function)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(type_))


def _count_worker_threads(clock: Clock) -> None:
    """anyio has threads of its own."""
    run_sync = anyio.to_thread.run_sync

    async def counted(*arguments: Any, **options: Any) -> Any:
        clock.at_work += 1
        try:
            return await run_sync(*arguments, **options)
        finally:
            clock.at_work -= 1

    anyio.to_thread.run_sync = counted  # type: ignore[assignment]
