"""A Redis or Valkey server as the state of a fleet.

One thread with an event loop of its own talks to it, for all threads and loops of the process, so that a worker's lease is
renewed however busy the application is. A command takes at most :data:`TIMEOUT` and is not repeated. Once one has failed,
others fail at once until the server has answered again; what must be written waits in an outbox, in order.

Keys share a prefix with a hash tag, so that a Redis Cluster keeps them in one slot, where scripts can reach all of them.
"""

from __future__ import annotations

import asyncio
import hashlib
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
from urllib.parse import parse_qs, urlsplit, urlunsplit

import redis.asyncio
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from gateway.events import warn
from gateway.state import threads
from gateway.state.stores import StateUnavailable
from providers.errors import ConfigError, GatewayError
from providers.sanitise import sanitise

TIMEOUT: Final = 0.1
"""Seconds for a command, connecting included; ``?timeout=0.5`` in the address asks for another figure."""
LEASE: Final = 60.0
"""Seconds after its last sign of life within which a worker counts as alive, by the server's clock."""
BEAT: Final = 15.0
"""Seconds between signs of life."""
RETRY: Final = 1.0
"""Seconds between looks whether a server that failed is back."""
MAX_CONNECTIONS: Final = 32
"""Connections of one process."""
PREFIX: Final = "image-gateway"

T = TypeVar("T")
Word = str | int
"""A key or an argument of a script."""


