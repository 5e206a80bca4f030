"""What has become of each row of a bulk run: a file of JSON lines beside the images, which only grows.

A line is written when a call for a row is about to be made, and another when the row has ended and its images are in
place. So whatever ends a run, the next one knows what is done, what failed, and of what nobody knows.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal, Self

from gateway.bulk.run import cost_of
from gateway.cli.request_files import wanted
from gateway.fingerprint import digest
from gateway.request import ImageRequest
from gateway.result import ImageResult, numbered
from providers.errors import ConfigError, GatewayError, InvalidRequest

NAME: Final = "manifest.jsonl"
VERSION: Final = 1

State = Literal["begun", "done", "failed"]


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """An image of a row: its *name* in the folder, what is in it, and its pixels."""

    name: str
    sha256: str
    bytes: int
    width: int
    height: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What has become of the row *key*, which asks for *asked* (a hash).

    *stem* is what its files are called, *tries* how many times it has failed for good. *usd* is what it did or may have
    cost, and as long as that is not known, what it was expected to.
    """

    key: str
    asked: str
    state: State
    at: str
    stem: str
    prompt: str = field(default="", repr=False)
    requested_size: str = ""
    tries: int = 0
    usd: str = "0"
    files: tuple[File, ...] = ()
    lane: str = ""
    size: str = ""
    seconds: float = 0.0
    request_id: str = ""
    error: str = ""
    message: str = ""

    @property
    def cost(self) -> Decimal:
        """*usd* as an amount."""
        return Decimal(self.usd)

    @property
    def age(self) -> float:
        """Seconds since it was written."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.at)).total_seconds()


class Manifest:
    """The manifest of *folder*: *entries* holds the latest of each row, *spent* what all of them have cost in USD."""

    def __init__(self, folder: Path, run: str, entries: Iterable[Entry], file: BinaryIO) -> None:
        self.folder = folder
        self.run = run
        self.entries: dict[str, Entry] = {}
        self.spent = Decimal(0)
        self._file = file
        self._taken = {each.name.casefold() for each in folder.iterdir()}
        for entry in entries:
            self._note(entry)

    @classmethod
    def open(cls, folder: Path, *, fresh: bool = False) -> Self:
        """The manifest of *folder*, which is made if it is not there. *fresh*: put an old manifest aside, and begin anew.

        Raises:
            InvalidRequest: the folder cannot be used, or another run uses it.
            ConfigError: the manifest is not one, or that of a newer version.
        """
        path = folder / NAME
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if fresh and path.exists():
                path.rename(next(each for each in _asides(path) if not each.exists()))
            file = path.open("a+b")
        except OSError as error:
            raise InvalidRequest(f"output: {str(folder)!r} cannot be written to: {error.strerror}") from None
        try:
            _lock(file)
            run, entries = _read(file)
            made = cls(folder, run or secrets.token_hex(8), entries, file)
            if run is None:
                made._write({"version": VERSION, "run": made.run})
        except BaseException:
            file.close()
            raise
        return made

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def of(self, key: str, asked: str) -> Entry | None:
        """What has become of the row *key*, if it asked for the same."""
        entry = self.entries.get(key)
        return entry if entry is not None and entry.asked == asked else None

    def stem(self, key: str, asked: str, images: int) -> str:
        """What the files of a row are to be called: nothing is replaced that is not the row's own."""
        entry = self.of(key, asked)
        if entry is not None:
            return entry.stem
        names = [key, *(f"{key}-{number}" for number in range(2, images + 1))]
        if any(_is_taken(name.casefold(), self._taken) for name in names):
            return f"{key}-{digest([self.run, asked])[:8]}"
        return key

    def is_intact(self, entry: Entry) -> bool:
        """Whether the files of a row that is done are what they were."""
        return all(_sha256(self.folder / each.name) == each.sha256 for each in entry.files)

    def begin(self, entry: Entry) -> None:
        """Note that a call for a row is about to be made."""
        if self.entries.get(entry.key) != entry:
            self._append(entry, lasting=False)

    def end(self, entry: Entry) -> None:
        """Note how a row has ended; it is on the disk when this returns."""
        self._append(entry, lasting=True)

    def _append(self, entry: Entry, *, lasting: bool) -> None:
        self._write({name: value for name, value in asdict(entry).items() if value not in ("", 0, (), 0.0)}, lasting)
        self._note(entry)

    def _write(self, document: Mapping[str, Any], lasting: bool = True) -> None:
        self._file.write(json.dumps(document).encode() + b"\n")
        self._file.flush()
        if lasting:
            os.fsync(self._file.fileno())

    def _note(self, entry: Entry) -> None:
        before = self.entries.get(entry.key)
        if before is not None and (before.state == "begun" or _is_same_image(before, entry)):
            self.spent -= before.cost
        self.spent += entry.cost
        self.entries[entry.key] = entry


