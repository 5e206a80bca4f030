"""What programs get: one JSON document on stdout. Money is a number in USD, durations are seconds."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import typer

from gateway.result import ImageResult
from providers.errors import GatewayError


def write(document: Mapping[str, Any], *, indent: int | None = 2) -> None:
    """Print *document* on stdout. Everything beyond ASCII is escaped, so that any terminal and pipe takes it."""
    typer.echo(json.dumps(plain(document), indent=indent))


def write_line(document: Mapping[str, Any]) -> None:
    """The same on one line, for commands that print one document after another."""
    write(document, indent=None)


def plain(value: Any) -> Any:
    """*value* as JSON has it: dataclasses become objects, sets sorted lists, Decimals the numbers they print as."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, frozenset | set):
        return sorted(plain(item) for item in value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item) for item in value]
    if isinstance(value, Decimal):
        return float(value)  # prints the same digits: prices have few
    if isinstance(value, date):  # a datetime is one
        return value.isoformat()
    return str(value) if isinstance(value, Path) else value


def result(made: ImageResult, paths: Sequence[Path]) -> dict[str, Any]:
    """A result whose images were saved at *paths*."""
    names = [each.name for each in fields(made) if each.name not in ("images", "parts") and each.name[0] != "_"]
    facts = {name: getattr(made, name) for name in names}
    images = [
        {
            "path": path,
            "mime_type": image.mime_type,
            "width": image.width,
            "height": image.height,
            "bytes": len(image.data),
        }
        for image, path in zip(made.images, paths, strict=True)
    ]
    return {"images": images, **facts}


def error(problem: GatewayError, saved: Sequence[str] = ()) -> dict[str, Any]:
    """A failure; *saved* are the paths of images that were paid for all the same."""
    public = next(kind for kind in type(problem).__mro__ if kind.__module__ == GatewayError.__module__)
    return {
        "type": public.__name__,
        "message": str(problem),
        "retry_after": problem.retry_after,
        "attempts": problem.attempts,
        "images": saved,
        "plan": problem.plan,
    }
