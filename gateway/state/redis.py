"""A Redis or Valkey server as the state of a fleet.

One thread with an event loop of its own talks to it, for all threads and loops of the process, so that a worker's lease is
renewed however busy the application is. A command takes a tenth of a second at most, unless the address says otherwise, and
is not repeated. Once one has failed, others fail at once until the server has answered again; what must be written waits
in an outbox, in order.

Keys share a prefix with a hash tag, so that a Redis Cluster keeps them in one slot, where scripts can reach all of them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import threading
import weakref
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from redis import exceptions

from gateway.events import warn
from gateway.forking import survives
from gateway.state import redis_commands, threads
from gateway.state.redis_address import shown, taken_apart
from gateway.state.redis_commands import Letter, Script, Word
from gateway.state.stores import StateUnavailable
from providers.errors import ConfigError, GatewayError
from providers.sanitise import sanitise

__all__ = ["LEASE", "Letter", "Script", "Server", "Word"]

LEASE: Final = 60.0
"""Seconds after its last sign of life within which a worker counts as alive, by the server's clock."""
BEAT: Final = 15.0
"""Seconds between signs of life."""
RETRY: Final = 1.0
"""Seconds between looks whether a server that failed is back."""
PERIOD: Final = 0.25
"""Seconds between rounds of the chores, at least, while there is something to do."""
IDLE: Final = 5.0
"""Seconds between rounds while nothing is."""

T = TypeVar("T")
Chore = weakref.WeakMethod[Callable[[], Awaitable[bool]]]
"""Something to do again and again while its owner lives: soon, if it says so, else when woken or after a while."""


BEATING: Final = Script("""
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], now[1] + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 86400000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] - 3600)
return 1
""")
"""KEYS: the workers. ARGV: a worker, its lease in seconds."""


