"""An image upstream on loopback that speaks the real wires, draws real images, and fails on command.

::

    from providers.simulator import Simulator, faults

    with Simulator(faults=[faults.overloaded(size="4K", count=1)]) as sim:
        client = openai.OpenAI(base_url=sim.openai_url, api_key="any", max_retries=0)
        ...
        assert sim.billed == 1

Names are loaded when first used, so that the pytest plugin next door costs nothing to import.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from providers.simulator import faults as faults
    from providers.simulator.batch_jobs import BatchBehaviour as BatchBehaviour
    from providers.simulator.batch_jobs import BatchRecord as BatchRecord
    from providers.simulator.faults import Fault as Fault
    from providers.simulator.faults import parse_fault as parse_fault
    from providers.simulator.flavours import FLAVOURS as FLAVOURS
    from providers.simulator.recording import RecordedRequest as RecordedRequest
    from providers.simulator.simulator import Address as Address
    from providers.simulator.simulator import Simulator as Simulator

__all__ = [
    "FLAVOURS",
    "Address",
    "BatchBehaviour",
    "BatchRecord",
    "Fault",
    "RecordedRequest",
    "Simulator",
    "faults",
    "parse_fault",
]

_HOMES: Final = {
    "Address": "simulator",
    "BatchBehaviour": "batch_jobs",
    "BatchRecord": "batch_jobs",
    "FLAVOURS": "flavours",
    "Fault": "faults",
    "RecordedRequest": "recording",
    "Simulator": "simulator",
    "parse_fault": "faults",
}
"""The module of this package in which each public name lives."""


def __getattr__(name: str) -> object:
    """Load a public name from its module on first use."""
    if name == "faults":
        return import_module("providers.simulator.faults")
    if name in _HOMES:
        return getattr(import_module(f"providers.simulator.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
