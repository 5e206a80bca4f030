"""The upstreams: a server on loopback for each lane, failing as the scene says, and keeping the one true bill.

Who pays: a call that a lane has begun to draw is charged when it has been drawn, whether or not anybody still waits for
it. Refusals are charged. Of calls that hang half are charged, by the coin, whenever the caller hangs up. Errors and
resets are free.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from http.client import responses
from random import Random

from benchmarks.storm import wires
from benchmarks.storm.lanes import LANES, SECONDS, SPREAD, Lane
from benchmarks.storm.pictures import Size
from benchmarks.storm.scenes import Draw, Effect, Hang, Moment, Reset, Say, Scene
from benchmarks.storm.traffic import Request
from benchmarks.storm.wires import Answer, Asked

HUNG_AND_CHARGED = 0.5
"""The share of hung calls that are charged."""


@dataclass(slots=True)
class Call:
    """A call as its lane saw it, *at* seconds after the start. *struck*: by what, if by anything. *cost* is USD."""

    lane: str
    number: int
    size: Size
    at: float
    struck: str | None = None
    cost: float = 0.0


@dataclass
class World:
    """One scene at its time, with every call and what it cost."""

    scene: Scene
    seed: int = 1
    calls: list[Call] = field(default_factory=list)
    urls: dict[str, str] = field(default_factory=dict)
    started: float = 0.0
    _seen: Counter[tuple[str, int]] = field(default_factory=Counter)
    _minutes: Counter[tuple[str, int]] = field(default_factory=Counter)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Serve every lane; their addresses are in *urls* then."""
        async with AsyncExitStack() as stack:
            for lane in LANES:
                server = await asyncio.start_server(partial(self._connection, lane), "127.0.0.1", 0)
                stack.callback(server.close)
                self.urls[lane.name] = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            self.started = asyncio.get_running_loop().time()
            yield

    def price_of_the_best(self, requests: list[Request]) -> Iterator[float]:
        """For each request the price of the cheapest lane that was healthy when it came, quotas used up in order."""
        used: Counter[tuple[str, int]] = Counter()
        for request in requests:
            yield next(lane.prices[request.size] for lane in LANES if self._could_serve(lane, request, used))

    def _could_serve(self, lane: Lane, request: Request, used: Counter[tuple[str, int]]) -> bool:
        for fault in self.scene.faults:
            if not fault.concerns(lane.name, request.size, request.at):
                continue
            minute = lane.name, int(request.at // 60)
            if fault.per_minute is None or used[minute] >= fault.per_minute:
                return False
            used[minute] += 1
        return True

    async def _connection(self, lane: Lane, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection until the caller hangs up."""
        try:
            while True:
                await self._exchange(lane, await _read_request(reader), reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the caller hung up, or the scene is over
        finally:
            writer.close()

    async def _exchange(
        self, lane: Lane, body: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        asked = wires.read(lane.wire, body)
        call = Call(lane.name, asked.number, asked.size, self._now())
        self.calls.append(call)
        chance = self._chance(lane, asked)
        effect = self._effect(lane, asked, coin=chance.random()) or Draw(asked.size)
        if not (isinstance(effect, Draw) and effect.size == asked.size):
            call.struck = type(effect).__name__
        match effect:
            case Hang():
                call.cost = lane.prices[asked.size] if chance.random() < HUNG_AND_CHARGED else 0.0
                await reader.read()
                raise ConnectionResetError
            case Reset():
                await asyncio.sleep(0.3)
                _reset(writer)
            case Say(answer, seconds):
                await asyncio.sleep(seconds)
                call.cost = lane.prices[asked.size] if answer.billed else 0.0
                _write(writer, answer)
            case Draw(size, slower):
                call.cost = lane.prices[asked.size]
                await asyncio.sleep(slower * SECONDS[asked.size] * chance.lognormvariate(0, SPREAD))
                _write(writer, wires.drawn(lane.wire, size))
        await writer.drain()

    def _chance(self, lane: Lane, asked: Asked) -> Random:
        """Luck goes by request, lane and how often the one has come to the other: the same for every contender."""
        self._seen[lane.name, asked.number] += 1
        return Random(f"{self.seed} {lane.name} {asked.number} {self._seen[lane.name, asked.number]}")

    def _effect(self, lane: Lane, asked: Asked, coin: float) -> Effect | None:
        """What a fault does to a call that comes now, None if the lane works."""
        now, minute = self._now(), (lane.name, int(self._now() // 60))
        earlier, self._minutes[minute] = self._minutes[minute], self._minutes[minute] + 1
        for fault in self.scene.faults:
            if fault.concerns(lane.name, asked.size, now):
                progress = (now - fault.start) / (fault.end - fault.start)
                effect = fault.strike(Moment(lane.wire, asked.size, progress, coin, earlier, 60 - now % 60))
                if effect is not None:
                    return effect
        return None

    def _now(self) -> float:
        return asyncio.get_running_loop().time() - self.started


async def _read_request(reader: asyncio.StreamReader) -> bytes:
    """The body of the next request."""
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
    return await reader.readexactly(int(length.split(b":")[1]))


def _write(writer: asyncio.StreamWriter, answer: Answer) -> None:
    lines = [f"HTTP/1.1 {answer.status} {responses[answer.status]}", f"Content-Length: {len(answer.body)}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    writer.write("\r\n".join([*lines, "", ""]).encode() + answer.body)


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: with a linger time of zero the kernel drops the connection instead of ending it."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    raise ConnectionResetError
