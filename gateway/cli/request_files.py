"""Files of requests: CSV with a header, JSON Lines, or text with one prompt per line.

A file is checked as a whole before anything is done: everything that is wrong with it is told at once, by line and field.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

from gateway.cli.files import slug
from gateway.fingerprint import digest
from gateway.request import ImageRequest, ProviderPreferences
from providers.errors import InvalidRequest
from providers.images import SUFFIXES

SEPARATOR: Final = "|"
"""Between the items of one cell: models, images, fallback steps, tags."""
MAX_TOLD: Final = 20
"""Problems of a file that are told; of more there is the number."""
MAX_FILE: Final = 512 * 2**20
"""Bytes. Above it, a file is hardly one of prompts."""
MAX_KEY: Final = 100
"""Characters of a row's key, which becomes a file name."""

KEY: Final = "key"
_OURS: Final = ("idempotency_key", "allow_second_charge", "cache", "save_to")
"""Fields of a request that the command sets."""
FIELDS: Final = tuple(name for name in ImageRequest.model_fields if name not in _OURS)
"""Fields of a request that a row may have, beside the key."""
_ABOUT_THE_JOB: Final = frozenset({"images", "task", "tags", "deadline", "max_cost"})
"""Fields that do not change what is drawn, and the images, which count by what is in them."""

Problems = list[tuple[int, str]]
Requests = list[tuple[str, ImageRequest]]


@dataclass(frozen=True, slots=True)
class _Row:
    """One request as it stands in the file: where (*line*, from 1), and the fields that were given and could be read."""

    line: int
    fields: Mapping[str, Any]
    whole: bool = True


class _RowError(ValueError):
    """What is wrong with a line."""


def read_requests(path: Path, defaults: Mapping[str, Any] | None = None) -> Requests:
    """The requests in the file at *path*, each with its key; *defaults* are the fields of rows that do not say otherwise.

    The suffix tells the format: ``.csv`` or ``.tsv``, ``.jsonl`` or ``.ndjson``, ``.txt``. The key is that of the row, or
    made of what the row asks for, so that it stays the same wherever in the file the row moves. Paths of reference images
    are relative to the file's folder.

    Raises:
        InvalidRequest: the file cannot be read, or rows cannot be meant; all that is wrong is told, by line and field.
    """
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise InvalidRequest(f"{path.name}: expected a file ending in {', '.join(_READERS)}")
    ImageRequest(**{"prompt": "any", **(defaults or {})})  # what is wrong with these is not every row's fault
    problems: Problems = []
    rows = list(read(_text(path), problems))
    keys = _Keys(path.parent)
    found = [made for row in rows if (made := _made(row, defaults or {}, keys, problems)) is not None]
    if problems:
        raise InvalidRequest(_told(path.name, problems))
    if not found:
        raise InvalidRequest(f"{path.name}: there is no request in it")
    return found


