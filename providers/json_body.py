"""JSON from strangers: parsed without ever raising."""

from __future__ import annotations

import json
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


def mended(body: bytes) -> bytes:
    """*body* with what is not text in it (broken UTF-8, halves of surrogate pairs) replaced; as it is, if that is not all.

    For an answer whose image has come whole: a bad character in the words beside it must not cost it.
    """
    try:
        document = json.loads(body.decode("utf-8", "replace"))
        return json.dumps(document, ensure_ascii=False).encode("utf-8", "replace")
    except (ValueError, RecursionError):
        return body
