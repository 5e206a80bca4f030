"""``image-gateway generate``: make an image and save it."""

from __future__ import annotations

import asyncio
import signal
from contextlib import suppress
from pathlib import Path

import anyio
import typer

from gateway.cli import exits, files, json_output, progress, report
from gateway.cli.asking import request_of
from gateway.cli.consoles import stderr, stdout, visible, warn
from gateway.cli.exits import reporting
from gateway.cli.gateways import opened_with_warnings
from gateway.cli.options import Asked, Common, Output
from gateway.client import AsyncGateway
from gateway.request import ImageRequest
from gateway.result import ImageResult
from providers.errors import GatewayError


def run(asked: Asked, common: Common, output: str | None) -> None:
    """Make what was *asked*, save it at *output*, and show how that went."""
    with reporting(common):
        request = request_of(asked)
        target = files.target(output, request.prompt)
        with opened_with_warnings(common) as gateway:
            try:
                result = make(gateway, request, common, quiet=common.as_json)
            except GatewayError as error:
                exits.fail(error, common, _kept(error, target))
    paths = _saved(result, target)
    if common.as_json:
        json_output.write(json_output.result(result, paths))
    else:
        report.show(result, paths, stdout())


def make(gateway: AsyncGateway, request: ImageRequest, output: Output, *, quiet: bool) -> ImageResult:
    """Make the image, and close the *gateway*'s connections; progress goes to stderr, if *quiet* only to a terminal.

    Raises:
        GatewayError: there is no image.
        typer.Exit: it was interrupted.
    """

    async def draw() -> ImageResult:
        with suppress(NotImplementedError):  # Windows has no such signal
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _drain_once, gateway)
        async with gateway:
            return await gateway.generate(request)

    steps = gateway.plan(request).candidates
    with progress.watching(steps, live=not output.verbose, quiet=quiet or output.verbose) as watch:
        try:
            return anyio.run(draw)
        except KeyboardInterrupt:
            interrupted = watch
    _tell_interrupted(interrupted)
    raise typer.Exit(exits.INTERRUPTED)


def _drain_once(gateway: AsyncGateway) -> None:
    """At SIGTERM the call that is being paid for may end, and no other begins; the next one is as good as Ctrl-C."""
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, signal.raise_signal, signal.SIGINT)
    warn("SIGTERM: waiting for the call under way; once more to give it up")
    gateway.drain()


def _tell_interrupted(watch: progress.Watch) -> None:
    charged = [attempt.lane for attempt in watch.ended if attempt.billed != "no"]
    if charged:
        told = f"a call that was already sent may be billed: {', '.join(dict.fromkeys(charged))}"
    else:
        told = "no call had been sent that could be billed"
    stderr().print(f"Interrupted; {visible(told)}.")


def _saved(result: ImageResult, target: files.Target) -> list[Path]:
    try:
        return files.save(result.images, target, warn)
    except OSError as error:
        warn(f"the image could not be saved anywhere: {error}")
        raise typer.Exit(exits.FAILED) from None


def _kept(error: GatewayError, target: files.Target) -> tuple[str, ...]:
    """The paths at which what was paid for without meeting the request was saved."""
    try:
        return tuple(map(str, files.save(error.images, target.rejected(), warn)))
    except OSError as problem:
        warn(f"images that were paid for could not be saved anywhere: {problem}")
        return ()
