"""Requests that an SDK builds once: a call that differs from an earlier one in nothing but its prompt is made from that one.

An SDK takes up to a millisecond to build and sign the same few hundred bytes. So it does that for a stand-in of the prompt,
and nothing is sent; then each call carries its prompt in the stand-in's place. It is done twice: where the two differ,
something in a request changes from call to call, and the SDK is asked every time.
"""

from __future__ import annotations

import json
import math
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import httpx2

from providers.exchange import Exchange
from providers.request import UpstreamRequest
from providers.transport import Carrier, recording

KEPT: Final = 64
"""Templates an adapter keeps on each event loop: combinations of model, size, ratio and the like."""

Ask = Callable[[UpstreamRequest], Awaitable[object]]
"""Has the SDK build, sign and send a request."""


@dataclass(frozen=True, slots=True)
class Template:
    """A request as the SDK built it, cut open where the prompt stands; *ascii* says how the prompt is written there."""

    method: str
    url: httpx2.URL
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)
    ascii: bool

    def filled(self, prompt: str, timeout: float) -> httpx2.Request:
        """The request with *prompt*, to last at most *timeout* seconds."""
        body = b"".join((self.before, _written(prompt, self.ascii), self.after))
        headers = (*self.headers, (b"Content-Length", b"%d" % len(body)))
        limits = {"timeout": httpx2.Timeout(timeout).as_dict()}
        request = httpx2.Request(
            self.method, self.url, headers=headers, stream=httpx2.ByteStream(body), extensions=limits
        )
        request.read()
        return request


class Templates:
    """The templates of one SDK's *client*, for one event loop."""

    def __init__(self, client: Carrier) -> None:
        self._client = client
        self._kept: OrderedDict[UpstreamRequest, Template | None] = OrderedDict()

    async def send(self, request: UpstreamRequest, ask: Ask) -> object:
        """Send *request*, with the SDK's help as far as that is needed."""
        if request.images or request.history or request.stream:
            return await ask(request)
        kind = replace(request, prompt="", timeout=float(math.ceil(request.timeout)))
        try:
            template = self._kept[kind]
        except KeyError:
            template = await self._learnt(kind, ask)
        if template is None:
            return await ask(request)
        await self._client.carry(template.filled(request.prompt, request.timeout))
        return None  # the answer is in the record

    async def _learnt(self, kind: UpstreamRequest, ask: Ask) -> Template | None:
        template = self._kept[kind] = await _rehearsed(kind, ask)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return template


async def _rehearsed(kind: UpstreamRequest, ask: Ask) -> Template | None:
    """A template for requests like *kind*, or None if the SDK does not build the same one twice."""
    stand_in = f"{secrets.token_hex(24)} \u00e9"  # the last letter shows how others than ASCII are written
    built = [await _built(replace(kind, prompt=stand_in), ask) for _ in range(2)]
    if built[0] is None or built[1] is None or _facts(built[0]) != _facts(built[1]):
        return None
    for ascii_only in (True, False):
        pieces = built[0].content.split(_written(stand_in, ascii_only))
        if len(pieces) == 2:
            return _template(built[0], pieces, ascii_only)
    return None


def _template(request: httpx2.Request, pieces: list[bytes], ascii_only: bool) -> Template:
    before, after = pieces
    headers = tuple(header for header in request.headers.raw if header[0].lower() != b"content-length")
    return Template(request.method, request.url, headers, before, after, ascii_only)


async def _built(request: UpstreamRequest, ask: Ask) -> httpx2.Request | None:
    """What the SDK would send."""
    rehearsal = Exchange(rehearsed=[])
    with suppress(Exception), recording(rehearsal):  # the transport refuses, and SDKs make of that what they like
        await ask(request)
    return rehearsal.rehearsed[0] if rehearsal.rehearsed else None


def _facts(request: httpx2.Request) -> tuple[object, ...]:
    return request.method, request.url, request.headers.raw, request.content


def _written(text: str, ascii_only: bool) -> bytes:
    """*text* inside the quotes of a JSON string."""
    return json.dumps(text, ensure_ascii=ascii_only)[1:-1].encode()
