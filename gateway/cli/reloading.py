"""SIGHUP reloads the configuration of commands that run for long."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import Empty, SimpleQueue

from rich.text import Text

from gateway.cli import failures
from gateway.cli.consoles import stderr, visible
from gateway.client import AsyncGateway
from providers.errors import ConfigError

Pause = Callable[[float], None]
"""Waits so many seconds, or until the configuration was reloaded or could not be."""


@contextmanager
def reloading(gateway: AsyncGateway, source: str | None) -> Iterator[Pause]:
    """Within the block, SIGHUP makes *gateway* load *source* again, at the next :data:`Pause`; stderr tells how it went.

    A configuration with a mistake changes nothing. Where there is no SIGHUP (Windows), nothing is ever reloaded.
    """
    hangups: SimpleQueue[None] = SimpleQueue()  # unlike an event or a lock, it may be used by a signal's handler

    def pause(seconds: float) -> None:
        try:
            hangups.get(timeout=seconds)
        except Empty:
            return
        _reload(gateway, source)

    with _on_hangup(lambda: hangups.put(None)):
        yield pause


@contextmanager
def _on_hangup(act: Callable[[], None]) -> Iterator[None]:
    if not hasattr(signal, "SIGHUP"):
        yield
        return
    previous = signal.signal(signal.SIGHUP, lambda *_: act())
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, previous)


def _reload(gateway: AsyncGateway, source: str | None) -> None:
    try:
        gateway.reload(source)
    except ConfigError as error:
        failures.show(error)
        stderr().print("The configuration in force is still the one before.")
    else:
        told = f"reloaded {gateway.config.source}: {len(gateway.config.lanes)} lanes"
        stderr().print(Text(visible(told), style="green"), soft_wrap=True)
