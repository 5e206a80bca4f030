"""``image-gateway simulate``: an image upstream on this machine, for tests of one's own."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from queue import SimpleQueue
from typing import Final

from rich.text import Text

from gateway import catalogue
from gateway.cli import json_output, logs
from gateway.cli.consoles import stderr, stdout, visible
from gateway.cli.exits import reporting
from gateway.cli.options import Output
from gateway.cli.simulate_options import Jobs
from gateway.cli.traffic import Seen, WatchedSimulator, Watcher
from providers.errors import ConfigError
from providers.simulator import Address, BatchBehaviour, Fault, Simulator, parse_fault
from providers.simulator.models import find
from providers.sizes import Size

KEY_VARIABLE: Final = "SIMULATOR_KEY"
"""The variable that the configuration to paste names, if the simulator asks for a key."""

_DIALECTS: Final = {"openai": "images", "google-compat": "images", "new-api": "new-api"}
"""How flavours are best asked, where that is not in the dialect ``chat``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """The simulator that is asked for. *key* None accepts any key, or none; *jobs* is how batch jobs go on."""

    host: str
    port: int
    flavour: str
    faults: tuple[str, ...]
    key: str | None
    jobs: Jobs


def run(wanted: Wanted, output: Output, *, quiet: bool) -> None:
    """Serve until SIGINT or SIGTERM, and print a line for each request unless *quiet*."""
    logs.configure(output.verbose)
    traffic: SimpleQueue[Seen] = SimpleQueue()
    log = stderr() if output.as_json else stdout()
    with reporting(output), _until_told(), _serving(wanted, traffic.put) as simulator:
        _announce(simulator, wanted, output)
        while True:
            seen = traffic.get()
            if not quiet:
                log.print(_line(seen), soft_wrap=True)


@contextmanager
def _until_told() -> Iterator[None]:
    """Until Ctrl-C or SIGTERM, which means the same here: it is how one ends this command."""
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGTERM, previous)


@contextmanager
def _serving(wanted: Wanted, watcher: Watcher) -> Iterator[Simulator]:
    faults = [_fault(text) for text in wanted.faults]
    keys = None if wanted.key is None else [wanted.key]
    try:
        address, batches = Address(wanted.host, wanted.port), BatchBehaviour(**asdict(wanted.jobs))
        simulator = WatchedSimulator(watcher, wanted.flavour, faults, keys=keys, address=address, batches=batches)
        simulator.start()
    except ValueError as error:
        raise ConfigError(f"flavour: {error}") from None
    except OSError as error:
        raise ConfigError(f"{wanted.host} port {wanted.port}: cannot be listened on: {_reason(error)}") from None
    try:
        yield simulator
    finally:
        simulator.stop()


def _reason(error: OSError) -> str:
    # asyncio puts the address, and from Python 3.13 on the number, around the system's words
    return os.strerror(error.errno).lower() if error.errno else str(error)


def _fault(text: str) -> Fault:
    try:
        fault = parse_fault(text)
    except ValueError as error:
        raise ConfigError(f"fault {text!r}: {error}") from None
    if fault.model is not None and find(fault.model) is None:
        raise ConfigError(f"fault {text!r}: expected a size or a model after '@'")
    return fault


def _announce(simulator: Simulator, wanted: Wanted, output: Output) -> None:
    if output.as_json:
        urls = {"url": simulator.url, "google_url": simulator.google_url, "openai_url": simulator.openai_url}
        json_output.write({**urls, "flavour": wanted.flavour, "faults": wanted.faults}, indent=None)
        return
    console = stdout()
    for name, told in (
        ("Google's wire", simulator.google_url),
        ("OpenAI's wires", f"{simulator.openai_url} ({wanted.flavour})"),
        ("faults", ", ".join(wanted.faults) or "none"),
    ):
        console.print(Text.assemble((f"{name:<16}", "dim"), visible(told)), soft_wrap=True)
    console.print("\nFor gateway.toml:\n", style="dim")
    console.print(_configuration(simulator, wanted), soft_wrap=True)
    console.print("\nCtrl-C ends it. Requests:", style="dim")


def _configuration(simulator: Simulator, wanted: Wanted) -> str:
    key = "" if wanted.key is None else f'\napi_key = "env:{KEY_VARIABLE}"    # set it to the key given with --key'
    dialect = _DIALECTS.get(wanted.flavour, "chat")
    lanes = _lanes("openai") if dialect == "images" else ""  # the other flavours are relays', which take no batch jobs
    return (
        f'[providers.sim-google]\nkind = "google"\nbase_url = "{simulator.google_url}"{key}{_lanes("google")}\n\n'
        f'[providers.sim-openai]\nkind = "openai"\nbase_url = "{simulator.openai_url}"\ndialect = "{dialect}"{key}{lanes}'
    )


def _lanes(vendor: str) -> str:
    """The *vendor*'s models with their batch prices, which a lane elsewhere has to state to take batch jobs."""
    lanes = [
        f'    {{ model = "{row.id}", batch_price = {{ {_by_size(row.batch_prices)} }} }},'
        for row in catalogue.models()
        if row.vendor == vendor and row.batch_prices
    ]
    return "\n".join(["\nlanes = [", *lanes, "]"])


def _by_size(prices: Mapping[Size, Decimal]) -> str:
    return ", ".join(f'"{size}" = {price}' for size, price in prices.items())


def _line(seen: Seen) -> Text:
    """Method, path, model, size and status of a request."""
    request = seen.request
    style = "red" if seen.status is None or seen.status >= 400 else "green"
    line = Text(visible(f"{request.method} {request.path} {request.model or '–'} {request.size or '–'} "))
    line.append("broken" if seen.status is None else str(seen.status), style=style)
    return line.append(f" {request.fault}", style="dim") if request.fault else line
