"""How an answer gets onto a connection, or fails to."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Iterator
from http.client import responses
from typing import Final

from providers.simulator.effects import Cut, Delivery, Drip, Framing, Garbage, Hang, Reset
from providers.simulator.messages import Answer

SLICE: Final = 2**18
"""Bytes written at a time, so that a large body neither fills memory nor holds up the loop."""


def headers_of(answer: Answer) -> list[tuple[str, str]]:
    """The headers of *answer*, Content-Length aside."""
    return [("Content-Type", answer.media_type), ("Server", "simulator"), *answer.headers]


def slices(answer: Answer, size: int = SLICE) -> Iterator[bytes]:
    """The body in pieces of at most *size* bytes."""
    for part in answer.body:
        view = memoryview(part)
        for start in range(0, len(view), size):
            yield bytes(view[start : start + size])


async def deliver_badly(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: Answer, delivery: Delivery
) -> None:
    """Deliver *answer* as *delivery* says. The connection is of no use afterwards."""
    match delivery:
        case Reset():
            reset(writer)
        case Hang():
            await _until_hung_up(reader)
        case Garbage(data):
            writer.write(data)
            await writer.drain()
        case Cut(at, framing):
            await _cut(writer, answer, at, framing)
        case Drip(every, piece):
            await _drip(writer, answer, every, piece)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: a linger time of zero makes the kernel drop the connection instead of ending it."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def _until_hung_up(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(OSError):
        while await reader.read(SLICE):
            pass


async def _cut(writer: asyncio.StreamWriter, answer: Answer, at: float, framing: Framing) -> None:
    left = int(answer.length * at)
    writer.write(_head(answer, framing))
    for piece in slices(answer):
        part = piece[:left]
        left -= len(part)
        writer.write(_framed(part, framing))
        await writer.drain()
        if not left:
            return


async def _drip(writer: asyncio.StreamWriter, answer: Answer, every: float, piece: int) -> None:
    writer.write(_head(answer, "length"))
    for part in slices(answer, piece):
        writer.write(part)
        await writer.drain()
        await asyncio.sleep(every)


def _head(answer: Answer, framing: Framing) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {responses.get(answer.status, '')}"]
    lines += [f"{name}: {value}" for name, value in headers_of(answer)]
    lines += {
        "length": [f"Content-Length: {answer.length}"],
        "chunked": ["Transfer-Encoding: chunked"],
        "close": ["Connection: close"],
    }[framing]
    return "\r\n".join([*lines, "", ""]).encode()


def _framed(part: bytes, framing: Framing) -> bytes:
    if framing != "chunked":
        return part
    return f"{len(part):x}\r\n".encode() + part + b"\r\n" if part else b""
