"""Images and other bytes kept by their content: under the SHA-256 of what they are.

What is read is checked against its name: a file that was changed counts as lost, and is removed.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from providers.errors import ConfigError
from providers.sanitise import sanitise

OBJECT_TIMEOUT: Final = timedelta(seconds=10)
"""How long one request to an object store may take, and how long it is tried again."""
MEMORY: Final = 256 * 2**20
"""Bytes that are kept in memory; beyond, what was not used for the longest time is forgotten."""
_DIGITS: Final = frozenset("0123456789abcdef")


class Blobs(Protocol):
    """A place for bytes. It may take a while: call it from a worker thread. Any thread may."""

    def put(self, data: bytes) -> str:
        """Keep *data*, and return its SHA-256 as 64 hexadecimal digits.

        Raises:
            OSError: it could not be kept, whole; nothing is left of it.
        """
        ...

    def get(self, sha256: str) -> bytes | None:
        """What was put under that hash, or None if it is not there (any more) or not what it was.

        Raises:
            OSError: it is there, and cannot be read.
        """
        ...

    def discard(self, sha256: str) -> None:
        """Forget it, if it is there."""
        ...

    def sweep(self, before: datetime, spared: Container[str] = ()) -> int:
        """Forget what was last put before then, except for the hashes *spared*; how many that were.

        Raises:
            OSError: the place cannot be looked through.
        """
        ...


class FolderBlobs:
    """Files below *folder*, which is made with the first: in a subfolder named after the first two digits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def put(self, data: bytes) -> str:
        """See :class:`Blobs`."""
        sha256 = hashlib.sha256(data).hexdigest()
        path = self._path(sha256)
        if self.get(sha256) is not None:
            path.touch()  # it was put just now, for whoever sweeps
            return sha256
        path.parent.mkdir(parents=True, exist_ok=True)
        being_written = path.with_name(f".{secrets.token_hex(8)}")
        try:
            being_written.write_bytes(data)
            being_written.replace(path)
        except BaseException:
            being_written.unlink(missing_ok=True)
            raise
        return sha256

    def get(self, sha256: str) -> bytes | None:
        """See :class:`Blobs`."""
        try:
            data = self._path(sha256).read_bytes()
        except FileNotFoundError:
            return None
        return _as_put(self, sha256, data)

    def discard(self, sha256: str) -> None:
        """See :class:`Blobs`."""
        self._path(sha256).unlink(missing_ok=True)

    def sweep(self, before: datetime, spared: Container[str] = ()) -> int:
        """See :class:`Blobs`; what a write that never ended has left is removed, too."""
        swept = 0
        for path in self.folder.glob("??/*"):
            with suppress(FileNotFoundError):  # somebody else sweeps as well
                young = datetime.fromtimestamp(path.stat().st_mtime, UTC) >= before
                if not young and path.parent.name + path.name not in spared:
                    path.unlink()
                    swept += 1
        return swept

    def _path(self, sha256: str) -> Path:
        return self.folder / _place(sha256)


def _as_put(blobs: Blobs, sha256: str, data: bytes) -> bytes | None:
    """*data* if it still is what was put; what has changed is discarded."""
    if hashlib.sha256(data).hexdigest() == sha256:
        return data
    blobs.discard(sha256)
    return None


