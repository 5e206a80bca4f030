"""The gateway that a command works with."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio

from gateway.cli import logs
from gateway.cli.consoles import warn
from gateway.cli.options import Common
from gateway.client import AsyncGateway


@contextmanager
def opened(common: Common) -> Iterator[AsyncGateway]:
    """The gateway of the configuration that *common* names, closed after the block.

    Raises:
        ConfigError: the configuration cannot be used, or there is none.
    """
    if common.verbose:
        logs.configure(verbose=True)
    gateway = AsyncGateway.from_config(common.config)
    try:
        yield gateway
    finally:
        anyio.run(gateway.aclose)


@contextmanager
def opened_with_warnings(common: Common) -> Iterator[AsyncGateway]:
    """The same; what the configuration warns of goes to stderr."""
    with opened(common) as gateway:
        for warning in gateway.config.warnings:
            warn(warning)
        yield gateway