class Script:
    """A Lua script, sent as its hash; where the server does not have it (any more), as a whole."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.sha = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()


BEATING: Final = Script("""
local now = redis.call('TIME')
redis.call('ZADD', KEYS[1], now[1] + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 86400000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now[1] - 3600)
return 1
""")
"""KEYS: the workers. ARGV: a worker, its lease in seconds."""


@dataclass(frozen=True, slots=True)
class _Letter:
    """A script that must be run, in its turn."""

    script: Script
    keys: Sequence[str]
    arguments: Sequence[Word]


class Server:
    """The server at *url*, which is asked with the first use. *worker* is this process's name there.

    In the address, ``?timeout=SECONDS`` and ``?prefix=NAME`` are ours.

    Raises:
        ConfigError: the address cannot be used.
    """

    def __init__(self, url: str) -> None:
        self._url, self._timeout, self._prefix = _taken_apart(url)
        self.name = _shown(self._url)
        self._start_afresh()
        _servers.add(self)

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

    async def run(self, script: Script, keys: Sequence[str], arguments: Sequence[Word] = ()) -> Any:
        """What *script* returns.

        Raises:
            StateUnavailable: the server does not answer in time, or cannot write.
            ConfigError: it does not take our password, or does not let us run scripts.
        """
        return await self._away(lambda link: link.evaluated(_Letter(script, keys, arguments)))

    async def ask(self, *commands: Sequence[Word]) -> list[Any]:
        """What these *commands*, which only read, return. Raises as :meth:`run` does."""
        return await self._away(lambda link: link.asked(lambda client: _asked(client, commands)))

    def post(self, script: Script, keys: Sequence[str], arguments: Sequence[Word] = ()) -> None:
        """Have *script* run, in order, without waiting: as soon as the server answers."""
        self._link.send(_Letter(script, keys, arguments))

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
        link.start()
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(link), link.loop))

    def _start_afresh(self) -> None:
        self._link = _Link(self._url, self._timeout, self.name, self.key("workers"))
        self._last_words = weakref.finalize(self, self._link.stop)  # at the end of the process as well

    def _forked(self) -> None:
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
    worker: str = field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}")
    trouble: str = ""
    _outbox: deque[_Letter] = field(default_factory=deque)
    _lock: threading.RLock = field(default_factory=threading.RLock)
    _thread: threading.Thread | None = None
    _loop: asyncio.AbstractEventLoop | None = None
    _client: Any = None
    _beating: asyncio.Task[None] | None = None
    _delivering: asyncio.Task[None] | None = None
    _failed: asyncio.Event = field(default_factory=asyncio.Event)

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

    def send(self, letter: _Letter) -> None:
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

    async def evaluated(self, letter: _Letter) -> Any:
        """What the script returns. Raises as :meth:`Server.run` does."""
        return await self.asked(lambda client: _evaluated(client, letter))

    async def asked(self, question: Callable[[Any], Awaitable[Any]]) -> Any:
        """The answer to *question*, if the server gives answers at present."""
        if self.trouble:
            raise self._unavailable()
        return await self._answered(question)

    async def revived(self) -> None:
        """Look whether the server answers, show that this worker is alive, and deliver what has waited."""
        letter = _Letter(BEATING, [self.workers], [self.worker, int(LEASE)])
        was_away = bool(self.trouble)
        await self._answered(lambda client: _evaluated(client, letter))
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

    def _put(self, letter: _Letter) -> None:
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

    async def _answered(self, question: Callable[[Any], Awaitable[Any]]) -> Any:
        try:
            async with asyncio.timeout(self.timeout):
                return await question(self._client)
        except (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError) as error:
            raise ConfigError(f"state: {self.name} refuses us: {sanitise(error)}; check user and password") from None
        except (exceptions.RedisError, OSError) as error:
            if _wants_a_password(error):
                raise ConfigError(f"state: {self.name} asks for a password; add it to the address") from None
            self._troubled(sanitise(error).rstrip(".") or f"no answer within {self.timeout:g} s")
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

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    async def _begin(self) -> None:
        self._client = _client(self.url, self.timeout)
        self._failed = asyncio.Event()
        self._beating = self.loop.create_task(self._beat())

    async def _end(self) -> None:
        await self.flushed()
        if self._outbox:
            warn(
                f"the state at {self.name}: {len(self._outbox)} facts could not be written; open calls count as unknown"
            )
        if self._beating is not None:
            self._beating.cancel()
            with suppress(asyncio.CancelledError):
                await self._beating
        with suppress(exceptions.RedisError, OSError):
            await self._client.aclose()


def _client(url: str, timeout: float) -> Any:
    pool = redis.asyncio.BlockingConnectionPool.from_url(
        url,
        protocol=2,
        max_connections=MAX_CONNECTIONS,
        timeout=timeout,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 0),
        decode_responses=True,
    )
    return redis.asyncio.Redis.from_pool(pool)


async def _evaluated(client: Any, letter: _Letter) -> Any:
    words = (len(letter.keys), *letter.keys, *letter.arguments)
    try:
        return await client.evalsha(letter.script.sha, *words)
    except exceptions.NoScriptError:  # the server has been restarted, or its scripts flushed
        return await client.eval(letter.script.text, *words)


async def _asked(client: Any, commands: Sequence[Sequence[Word]]) -> list[Any]:
    async with client.pipeline(transaction=False) as pipeline:
        for words in commands:
            pipeline.execute_command(*words)
        return list(await pipeline.execute())


def _wants_a_password(error: Exception) -> bool:
    told = str(error)
    return told.startswith(("NOAUTH", "WRONGPASS")) or "unauthenticated" in told  # too long a command before a password


def _taken_apart(url: str) -> tuple[str, float, str]:
    """The address as Redis takes it, the seconds for a command, and the prefix of the keys."""
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    try:
        timeout = float(query.pop("timeout", [str(TIMEOUT)])[0])
        prefix = query.pop("prefix", [PREFIX])[0]
        known = not query and 0 < timeout <= 60 and parts.hostname and (parts.port or 1) > 0
    except ValueError:
        known = False
    if not known or not prefix.replace("-", "").isalnum():
        raise ConfigError(
            "state: expected redis://[user:password@]host[:port][/db], with nothing but ?timeout=SECONDS (up to 60) "
            "and ?prefix=NAME behind it"
        )
    return urlunsplit(parts._replace(query="")), timeout, prefix


def _shown(url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


_servers: weakref.WeakSet[Server] = weakref.WeakSet()
_inherited: list[_Link] = []
"""What forks have inherited, kept so that nothing closes it."""


def _after_fork() -> None:
    for server in list(_servers):
        server._forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
