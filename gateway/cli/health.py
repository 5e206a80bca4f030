"""``image-gateway health``: how every lane is doing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio

from gateway.cli import json_output, tables, watching
from gateway.cli.consoles import stdout
from gateway.cli.exits import reporting
from gateway.cli.gateways import opened_with_warnings
from gateway.cli.options import Common
from gateway.client import AsyncGateway


def run(common: Common, watch: float | None) -> None:
    """Show a snapshot of the lanes; with *watch*, another one every so many seconds."""
    with reporting(common), opened_with_warnings(common) as gateway:
        if watch is None:
            _show(gateway, common, json_output.write)
        else:
            watching.every(watch, lambda: _show(gateway, common, json_output.write_line), gateway, common)


def _show(gateway: AsyncGateway, common: Common, write: Callable[[Mapping[str, Any]], None]) -> None:
    anyio.run(gateway.hear)
    lanes = gateway.health()
    if common.as_json:
        write({"lanes": lanes})
    else:
        stdout().print(tables.health(lanes))
