"""HTTP/1.1 over asyncio streams, the protocol by h11."""

from __future__ import annotations

import asyncio
import logging
from typing import Final
from urllib.parse import parse_qsl, unquote, urlsplit

import h11

from providers.simulator.delivery import deliver_badly, headers_of, reset, slices
from providers.simulator.effects import Whole
from providers.simulator.google_errors import INTERNAL
from providers.simulator.messages import Answer, Request
from providers.simulator.upstream import Outgoing, Upstream

_log = logging.getLogger("image_gateway.simulator")

_READ: Final = 2**18
"""Bytes read at a time."""


class Connection:
    """One client's connection: reads requests one after the other and has each answered by the *upstream*."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        self._reader = reader
        self._writer = writer
        self._upstream = upstream
        self._http = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        """Answer requests until either side has had enough."""
        try:
            while await self._exchange():
                self._http.start_next_cycle()
            self._writer.close()
            await self._writer.wait_closed()
        except (OSError, h11.RemoteProtocolError, asyncio.CancelledError):
            # The client went away or speaks no HTTP, or the server is stopping: nobody is left to be told. This is the
            # outermost frame of its task, so a cancellation may end here; Python 3.11 would log it otherwise.
            self._writer.transport.abort()

    async def _exchange(self) -> bool:
        """One request and its answer; False when the connection is done with."""
        head = await self._event()
        if not isinstance(head, h11.Request):
            return False
        request = _request(head, b"")
        if self._upstream.strikes_early(request):
            reset(self._writer)
            return False
        outgoing = await self._respond(_request(head, await self._body()))
        if outgoing.delay:
            await asyncio.sleep(outgoing.delay)
        if not isinstance(outgoing.delivery, Whole):
            await deliver_badly(self._reader, self._writer, outgoing.answer, outgoing.delivery)
            return False
        await self._send(outgoing.answer, bodiless=request.method == "HEAD")
        return self._http.our_state is h11.DONE and self._http.their_state is h11.DONE

    async def _respond(self, request: Request) -> Outgoing:
        scheme = "https" if self._writer.get_extra_info("ssl_object") else "http"
        host, port = self._writer.get_extra_info("sockname")[:2]
        origin = f"{scheme}://{request.headers.get('host', f'{host}:{port}')}"
        try:
            return await self._upstream.respond(request, origin)
        except Exception:
            _log.exception("the simulator failed at %s", request.path)
            return Outgoing(INTERNAL)

    async def _event(self) -> h11.Event | type[h11.PAUSED]:
        while True:
            event = self._http.next_event()
            if event is not h11.NEED_DATA:
                return event  # type: ignore[return-value]
            if self._http.they_are_waiting_for_100_continue:
                self._write(h11.InformationalResponse(status_code=100, headers=[]))
            self._http.receive_data(await self._reader.read(_READ))

    async def _body(self) -> bytes:
        pieces: list[bytes] = []
        while isinstance(event := await self._event(), h11.Data):
            pieces.append(event.data)
        return b"".join(pieces)

    async def _send(self, answer: Answer, *, bodiless: bool) -> None:
        headers = [*headers_of(answer), ("Content-Length", str(answer.length))]
        self._write(h11.Response(status_code=answer.status, headers=headers))
        for piece in () if bodiless else slices(answer):
            self._write(h11.Data(data=piece))
            await self._writer.drain()
        self._write(h11.EndOfMessage())
        await self._writer.drain()

    def _write(self, event: h11.Event) -> None:
        for data in self._http.send_with_data_passthrough(event) or ():
            self._writer.write(data)


def _request(head: h11.Request, body: bytes) -> Request:
    target = urlsplit(head.target.decode("ascii"))
    return Request(
        method=head.method.decode("ascii"),
        path=unquote(target.path),
        query=dict(parse_qsl(target.query, keep_blank_values=True)),
        headers={name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers},
        body=body,
    )
