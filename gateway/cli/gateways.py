"""The gateway that a command works with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import anyio

from gateway.cli import logs
from gateway.cli.consoles import warn
from gateway.cli.options import Common
from gateway.client import AsyncGateway
from gateway.configuration import config
from gateway.configuration.config import Config
from gateway.state import default_folder, default_url
from gateway.sync import Gateway


def _lasting(loaded: Config) -> Config:
    """*loaded*; a ledger in memory is of no use to a process that ends at once, unless the configuration wants that."""
    if loaded.state_named:
        return loaded
    try:
        default_folder().mkdir(parents=True, exist_ok=True)
        writable = os.access(default_folder(), os.W_OK)
    except OSError:
        writable = False
    return replace(loaded, state=default_url()) if writable else loaded


@contextmanager
def opened(common: Common) -> Iterator[AsyncGateway]:
    """The gateway of the configuration that *common* names, closed after the block.

    Raises:
        ConfigError: the configuration cannot be used, or there is none.
    """
    logs.configure(common.verbose)
    gateway = AsyncGateway(_lasting(config.load(common.config)))
    try:
        yield gateway
    finally:
        anyio.run(gateway.aclose)


@contextmanager
def opened_in_thread(common: Common) -> Iterator[Gateway]:
    """The same for code without an event loop; what the configuration warns of goes to stderr.

    Raises:
        ConfigError: the configuration cannot be used, or there is none.
    """
    logs.configure(common.verbose)
    with Gateway(_lasting(config.load(common.config))) as gateway:
        for warning in gateway.config.warnings:
            warn(warning)
        yield gateway


@contextmanager
def opened_with_warnings(common: Common) -> Iterator[AsyncGateway]:
    """The same; what the configuration warns of goes to stderr."""
    with opened(common) as gateway:
        for warning in gateway.config.warnings:
            warn(warning)
        yield gateway
