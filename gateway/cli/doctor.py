"""``image-gateway doctor``: is the configuration in order, and can each provider be used? Makes free calls alone."""

from __future__ import annotations

import os
from collections.abc import Container, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import anyio
import typer

from gateway.cli import diagnosis, exits, json_output, logs
from gateway.cli.checkup import Check, Finding, checks, examine
from gateway.cli.consoles import stderr, stdout, visible
from gateway.cli.diagnosis import Diagnosis
from gateway.cli.exits import reporting
from gateway.cli.options import Common
from gateway.cli.standing import BY_NAME, standing
from gateway.client import AsyncGateway
from gateway.config import Config
from gateway.request import ImageRequest
from gateway.router import lane_warnings


def run(common: Common, timeout: float) -> None:
    """Examine the configuration, and show what was found and what to do about it."""
    if common.verbose:
        logs.configure(verbose=True)
    with reporting(common):
        gateway = AsyncGateway.from_config(common.config)
    found = _diagnosis(gateway, _findings(checks(gateway.config, os.environ), timeout))
    if common.as_json:
        json_output.write(_document(found))
    else:
        diagnosis.show(found, stdout())
    if not found.usable:
        raise typer.Exit(exits.FAILED)


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
    barred = standing(gateway)
    return Diagnosis(
        config=config.source,
        warnings=config.warnings,
        providers=findings,
        disabled=[entry.name for entry in config.providers.values() if not entry.enabled],
        lanes=len(config.lanes),
        excluded=[each for each in barred.values() if each.reason not in ("disabled", *BY_NAME)],
        notices=list(_notices(config, barred)),
    )


def _document(found: Diagnosis) -> Mapping[str, Any]:
    providers = [{"usable": finding.usable, **json_output.plain(finding)} for finding in found.providers]
    return {"usable": found.usable, **json_output.plain(found), "providers": providers}


def _notices(config: Config, barred: Container[str]) -> Iterator[str]:
    """Of lanes that retire within the router's period of notice, and of usable ones that their vendor has retired."""
    today = datetime.now(UTC).date()
    plain = ImageRequest(prompt="anything")
    for lane in config.lanes:
        ahead = lane.retired is not None and lane.retired > today
        if lane.enabled and (ahead or lane.name not in barred):
            yield from lane_warnings(lane, plain, today)
