"""``image-gateway doctor``: is the configuration in order, and can each provider be used? Makes free calls alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import anyio
import typer

from gateway.cli import diagnosis, exits, json_output, watching
from gateway.cli.checkup import Check, Finding, checks, examine
from gateway.cli.consoles import stderr, stdout, visible
from gateway.cli.diagnosis import Diagnosis
from gateway.cli.exits import reporting
from gateway.cli.gateways import opened
from gateway.cli.lane_findings import lane_findings
from gateway.cli.options import Common
from gateway.cli.standing import standing
from gateway.client import AsyncGateway
from gateway.clock import Clock


def run(common: Common, timeout: float, watch: float | None) -> None:
    """Examine the configuration, and show what was found and what to do about it; with *watch*, again and again."""
    with reporting(common), opened(common) as gateway:
        if watch is None:
            usable = _examine(gateway, common, timeout, json_output.write)
        else:
            watching.every(watch, lambda: _examine(gateway, common, timeout, json_output.write_line), gateway, common)
            return
    if not usable:
        raise typer.Exit(exits.FAILED)


def _examine(gateway: AsyncGateway, common: Common, timeout: float, write: Callable[[Mapping[str, Any]], None]) -> bool:
    """Show how things are; whether all providers can be used."""
    found = _diagnosis(gateway, _findings(checks(gateway.config), timeout))
    if common.as_json:
        write(_document(found))
    else:
        diagnosis.show(found, Clock().today(), stdout())
    return found.usable


def _findings(planned: Sequence[Check], timeout: float) -> list[Finding]:
    """Make the calls; where stderr is a terminal it says meanwhile who has not answered yet."""
    waiting = [check.settings.name for check in planned]
    with stderr().status(_asking(waiting)) as status:

        def ended(finding: Finding) -> None:
            waiting.remove(finding.provider)
            status.update(_asking(waiting))

        return anyio.run(examine, planned, timeout, ended)


def _asking(waiting: Sequence[str]) -> str:
    return f"asking {visible(', '.join(dict.fromkeys(waiting)))}"


def _diagnosis(gateway: AsyncGateway, findings: Sequence[Finding]) -> Diagnosis:
    config = gateway.config
    return Diagnosis(
        config=config.source,
        egress_country=config.egress_country,
        warnings=config.warnings,
        providers=findings,
        disabled=[entry.name for entry in config.providers.values() if not entry.enabled],
        lanes=lane_findings(config, standing(gateway), Clock().today()),
    )


def _document(found: Diagnosis) -> Mapping[str, Any]:
    providers = [{"usable": finding.usable, **json_output.plain(finding)} for finding in found.providers]
    lanes = [{**json_output.plain(lane), "stale": lane.stale} for lane in found.lanes]
    return {"usable": found.usable, **json_output.plain(found), "providers": providers, "lanes": lanes}
