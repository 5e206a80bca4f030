"""Images and other bytes kept by their content: under the SHA-256 of what they are.

What is read is checked against its name: a file that was changed counts as lost, and is removed.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Protocol

MEMORY: Final = 256 * 2**20
"""Bytes that are kept in memory; beyond, what was not used for the longest time is forgotten."""


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

    def sweep(self, before: datetime) -> int:
        """Forget what was last put before then; how many that were."""
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
        if hashlib.sha256(data).hexdigest() == sha256:
            return data
        self.discard(sha256)
        return None

    def discard(self, sha256: str) -> None:
        """See :class:`Blobs`."""
        self._path(sha256).unlink(missing_ok=True)

    def sweep(self, before: datetime) -> int:
        """See :class:`Blobs`; what a write that never ended has left is removed, too."""
        swept = 0
        for path in self.folder.glob("??/*"):
            with suppress(FileNotFoundError):  # somebody else sweeps as well
                if datetime.fromtimestamp(path.stat().st_mtime, UTC) < before:
                    path.unlink()
                    swept += 1
        return swept

    def _path(self, sha256: str) -> Path:
        if len(sha256) != 64 or not set(sha256) <= set("0123456789abcdef"):
            raise ValueError("expected a SHA-256 as 64 hexadecimal digits")
        return self.folder / sha256[:2] / sha256[2:]


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

    def sweep(self, before: datetime) -> int:
        """See :class:`Blobs`."""
        with self._lock:
            old = [sha256 for sha256, (_, put) in self._kept.items() if put < before]
            for sha256 in old:
                self._drop(sha256)
        return len(old)

    def _drop(self, sha256: str) -> None:
        data, _ = self._kept.pop(sha256, (b"", None))
        self._size -= len(data)
