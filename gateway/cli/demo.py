"""``image-gateway demo``: the gateway at work, against two simulated upstreams on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.rule import Rule
from rich.text import Text

from gateway.cli import files, generate, json_output, logs, report
from gateway.cli.consoles import stderr, stdout, warn
from gateway.cli.exits import reporting
from gateway.cli.options import Output
from gateway.client import AsyncGateway
from gateway.request import ImageRequest
from gateway.result import ImageResult
from providers.errors import InvalidRequest
from providers.images import with_image_suffix
from providers.simulator import Simulator, faults

REQUEST: Final = ImageRequest(prompt="A launch poster that says HELLO", size="4K", aspect_ratio="16:9")
MODEL: Final = "gemini-3.1-flash-image"
RELAY_PRICES: Final = {"1K": 0.08, "2K": 0.12, "4K": 0.18}
"""USD: a little above Google's own, so that the plan begins with Google."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """One request of the demo: the *scene*, and what one has seen (the *moral*)."""

    name: str
    title: str
    scene: str
    moral: str


ACTS: Final = (
    Act(
        name="launch-poster-4k",
        title="Act 1: an upstream is overloaded",
        scene="Google answers 503 at 4K, as at busy hours; the relay is well. One call asks for a poster at 4K. "
        "Google is asked first because the plan goes by price, and the relay charges a little more.",
        moral="The 503 cost nothing, so the same size was asked of the next lane at once. The price is the relay's.",
    ),
    Act(
        name="launch-poster-2k",
        title="Act 2: nobody can draw 4K",
        scene="Now the relay is overloaded at 4K as well. The same call again.",
        moral="Only after every lane had failed at 4K did the size give way, by one step, and the result says so. "
        "With --min-size 4K the call would have failed instead.",
    ),
)


def run(folder: str, output: Output) -> None:
    """Play the acts, and save their images into *folder*."""
    logs.configure(output.verbose)
    overloaded = faults.overloaded(size="4K")
    with reporting(output), Simulator(faults=[overloaded]) as google, Simulator("new-api") as relay:
        place = _made(folder)
        gateway = AsyncGateway.from_config(_configuration(google, relay))
        first = _play(ACTS[0], gateway, place, output)
        relay.inject(overloaded)
        second = _play(ACTS[1], gateway, place, output)
    if output.as_json:
        json_output.write({"results": [first, second]})


def _configuration(google: Simulator, relay: Simulator) -> dict[str, Any]:
    lane = {"model": MODEL, "sizes": list(RELAY_PRICES)}
    return {
        "providers": {
            "google": {"kind": "google", "base_url": google.google_url, "lanes": [lane]},
            "relay": {
                "kind": "openai",
                "base_url": relay.openai_url,
                "dialect": "new-api",
                "lanes": [{**lane, "price": RELAY_PRICES}],
            },
        }
    }


def _made(folder: str) -> Path:
    path = Path(folder)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(f"out: the folder {folder!r} cannot be made: {error.strerror}") from None
    files.target(folder, REQUEST.prompt)  # it may be there and not be writable
    return path


def _play(act: Act, gateway: AsyncGateway, place: Path, output: Output) -> dict[str, Any]:
    """Play *act*; its result as a document."""
    console = stderr(quiet=True) if output.as_json else stdout()
    console.print(Rule(Text(act.title, style="bold"), align="left", style="dim"))
    console.print(Text(act.scene, style="dim"))
    console.print()
    result = generate.make(gateway, REQUEST, output, quiet=True)
    paths = _saved(result, place / act.name)
    report.show(result, paths, console)
    console.print()
    console.print(Text(f"→ {act.moral}"))
    console.print()
    return json_output.result(result, paths)


def _saved(result: ImageResult, path: Path) -> Sequence[Path]:
    """Save the images; those of an earlier demo are replaced."""
    named = with_image_suffix(path, result.images[0].mime_type)
    return files.save(result.images, files.Target(named, named=True), warn)
