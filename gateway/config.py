"""From ``gateway.toml``, a mapping of the same shape, or the environment to a configuration that can be used."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from gateway import catalogue, secrets
from gateway.lanes import Lane
from gateway.settings import DEADLINES, ProviderTable, Settings, Sort, Step, key_path, known_keys
from providers.errors import ConfigError
from providers.presets import preset_for
from providers.provider import ProviderSettings, known_kinds
from providers.sanitise import sanitise
from providers.sizes import Size

CONFIG_VARIABLE: Final = "IMAGE_GATEWAY_CONFIG"
DEFAULT_FILE: Final = "gateway.toml"
MAX_BYTES: Final = 1024 * 1024
"""The most a configuration file may hold: a thousand times what a long one does."""
MAX_COMPLAINTS: Final = 10
"""The most mistakes one error lists."""

_DEPTH: Final = 8  # the deepest key there is, providers.NAME.lanes[0].price.1K, is on the sixth level
_NAME: Final = r"""(?:[\w-]+|"[^"]*"|'[^']*')"""
_KEY_OR_HEADER: Final = re.compile(rf"\s*(\[\[?)?\s*({_NAME}(?:\s*\.\s*{_NAME})*)\s*[=\]]")

_Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FallbackPolicy:
    """How the chain gives way: ``[fallback]``."""

    order: tuple[Step, ...]
    max_attempts: int
    on_wrong_size: str
    on_no_image: str
    on_blocked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderEntry:
    """One configured provider.

    *settings* is one for each of its keys, in the order in which they are used; none if the provider is not *enabled*,
    whose keys are not looked up. *timeout* is seconds for one attempt, *max_concurrency* calls at a time; None: no
    wish of its own.
    """

    name: str
    settings: tuple[ProviderSettings, ...]
    timeout: float | None
    max_concurrency: int | None
    enabled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A checked configuration.

    *egress_country* is where calls leave from (ISO 3166-1 alpha-2, None: unknown). *deadlines* is seconds for a whole
    request by size. *models* are the canonical ids a request without a model may get, None for any. *source* is the
    path of the file, ``"environment"`` or ``"mapping"``.
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


@dataclass(frozen=True)
class _Document:
    """What was found: the tables, and how to speak of places in them. Relative paths start at *folder*."""

    label: str
    source: str
    folder: Path
    data: Mapping[str, Any] = field(repr=False)
    text: str = field(default="", repr=False)

    def where(self, *path: str | int) -> str:
        """The words with which a message about *path* begins."""
        line = next((self._lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in self._lines), None)
        place = f"{self.label}, line {line}" if line else self.label
        return f"{place}: {key_path(*path)}" if path else place

    @cached_property
    def _lines(self) -> Mapping[_Path, int]:
        """The line on which each table and key stands; what looks like one within a longer value is taken for one."""
        lines: dict[_Path, int] = {}
        counts: dict[_Path, int] = {}
        table: _Path = ()
        for number, line in enumerate(self.text.split("\n"), 1):
            if found := _KEY_OR_HEADER.match(line):
                names = [name.strip("\"'") for name in re.findall(_NAME, found[2])]
                path = _placed(names, found[1] == "[[", counts) if found[1] else (*table, *names)
                table = path if found[1] else table
                lines.setdefault(path, number)
        return lines


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
    document = _find(source, environ, Path(cwd or "."))
    return _built(_checked(document, known_kinds() if kinds is None else kinds), document, environ)


def _find(source: object, environ: Mapping[str, str], cwd: Path) -> _Document:
    if isinstance(source, Mapping):
        return _Document("configuration", "mapping", cwd, _plain(source))
    if isinstance(source, str | os.PathLike):
        return _read(os.fsdecode(source), cwd)
    if source is not None:
        raise ConfigError(f"configuration: expected a path, a mapping or None, not {type(source).__name__}")
    if environ.get(CONFIG_VARIABLE) or (cwd / DEFAULT_FILE).exists():
        return _read(environ.get(CONFIG_VARIABLE) or DEFAULT_FILE, cwd)
    providers = secrets.usual_providers(environ)
    if not providers:
        ways = f"set one of {', '.join(secrets.USUAL_KEYS)}, or write {DEFAULT_FILE} with a table [providers.NAME]"
        raise ConfigError(f"configuration: expected one: {ways} here or where ${CONFIG_VARIABLE} says")
    return _Document("configuration", "environment", cwd, {"providers": providers})


def _plain(value: object, path: _Path = ()) -> Any:
    """*value* copied into plain tables and arrays."""
    if len(path) > _DEPTH:
        raise ConfigError(f"configuration: expected at most {_DEPTH} levels of tables and arrays")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ConfigError(
                ": ".join(filter(None, ("configuration", key_path(*path), "expected keys that are texts")))
            )
        return {key: _plain(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, index)) for index, item in enumerate(value)]
    return value


def _read(name: str, cwd: Path) -> _Document:
    try:
        with (cwd / name).open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{name}: expected at most {MAX_BYTES} bytes")
        text = content.decode("utf-8-sig")
        data = tomllib.loads(text, parse_float=Decimal)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name}: expected UTF-8 text; byte {error.start} is not") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax(name, str(error))) from None
    except OSError as error:
        raise ConfigError(f"{name}: expected a file that can be read: {error.strerror}") from None
    except (ValueError, ArithmeticError, RecursionError):  # a path, a number or a nesting beyond all bounds
        raise ConfigError(f"{name}: expected a TOML file within sensible bounds") from None
    return _Document(name, name, (cwd / name).parent, data, text)


