"""On which line of a TOML file each table, key and item stands, which the standard library's parser does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from typing import Final

Place = tuple[str | int, ...]
"""Keys and positions that lead to a place, such as ``("providers", "acme", "lanes", 0, "price", "1K")``."""

MAX_DEPTH: Final = 8
"""Levels of tables and arrays within which places are told: the deepest key there is is on the sixth."""

_TOKEN: Final = re.compile(
    r'''"""(?:\\.|[^\\])*?"{3,5}(?!")|\'\'\'.*?\'{3,5}(?!\')|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*|\n|[][{}=,.]|[^][{}=,."'\#\s]+''',
    re.DOTALL,
)
"""A text, a comment, a line's end, a sign, or a word: all that has to be told apart in a file that is valid TOML."""


def places(text: str) -> Iterator[tuple[Place, int]]:
    """Each table, key and item of *text*, which must be valid TOML, with its line, in order."""
    return _Scanner(text).places()


class _Scanner:
    """Walks through the tokens of a text."""

    def __init__(self, text: str) -> None:
        self._tokens = [token for token in _numbered(text) if not token[0].startswith("#")]
        self._at = 0
        self._counts: dict[Place, int] = {}

    def places(self) -> Iterator[tuple[Place, int]]:
        """See :func:`places`."""
        table: Place = ()
        while self._next() is not None:
            if self._next() == "\n":
                self._at += 1
            elif self._next() == "[":
                line = self._line()
                table = self._header()
                yield table, line
            else:
                yield from self._pair(table)

    def _next(self) -> str | None:
        return self._tokens[self._at][0] if self._at < len(self._tokens) else None

    def _line(self) -> int:
        return self._tokens[self._at][1]

    def _header(self) -> Place:
        """The path of the table whose header begins here, with the positions in arrays of tables."""
        opening = self._skip("[")
        names = self._names("]")
        self._skip("]")
        path: Place = ()
        for depth, name in enumerate(names, 1):
            path += (name,)
            if opening == 2 and depth == len(names):
                self._counts[path] = self._counts.get(path, -1) + 1
            if path in self._counts:
                path += (self._counts[path],)
        return path

    def _pair(self, table: Place) -> Iterator[tuple[Place, int]]:
        """A key and its value."""
        line = self._line()
        path = (*table, *self._names("="))
        self._skip("=")
        yield path, line
        yield from self._value(path)

    def _names(self, end: str) -> list[str]:
        """The parts of a dotted key."""
        names = []
        while self._next() not in (end, None):
            part = self._tokens[self._at][0]
            self._at += 1
            if part != ".":
                names.append(_unquoted(part))
        return names

    def _value(self, path: Place) -> Iterator[tuple[Place, int]]:
        """What is within a value."""
        if self._next() == "[" and len(path) < MAX_DEPTH:
            yield from self._array(path)
        elif self._next() == "{" and len(path) < MAX_DEPTH:
            yield from self._table(path)
        else:
            self._pass_over()

    def _table(self, path: Place) -> Iterator[tuple[Place, int]]:
        self._at += 1
        self._skip("\n")
        while self._next() not in ("}", None):
            yield from self._pair(path)
            self._skip(",", "\n")
        self._at += 1

    def _array(self, path: Place) -> Iterator[tuple[Place, int]]:
        self._at += 1
        position = 0
        self._skip("\n")
        while self._next() not in ("]", None):
            item = (*path, position)
            yield item, self._line()
            yield from self._value(item)
            self._skip(",", "\n")
            position += 1
        self._at += 1

    def _pass_over(self) -> None:
        """Pass over a value; a number with a point is several tokens."""
        depth = 0
        while (token := self._next()) is not None and (depth or token not in (",", "]", "}", "\n")):
            depth += (token in ("[", "{")) - (token in ("]", "}"))
            self._at += 1

    def _skip(self, *signs: str) -> int:
        """Pass over *signs*, and say how many there were."""
        begun = self._at
        while self._next() in signs:
            self._at += 1
        return self._at - begun


def _numbered(text: str) -> Iterator[tuple[str, int]]:
    """The tokens of *text* with their lines."""
    line, end = 1, 0
    for found in _TOKEN.finditer(text):
        line += text.count("\n", end, found.start())
        end = found.start()
        yield found[0], line


def _unquoted(token: str) -> str:
    if token.startswith('"'):
        return str(next(iter(tomllib.loads(f"{token} = 0"))))
    return token.strip("'")
