"""One contender in a process of its own: a warm-up with tiny answers, then one job under observation.

``python -m benchmarks.contender JOB CONTENDER ADDRESS SIZE NUMBER`` prints a line of JSON: *cpu* and *wall* in seconds,
*peak* of resident memory above what was there before in bytes (Linux), *stall*, the longest time in which a ticker of 1 ms
was not served, in seconds, and *image*, the bytes of one image.

Jobs: ``receive`` NUMBER images at once, ``save`` one to a file, ``check``: go through the pixels of one, as the gateway
does, ``send`` NUMBER reference images (*again*: CPU when the same are sent once more), ``tiny``: NUMBER calls in a row,
``crowd``: CALLS of them, always NUMBER at once, ``soak``: NUMBER calls, 256 at once; its *peak* is what memory has grown by
since a tenth of them.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS, Draw
from benchmarks.stalls import noticed

PROMPT = "A launch poster that says HELLO"
TINY = "a tiny poster"
REFERENCE_BYTES = 6_900_000
"""Just below the 7 MB that Google takes inline."""
CALLS = 2048
"""Calls of a crowd, however many are made at once."""
AT_ONCE = 256

Job = Callable[[], Awaitable[bytes]]


async def main(job: str, contender: str, url: str, size: str, number: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        fields = {"save_to": f"{folder}/poster"} if job == "save" else {}
        draw, close = CONTENDERS[contender](f"{url}/{size}", **fields)
        figures = await JOBS[job](draw, size, int(number))
        await close()
        if job == "save":
            figures["image"] = max(path.stat().st_size for path in Path(folder).iterdir())
        print(json.dumps(figures))


async def receive(draw: Draw, size: str, number: int) -> dict[str, float]:
    async def all_at_once() -> bytes:
        return (await asyncio.gather(*(draw(PROMPT, size) for _ in range(number))))[0]

    await _warm_up(draw, number)
    return await observed(all_at_once)


async def check(draw: Draw, size: str, number: int) -> dict[str, float]:
    from providers.verification import verify

    image = await draw(PROMPT, size)
    await _warm_up(draw, 1)

    async def verified() -> bytes:
        await asyncio.to_thread(verify, image)
        return image

    return await observed(verified)


async def send(draw: Draw, size: str, number: int) -> dict[str, float]:
    images = [_picture() for _ in range(number)]
    await draw(TINY, "1K", [_picture(2**16)])
    await draw(TINY, "1K", [_picture(100)])
    first = await observed(lambda: draw(TINY, "1K", images))
    again = await observed(lambda: draw(TINY, "1K", images))
    return {**first, "image": REFERENCE_BYTES * number, "again": again["cpu"]}


async def tiny(draw: Draw, size: str, number: int) -> dict[str, float]:
    async def one_after_the_other() -> bytes:
        for _ in range(number - 1):
            await draw(TINY, "1K")
        return await draw(TINY, "1K")

    await _warm_up(draw, 1)
    return await observed(one_after_the_other)


async def crowd(draw: Draw, size: str, number: int) -> dict[str, float]:
    await _in_turns(draw, number, max(number, CALLS))
    return await observed(lambda: _in_turns(draw, number, CALLS))


async def soak(draw: Draw, size: str, number: int) -> dict[str, float]:
    await _in_turns(draw, AT_ONCE, number // 10)
    before = _status("VmRSS")
    figures = await observed(lambda: _in_turns(draw, AT_ONCE, number - number // 10))
    gc.collect()
    return {**figures, "peak": _status("VmRSS") - before}


async def _in_turns(draw: Draw, at_once: int, calls: int) -> bytes:
    """*calls* tiny answers, always as many *at_once* as are still to come."""
    left = iter(range(calls))

    async def caller() -> bytes:
        image = b""
        for _ in left:
            image = await draw(TINY, "1K")
        return image

    return max(await asyncio.gather(*(caller() for _ in range(at_once))), key=len)


JOBS = {"crowd": crowd, "soak": soak, "receive": receive, "save": receive, "check": check, "send": send, "tiny": tiny}


async def _warm_up(draw: Draw, number: int) -> None:
    for _ in range(2):
        await asyncio.gather(*(draw(TINY, "1K") for _ in range(number)))


async def observed(job: Job) -> dict[str, float]:
    """What *job* takes. What is there before is kept out of the collector's way: its walks over whole SDKs are no job's."""
    gc.collect()
    gc.freeze()
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here
    async with noticed() as longest:
        before, cpu, wall = _status("VmRSS"), time.process_time(), time.perf_counter()
        image = await job()
        cpu, wall, peak = time.process_time() - cpu, time.perf_counter() - wall, _status("VmHWM") - before
    return {"cpu": cpu, "wall": wall, "peak": peak, "stall": longest.seconds, "image": len(image)}


def _picture(size: int = REFERENCE_BYTES) -> bytes:
    """A PNG of about *size* bytes: one pixel and a lot of noise that no program looks at."""
    import struct
    import zlib

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header, pixel = struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0), zlib.compress(bytes(4))
    parts = (chunk(b"IHDR", header), chunk(b"IDAT", pixel), chunk(b"prVt", os.urandom(size)), chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def _status(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found, key
    return int(found[1]) * 1024


if __name__ == "__main__":
    arguments: Any = sys.argv[1:]
    asyncio.run(main(*arguments))
