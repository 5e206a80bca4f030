"""The sync face of :class:`gateway.client.AsyncGateway`: the same methods for code without an event loop."""

from __future__ import annotations

import os
import threading
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import ExitStack
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import gateway
from gateway.client import AsyncGateway, Source, as_request
from gateway.forking import survives

if TYPE_CHECKING:  # rooms that are loaded when somebody enters them
    from anyio.from_thread import BlockingPortal

    from gateway.batch.batch import SyncBatch
    from gateway.bulk.run import Asked, Ended
    from gateway.chat.chat import Chat
    from gateway.configuration.config import Config
    from gateway.health.monitor import Chance
    from providers.provider import ProviderFactory

T = TypeVar("T")


class Gateway:
    """:class:`AsyncGateway` for code without an event loop; it works inside one as well, and from several threads.

    Calls run on an event loop in a thread of its own, which starts with the first call and ends with ``close()``.
    """

    def __init__(
        self,
        configuration: Config,
        *,
        clock: gateway.Clock | None = None,
        load: ProviderFactory | None = None,
        chance: Chance | None = None,
    ) -> None:
        self._gateway = AsyncGateway(configuration, clock=clock, load=load, chance=chance)
        self.after_fork()
        survives(self)

    def after_fork(self) -> None:
        """Free the lock; the thread stays with the parent process."""
        running = getattr(self, "_running", None)
        if running is not None:  # letting go of it would wait for that thread, which is not here
            running._event_loop_thread_id = None
        self._lock = threading.Lock()
        self._stack = ExitStack()
        self._running: BlockingPortal | None = None

    @classmethod
    def from_config(cls, source: Source = None, *, clock: gateway.Clock | None = None) -> Self:
        """See :meth:`AsyncGateway.from_config`."""
        from gateway.configuration import config

        return cls(config.load(source), clock=clock)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._gateway.config

    def generate(self, prompt: str | gateway.ImageRequest, **fields: Any) -> gateway.ImageResult:
        """See :meth:`AsyncGateway.generate`."""
        request = as_request(prompt, fields)
        return self._call(lambda: self._gateway.generate(request))

    def generate_many(
        self,
        requests: Iterable[Asked],
        concurrency: int | None = None,
        *,
        budget: Decimal | float | None = None,
        run: str | None = None,
    ) -> Generator[Ended, None, None]:
        """See :meth:`AsyncGateway.generate_many`; *requests* are read in the thread that takes the results."""
        from gateway.bulk import feed
        from gateway.bulk.run import Bulk, Terms

        terms = Terms(concurrency=concurrency, budget=budget, run=run)
        bulk = Bulk(self._gateway, terms, self._gateway._clock)
        return feed.results_in_thread(bulk, feed.Feed(requests), self._call)

    @property
    def batch(self) -> SyncBatch:
        """See :attr:`AsyncGateway.batch`."""
        from gateway.batch.batch import SyncBatch

        return SyncBatch(self._gateway.batch, self._call)

    def feedback(self, request_id: str, accepted: bool, cleanup_cost: Decimal | float = 0) -> None:
        """See :meth:`AsyncGateway.feedback`."""
        self._gateway.judge(request_id, accepted, cleanup_cost)

    def chat(self, **fields: Any) -> Chat:
        """See :meth:`AsyncGateway.chat`."""
        from gateway.chat.chat import Chat

        return Chat(self._gateway.chat(**fields), self._call)

    def load_chat(self, path: str | os.PathLike[str]) -> Chat:
        """See :meth:`AsyncGateway.load_chat`."""
        from gateway.chat.chat import Chat

        return Chat(self._gateway.load_chat(path), self._call)

    def plan(self, prompt: str | gateway.ImageRequest, **fields: Any) -> gateway.Plan:
        """See :meth:`AsyncGateway.plan`."""
        return self._gateway.plan(prompt, **fields)

    def health(self) -> list[gateway.LaneHealth]:
        """See :meth:`AsyncGateway.health`."""
        return self._gateway.health()

    def on_event(self, listener: gateway.Listener) -> Callable[[], None]:
        """See :meth:`AsyncGateway.on_event`."""
        return self._gateway.on_event(listener)

    def reload(self, source: Source = None) -> None:
        """See :meth:`AsyncGateway.reload`."""
        self._gateway.reload(source)
        with self._lock:
            if self._running is not None:
                self._running.call(self._gateway._dispatcher.setups.close_replaced)

    def drain(self) -> None:
        """See :meth:`AsyncGateway.drain`."""
        self._gateway.drain()

    def close(self) -> None:
        """Close the connections and end the thread. A later call starts them again."""
        with self._lock:
            if self._running is None:
                return
            try:
                self._running.call(self._gateway.aclose)
            finally:  # Ctrl-C included: a thread left behind would keep the interpreter from ending
                self._running = None
                self._stack.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return repr(self._gateway).replace("AsyncGateway", type(self).__name__)

    def _call(self, function: Callable[[], Awaitable[T]]) -> T:
        future = self._portal().start_task_soon(function)
        try:
            return future.result()
        except BaseException:  # Ctrl-C while waiting: the request ends too
            future.cancel()
            raise

    def _portal(self) -> BlockingPortal:
        from anyio.from_thread import start_blocking_portal

        with self._lock:
            if self._running is None:
                self._running = self._stack.enter_context(start_blocking_portal(name="image-gateway"))
            return self._running
