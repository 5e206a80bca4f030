"""Text from upstreams made safe to log and print: one line, bounded, without keys."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from providers.secret import Secret

MAX_DETAIL: Final = 200
"""Characters an attempt's detail may have (the public contract's figure)."""

SHORTEST_QUOTE: Final = 16
"""Characters in a row that are taken for a quotation rather than for a coincidence."""
_SOURCE: Final = 4_000

_KEY_SHAPES: Final = re.compile(
    r"(?<![A-Za-z])(?:sk|gw|pk|rk)-[\w*-]{6,}|AIza[\w*-]{10,}|ya29\.[\w.*-]{10,}|(?i:bearer)\s+[\w.~+/=*-]{8,}"
)
_UNPRINTABLE: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_BASE64_RUN: Final = re.compile(r"[A-Za-z0-9+/_-]{120,}={0,2}")


def sanitise(text: object, secrets: Iterable[Secret] = (), limit: int = MAX_DETAIL) -> str:
    """*text* as one printable line of at most *limit* characters.

    Line breaks become spaces; control, escape and bidirectional characters are taken out; then occurrences of *secrets*
    and whatever looks like a key are replaced, and long base64 runs are cut out.
    """
    keys = [key for key in (_printable(secret.reveal()) for secret in secrets) if key]
    room = 20 * limit
    line = _printable(str(text)[: room + 2 * max(map(len, keys), default=0)])
    for key in keys:
        line = re.sub("\n*".join(map(re.escape, key)), "[key]", line)
    line = _BASE64_RUN.sub("[base64]", _KEY_SHAPES.sub("[key]", line[:room]))
    line = " ".join(line.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def without_quotes(text: str, source: str) -> str:
    """*text* with what it quotes of *source* (a prompt, say) taken out: every run of 16 and more characters."""
    source = " ".join(source[:_SOURCE].split())
    while len(source) >= SHORTEST_QUOTE:
        match = difflib.SequenceMatcher(None, text, source, autojunk=False).find_longest_match()
        if match.size < min(SHORTEST_QUOTE, len(source)):
            break
        text = f"{text[: match.a]}[prompt]{text[match.a + match.size :]}"
    return text.replace(source, "[prompt]") if len(source) >= 4 else text


def _printable(text: str) -> str:
    """*text* with every kind of line break and tab as a newline, and without what else moves a cursor or hides text."""
    return "".join(map(_printable_character, text))


def _printable_character(character: str) -> str:
    if unicodedata.category(character) not in _UNPRINTABLE:
        return character
    return "\n" if character.isspace() else ""