def _syntax(name: str, message: str) -> str:
    reason, _, position = message.rpartition(" (at ")
    place = f"{name}, {position.rstrip(')')}"
    if twice := re.fullmatch(r"Cannot declare \((.*)\) twice", reason):
        keys = re.findall(r"'([^']*)'", twice[1])
        return f"{place}: {key_path(*keys)} stands twice; expected one table of that name"
    return f"{place}: expected valid TOML: {sanitise(reason)}"


def _placed(names: list[str], repeats: bool, counts: dict[_Path, int]) -> _Path:
    """The path of a table of that name, with the positions in arrays of tables, counted in *counts*."""
    path: _Path = ()
    for depth, name in enumerate(names, 1):
        path += (name,)
        if repeats and depth == len(names):
            counts[path] = counts.get(path, -1) + 1
        if path in counts:
            path += (counts[path],)
    return path


def _checked(document: _Document, kinds: tuple[str, ...]) -> Settings:
    complaints: list[str] = []
    try:
        return Settings.model_validate(document.data, context={"kinds": kinds})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        complaints = [_complaint(each, document) for each in details[:MAX_COMPLAINTS]]
    # Raised out here, so that the error does not carry pydantic's, which knows the values.
    raise ConfigError("\n".join(complaints))


def _complaint(details: ErrorDetails, document: _Document) -> str:
    path = tuple(key for key in details["loc"] if key != "[key]")
    message = details["msg"].removeprefix("Value error, ").replace("Input should", "expected to")
    message = message.replace("expected to be", "expected").replace("String should", "expected a text to")
    if details["type"] == "extra_forbidden":
        key = str(path[-1])
        nearest = difflib.get_close_matches(key.lower(), known_keys(path[:-1]), n=1, cutoff=0)
        message = f"unknown key; the nearest known key is {nearest[0]}"
        path = path if sanitise(key) == key else path[:-1]  # it looks like a secret
    elif details["type"] == "missing":
        message = "expected a value: this key is required"
    elif details["type"] in ("model_type", "mapping_type", "dict_type"):
        message = "expected a table"
    return f"{document.where(*path)}: {message}"


def _built(settings: Settings, document: _Document, environ: Mapping[str, str]) -> Config:
    if not settings.providers:
        raise ConfigError(f"{document.label}: providers: expected at least one table [providers.NAME]")
    entries = {name: _entry(name, table, document, environ) for name, table in settings.providers.items()}
    lanes = [
        lane for name, table in settings.providers.items() for lane in catalogue.lanes_for(name, table, document.where)
    ]
    return Config(
        egress_country=settings.gateway.egress_country,
        state=settings.gateway.state,
        deadlines=MappingProxyType({**DEADLINES, **settings.gateway.deadline}),
        sort=settings.router.sort,
        models=_router_models(settings.router.models, lanes, document),
        fallback=FallbackPolicy(**settings.fallback.model_dump()),
        providers=MappingProxyType(entries),
        lanes=tuple(lanes),
        warnings=tuple(_warnings(settings, document)),
        source=document.source,
    )


def _entry(name: str, table: ProviderTable, document: _Document, environ: Mapping[str, str]) -> ProviderEntry:
    place = document.where("providers", name, "api_key")
    references = table.api_key or ()
    keys = [secrets.resolve(reference, place, environ, document.folder) for reference in references if table.enabled]
    told = table.model_dump(
        include={"preset", "project", "location", "api_version", "download_hosts", "size_as", "extra_body"}
    )
    told["task"] = table.task
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
        settings=tuple(replace(common, api_key=key) for key in dict.fromkeys(keys)) if references else (common,),
        timeout=table.timeout,
        max_concurrency=table.max_concurrency,
        enabled=table.enabled,
    )


def _router_models(names: tuple[str, ...] | None, lanes: list[Lane], document: _Document) -> tuple[str, ...] | None:
    """The canonical ids of *names*, each of which the catalogue or a lane must know."""
    ids = {name: row.id for row in catalogue.models() for name in (row.id, *row.aliases)}
    ids |= {name: lane.model for lane in lanes for name in (lane.upstream_model, lane.model)}
    for index, name in enumerate(names or ()):
        if not (catalogue.resolve(name) or ids.get(name)):
            place, nearest = document.where("router", "models", index), difflib.get_close_matches(name, ids, 1, 0)[0]
            raise ConfigError(f"{place}: expected a model of the catalogue or of a lane; the nearest is {nearest}")
    return names and tuple(dict.fromkeys(catalogue.resolve(name) or ids[name] for name in names))


def _warnings(settings: Settings, document: _Document) -> Iterator[str]:
    for name, table in settings.providers.items():
        if any(map(secrets.is_literal, table.api_key or ())):
            place = document.where("providers", name, "api_key")
            yield f'{place}: a key stands in the configuration itself; "env:NAME" or "file:PATH" keeps it out'
        preset = preset_for(table.preset, table.kind, table.base_url)
        if preset and preset.price == "configured" and not _all_priced(table):
            place = document.where("providers", name)
            yield f"{place}: {preset.title} has prices of its own; the vendor's are used for lanes that state none"


def _all_priced(table: ProviderTable) -> bool:
    return table.lanes is not None and all(lane.price for lane in table.lanes)
