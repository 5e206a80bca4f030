"""From what was typed to the request that is meant."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import typer

from gateway.cli.options import Asked
from gateway.request import ImageRequest, ProviderPreferences
from providers.errors import InvalidRequest

_AS_THEY_ARE = (
    "size", "aspect_ratio", "n", "min_size", "model", "quality", "task", "residency", "max_cost", "deadline", "cache",
    "system_instruction", "temperature", "top_p", "seed", "thinking", "grounding", "output_format", "require_parameters",
)  # fmt: skip
"""The options that are fields of a request by the same name."""


def request_of(asked: Asked) -> ImageRequest:
    """The request that *asked* means.

    Raises:
        InvalidRequest: it cannot be meant.
    """
    fields: dict[str, Any] = {name: getattr(asked, name) for name in _AS_THEY_ARE}
    wishes: dict[str, Any] = {name: getattr(asked, name) for name in ("only", "ignore", "order", "sort")}
    if asked.fallback is not None:
        fields["fallback"] = () if asked.fallback == ["none"] else asked.fallback
    return ImageRequest(
        prompt=_prompt(asked.prompt),
        images=tuple(map(Path, asked.image or ())),
        providers=ProviderPreferences(**_given(wishes)),
        tags=dict(_tags(asked.tag or ())),
        **_given(fields),
    )


def _given(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value not in (None, [])}


def _prompt(given: str) -> str:
    if given != "-":
        return given
    try:
        return typer.get_binary_stream("stdin").read().decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"prompt: expected UTF-8 text on stdin; byte {error.start} is not") from None


def _tags(given: Iterable[str]) -> Iterable[tuple[str, str]]:
    for tag in given:
        key, equals, value = tag.partition("=")
        if not (key and equals):
            raise InvalidRequest(f"tag: expected KEY=VALUE, not {tag!r}")
        yield key, value
