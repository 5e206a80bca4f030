"""From ``gateway.toml``, a mapping of the same shape, or the environment to a configuration that can be used."""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway import catalogue
from gateway.complaints import Complaints
from gateway.configuration import document, secrets
from gateway.configuration.document import Document
from gateway.configuration.general_settings import DEADLINES, HEDGE, RETRY_BUDGET, Sort, Step
from gateway.configuration.settings import ProviderTable, Settings, known_keys, switched_on
from gateway.money.budgets import Budget
from gateway.router.lanes import Lane
from providers.errors import ConfigError
from providers.presets import preset_for
from providers.provider import ProviderSettings, known_kinds
from providers.sanitise import sanitise
from providers.secret import Secret
from providers.sizes import Size

CONFIG_VARIABLE: Final = "IMAGE_GATEWAY_CONFIG"
DEFAULT_FILE: Final = "gateway.toml"

KnownKeys = Callable[[tuple[str | int, ...]], tuple[str, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackPolicy:
    """How the chain gives way: ``[fallback]``.

    *retry_budget* is the USD that may be spent on retries before successes have filled the budget up; 0: none that costs
    anything. *hedge* is the share of spend, 0 to 1, that may go to a second call beside a slow first one; 0: never.
    """

    order: tuple[Step, ...]
    max_attempts: int
    on_wrong_size: str
    on_no_image: str
    on_blocked: str
    retry_budget: Decimal = RETRY_BUDGET
    hedge: Decimal = HEDGE


@dataclass(frozen=True, slots=True, kw_only=True)
class CachePolicy:
    """What is kept of results, and where: ``[cache]``.

    *enabled*: for requests that do not say. *store* is a folder or the address of an object store, None: beside the state's
    own blobs. *max_age* is seconds.
    """

    enabled: bool = False
    max_bytes: int = 5_000_000_000
    max_age: float = 30 * 86_400.0
    store: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEntry:
    """One configured provider.

    *settings* is one for each of its keys, in the order in which they are used; none if the provider is not *enabled*,
    whose keys are not looked up. *key_places* says of each where its key comes from (``env:NAME``, ``file:PATH``, or the
    place in the configuration that holds it), ``""`` without a key. *timeout* is seconds for one attempt,
    *max_concurrency* calls at a time; None: no wish of its own.
    """

    name: str
    settings: tuple[ProviderSettings, ...]
    key_places: tuple[str, ...]
    timeout: float | None
    max_concurrency: int | None
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A checked configuration.

    *egress_country* is where calls leave from (ISO 3166-1 alpha-2, None: unknown). *deadlines* is seconds for a whole
    request by size. *models* are the canonical ids a request without a model may get, None for any. *record_prompts*:
    listeners, traces and the ledger are told the prompts. *blobs* is the folder for images that are kept, None: the state's
    own. *acceptance* are the folders of trials whose verdicts count. *state_named*: the configuration names the state; if
    not, the command line uses this user's own. *source* is the path of the file, ``"environment"`` or ``"mapping"``.
    """

    egress_country: str | None
    state: str = field(repr=False)  # its address may hold a password
    deadlines: Mapping[Size, float]
    sort: Sort
    models: tuple[str, ...] | None
    fallback: FallbackPolicy
    providers: Mapping[str, ProviderEntry]
    lanes: tuple[Lane, ...]
    warnings: tuple[str, ...]
    source: str
    record_prompts: bool = False
    budgets: tuple[Budget, ...] = ()
    blobs: Path | None = None
    acceptance: tuple[Path, ...] = ()
    state_named: bool = False
    cache: CachePolicy = CachePolicy()


def load(
    source: str | os.PathLike[str] | Mapping[str, Any] | None = None,
    environ: Mapping[str, str] = os.environ,
    cwd: str | os.PathLike[str] | None = None,
    kinds: tuple[str, ...] | None = None,
) -> Config:
    """The configuration at *source*: a path, a mapping of the same shape, or None to search.

    The search goes to the file that ``$IMAGE_GATEWAY_CONFIG`` names, to ``gateway.toml`` in *cwd* (the working
    directory), and to the providers whose usual keys are in *environ*. *kinds* are what there is (None: the installed).

    Raises:
        ConfigError: nothing is configured, or something in it is wrong. The message names the file, its line, the key
            and what was expected there. It never shows a value.
    """
    found = _find(source, environ, Path(cwd or "."))
    return _built(_checked(found, known_kinds() if kinds is None else kinds), found, environ)


def _find(source: object, environ: Mapping[str, str], cwd: Path) -> Document:
    if isinstance(source, Mapping):
        return document.from_mapping(source, "mapping", cwd)
    if isinstance(source, str | os.PathLike):
        return document.from_file(os.fsdecode(source), cwd)
    if source is not None:
        raise ConfigError(f"configuration: expected a path, a mapping or None, not {type(source).__name__}")
    if environ.get(CONFIG_VARIABLE) or (cwd / DEFAULT_FILE).exists():
        return document.from_file(environ.get(CONFIG_VARIABLE) or DEFAULT_FILE, cwd)
    providers = secrets.usual_providers(environ)
    if not providers:
        ways = f"set one of {', '.join(secrets.USUAL_KEYS)}, or write {DEFAULT_FILE} with a table [providers.NAME]"
        raise ConfigError(f"configuration: expected one: {ways} here or where ${CONFIG_VARIABLE} says")
    return document.from_mapping({"providers": providers}, "environment", cwd)


def _checked(found: Document, kinds: tuple[str, ...]) -> Settings:
    try:
        return Settings.model_validate(found.data, context={"kinds": kinds})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        complaints = Complaints(complaint(each, found) for each in details)
    # Told out here, so that the error does not carry pydantic's, which knows the values.
    complaints.told()
    raise AssertionError("a validation error has details")


def complaint(details: ErrorDetails, found: Document, known: KnownKeys = known_keys) -> str:
    """What is wrong with one value of *found*, without showing it; *known* are the keys that the table at a path may have."""
    path = tuple(key for key in details["loc"] if key != "[key]")
    message = details["msg"].removeprefix("Value error, ").replace("Input should", "expected to")
    message = message.replace("expected to be", "expected").replace("String should", "expected a text to")
    if details["type"] == "extra_forbidden":
        key = str(path[-1])
        nearest = difflib.get_close_matches(key.lower(), known(path[:-1]), n=1, cutoff=0)
        message = f"unknown key; the nearest known key is {nearest[0]}"
        path = path if sanitise(key) == key else path[:-1]  # it looks like a secret
    elif details["type"] == "missing":
        message = "expected a value: this key is required"
    elif details["type"] in ("model_type", "mapping_type", "dict_type"):
        message = "expected a table"
    return f"{found.where(*path)}: {message}"


def _built(settings: Settings, found: Document, environ: Mapping[str, str]) -> Config:
    if not settings.providers:
        raise ConfigError(f"{found.label}: providers: expected at least one table [providers.NAME]")
    entries, lanes, budgets = _parts(settings, found, environ)
    return Config(
        egress_country=settings.gateway.egress_country,
        state=settings.gateway.state,
        deadlines=MappingProxyType({**DEADLINES, **settings.gateway.deadline}),
        sort=settings.router.sort,
        models=_router_models(settings.router.models, lanes, found),
        acceptance=_trials(settings.router.acceptance, found),
        fallback=FallbackPolicy(**settings.fallback.stated()),
        providers=MappingProxyType(entries),
        lanes=tuple(lanes),
        warnings=tuple(_warnings(settings, found)),
        source=found.source,
        record_prompts=settings.gateway.record_prompts,
        budgets=budgets,
        blobs=found.folder / settings.gateway.blobs if settings.gateway.blobs else None,
        state_named="state" in settings.gateway.model_fields_set,
        cache=_cache(settings, found),
    )


def _parts(
    settings: Settings, found: Document, environ: Mapping[str, str]
) -> tuple[dict[str, ProviderEntry], list[Lane], tuple[Budget, ...]]:
    """The providers, their lanes, and the budgets; one error tells of the mistakes in all of them."""
    complaints = Complaints()
    entries: dict[str, ProviderEntry] = {}
    lanes: list[Lane] = []
    for name, table in settings.providers.items():
        with complaints.gathering():
            entries[name] = _entry(name, table, found, environ)
        with complaints.gathering():
            lanes += catalogue.lanes_for(name, table, found.where)
    with complaints.gathering():
        budgets = _budgets(settings, found)
    complaints.told()
    return entries, lanes, budgets


def _cache(settings: Settings, found: Document) -> CachePolicy:
    store = settings.cache.store
    here = store if store is None or "://" in store else str(found.folder / Path(store).expanduser())
    return CachePolicy(**{**settings.cache.stated(), "store": here})


def _budgets(settings: Settings, found: Document) -> tuple[Budget, ...]:
    """The budgets; the providers they name must be there."""
    complaints = Complaints(
        f"{found.where('budgets', number, 'provider')}: expected a provider that is configured; "
        f"the nearest is {difflib.get_close_matches(table.provider, settings.providers, 1, 0)[0]}"
        for number, table in enumerate(settings.budgets)
        if table.provider is not None and table.provider not in settings.providers
    )
    complaints.told()
    return tuple(
        Budget(
            usd=table.usd, per=table.per, mode=table.mode, provider=table.provider, tag=_tag(table.tag), zone=table.zone
        )
        for table in settings.budgets
    )  # fmt: skip


def _tag(text: str | None) -> tuple[str, str] | None:
    name, _, value = (text or "").partition("=")
    return (name, value) if text else None


_OPTIONS: Final = {
    "preset", "project", "location", "api_version", "download_hosts", "pixel_check", "size_as", "extra_body", "wire",
    "task",
}  # fmt: skip
"""Keys of a provider's table that its adapter is handed as they are."""


def _entry(name: str, table: ProviderTable, found: Document, environ: Mapping[str, str]) -> ProviderEntry:
    keys = _keys(name, table, found, environ)
    told = {key: getattr(table, key) for key in _OPTIONS}
    common = ProviderSettings(
        name=name,
        kind=table.kind,
        base_url=table.base_url,
        auth=table.auth,
        headers=MappingProxyType(table.headers),
        proxy=table.proxy,
        options={key: value for key, value in {**told, "dialect": catalogue.dialect(table)}.items() if value},
    )
    return ProviderEntry(
        name=name,
        settings=tuple(replace(common, api_key=key) for key in keys) if table.api_key else (common,),
        key_places=tuple(keys.values()) if table.api_key else ("",),
        timeout=table.timeout,
        max_concurrency=table.max_concurrency,
        enabled=switched_on(table),
    )


def _keys(name: str, table: ProviderTable, found: Document, environ: Mapping[str, str]) -> Mapping[Secret, str]:
    """The keys of the provider, each once, with the places from which they come; none if it is switched off."""
    references = table.api_key or ()
    complaints = Complaints()
    keys: dict[Secret, str] = {}
    for number, reference in enumerate(references if switched_on(table) else ()):
        with complaints.gathering():
            key = secrets.resolve(reference, found.where("providers", name, "api_key", number), environ, found.folder)
            keys.setdefault(key, _place(name, reference, number, len(references)))
    complaints.told()
    return keys


def _place(name: str, reference: str, number: int, of: int) -> str:
    """Where a key comes from, without showing any of it."""
    if not secrets.is_literal(reference):
        return reference
    return f"providers.{name}.api_key[{number}]" if of > 1 else f"providers.{name}.api_key"


def _router_models(names: tuple[str, ...] | None, lanes: list[Lane], found: Document) -> tuple[str, ...] | None:
    """The canonical ids of *names*, each of which the catalogue or a lane must know."""
    ids = {name.lower(): row.id for row in catalogue.models() for name in (row.id, *row.aliases)}
    ids |= {name.lower(): lane.model for lane in lanes for name in (lane.upstream_model, lane.model)}
    known = [catalogue.resolve(name) or ids.get(name.lower()) for name in names or ()]
    complaints = Complaints(
        f"{found.where('router', 'models', index)}: expected a model of the catalogue or of a lane; "
        f"the nearest is {difflib.get_close_matches(name.lower(), ids, 1, 0)[0]}"
        for index, name in enumerate(names or ())
        if known[index] is None
    )
    complaints.told()
    return names and tuple(dict.fromkeys(filter(None, known)))


def _trials(names: tuple[str, ...], found: Document) -> tuple[Path, ...]:
    """The folders called *names*, each of which must hold a trial."""
    if not names:
        return ()
    from gateway.trial.journal import FILE as TRIAL_FILE  # loaded where there are any

    complaints = Complaints(
        f"{found.where('router', 'acceptance', index)}: expected the folder of a trial, with a {TRIAL_FILE} in it"
        for index, name in enumerate(names)
        if not (found.folder / name / TRIAL_FILE).is_file()
    )
    complaints.told()
    return tuple(found.folder / name for name in names)


def _warnings(settings: Settings, found: Document) -> Iterator[str]:
    for name, table in settings.providers.items():
        if any(map(secrets.is_literal, table.api_key or ())):
            place = found.where("providers", name, "api_key")
            yield f'{place}: a key stands in the configuration itself; "env:NAME" or "file:PATH" keeps it out'
        preset = preset_for(table.preset, table.kind, table.base_url)
        if preset and preset.price == "configured" and not _all_priced(table):
            place = found.where("providers", name)
            yield f"{place}: {preset.title} has prices of its own; the vendor's are used for lanes that state none"


def _all_priced(table: ProviderTable) -> bool:
    return table.lanes is not None and all(lane.price for lane in table.lanes)
