"""``image-gateway health``: how every lane is doing."""

from __future__ import annotations

from gateway.cli import json_output, tables
from gateway.cli.consoles import stdout
from gateway.cli.exits import reporting
from gateway.cli.gateways import opened
from gateway.cli.options import Common


def run(common: Common) -> None:
    """Show a snapshot of the lanes."""
    with reporting(common):
        lanes = opened(common).health()
    if common.as_json:
        json_output.write({"lanes": lanes})
    else:
        stdout().print(tables.health(lanes))
