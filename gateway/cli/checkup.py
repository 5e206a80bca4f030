"""Asks each configured provider, by a free call, whether it can be reached and takes the key."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import anyio

from gateway.cli.advice import FOR_OUTCOME
from gateway.configuration.config import Config, ProviderEntry
from providers.outcome import Outcome, OutcomeName
from providers.provider import ProviderSettings, load_provider
from providers.sanitise import sanitise


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What came of one call. *key* is where the key comes from, *address* where the call went, *seconds* how long it took."""

    provider: str
    kind: str
    address: str
    key: str
    outcome: OutcomeName
    seconds: float
    detail: str
    advice: str

    @property
    def usable(self) -> bool:
        """Whether the provider answered as it should."""
        return self.outcome == "ok"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """A call to be made: one for each key of each provider."""

    entry: ProviderEntry
    settings: ProviderSettings
    key: str


def checks(config: Config) -> list[Check]:
    """The calls that examining *config* takes; providers that are switched off need none."""
    return [
        Check(entry=entry, settings=settings, key=place)
        for entry in config.providers.values()
        if entry.enabled
        for settings, place in zip(entry.settings, entry.key_places, strict=True)
    ]


async def examine(planned: Sequence[Check], timeout: float, ended: Callable[[Finding], None]) -> list[Finding]:  # noqa: ASYNC109
    """Make all calls side by side, each within *timeout* seconds; *ended* hears of each as it ends."""
    findings: dict[int, Finding] = {}

    async def one(number: int, check: Check) -> None:
        findings[number] = await _finding(check, timeout)
        ended(findings[number])

    async with anyio.create_task_group() as group:
        for number, check in enumerate(planned):
            group.start_soon(one, number, check)
    return [findings[number] for number in sorted(findings)]


async def _finding(check: Check, timeout: float) -> Finding:  # noqa: ASYNC109
    started = time.monotonic()
    outcome = await _outcome(check.settings, timeout)
    return Finding(
        provider=check.settings.name,
        kind=check.settings.kind,
        address=check.settings.base_url or "the vendor's own host",
        key=check.key,
        outcome=outcome.name,
        seconds=time.monotonic() - started,
        detail=sanitise(outcome.detail),
        advice=advice(check, outcome.name),
    )


async def _outcome(settings: ProviderSettings, timeout: float) -> Outcome:  # noqa: ASYNC109
    try:
        provider = load_provider(settings)
        try:
            return await provider.check(timeout)
        finally:
            await provider.aclose()
    except Exception as error:  # an adapter of a third party may raise what it likes: the other checks go on
        return Outcome(name="bad_response", billed="no", detail=f"{type(error).__name__}: {error}")


def advice(check: Check, outcome: OutcomeName) -> str:
    """What to do, with the places in the configuration by name."""
    path = f"providers.{check.settings.name}"
    if outcome == "auth" and check.settings.kind == "vertex" and not check.key:
        return f"There are no credentials: run `gcloud auth application-default login`, or set {path}.api_key."
    return {
        "ok": "",
        "auth": f"The key was refused: put a valid one into {check.key or f'{path}.api_key'}.",
        "region": f"It refuses calls from here: set egress_country under [{path}] or [gateway] so that its lanes are "
        f"left out, or send its calls through {path}.proxy.",
        "transport": f"It could not be reached: check {path}.base_url, {path}.proxy and the network.",
        "timeout": f"No answer in time: check {path}.base_url and {path}.proxy, or allow more with --timeout.",
        "model_gone": f"There is no list of models at {path}.base_url: does the address lack a part such as /v1?",
        "bad_response": f"The answer is no such API's: check {path}.base_url and {path}.kind.",
        "invalid": f"It does not take the call: check {path}.base_url and {path}.kind.",
    }.get(outcome, FOR_OUTCOME.get(outcome, ""))
