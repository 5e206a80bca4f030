"""The one HTTP transport under every SDK: it carries the bytes, decodes images as they arrive, and keeps the record.

An adapter wraps each SDK call in :func:`recording`; whatever the SDK then sends through :func:`http_client` is written
down in that :class:`~providers.exchange.Exchange`. A 200 answer reaches the SDK with short markers in place of its images;
the images are in the record. Markers cannot be forged: each answer has its own random token.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import Any, Final

import httpx2

from providers.exchange import Exchange, Failure
from providers.extraction import ExtractionError, ImageExtractor, Limits
from providers.http11 import IDLE_FOR, MAX_IDLE, Body, Http11Transport
from providers.uploads import put_in

POOL_TIMEOUT: Final = 2.0
"""Seconds to wait for a free connection of our own."""
CONNECT_TIMEOUT: Final = 5.0
"""Seconds for TCP and for TLS, each."""
READ_GAP: Final = 15.0
"""Seconds between two reads of an answer that has begun; before it begins, the whole call's time may pass."""
MAX_ERROR_BODY: Final = 2**20
"""Bytes of an error answer; real ones have a few thousand."""

STREAMED: Final = "streamed"
"""The extension of a request whose good answer is left to be read by whoever asked, piece by piece."""

_exchange: ContextVar[Exchange | None] = ContextVar("exchange", default=None)


class AnswerRefusedError(httpx2.TransportError):
    """An answer that cannot be taken in: too large, cut short, or wrongly compressed."""


class RehearsalError(httpx2.TransportError):
    """What the SDK would send has been seen; see :mod:`providers.templates`."""


class recording:  # noqa: N801 - used as a function is
    """Write what the SDK called inside sends and receives into *exchange*."""

    __slots__ = ("_exchange", "_token")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        self._token = _exchange.set(self._exchange)

    def __exit__(self, *exc: object) -> None:
        _exchange.reset(self._token)


class Carrier(httpx2.AsyncClient):
    """A client over our transport, past which a request can go that is ready and signed."""

    def __init__(self, transport: RecordingTransport, **options: Any) -> None:
        super().__init__(transport=transport, **options)
        self._carry = transport.carry

    async def carry(self, request: httpx2.Request) -> None:
        """Send *request* as it is; the answer is in the current record alone.

        Raises:
            httpx2.TransportError: as the record says.
        """
        await self._carry(request, _exchange.get() or Exchange())


def http_client(proxy: str | None = None, auth: httpx2.Auth | None = None) -> Carrier:
    """The client to hand to an SDK: our transport, no redirects, no cookies, no proxies but *proxy*.

    Of the environment it knows ``SSL_CERT_FILE`` and ``SSL_CERT_DIR`` alone: whom a machine trusts is the machine's affair.
    """
    client = Carrier(
        RecordingTransport(proxy=proxy),
        auth=auth,
        follow_redirects=False,
        trust_env=False,
        timeout=httpx2.Timeout(180.0, connect=CONNECT_TIMEOUT, pool=POOL_TIMEOUT),
    )
    client.cookies.jar.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return client


def unused_sync_client() -> httpx2.Client:
    """For an SDK that insists on a sync client as well: one that sends nothing."""
    return httpx2.Client(transport=httpx2.MockTransport(_refuse), trust_env=False)


def _refuse(request: httpx2.Request) -> httpx2.Response:
    raise httpx2.UnsupportedProtocol("calls go through the async client", request=request)


