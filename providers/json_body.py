"""JSON from strangers: parsed without ever raising."""

from __future__ import annotations

from typing import Any, Final

from pydantic_core import from_json

MISSING: Final = object()


def parse(body: bytes) -> Any:
    """The document in *body*, or ``MISSING`` if it is not one JSON document in UTF-8.

    A byte-order mark is forgiven, and NaN and Infinity are numbers. Trailing garbage, a nesting beyond the parser's
    limit and integers of thousands of digits make the document missing.
    """
    try:
        return from_json(body.removeprefix(b"\xef\xbb\xbf"), allow_inf_nan=True)
    except (ValueError, RecursionError):
        return MISSING
