"""``image-gateway plan``: what would be tried, in which order, and why the rest is out."""

from __future__ import annotations

from gateway.cli import json_output, tables
from gateway.cli.asking import request_of
from gateway.cli.consoles import stdout, visible
from gateway.cli.exits import reporting
from gateway.cli.gateways import opened_with_warnings
from gateway.cli.options import Asked, Common
from gateway.router.plan import Plan


def run(asked: Asked, common: Common) -> None:
    """Show the plan for what was *asked*."""
    with reporting(common):
        request = request_of(asked)
        with opened_with_warnings(common) as gateway:
            plan = gateway.plan(request)
    if common.as_json:
        json_output.write(json_output.plain(plan))
    else:
        show(plan)


def show(plan: Plan) -> None:
    """Print *plan* for a person."""
    console = stdout()
    if plan.candidates:
        console.print(tables.candidates(plan.candidates))
    else:
        console.print("No lane can serve this request.", style="red")
    if plan.excluded:
        console.print()
        console.print(tables.exclusions(plan.excluded))
    if plan.acceptance is not None:
        console.print()
        console.print(visible(plan.acceptance.why))
        console.print(tables.acceptance(plan.acceptance.rows))
    for warning in plan.warnings:
        console.print(f"warning: {visible(warning)}", style="yellow")