class RecordingTransport(httpx2.AsyncBaseTransport):
    """Carries requests, and fills in the current :class:`Exchange`."""

    def __init__(self, *, proxy: str | None = None, limits: Limits = Limits()) -> None:  # noqa: B008 - frozen
        self._inner = Http11Transport() if proxy is None else _through(proxy)
        self._limits = limits

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send *request* and take in the whole answer."""
        exchange = _exchange.get() or Exchange()
        if exchange.rehearsed is not None:
            exchange.rehearsed.append(request)
            raise RehearsalError("nothing is sent in a rehearsal", request=request)
        response = await self.carry(request, exchange)
        if _is_streamed(request, response):
            return response
        return httpx2.Response(
            response.status_code,
            headers=_without_body_headers(response.headers),
            content=exchange.body,
            request=request,
        )

    async def carry(self, request: httpx2.Request, exchange: Exchange) -> httpx2.Response:
        """Send *request*, and take the whole answer into *exchange*, unless it is to be streamed."""
        _prepare(request, exchange)
        with _NotingFailure(exchange):
            if exchange.uploads or exchange.signatures:
                await put_in(request, exchange.uploads, exchange.signatures)
            response = await self._inner.handle_async_request(request)
            if _is_streamed(request, response):
                return response
            try:
                await self._take_in(request, response, exchange)
            finally:
                await response.aclose()
        return response

    async def aclose(self) -> None:
        """Close the connections."""
        await self._inner.aclose()

    async def _take_in(self, request: httpx2.Request, response: httpx2.Response, exchange: Exchange) -> None:
        exchange.status = response.status_code
        exchange.headers = response.headers
        request.extensions["timeout"]["read"] = min(READ_GAP, request.extensions["timeout"]["read"])
        if response.status_code == httpx2.codes.OK:
            extractor = ImageExtractor(self._limits, _declared_length(response.headers), exchange.folder)
            try:
                await _feed(response, extractor.feed)
                extractor.close()
            except BaseException:
                extractor.discard()
                raise
            exchange.body, exchange.images = extractor.document, extractor.images
        else:
            exchange.body = await _read_short(response.aiter_bytes())

    async def __aenter__(self) -> RecordingTransport:
        await self._inner.__aenter__()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._inner.__aexit__(*exc)


def _is_streamed(request: httpx2.Request, response: httpx2.Response) -> bool:
    return STREAMED in request.extensions and response.status_code == httpx2.codes.OK


def _through(proxy: str) -> httpx2.AsyncBaseTransport:
    """httpx2's own transport: it knows tunnels of every kind."""
    pool = httpx2.Limits(max_connections=None, max_keepalive_connections=MAX_IDLE, keepalive_expiry=IDLE_FOR)
    return httpx2.AsyncHTTPTransport(proxy=proxy, limits=pool, http2=False, retries=0)


async def _feed(response: httpx2.Response, take: Callable[[bytes | memoryview], None]) -> None:
    """Feed the decoded body to *take*; a plain one straight from the connection."""
    if isinstance(response.stream, Body) and _is_plain(response.headers):
        await response.stream.pour(take)
        return
    async for piece in response.aiter_bytes():
        take(piece)


def _prepare(request: httpx2.Request, exchange: Exchange) -> None:
    """Ask for a plain body (gzip costs more CPU than it saves on base64), and watch for the request's last byte."""
    request.headers["accept-encoding"] = "identity"
    asked: dict[str, float | None] = request.extensions.get("timeout", {})
    whole = asked.get("read") or READ_GAP
    request.extensions["timeout"] = {
        "pool": min(POOL_TIMEOUT, whole),
        "connect": min(CONNECT_TIMEOUT, whole),
        "write": whole,
        "read": whole,
    }

    request.extensions["trace"] = _Watch(exchange).trace


class _Watch:
    """Notes when the last byte of a request has left; the CONNECT that opens a proxy's tunnel is not that request."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._tunnelling = False

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        """Take note of *event*, as httpcore tells it."""
        if event.endswith("send_request_body.started"):
            self._tunnelling = info["request"].method == b"CONNECT"
        elif event.endswith("send_request_body.complete") and not self._tunnelling:
            self._exchange.sent = True


class _NotingFailure:
    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        match error:
            case ExtractionError() | httpx2.DecodingError():
                self._note("bad_response", str(error))
                raise AnswerRefusedError(str(error)) from None
            case httpx2.TimeoutException():
                waiting_for_answer = isinstance(error, httpx2.ReadTimeout) and self._exchange.sent
                self._note("timeout" if waiting_for_answer else "transport", _describe(error))
            case httpx2.TransportError():
                self._note("transport", _describe(error))

    def _note(self, failure: Failure, detail: str) -> None:
        self._exchange.failure, self._exchange.failure_detail = failure, detail


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__


async def _read_short(pieces: AsyncIterator[bytes]) -> bytes:
    body = bytearray()
    async for piece in pieces:
        body += piece
        if len(body) > MAX_ERROR_BODY:
            raise ExtractionError(f"the error answer is over the limit of {MAX_ERROR_BODY} bytes")
    return bytes(body)


def _declared_length(headers: httpx2.Headers) -> int:
    """Bytes of the decoded body, as far as the headers tell; 0 where they do not."""
    declared = headers.get("content-length", "")
    return (
        int(declared) if _is_plain(headers) and declared.isascii() and declared.isdigit() and len(declared) < 12 else 0
    )


def _is_plain(headers: httpx2.Headers) -> bool:
    return headers.get("content-encoding", "identity").lower() == "identity"


def _without_body_headers(headers: httpx2.Headers) -> list[tuple[str, str]]:
    dropped = {"content-length", "content-encoding", "transfer-encoding"}
    return [(name, value) for name, value in headers.multi_items() if name.lower() not in dropped]
