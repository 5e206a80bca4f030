"""HTTP/1.1 straight on asyncio's transports: what httpx2's own transport does, at a third of the cost for a large answer.

h11 writes and reads the heads; the body goes from the connection's buffer to its sink without a copy in between. For
connections without a proxy: tunnels are left to httpx2.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, NamedTuple, TypeVar

import h11
import httpx2

from providers.connection import Connection, ConnectionEndedError, SilenceError
from providers.dialling import dial
from providers.framing import Framing, FramingError, Sink, framing_of
from providers.turnstile import turn

MAX_HEAD: Final = 100 * 1024
"""Bytes of an answer's head; httpx2 has the same limit."""
MAX_IDLE: Final = 64
"""Connections kept open for the next request."""
IDLE_FOR: Final = 30.0
"""Seconds for which a connection is kept; common servers close theirs after 60 or more."""

_SMALL: Final = 64 * 1024
"""Bytes up to which parts of a request are joined, so that they leave together."""
_BLANK_LINE: Final = re.compile(rb"\n\r?\n")

T = TypeVar("T")


class Origin(NamedTuple):
    """Where connections lead."""

    scheme: str
    host: str
    port: int


class Http11Transport(httpx2.AsyncBaseTransport):
    """Sends requests over connections of its own, which it keeps for the next request to the same origin.

    It belongs to one event loop. A request is never sent twice.
    """

    def __init__(self) -> None:
        self._idle: dict[Origin, list[tuple[Connection, float]]] = defaultdict(list)
        self._secure: ssl.SSLContext | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send *request*; the body of the answer is still to be read, and its stream to be closed."""
        origin = _origin(request.url)
        limits = request.extensions["timeout"]
        connection = self._fresh(origin) or await self._connect(origin, limits["connect"])
        exchange = _Exchange(connection, request)
        try:
            response = await exchange.run()
        except BaseException:
            connection.abort()
            raise
        return httpx2.Response(
            response.status_code,
            headers=list(response.headers.raw_items()),
            stream=Body(exchange, lambda: self._put_back(origin, connection)),
            extensions={"http_version": b"HTTP/" + response.http_version, "reason_phrase": response.reason},
        )

    async def aclose(self) -> None:
        """Close the connections that are not in use."""
        for kept in self._idle.values():
            for connection, _ in kept:
                connection.abort()
        self._idle.clear()
        await asyncio.sleep(0)  # asyncio closes sockets a turn later

    def _fresh(self, origin: Origin) -> Connection | None:
        """The connection to *origin* that was used last, if one is still good."""
        now, kept = asyncio.get_running_loop().time(), self._idle[origin]
        while kept:
            connection, since = kept.pop()
            if now - since < IDLE_FOR and connection.is_fresh():
                return connection
            connection.abort()
        return None

    def _put_back(self, origin: Origin, connection: Connection) -> None:
        if sum(map(len, self._idle.values())) >= MAX_IDLE or not connection.is_fresh():
            connection.abort()
            return
        self._idle[origin].append((connection, asyncio.get_running_loop().time()))

    async def _connect(self, origin: Origin, seconds: float) -> Connection:
        """Raises httpx2.ConnectError and httpx2.ConnectTimeout; *seconds* are for TCP and for TLS, each."""
        connection = await _connecting(dial(origin.host, origin.port), seconds)
        if origin.scheme == "https":
            try:
                await _connecting(self._secured(origin, connection), seconds)
            except BaseException:
                connection.abort()
                raise
        return connection

    async def _secured(self, origin: Origin, connection: Connection) -> None:
        loop, plain = asyncio.get_running_loop(), connection.transport
        secure = await loop.start_tls(plain, connection, self._tls(), server_hostname=origin.host)
        assert secure is not None
        connection.use(secure)

    def _tls(self) -> ssl.SSLContext:
        if self._secure is None:
            self._secure = httpx2.create_ssl_context()
            self._secure.set_alpn_protocols(["http/1.1"])
        return self._secure


class Body(httpx2.AsyncByteStream):
    """The body of an answer: read with :meth:`pour`, or piece by piece as any stream."""

    def __init__(self, exchange: _Exchange, put_back: Callable[[], None]) -> None:
        self._exchange = exchange
        self._put_back = put_back

    async def pour(self, sink: Sink) -> None:
        """Feed the body to *sink* as it arrives; each piece is gone when *sink* returns."""
        await self._exchange.pour(sink)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        pieces: list[bytes] = []
        while not self._exchange.ended:
            await self._exchange.pour(lambda piece: pieces.append(bytes(piece)), all_of_it=False)
            while pieces:
                yield pieces.pop(0)

    async def aclose(self) -> None:
        """Give the connection back if it can be used again, else close it."""
        if self._exchange.reusable:
            self._put_back()
        else:
            self._exchange.connection.abort()


class _Exchange:
    """One request and its answer on one connection."""

    def __init__(self, connection: Connection, request: httpx2.Request) -> None:
        self.connection = connection
        self._request = request
        self._limits: dict[str, float] = request.extensions["timeout"]
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=MAX_HEAD)
        self._text = bytearray()
        self._framing: Framing | None = None

    @property
    def ended(self) -> bool:
        """Whether the whole answer is there."""
        return self._framing is not None and self._framing.ended

    @property
    def reusable(self) -> bool:
        """Whether both sides have said all, and neither wants to leave."""
        return self.ended and self._http.our_state is h11.DONE

    async def run(self) -> h11.Response:
        """Send the request, and read the answer's head."""
        with _as_httpx2:
            await self._send()
            response = await self._head()
            self._framing = framing_of(self._request.method.encode(), response)
            return response

    async def pour(self, sink: Sink, *, all_of_it: bool = True) -> None:
        """Feed the body to *sink*: to its end, or what comes next."""
        framing = self._framing
        assert framing is not None

        def take(view: memoryview) -> bool:
            used = framing.feed(view, sink)
            if used < len(view):
                self.connection.keep(view[used:])
            return framing.ended or not all_of_it

        if framing.ended:
            return
        with _as_httpx2:
            try:
                await self.connection.read(take, self._limits["read"])
            except ConnectionEndedError as ended:
                if ended.reason:
                    raise
                framing.close()

    async def _send(self) -> None:
        try:
            await self._write(asyncio.get_running_loop().time() + self._limits["write"])
        except TimeoutError:
            raise httpx2.WriteTimeout("the upstream does not read") from None
        except ConnectionEndedError:
            return  # an upstream that stops listening halfway may have answered all the same
        await self._request.extensions["trace"]("http11.send_request_body.complete", {})

    async def _write(self, until: float) -> None:
        waiting = b""
        async for data in self._outgoing():
            if len(data) < _SMALL:
                waiting += data
            if len(data) >= _SMALL or len(waiting) >= _SMALL:
                await self.connection.write(waiting, until)
                waiting = b""
            if len(data) >= _SMALL:
                await self.connection.write(data, until)
        await self.connection.write(waiting, until)

    async def _outgoing(self) -> AsyncIterator[bytes]:
        request = self._request
        assert isinstance(request.stream, httpx2.AsyncByteStream)
        yield (
            self._http.send(
                h11.Request(method=request.method, target=request.url.raw_path, headers=request.headers.raw)
            )
            or b""
        )
        async for part in request.stream:
            for data in self._http.send_with_data_passthrough(h11.Data(data=part)) or ():
                yield data
        for data in self._http.send_with_data_passthrough(h11.EndOfMessage()) or ():
            yield data

    async def _head(self) -> h11.Response:
        """The head of the answer, behind any that only ask for patience."""
        while True:
            await self.connection.read(self._take_head, self._limits["read"])
            await turn()  # many answers may come at once
            event = self._http.next_event()
            if isinstance(event, h11.Response):
                return event

    def _take_head(self, view: memoryview) -> bool:
        seen = len(self._text)
        self._text += view
        end = _BLANK_LINE.search(self._text, max(0, seen - 3))
        if (end.end() if end else len(self._text)) > MAX_HEAD:
            raise httpx2.RemoteProtocolError(f"the head of the answer is over the limit of {MAX_HEAD} bytes")
        if end:
            self._http.receive_data(bytes(self._text[: end.end()]))
            self.connection.keep(self._text[end.end() :])
            self._text = bytearray()
        return bool(end)


def _origin(url: httpx2.URL) -> Origin:
    return Origin(url.scheme, url.raw_host.decode("ascii"), url.port or (443 if url.scheme == "https" else 80))


async def _connecting(step: Awaitable[T], seconds: float) -> T:
    try:
        async with asyncio.timeout(seconds):
            return await step
    except TimeoutError:
        raise httpx2.ConnectTimeout(f"not connected within {seconds:g} s") from None
    except (OSError, UnicodeError) as error:
        raise httpx2.ConnectError(str(error)) from error


class _AsHttpx2:
    """What goes wrong below, in httpx2's terms."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        match error:
            case SilenceError():
                raise httpx2.ReadTimeout(str(error)) from None
            case ConnectionEndedError(reason=""):
                raise httpx2.RemoteProtocolError("the upstream left without an answer") from None
            case ConnectionEndedError():
                raise httpx2.ReadError(error.reason) from error
            case h11.RemoteProtocolError() | FramingError():
                raise httpx2.RemoteProtocolError(str(error)) from error
            case h11.LocalProtocolError():
                raise httpx2.LocalProtocolError(str(error)) from error


_as_httpx2: Final = _AsHttpx2()
