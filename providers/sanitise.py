"""Text from upstreams made safe to log and print: one line, bounded, without keys."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from providers.secret import Secret

MAX_DETAIL: Final = 200
"""Characters an attempt's detail may have (the public contract's figure)."""

_KEY_SHAPES: Final = re.compile(
    r"(?:sk|gw|pk|rk)-[\w*-]{6,}|AIza[\w*-]{10,}|ya29\.[\w.*-]{10,}|(?i:bearer)\s+[\w.~+/=*-]{8,}"
)
_BASE64_RUN: Final = re.compile(r"[A-Za-z0-9+/_-]{120,}={0,2}")


def sanitise(text: object, secrets: Iterable[Secret] = (), limit: int = MAX_DETAIL) -> str:
    """*text* as one printable line of at most *limit* characters.

    Occurrences of *secrets* and whatever looks like a key are replaced; control, escape and bidirectional characters
    become spaces; long base64 runs are cut out.
    """
    line = str(text)[: 20 * limit]
    for secret in secrets:
        if secret.reveal():
            line = line.replace(secret.reveal(), "[key]")
    line = _BASE64_RUN.sub("[base64]", _KEY_SHAPES.sub("[key]", line))
    line = " ".join("".join(_printable(character) for character in line).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def _printable(character: str) -> str:
    """*character*, or a space for anything that moves a cursor, hides, or reorders text."""
    return " " if unicodedata.category(character) in {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"} else character
