"""The simulator as people use it: a server in a thread of its own, for as long as a ``with`` block lasts."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Collection, Iterable
from dataclasses import replace
from decimal import Decimal
from types import TracebackType
from typing import NamedTuple

from providers.simulator.batch_jobs import BatchBehaviour, BatchRecord
from providers.simulator.faults import Fault
from providers.simulator.flavours import FLAVOURS, Site
from providers.simulator.models import MODELS, find
from providers.simulator.recording import RecordedRequest, digest
from providers.simulator.rules import Rules
from providers.simulator.server import Connection
from providers.simulator.upstream import Upstream


class Address(NamedTuple):
    """A host and a port to listen on; port 0 is any free one. With *tls* HTTPS is served."""

    host: str = "127.0.0.1"
    port: int = 0
    tls: ssl.SSLContext | None = None


class Simulator:
    """An upstream on loopback.

    Args:
        flavour: how it answers on OpenAI's wires, a key of ``FLAVOURS``. Google's wire has one form.
        faults: what fails from the start.
        keys: the API keys it accepts; None accepts any. Kept as digests.
        address: where it listens.
        payload_bytes: about how many bytes each JPEG or PNG shall have at least.
        models: ids to offer besides the vendors' own; they behave as ``gemini-3.1-flash-image`` does.
        batches: how batch jobs go on, None for the usual way.

    Raises:
        ValueError: there is no such flavour.
    """

    def __init__(
        self,
        flavour: str = "openrouter",
        faults: Iterable[Fault] = (),
        *,
        keys: Collection[str] | None = None,
        address: Address = Address(),  # noqa: B008 - frozen
        payload_bytes: int | None = None,
        models: Iterable[str] = (),
        batches: BatchBehaviour | None = None,
    ) -> None:
        if flavour not in FLAVOURS:
            raise ValueError(f"unknown flavour {flavour!r}; known flavours: {', '.join(FLAVOURS)}")
        digests = None if keys is None else frozenset(map(digest, keys))
        behaviour = batches or BatchBehaviour()
        self._upstream = Upstream(_site(flavour, models), Rules(faults), digests, payload_bytes, behaviour)
        self._host, self._port, self._ssl_context = address
        self._thread: threading.Thread | None = None
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    @property
    def url(self) -> str:
        """Where it listens, ``http://host:port``."""
        scheme = "https" if self._ssl_context else "http"
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{scheme}://{host}:{self._port}"

    @property
    def google_url(self) -> str:
        """The ``base_url`` for clients of Google's wire, which add the version themselves."""
        return self.url

    @property
    def openai_url(self) -> str:
        """The ``base_url`` for clients of OpenAI's wires."""
        return f"{self.url}/v1"

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests received so far, oldest first."""
        return self._upstream.book.requests

    @property
    def billed(self) -> int:
        """How many images a real upstream would have charged for so far."""
        return self._upstream.book.images

    @property
    def bill(self) -> Decimal:
        """USD a real upstream would have charged so far."""
        return self._upstream.book.bill

    @property
    def batches(self) -> list[BatchRecord]:
        """The batch jobs so far, oldest first, each with what its lines would have cost; ``bill`` includes them."""
        return [job.record for job in self._upstream.jobs.all()]

    def inject(self, fault: Fault) -> None:
        """Put *fault* in force."""
        self._upstream.rules.add(fault)

    def clear_faults(self) -> None:
        """Let everything work again."""
        self._upstream.rules.clear()

    def start(self) -> None:
        """Start to listen.

        Raises:
            RuntimeError: it has been started already.
            OSError: the address cannot be listened on.
        """
        if self._thread is not None:
            raise RuntimeError("the simulator is already running")
        self._ready.clear()
        self._failure = None
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            self._thread.join()
            self._thread = None
            raise self._failure

    def stop(self) -> None:
        """Drop all connections and stop listening. Records and faults stay."""
        if self._thread is None or self._loop is None or self._stopping is None:
            return
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = None

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as problem:
            self._failure = problem
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        server = await asyncio.start_server(self._connected, self._host, self._port, ssl=self._ssl_context)
        self._port = server.sockets[0].getsockname()[1]
        self._ready.set()
        await self._stopping.wait()
        server.close()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Connection(reader, writer, self._upstream).serve()

    def __enter__(self) -> Simulator:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Simulator:
        await asyncio.to_thread(self.start)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)


def _site(flavour: str, extra: Iterable[str]) -> Site:
    offered = {model.id: model for model in MODELS}
    like = find("gemini-3.1-flash-image")
    if like is not None:
        offered |= {name: replace(like, id=name) for name in extra}
    return Site(flavour=FLAVOURS[flavour], models=offered)