def _is_same_image(before: Entry, entry: Entry) -> bool:
    """Whether *entry* tells again what *before* told: what was paid for once came back under its idempotency key."""
    return bool(entry.request_id) and entry.request_id == before.request_id


def identity(request: ImageRequest) -> str:
    """A hash of all that *request* asks for, what is in its reference images included.

    Raises:
        InvalidRequest: an image cannot be read.
    """
    return digest([wanted(request), [_image(each) for each in request.images]])


def now() -> str:
    """The time as the manifest has it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def ended(begun: Entry, folder: Path, what: ImageResult | GatewayError, kept: Sequence[Path] = ()) -> Entry:
    """The entry for a row that ended with *what*; *kept* are the images that were paid for without meeting the request.

    Reads the images: call it from a worker thread.
    """
    told = replace(begun, at=now(), usd=f"{cost_of(what):f}")
    if isinstance(what, GatewayError):
        public = next(kind for kind in type(what).__mro__ if kind.__module__ == GatewayError.__module__)
        names = tuple(_file(path, 0, 0) for path in kept)
        return replace(told, state="failed", error=public.__name__, message=str(what)[:2000], files=names)
    paths = [numbered(folder / begun.stem, number, image) for number, image in enumerate(what.images, 1)]
    return replace(
        told, state="done", lane=what.lane, size=what.size, seconds=round(what.elapsed, 3), request_id=what.request_id,
        files=tuple(_file(path, image.width, image.height) for path, image in zip(paths, what.images, strict=True)),
    )  # fmt: skip


def _file(path: Path, width: int, height: int) -> File:
    return File(name=path.name, sha256=_sha256(path), bytes=path.stat().st_size, width=width, height=height)


def _image(image: object) -> str:
    if not isinstance(image, Path):
        return digest(image)
    found = _reference(image)
    if not found:
        raise InvalidRequest(f"images: {image.name!r} cannot be read")
    return found


@lru_cache(maxsize=1024)
def _reference(path: Path) -> str:
    return _sha256(path)


def _sha256(path: Path) -> str:
    """The hash of a file; of one that cannot be read, none."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _is_taken(stem: str, names: set[str]) -> bool:
    return any(name == stem or name.rpartition(".")[0] == stem for name in names)


def _asides(path: Path) -> Iterator[Path]:
    return (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(1))


def _read(file: BinaryIO) -> tuple[str | None, list[Entry]]:
    """The run's name, None in an empty file, and the entries; what a write that never ended has left is cut off."""
    file.seek(0)
    data = file.read()
    whole = data.rpartition(b"\n")[0] + b"\n" if b"\n" in data else b""
    file.truncate(len(whole))
    try:
        lines = [json.loads(line) for line in whole.splitlines()]
        if not lines:
            return None, []
        if lines[0]["version"] != VERSION:
            raise ConfigError(
                f"{NAME}: was written by another version of image-gateway; use another folder, or --fresh"
            )
        return str(lines[0]["run"]), [_entry(line) for line in lines[1:]]
    except (ValueError, KeyError, TypeError):
        raise ConfigError(f"{NAME}: is not a manifest; use another folder, or --fresh") from None


def _entry(line: Mapping[str, Any]) -> Entry:
    return Entry(**{**line, "files": tuple(File(**each) for each in line.get("files", ()))})


def _lock(file: BinaryIO) -> None:
    """Be the only run that uses the folder, until the file is closed or the process ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise InvalidRequest("output: another run uses this folder; wait for it, or use another folder") from None
