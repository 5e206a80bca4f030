"""A configuration as it was found: its tables, and the line on which each key of a file stands."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from gateway.configuration.settings import key_path
from gateway.configuration.toml_lines import MAX_DEPTH, Place, places
from providers.errors import ConfigError
from providers.sanitise import sanitise

MAX_BYTES: Final = 1024 * 1024
"""The most a configuration file may hold: a thousand times what a long one does."""


@dataclass(frozen=True)
class Document:
    """What was found: the tables, and how to speak of places in them. Relative paths start at *folder*."""

    label: str
    source: str
    folder: Path
    data: Mapping[str, Any] = field(repr=False)
    text: str = field(default="", repr=False)

    def where(self, *path: str | int) -> str:
        """The words with which a message about *path* begins."""
        folded = _folded(path)
        line = next((self._lines[folded[:end]] for end in range(len(path), 0, -1) if folded[:end] in self._lines), None)
        place = f"{self.label}, line {line}" if line else self.label
        return f"{place}: {key_path(*path)}" if path else place

    @cached_property
    def _lines(self) -> Mapping[Place, int]:
        lines: dict[Place, int] = {}
        for path, line in places(self.text):
            lines.setdefault(_folded(path), line)
        return lines


def from_mapping(tables: Mapping[Any, Any], source: str, folder: Path) -> Document:
    """The configuration that *tables* are; they are copied.

    Raises:
        ConfigError: a key is no text, or the tables are nested without end.
    """
    return Document("configuration", source, folder, _plain(tables))


def from_file(name: str, cwd: Path) -> Document:
    """The configuration in the file called *name*, which may be relative to *cwd*.

    Raises:
        ConfigError: it cannot be read, or is no TOML. The message shows nothing of what it holds.
    """
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
    return Document(name, name, (cwd / name).parent, data, text)


def _plain(value: object, path: Place = ()) -> Any:
    """*value* copied into plain tables and arrays."""
    if len(path) > MAX_DEPTH:
        raise ConfigError(f"configuration: expected at most {MAX_DEPTH} levels of tables and arrays")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise ConfigError(
                ": ".join(filter(None, ("configuration", key_path(*path), "expected keys that are texts")))
            )
        return {key: _plain(item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, (*path, index)) for index, item in enumerate(value)]
    return value


def _syntax(name: str, message: str) -> str:
    reason, _, position = message.rpartition(" (at ")
    place = f"{name}, {position.rstrip(')')}"
    if twice := re.fullmatch(r"Cannot declare \((.*)\) twice", reason):
        keys = re.findall(r"'([^']*)'", twice[1])
        return f"{place}: {key_path(*keys)} stands twice; expected one table of that name"
    return f"{place}: expected valid TOML: {sanitise(reason)}"


def _folded(path: Place) -> Place:
    """*path* without regard to case: ``"4k"`` is called ``"4K"`` in messages."""
    return tuple(key.lower() if isinstance(key, str) else key for key in path)
