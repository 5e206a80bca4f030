"""The gateway that a command works with."""

from __future__ import annotations

from gateway.cli import logs
from gateway.cli.consoles import warn
from gateway.cli.options import Common
from gateway.client import AsyncGateway


def opened(common: Common) -> AsyncGateway:
    """The gateway of the configuration that *common* names; what the configuration warns of goes to stderr.

    Raises:
        ConfigError: the configuration cannot be used, or there is none.
    """
    if common.verbose:
        logs.configure(verbose=True)
    gateway = AsyncGateway.from_config(common.config)
    for warning in gateway.config.warnings:
        warn(warning)
    return gateway
