"""``python -m benchmarks.bulk``: 2,000 images at 1K in one run, and the most memory the process took.

The upstream is a process of its own. It draws a few images of 1.5 MB with the simulator, and serves them in turn, each a
second after it was asked. Measured are the command line (images to files, thumbnails, manifest and sheet), and
``generate_many`` with images handed over in memory; *peak* is the resident set of that process alone.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Final
from urllib.request import Request, urlopen

from rich.console import Console
from rich.table import Table

from gateway import AsyncGateway, ImageResult
from providers.simulator import Simulator

IMAGES: Final = 2_000
DRAWN: Final = 6
"""Different images that are served in turn."""
WEIGHT: Final = 1_500_000
"""Bytes of an image, as of real ones at 1K."""
SECONDS: Final = 1.0
"""How long the upstream takes for an answer."""
GOAL: Final = 300
"""MiB of resident memory."""
_MODEL: Final = "gemini-3.1-flash-image"


def answers() -> list[bytes]:
    """Bodies with drawn images."""
    with Simulator(payload_bytes=WEIGHT) as simulator:
        return [_drawn(simulator.url, f"fox {number}") for number in range(DRAWN)]


def _drawn(url: str, prompt: str) -> bytes:
    config = {"responseModalities": ["IMAGE"], "imageConfig": {"imageSize": "1K"}}
    question = {"contents": [{"parts": [{"text": prompt}]}], "generationConfig": config}
    headers = {"content-type": "application/json", "x-goog-api-key": "k"}
    address = f"{url}/v1beta/models/{_MODEL}:generateContent"
    with urlopen(Request(address, json.dumps(question).encode(), headers)) as answer:
        return bytes(answer.read())


async def upstream() -> None:
    """Serve until the process is ended; the port is printed."""
    bodies, turns = answers(), count()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0]))
                await asyncio.sleep(SECONDS)
                body = bodies[next(turns) % DRAWN]
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


async def in_memory(images: int) -> None:
    """``generate_many`` with each image in memory until the next one is asked for."""
    total, usd = 0, 0.0
    async with AsyncGateway.from_config("gateway.toml") as gateway:
        async for _, ended in gateway.generate_many(f"fox {number}" for number in range(images)):
            assert isinstance(ended, ImageResult), ended
            total += len(ended.images[0].data)
            usd += float(ended.cost.usd)
    print(json.dumps({"done": images, "usd": usd, "bytes": total}))


@contextmanager
def serving() -> Iterator[int]:
    """The port of an upstream in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bulk", "--part", "upstream"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def measured(command: list[str], folder: Path) -> tuple[float, float, dict[str, float]]:
    """Peak MiB and seconds of a process, and what it printed as JSON."""
    paths = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "XDG_STATE_HOME": str(folder / "state"), "PYTHONPATH": paths}
    start = time.perf_counter()
    with (folder / "told").open("w+") as told:
        process = subprocess.Popen([sys.executable, *command], cwd=folder, env=environment, stdout=told)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0)
        printed = json.load(told)
    return usage.ru_maxrss / 1024, time.perf_counter() - start, printed


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description=__doc__)
    parser.add_argument("--images", type=int, default=IMAGES)
    parser.add_argument("--part", choices=("upstream", "memory"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.part:
        asyncio.run(upstream() if asked.part == "upstream" else in_memory(asked.images))
        return
    table = Table(title=f"{asked.images:,} images at 1K of {WEIGHT / 1e6:.1f} MB; the goal is below {GOAL} MiB")
    for heading in ("", "done", "peak MiB", "seconds", "USD"):
        table.add_column(heading, justify="right" if heading else "left")
    with tempfile.TemporaryDirectory() as name, serving() as port:
        folder = Path(name)
        lane = f'lanes = [{{ model = "{_MODEL}", sizes = ["1K"] }}]'
        base_url = f"http://127.0.0.1:{port}"
        (folder / "gateway.toml").write_text(
            f'[providers.google]\nkind = "google"\nbase_url = "{base_url}"\napi_key = "any"\n{lane}\n'
        )
        (folder / "prompts.txt").write_text("".join(f"fox {number}\n" for number in range(asked.images)))
        contenders = {
            "image-gateway bulk, to files": ["-m", "gateway.cli", "bulk", "prompts.txt", "-o", "out", "--json"],
            "generate_many, in memory": ["-m", "benchmarks.bulk", "--part", "memory", "--images", str(asked.images)],
        }
        for what, command in contenders.items():
            peak, seconds, told = measured(command, folder)
            table.add_row(what, f"{told['done']:,}", f"{peak:.0f}", f"{seconds:.0f}", f"{told['usd']:.2f}")
    Console().print(table)


if __name__ == "__main__":
    main()
