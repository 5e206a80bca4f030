"""``--watch``: a command that looks again and again."""

from __future__ import annotations

from collections.abc import Callable

from gateway.cli.consoles import stdout
from gateway.cli.options import Common
from gateway.cli.reloading import reloading
from gateway.client import AsyncGateway


def every(seconds: float, look: Callable[[], object], gateway: AsyncGateway, common: Common) -> None:
    """*look* every so many *seconds*, on a fresh screen if it is one, until Ctrl-C; SIGHUP reloads *gateway*."""
    with reloading(gateway, common.config) as pause:
        try:
            while True:
                if not common.as_json:
                    stdout().clear()
                look()
                pause(seconds)
        except KeyboardInterrupt:  # it is how one ends this command
            return
