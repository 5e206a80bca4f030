"""Where keys come from: a variable of the environment, a file, or the configuration itself."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from providers.errors import ConfigError
from providers.secret import Secret

MAX_KEY_BYTES: Final = 64 * 1024
"""The most that is read from a key file: far above any key or token in use, far below what would hurt."""

USUAL_KEYS: Final[Mapping[str, tuple[str, Mapping[str, str]]]] = {
    "GEMINI_API_KEY": ("google", {"kind": "google"}),
    "GOOGLE_API_KEY": ("google", {"kind": "google"}),
    "OPENAI_API_KEY": ("openai", {"kind": "openai", "base_url": "https://api.openai.com/v1", "dialect": "images"}),
    "OPENROUTER_API_KEY": (
        "openrouter",
        {"kind": "openai", "base_url": "https://openrouter.ai/api/v1", "dialect": "chat"},
    ),
}
"""The providers that a variable of the environment stands for when nothing is configured; the first of a name wins."""

_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_NOT_A_KEY: Final = re.compile(r"[^\x21-\x7e]")


def usual_providers(environ: Mapping[str, str]) -> Mapping[str, Mapping[str, str]]:
    """The provider tables that follow from the usual keys in *environ*, by name."""
    providers: dict[str, Mapping[str, str]] = {}
    for variable, (name, table) in USUAL_KEYS.items():
        if environ.get(variable):
            providers.setdefault(name, {**table, "api_key": f"env:{variable}"})
    return providers


def is_literal(reference: str) -> bool:
    """Whether *reference* is the key itself rather than the name of a place that holds it."""
    return not reference.startswith(("env:", "file:"))


def resolve(reference: str, where: str, environ: Mapping[str, str], folder: Path) -> Secret:
    """The key that *reference* stands for: ``"env:NAME"``, ``"file:PATH"``, or else a literal.

    *where* begins every error: the place in the configuration. Relative paths start at *folder*.

    Raises:
        ConfigError: there is no such variable or file, it is empty, or what it holds cannot be a key. The message
            names the variable or the file and never shows what it holds.
    """
    scheme, _, place = reference.partition(":")
    if scheme == "env":
        return _checked(_from_variable(place, where, environ), f"{where}: environment variable {place}")
    if scheme == "file":
        return _checked(_from_file(place, where, folder), f"{where}: file {place!r}")
    return _checked(reference, f"{where}: the literal key")


def _from_variable(name: str, where: str, environ: Mapping[str, str]) -> str:
    if not _VARIABLE.fullmatch(name):  # not shown: it may be a key that was pasted in the wrong place
        raise ConfigError(f"{where}: expected the name of an environment variable after 'env:'")
    if name not in environ:
        raise ConfigError(f"{where}: environment variable {name} is not set")
    return environ[name]


def _from_file(place: str, where: str, folder: Path) -> str:
    if not place:
        raise ConfigError(f"{where}: expected the path of a file after 'file:'")
    try:
        with open(folder / place, "rb", opener=_open_at_once) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError(f"{where}: {place!r} is a pipe or a device: expected a file that holds a key")
            content = file.read(MAX_KEY_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a path"
        raise ConfigError(f"{where}: file {place!r} cannot be read: {reason}") from None
    if len(content) > MAX_KEY_BYTES:
        raise ConfigError(f"{where}: file {place!r} is larger than {MAX_KEY_BYTES} bytes, which no key is")
    # Latin-1 keeps every byte, so that what is not ASCII is refused by the one check for all sources.
    return re.sub(r"\r?\n\Z", "", content.decode("latin-1"))


def _open_at_once(path: str, flags: int) -> int:
    """Opens a pipe without waiting for somebody to write into it."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _checked(value: str, place: str) -> Secret:
    if not value:
        raise ConfigError(f"{place} is empty: expected a key")
    if _NOT_A_KEY.search(value):
        raise ConfigError(f"{place} holds spaces, control characters or characters beyond ASCII: expected a key")
    return Secret(value)
