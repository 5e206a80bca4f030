"""Presets: what is known about relays and other upstreams, as rows of ``presets.toml``."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Literal
from urllib.parse import urlsplit

from providers.sizes import Size

PriceSource = Literal["reported", "configured", "catalogue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """One row; the head of ``presets.toml`` says what each key means. *sizes* and *aspect_ratios* None: not restricted."""

    name: str
    title: str
    kind: str
    models: str
    price: PriceSource
    source: str
    checked: date
    hosts: tuple[str, ...] = ()
    base_url: str | None = None
    dialect: str | None = None
    auth: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    size_as: str | None = None
    sizes: tuple[Size, ...] | None = None
    aspect_ratios: tuple[str, ...] | None = None
    references: bool = True
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    errors: str = ""


@cache
def presets() -> Mapping[str, Preset]:
    """All rows by name."""
    data = tomllib.loads(files("providers").joinpath("presets.toml").read_text(encoding="utf-8"))
    return {name: Preset(name=name, **tuples(row)) for name, row in data.items()}


def preset_for(name: str | None, kind: str, base_url: str | None) -> Preset | None:
    """The row called *name*; without a name, the one of *kind* whose hosts match *base_url*; None if there is none."""
    if name is not None:
        return presets().get(name)
    host = urlsplit(base_url or "").hostname
    if host is None:
        return None
    rows = (row for row in presets().values() if row.kind == kind)
    return next((row for row in rows if any(fnmatchcase(host, pattern) for pattern in row.hosts)), None)


def tuples(row: Mapping[str, Any]) -> dict[str, Any]:
    """A table of a data file, its arrays as tuples."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in row.items()}