def wanted(request: ImageRequest) -> dict[str, Any]:
    """What *request* asks for beyond the defaults, reference images aside: the same in every version of this package."""
    fields = ImageRequest.model_fields
    given = {name: getattr(request, name) for name in FIELDS if name not in _ABOUT_THE_JOB}
    return {
        name: value for name, value in given.items() if value != fields[name].get_default(call_default_factory=True)
    }


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise InvalidRequest(f"{path.name}: cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE:
        raise InvalidRequest(f"{path.name}: is over the limit of {MAX_FILE:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InvalidRequest(f"{path.name} line {line}: expected UTF-8 text; save the file as UTF-8") from None


def _told(name: str, problems: Problems) -> str:
    more = len(problems) - MAX_TOLD
    lines = [f"{name} line {line}: {problem}" for line, problem in sorted(problems)[:MAX_TOLD]]
    return "\n".join(lines + [f"and {more} more"] * (more > 0))


# The formats


def _from_text(text: str, problems: Problems) -> Iterator[_Row]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            yield _Row(number, {"prompt": line.strip()})


def _from_json_lines(text: str, problems: Problems) -> Iterator[_Row]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield _Row(number, _object(line))
        except _RowError as wrong:
            problems.append((number, str(wrong)))


def _object(line: str) -> Mapping[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as error:
        column = getattr(error, "colno", None)
        raise _RowError(f"is not JSON (column {column})" if column else "is not JSON") from None
    except RecursionError:
        raise _RowError("is nested too deeply") from None
    if isinstance(found, str):
        return {"prompt": found}
    if not isinstance(found, dict):
        raise _RowError("expected an object with the fields of a request, or a prompt in quotes")
    _check_names(found)
    return found


def _from_csv(text: str, problems: Problems) -> Iterator[_Row]:
    first = text.partition("\n")[0]
    delimiter = next((each for each in ",;\t" if "prompt" in _columns(first, each)), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        columns = [name.strip() for name in next(reader, [])]
        _check_header(columns)
    except _RowError as wrong:
        problems.append((1, str(wrong)))
        return
    except csv.Error as error:
        problems.append((1, _csv_problem(error)))
        return
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader, None)
            if cells is None:
                return
        except csv.Error as error:
            problems.append((line, _csv_problem(error)))
            return
        if any(map(str.strip, cells)):
            yield _read_row(line, columns, cells, problems)


def _csv_problem(error: csv.Error) -> str:
    """What is wrong with a line in our words, where the module's own say little."""
    told = str(error)
    if "field limit" in told:
        return f"a cell has more than {csv.field_size_limit():,} characters; is a quote not closed?"
    return "a quote is opened and not closed" if "end of data" in told else told


def _columns(header: str, delimiter: str) -> list[str]:
    return [name.strip().strip('"') for name in header.split(delimiter)]


def _check_header(columns: Sequence[str]) -> None:
    if "prompt" not in columns:
        raise _RowError("expected a header with a column named prompt")
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise _RowError(f"{twice}: there are two such columns")
    _check_names(columns)


def _check_names(names: Iterable[str]) -> None:
    for name in names:
        if name in _OURS:
            raise _RowError(f"{name}: is set by the command; to name a row, use {KEY}")
        if name not in (*FIELDS, KEY):
            near = difflib.get_close_matches(name, (*FIELDS, KEY), n=1)
            meant = f"did you mean {near[0]}?" if near else f"there are {', '.join((*FIELDS, KEY))}"
            raise _RowError(f"{name or 'a field without a name'}: there is no such field; {meant}")


def _read_row(line: int, columns: Sequence[str], cells: Sequence[str], problems: Problems) -> _Row:
    before = len(problems)
    if any(cell.strip() for cell in cells[len(columns) :]):
        told = f"has {len(cells)} cells, and the header {len(columns)}; put quotes around a text with commas"
        problems.append((line, told))
    fields = {}
    for name, cell in zip(columns, map(str.strip, cells), strict=False):
        try:
            fields.update({name: _CELLS.get(name, str)(cell)} if cell else {})
        except (ValueError, InvalidOperation, RecursionError) as error:
            told = str(error) if isinstance(error, _RowError) else _EXPECTED.get(name, "cannot be read")
            problems.append((line, f"{name}: {told}"))
    return _Row(line, fields, whole=len(problems) == before)


def _items(cell: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in cell.split(SEPARATOR) if item.strip())


def _tags(cell: str) -> dict[str, str]:
    pairs = [item.partition("=") for item in _items(cell)]
    if not all(key and equals for key, equals, _ in pairs):
        raise _RowError(f"expected NAME=VALUE, with {SEPARATOR} between several")
    return {key.strip(): value.strip() for key, _, value in pairs}


def _yes(cell: str) -> bool:
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if cell.lower() not in known:
        raise _RowError("expected true or false")
    return known[cell.lower()]


_CELLS: Final[Mapping[str, Callable[[str], Any]]] = {
    "n": int, "seed": int, "temperature": float, "top_p": float, "max_cost": Decimal, "deadline": Decimal,
    "grounding": _yes, "require_parameters": _yes, "model": _items, "images": _items, "fallback": _items,
    "tags": _tags, "providers": json.loads,
}  # fmt: skip
"""How the text of a cell becomes a value; a field that is not here is a text."""
_EXPECTED: Final = {
    **dict.fromkeys(("n", "seed"), "expected a whole number"),
    **dict.fromkeys(("temperature", "top_p", "max_cost", "deadline"), "expected a number"),
    "providers": 'expected JSON, such as {"only": ["google"]}',
}
_READERS: Final[Mapping[str, Callable[[str, Problems], Iterator[_Row]]]] = {
    ".csv": _from_csv, ".tsv": _from_csv, ".jsonl": _from_json_lines, ".ndjson": _from_json_lines, ".txt": _from_text,
}  # fmt: skip


# From rows to requests


def _made(row: _Row, defaults: Mapping[str, Any], keys: _Keys, problems: Problems) -> tuple[str, ImageRequest] | None:
    """The request of *row* with its key; None if it cannot be meant, which is then among the *problems*."""
    try:
        request = ImageRequest(**_complete({**defaults, **row.fields}, keys.folder))
        given = row.fields.get(KEY)
        key = keys.made(request) if given is None else keys.taken(given, request, row.line)
    except (InvalidRequest, _RowError) as wrong:
        problems.append((row.line, str(wrong)))
        return None
    return (key, request) if row.whole else None


def _complete(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    fields = {name: value for name, value in given.items() if name != KEY}
    if isinstance(fields.get("providers"), dict):
        try:
            fields["providers"] = ProviderPreferences(**fields["providers"])
        except InvalidRequest as wrong:
            raise _RowError(f"providers: {wrong}") from None
    images = fields.get("images", ())
    if isinstance(images, list | tuple) and all(isinstance(each, str) for each in images):
        fields["images"] = tuple(_found(folder / each) for each in images)
    return fields


def _found(path: Path) -> Path:
    try:
        if path.is_file():
            return path
    except (OSError, ValueError):  # too long, or with a NUL character
        pass
    raise _RowError(f"images: there is no file {path.name[:MAX_KEY]!r} in {str(path.parent)[:MAX_KEY]!r}")


class _Keys:
    """The keys of a file in *folder*: each is the name of its row's files, so that no two may name the same one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lines: dict[str, int] = {}

    def taken(self, key: object, request: ImageRequest, line: int) -> str:
        """*key* as the row at *line* gives it."""
        name = _name(key)
        for stem in _stems(name, request.n):
            other = self._lines.setdefault(stem, line)
            if other != line:
                whose = f"line {other}" if other else "another line"
                raise _RowError(f"{KEY}: its file would be that of {whose}; use another key")
        return name

    def made(self, request: ImageRequest) -> str:
        """A key for *request*, the same whenever it is asked for; equal requests of one file are numbered."""
        images = [os.path.relpath(each, self.folder) for each in request.images if isinstance(each, Path)]
        base = f"{slug(request.prompt)}-{digest([wanted(request), images])[:8]}"
        number = 1
        while True:
            key = base if number == 1 else f"{base}-no{number}"
            stems = _stems(key, request.n)
            if not any(stem in self._lines for stem in stems):
                self._lines.update(dict.fromkeys(stems, 0))
                return key
            number += 1


def _name(key: object) -> str:
    if not isinstance(key, str | int) or isinstance(key, bool):
        raise _RowError(f"{KEY}: expected a text")
    name = str(key).strip()
    if not (0 < len(name) <= MAX_KEY and name[0].isalnum() and all(each.isalnum() or each in "._- " for each in name)):
        raise _RowError(
            f"{KEY}: it becomes a file name: expected at most {MAX_KEY} letters, digits, dots, hyphens and underscores, "
            "beginning with a letter or digit"
        )
    suffix = Path(name).suffix
    return name.removesuffix(suffix) if suffix.lower() in {*SUFFIXES.values(), ".jpeg"} else name


def _stems(name: str, images: int) -> list[str]:
    """What the files of a row are called, without their suffixes, on a system that does not tell cases apart."""
    return [name.casefold(), *(f"{name.casefold()}-{number}" for number in range(2, images + 1))]
