"""One connection, on asyncio's own transports: bytes go out in slices and come in through one buffer, uncopied.

What comes in goes straight from the buffer into whatever takes it in, without a turn of the event loop in between: that
halves what an answer of many megabytes costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from select import select
from typing import Final

from providers.loops import PerLoop

BUFFER: Final = 256 * 1024
"""Bytes read at a time at the most: enough to make calls rare, little enough to stay in a core's cache."""
SLICE: Final = 256 * 1024
"""Bytes handed to the kernel at a time at the most: what does not fit there at once is copied."""

_buffers: Final = PerLoop(lambda: memoryview(bytearray(BUFFER)))
"""One buffer for all connections of an event loop: what comes in is taken in, or copied, before another socket is read."""

Taker = Callable[[memoryview], bool]
"""Takes in bytes, which are gone when it returns; True means that it wants no more."""


class ConnectionEndedError(Exception):
    """The connection has ended: in good order if there is no *reason*."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason


class SilenceError(Exception):
    """Nothing came for longer than allowed."""


class Connection(asyncio.BufferedProtocol):
    """Both directions of one connection, for one task at a time.

    Bytes that come while nobody takes them in are kept, up to a buffer's worth; then the sender has to wait.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = _buffers.get()
        self._kept = bytearray()
        self._taker: Taker | None = None
        self._taken: asyncio.Future[None] = self._loop.create_future()
        self._writable: asyncio.Future[None] | None = None
        self._heard = 0.0
        self._alarm: asyncio.TimerHandle | None = None  # rings when nothing has come for too long
        self._transport: asyncio.Transport | None = None
        self._ended: ConnectionEndedError | None = None  # nothing more will come
        self._lost: ConnectionEndedError | None = None  # and nothing can be written

    @property
    def transport(self) -> asyncio.Transport:
        """The transport below, which must have been made."""
        assert self._transport is not None
        return self._transport

    def use(self, transport: asyncio.Transport) -> None:
        """Go on over *transport*: TLS has been laid over the one before."""
        self._transport = transport
        transport.set_write_buffer_limits(high=0)  # so that what was written is known to have left

    def is_fresh(self) -> bool:
        """Whether the connection is up and nothing has come on it that nobody asked for."""
        if self._ended or self._kept or self.transport.is_closing():
            return False
        try:
            return not select([self.transport.get_extra_info("socket")], [], [], 0)[0]
        except (OSError, ValueError):  # more files open than select() can count: what the loop has seen is what we know
            return True

    async def write(self, data: bytes | memoryview, until: float) -> None:
        """Hand all of *data* to the kernel.

        Raises:
            ConnectionEndedError: the connection ended before.
            TimeoutError: the kernel had not taken it *until* then, by the event loop's clock.
        """
        view = memoryview(data)
        for start in range(0, len(view), SLICE):
            if self._lost:
                raise self._lost
            self.transport.write(view[start : start + SLICE])
            if self._writable is not None:
                async with asyncio.timeout_at(until):
                    await self._writable

    async def read(self, taker: Taker, gap: float) -> None:
        """Have *taker* take in what comes until it wants no more; what it left of a piece is its own affair.

        Raises:
            SilenceError: nothing came for *gap* seconds.
            ConnectionEndedError: the connection ended before.
            Exception: what *taker* raised.
        """
        kept, self._kept = self._kept, bytearray()
        if kept and taker(memoryview(kept)):
            return
        if self._ended:
            raise self._ended
        self._taker, self._taken, self._heard = taker, self._loop.create_future(), self._loop.time()
        self.transport.resume_reading()
        self._listen(gap)
        try:
            await self._taken
        finally:
            self._taker = None
            if self._alarm is not None:
                self._alarm.cancel()

    def keep(self, rest: bytes | bytearray | memoryview) -> None:
        """Put back the *rest* of a piece for the next one who reads."""
        self._kept[:0] = rest

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        assert isinstance(transport, asyncio.Transport)
        self.use(transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See :class:`asyncio.BufferedProtocol`."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See :class:`asyncio.BufferedProtocol`."""
        self._heard = self._loop.time()
        if self._taker is None:
            self._kept += self._buffer[:nbytes]
            if len(self._kept) >= BUFFER:
                self.transport.pause_reading()
            return
        try:
            if self._taker(self._buffer[:nbytes]):
                self._finish(None)
        except Exception as error:
            self._finish(error)

    def eof_received(self) -> bool:
        """See :class:`asyncio.BufferedProtocol`. Who has said all may still listen, but not over TLS."""
        self._end(ConnectionEndedError())
        return self.transport.get_extra_info("ssl_object") is None

    def connection_lost(self, error: Exception | None) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._lost = ConnectionEndedError(str(error) if error else "")
        self._end(self._lost)
        self.resume_writing()

    def pause_writing(self) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """See :class:`asyncio.BaseProtocol`."""
        waiting, self._writable = self._writable, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    def _listen(self, gap: float) -> None:
        """Wait no longer than *gap* seconds since something was heard; timers may fire a trifle early."""
        left = self._heard + gap - self._loop.time()
        if left <= 0:
            self._finish(SilenceError(f"nothing came for {gap:g} s"))
        else:
            self._alarm = self._loop.call_later(left, self._listen, gap)

    def _end(self, how: ConnectionEndedError) -> None:
        if self._ended is None:
            self._ended = how
            if self._taker is not None:
                self._finish(how)

    def _finish(self, error: Exception | None) -> None:
        self._taker = None
        if not self._taken.done():
            self._taken.set_exception(error) if error else self._taken.set_result(None)