class MemoryBlobs:
    """Bytes in this process, at most *limit* of them."""

    def __init__(self, limit: int = MEMORY) -> None:
        self._limit = limit
        self._kept: OrderedDict[str, tuple[bytes, datetime]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def put(self, data: bytes) -> str:
        """See :class:`Blobs`."""
        sha256 = hashlib.sha256(data).hexdigest()
        with self._lock:
            self._drop(sha256)
            self._kept[sha256] = data, datetime.now(UTC)
            self._size += len(data)
            while self._size > self._limit:
                self._drop(next(iter(self._kept)))
        return sha256

    def get(self, sha256: str) -> bytes | None:
        """See :class:`Blobs`."""
        with self._lock:
            if sha256 not in self._kept:
                return None
            self._kept.move_to_end(sha256)
            return self._kept[sha256][0]

    def discard(self, sha256: str) -> None:
        """See :class:`Blobs`."""
        with self._lock:
            self._drop(sha256)

    def sweep(self, before: datetime, spared: Container[str] = ()) -> int:
        """See :class:`Blobs`."""
        with self._lock:
            old = [sha256 for sha256, (_, put) in self._kept.items() if put < before and sha256 not in spared]
            for sha256 in old:
                self._drop(sha256)
        return len(old)

    def _drop(self, sha256: str) -> None:
        data, _ = self._kept.pop(sha256, (b"", None))
        self._size -= len(data)


class ObjectBlobs:
    """Objects in *store*, an object store of obstore's, under the names that :class:`FolderBlobs` gives its files."""

    def __init__(self, store: Any) -> None:
        self._store = store

    def put(self, data: bytes) -> str:
        """See :class:`Blobs`; always written, which is one request, and makes it young for whoever sweeps."""
        import obstore

        sha256 = hashlib.sha256(data).hexdigest()
        with _as_os_error():
            obstore.put(self._store, _place(sha256), data)
        return sha256

    def get(self, sha256: str) -> bytes | None:
        """See :class:`Blobs`."""
        import obstore

        try:
            with _as_os_error():
                data = bytes(obstore.get(self._store, _place(sha256)).bytes())
        except FileNotFoundError:
            return None
        return _as_put(self, sha256, data)

    def discard(self, sha256: str) -> None:
        """See :class:`Blobs`."""
        self._delete(_place(sha256))

    def sweep(self, before: datetime, spared: Container[str] = ()) -> int:
        """See :class:`Blobs`."""
        import obstore

        with _as_os_error():
            found = [each for batch in obstore.list(self._store) for each in batch]
        old = [each["path"] for each in found if each["last_modified"] < before]
        gone = [path for path in old if _is_ours(path) and path.replace("/", "") not in spared]
        for path in gone:
            self._delete(path)
        return len(gone)

    def _delete(self, path: str) -> None:
        import obstore

        with suppress(FileNotFoundError), _as_os_error():
            obstore.delete(self._store, path)


def blobs_at(place: str) -> Blobs:
    """The blobs at *place*: a folder, or the address of an object store.

    ``file:///path`` is a folder and ``memory:///`` this process; ``s3://``, ``gs://``, ``az://`` and the like need obstore,
    which takes credentials from where the vendor's own tools do.

    Raises:
        ConfigError: there is no such kind of store, obstore is not installed, or the address is not complete.
    """
    if place.startswith("memory://"):
        return MemoryBlobs()
    if place.startswith("file:///"):
        return FolderBlobs(Path(place.removeprefix("file://")))
    return ObjectBlobs(_object_store(place)) if "://" in place else FolderBlobs(Path(place))


def apart(blobs: Blobs, name: str) -> Blobs:
    """A place beside what is in *blobs*: a folder within theirs, or this process."""
    return FolderBlobs(blobs.folder / name) if isinstance(blobs, FolderBlobs) else MemoryBlobs()


def _object_store(url: str) -> Any:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError:
        raise ConfigError("cache.store: an object store needs obstore: pip install 'image-gateway[objects]'") from None
    try:
        return from_url(
            url,
            client_options={"timeout": OBJECT_TIMEOUT, "connect_timeout": OBJECT_TIMEOUT / 2},
            retry_config={"max_retries": 1, "retry_timeout": OBJECT_TIMEOUT},
        )
    except (BaseError, ValueError) as error:
        told = sanitise(str(error).partition("\n")[0])
        raise ConfigError(f"cache.store: expected a folder, or an address such as s3://bucket/prefix: {told}") from None


@contextmanager
def _as_os_error() -> Iterator[None]:
    """What goes wrong at an object store is told as what goes wrong with a disk."""
    from obstore.exceptions import BaseError

    try:
        yield
    except BaseError as error:
        raise OSError(sanitise(str(error).partition("\n")[0])) from None


def _place(sha256: str) -> str:
    """Where bytes are kept: in a folder named after the first two digits of their hash."""
    if len(sha256) != 64 or not set(sha256) <= _DIGITS:
        raise ValueError("expected a SHA-256 as 64 hexadecimal digits")
    return f"{sha256[:2]}/{sha256[2:]}"


def _is_ours(path: str) -> bool:
    """Whether *path* is one that :func:`_place` makes: others may keep things in the same bucket."""
    return len(path) == 65 and path[2] == "/" and set(path.replace("/", "", 1)) <= _DIGITS
