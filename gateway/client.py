"""The class that applications use: :class:`AsyncGateway`. Its sync face is in :mod:`gateway.sync`.

To name the class loads next to nothing: what a gateway is made of is loaded with the first one, at start-up and not in a
request. Types stand in signatures by their public names, which the package loads when somebody asks for them.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Callable, Mapping
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import gateway

if TYPE_CHECKING:  # rooms that are loaded when somebody enters them
    from gateway.batch.batch import Batch
    from gateway.bulk.feed import Requests
    from gateway.bulk.run import Ended
    from gateway.chat.chat import AsyncChat
    from gateway.configuration.config import Config
    from gateway.health.monitor import Chance
    from gateway.money.ledger import Ledger
    from providers.provider import ProviderFactory

Source = str | os.PathLike[str] | Mapping[str, Any] | None


class AsyncGateway:
    """Draws images through whichever configured lane serves best. Use it as an async context manager, or ``aclose()`` it.

    One instance serves any number of tasks, threads and event loops. *load* makes the adapter for a key of a provider;
    None: the one that is installed for the provider's kind. *chance* gives random numbers from 0 to 1.
    """

    def __init__(
        self,
        configuration: Config,
        *,
        clock: gateway.Clock | None = None,
        load: ProviderFactory | None = None,
        chance: Chance | None = None,
    ) -> None:
        from gateway.clock import Clock
        from gateway.dispatch import Dispatcher
        from gateway.setup import Setup
        from providers.provider import load_provider

        self._load = load or load_provider
        self._clock = clock or Clock()
        self._dispatcher = Dispatcher(Setup.of(configuration, self._load, self._clock), self._clock, chance)

    @classmethod
    def from_config(cls, source: Source = None, *, clock: gateway.Clock | None = None) -> Self:
        """A gateway from a TOML file, a mapping of the same shape, or what is found.

        None looks at ``$IMAGE_GATEWAY_CONFIG``, then ``./gateway.toml``, then the usual API keys in the environment.

        Raises:
            ConfigError: the configuration cannot be used, or there is none; the message says where and what to do.
        """
        from gateway.configuration import config

        return cls(config.load(source), clock=clock)

    @property
    def config(self) -> Config:
        """The configuration in force."""
        return self._dispatcher.setups.current.config

    @property
    def ledger(self) -> Ledger:
        """The books: what was reserved, spent and refused."""
        return self._dispatcher.setups.current.ledger

    async def generate(self, prompt: str | gateway.ImageRequest, **fields: Any) -> gateway.ImageResult:
        """Draw: route, call, verify, fall back. *fields* are those of :class:`ImageRequest`.

        Raises:
            InvalidRequest: the request cannot be meant, or every lane refused it.
            NoLaneAvailable: no lane may serve it now.
            AllAttemptsFailed: lanes were tried and none delivered.
            ContentBlocked: the model refused the content.
            DeadlineExceeded: the time ran out, or could not suffice.
            BudgetExceeded: ``max_cost``, or a hard budget, does not suffice.
            OutcomeUnknown: money may have been spent under the idempotency key, and nobody knows what came of it.
        """
        from providers.turnstile import begin

        started = self._clock.monotonic()
        await begin()
        return await self._dispatcher.result(as_request(prompt, fields), started)

    def generate_many(
        self,
        requests: Requests,
        concurrency: int | None = None,
        *,
        budget: Decimal | float | None = None,
        run: str | None = None,
    ) -> AsyncGenerator[Ended, None]:
        """Draw many: the place of each request, from 0, with its result or error, in the order in which they end.

        *requests* are prompts, mappings of fields or :class:`ImageRequest`, read as there is room. *concurrency* is at most
        how many are under way; None: as many as the lanes take. *budget* is USD for all together, never exceeded. *run* is
        a name under which the same requests are paid for once, however often the run is begun anew (see ``docs/bulk.md``).

        Raises:
            InvalidRequest: an argument cannot be meant. What is wrong with one of the requests is its result.
            ConfigError: while it runs: the configuration cannot be used after all.
        """
        from gateway.bulk import feed
        from gateway.bulk.run import Bulk, Terms

        terms = Terms(concurrency=concurrency, budget=budget, run=run)
        return feed.results(Bulk(self, terms, self._clock), feed.Feed(requests))

    @property
    def batch(self) -> Batch:
        """Many requests as one job at batch prices: ``submit``, ``status``, ``fetch``, ``cancel`` (see ``docs/batch.md``)."""
        from gateway.batch.batch import Batch
        from gateway.batch.needs import Needs

        works = self._dispatcher
        needs = Needs(
            setups=works.setups, clock=self._clock, monitor=works.monitor, verdicts=works.verdicts,
            emit=works.emitter.emit, chain=self.generate_many,
        )  # fmt: skip
        return Batch(needs)

    async def feedback(self, request_id: str, accepted: bool, cleanup_cost: Decimal | float = 0) -> None:
        """Tell whether the images of a request were usable: *quality* ``"auto"`` learns from it, per task.

        *cleanup_cost* is the USD it took to make them usable, or was lost in trying. The last verdict on a request counts.

        Raises:
            InvalidRequest: no result of this gateway has that *request_id*, or the cost is not an amount.
        """
        self.judge(request_id, accepted, cleanup_cost)

    def judge(self, request_id: str, accepted: bool, cleanup_cost: Decimal | float = 0) -> None:
        """:meth:`feedback` for code that cannot wait."""
        self._dispatcher.verdicts.judge(request_id, accepted, cleanup_cost)

    def chat(self, **fields: Any) -> AsyncChat:
        """A conversation: each ``send`` goes on from the images before. *fields* of :class:`ImageRequest` hold for all.

        Raises:
            InvalidRequest: a field is unknown, belongs to a single turn, or its value cannot be meant.
        """
        from gateway.chat.chat import AsyncChat

        return AsyncChat.begun(self.generate, fields)

    def load_chat(self, path: str | os.PathLike[str]) -> AsyncChat:
        """The conversation that was saved at *path*.

        Raises:
            InvalidRequest: the file cannot be read, is damaged, or comes from too late a version; the message says which.
        """
        from gateway.chat.chat import AsyncChat

        return AsyncChat.loaded(self.generate, path)

    def plan(self, prompt: str | gateway.ImageRequest, **fields: Any) -> gateway.Plan:
        """What :meth:`generate` would try, in order, and why the rest is left out. Makes no call and reads no file.

        Raises:
            InvalidRequest: the request cannot be meant.
        """
        return self._dispatcher.plan(as_request(prompt, fields))

    def health(self) -> list[gateway.LaneHealth]:
        """How every lane is doing right now."""
        return self._dispatcher.monitor.health()

    async def hear(self) -> None:
        """Hear at once what other processes know of the lanes, where they share it; else that happens beside requests."""
        await self._dispatcher.monitor.exchange()

    def on_event(self, listener: gateway.Listener) -> Callable[[], None]:
        """Tell *listener* of every event (:mod:`gateway.events`) from now on, until what is returned is called.

        It is called on the thread and at the moment of the event, so it must be quick. What it raises costs no image.

        Raises:
            TypeError: *listener* is a coroutine function.
        """
        return self._dispatcher.emitter.on_event(listener)

    def reload(self, source: Source = None) -> None:
        """Swap the configuration. Requests in flight finish on the old one, whose connections are closed after the last.

        What is known of a lane's health is forgotten where its provider's table has changed: a new key, a new start.

        Raises:
            ConfigError: the new configuration cannot be used; nothing has changed.
        """
        from gateway.configuration import config
        from gateway.setup import Setup

        self._dispatcher.replace(
            Setup.of(config.load(source), self._load, self._clock, self._dispatcher.setups.current)
        )

    def drain(self) -> None:
        """Begin no further call, for good: requests under way end with the calls that are already being paid for.

        Meant for the end of a service: ``drain()`` at SIGTERM, then :meth:`aclose`.
        """
        self._dispatcher.monitor.drain()

    async def aclose(self) -> None:
        """Wait for the requests under way on this event loop, which are being paid for, and close its connections."""
        await self._dispatcher.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.config.source}: {len(self._dispatcher.setups.current.lanes)} lanes>"


def as_request(prompt: str | gateway.ImageRequest, fields: Mapping[str, Any]) -> gateway.ImageRequest:
    """The request that ``generate(prompt, **fields)`` means.

    Raises:
        InvalidRequest: a field is unknown or its value cannot be meant.
    """
    if not isinstance(prompt, gateway.ImageRequest):
        return gateway.ImageRequest(prompt=prompt, **fields)
    if not fields:
        return prompt
    given = {name: getattr(prompt, name) for name in prompt.model_fields_set}
    return gateway.ImageRequest(**{**given, **fields})