class Server:
    """The server at *url*, which is asked with the first use. *worker* is this process's name there.

    In the address, ``?timeout=SECONDS`` and ``?prefix=NAME`` are ours.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._url, self._timeout, self._prefix = taken_apart(url)
        self.name = shown(self._url)
        self._chores: list[Chore] = []
        self._start_afresh()
        survives(self)

    @property
    def worker(self) -> str:
        """The name of this process."""
        return self._link.worker

    @property
    def degraded(self) -> str:
        """See :class:`~gateway.state.stores.Engine`."""
        return self._link.trouble

    def key(self, *words: str) -> str:
        """A key of ours."""
        return ":".join((f"{{{self._prefix}}}", *words))

    def key_of(self, tag: str, *words: str) -> str:
        """A key of ours which a cluster keeps in the slot of those with the same *tag*."""
        return ":".join((f"{{{self._prefix}:{tag}}}", *words))

    async def run(
        self, script: Script, keys: Sequence[str], arguments: Sequence[Word] = (), within: float | None = None
    ) -> Any:
        """What *script* returns, within so many seconds if that is less than the server is given anyway.

        Raises:
            StateUnavailable: the server does not answer in time, or cannot write.
            ConfigError: it does not take our password, or does not let us run scripts.
        """
        return await self._away(lambda link: link.evaluated(Letter(script, keys, arguments), within))

    async def run_all(self, letters: Sequence[Letter]) -> list[Any]:
        """What each of *letters* returns, in one round trip. Raises as :meth:`run` does."""
        return await self._away(lambda link: link.asked(lambda client: redis_commands.all_evaluated(client, letters)))

    async def ask(self, *commands: Sequence[Word]) -> list[Any]:
        """What these *commands*, which only read, return. Raises as :meth:`run` does."""
        return await self._away(lambda link: link.asked(lambda client: redis_commands.asked(client, commands)))

    def post(self, script: Script, keys: Sequence[str], arguments: Sequence[Word] = ()) -> None:
        """Have *script* run, in order, without waiting: as soon as the server answers."""
        self._link.send(Letter(script, keys, arguments))

    def attend(self, work: Callable[[], Awaitable[bool]]) -> None:
        """Do *work*, a method that is not kept alive by this, again and again; it says whether there is more to do."""
        self._chores.append(weakref.WeakMethod(work))

    def wake(self) -> None:
        """Let the next round of that work be soon. Does not wait."""
        self._link.wake()

    async def check(self) -> None:
        """See :class:`~gateway.state.stores.Engine`."""
        await self._away(lambda link: link.revived())

    async def flush(self) -> int:
        """See :class:`~gateway.state.stores.Engine`."""
        return await self._away(lambda link: link.flushed()) if self._link.running else 0

    async def aclose(self) -> None:
        """See :class:`~gateway.state.stores.Engine`."""
        if self._link.running:
            await asyncio.to_thread(self._link.stop)

    async def _away(self, work: Callable[[_Link], Coroutine[Any, Any, T]]) -> T:
        link = self._link
        if asyncio.get_running_loop() is link._loop:  # a chore, which must not wait for who starts or stops its thread
            return await work(link)
        link.start()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(link), link.loop))

    def _start_afresh(self) -> None:
        self._link = _Link(self._url, self._timeout, self.name, self.key("workers"), self._chores)
        self._last_words = weakref.finalize(self, self._link.stop)  # at the end of the process as well

    def after_fork(self) -> None:
        """In a fork's child: the thread and its connections are the parent's."""
        _inherited.append(self._link)
        self._last_words.detach()
        self._start_afresh()


@dataclass(slots=True, eq=False)
class _Link:
    """The thread, its loop, and what runs on it. All coroutines are for that loop."""

    url: str = field(repr=False)
    timeout: float
    name: str
    workers: str
    chores: list[Chore]
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    trouble: str = ""
    _outbox: deque[Letter] = field(default_factory=deque)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _client: Any = None
    _beating: asyncio.Task[None] | None = None
    _delivering: asyncio.Task[None] | None = None
    _working: asyncio.Task[None] | None = None
    _failed: asyncio.Event = field(default_factory=asyncio.Event)
    _woken: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def running(self) -> bool:
        """Whether the thread runs."""
        return self._thread is not None

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop of the thread."""
        assert self._loop is not None
        return self._loop

    def start(self) -> None:
        """Start the thread, unless it runs."""
        with self._lock:
            if self._thread is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threads.started(self._run)
                asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result()

    def wake(self) -> None:
        """Have the chores done soon, from any thread."""
        if self._thread is None or not self._woken.is_set():
            with self._lock:
                self.start()
                self.loop.call_soon_threadsafe(self._woken.set)

    def send(self, letter: Letter) -> None:
        """Have *letter* delivered in its turn, from any thread."""
        with self._lock:  # so that the loop does not end meanwhile
            self.start()
            self.loop.call_soon_threadsafe(self._put, letter)

    def stop(self) -> None:
        """Deliver what can be delivered, and end the thread."""
        with self._lock:
            thread, self._thread = self._thread, None
            if thread is None:
                return
            ended = asyncio.run_coroutine_threadsafe(self._end(), self.loop)
            ended.add_done_callback(lambda _: self.loop.call_soon_threadsafe(self.loop.stop))
            if thread is not threading.current_thread():  # it may be the last that let go of the server
                thread.join(threads.LAST_WORDS)

    async def evaluated(self, letter: Letter, within: float | None = None) -> Any:
        """What the script returns. Raises as :meth:`Server.run` does."""
        return await self.asked(lambda client: redis_commands.evaluated(client, letter), within)

    async def asked(self, question: Callable[[Any], Awaitable[Any]], within: float | None = None) -> Any:
        """The answer to *question*, if the server gives answers at present."""
        if self.trouble:
            raise self._unavailable()
        return await self._answered(question, self.timeout if within is None else min(within, self.timeout))

    async def revived(self) -> None:
        """Look whether the server answers, show that this worker is alive, and deliver what has waited."""
        letter = Letter(BEATING, [self.workers], [self.worker, int(LEASE)])
        was_away = bool(self.trouble)
        await self._answered(lambda client: redis_commands.evaluated(client, letter), self.timeout)
        self.trouble = ""
        if was_away:
            warn(f"the state at {self.name} answers again")
        await self.flushed()

    async def flushed(self) -> int:
        """Wait for the outbox to be emptied, as far as the server answers; how many letters are left."""
        if self._delivering is None or self._delivering.done():
            self._delivering = self.loop.create_task(self._deliver())
        await asyncio.shield(self._delivering)
        return len(self._outbox)

    def _put(self, letter: Letter) -> None:
        self._outbox.append(letter)
        if self._delivering is None or self._delivering.done():
            self._delivering = self.loop.create_task(self._deliver())

    async def _deliver(self) -> None:
        while self._outbox and not self.trouble:
            letter = self._outbox[0]
            try:
                await self.evaluated(letter)
            except StateUnavailable:
                return  # it waits until the server is back; the scripts do no harm if they are run twice
            except GatewayError as error:
                warn(str(error))
                return
            self._outbox.popleft()

    async def _answered(self, question: Callable[[Any], Awaitable[Any]], seconds: float) -> Any:
        try:
            async with asyncio.timeout(seconds):
                return await question(self._client)
        except (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError) as error:
            raise ConfigError(f"state: {self.name} refuses us: {sanitise(error)}; check user and password") from None
        except (exceptions.RedisError, OSError) as error:
            if redis_commands.wants_a_password(error):
                raise ConfigError(f"state: {self.name} asks for a password; add it to the address") from None
            self._troubled(sanitise(error).rstrip(".") or f"no answer within {seconds:g} s")
            raise self._unavailable() from None

    def _troubled(self, told: str) -> None:
        if not self.trouble:
            warn(f"the state at {self.name} cannot be used: {told}")
        self.trouble = told
        self._failed.set()

    def _unavailable(self) -> StateUnavailable:
        return StateUnavailable(f"the state at {self.name} cannot be used: {self.trouble}", retry_after=RETRY)

    async def _beat(self) -> None:
        """Show that this worker is alive; after a failure, look at once and then often whether the server is back."""
        while True:
            self._failed.clear()
            with suppress(GatewayError):
                await self.revived()
            if self.trouble:
                await asyncio.sleep(RETRY)
            else:
                with suppress(TimeoutError):
                    async with asyncio.timeout(BEAT):
                        await self._failed.wait()

    async def _work(self) -> None:
        """Do the chores, round after round."""
        while True:
            self._woken.clear()
            more = await self._round()
            await asyncio.sleep(PERIOD)
            if not more:
                with suppress(TimeoutError):
                    async with asyncio.timeout(IDLE - PERIOD):
                        await self._woken.wait()

    async def _round(self) -> bool:
        """Whether one of the chores has more to do."""
        self.chores[:] = [chore for chore in self.chores if chore() is not None]
        return any([await work() for chore in self.chores if (work := chore()) is not None])

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    async def _begin(self) -> None:
        self._client = redis_commands.client(self.url, self.timeout)
        self._failed, self._woken = asyncio.Event(), asyncio.Event()
        self._beating = self.loop.create_task(self._beat())
        self._working = self.loop.create_task(self._work()) if self.chores else None

    async def _end(self) -> None:
        await self.flushed()
        if self._outbox:
            warn(
                f"the state at {self.name}: {len(self._outbox)} facts could not be written; open calls count as unknown"
            )
        for task in (self._beating, self._working):
            if task is not None:
                task.cancel()
                await asyncio.wait([task])
        with suppress(exceptions.RedisError, OSError):
            await self._client.aclose()


_inherited: list[_Link] = []
"""What forks have inherited, kept so that nothing closes it."""
