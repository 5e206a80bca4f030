"""Where the bytes of an image are gathered while it arrives: in memory, or in a file of the folder it is meant for.

A file has a temporary name until it is moved. Whatever nobody moved is removed: at once where it is known to be useless,
else with the last reference to it.
"""

from __future__ import annotations

import mmap
import os
import secrets
import weakref
from io import BytesIO
from pathlib import Path
from typing import Any, Final, Protocol, Self, cast

from providers.images import GeneratedImage

SPILL: Final = 64 * 1024
"""Bytes up to which an image stays in memory: texts that only begin like one must not cost a file each."""


class Room(Protocol):
    """Takes the bytes of one image, piece by piece."""

    def write(self, data: bytes) -> None:
        """Take *data*, all of it."""
        ...

    def value(self) -> bytes:
        """What was written, without a copy: bytes, or a :class:`FileBytes`, which serves who only reads as well."""
        ...

    def discard(self) -> None:
        """Forget what was written."""
        ...


class MemoryRoom:
    """A buffer with room for *size* bytes to begin with: one that grows step by step is copied at most of the steps.

    The zeros it starts from are promised by the system, and made only where something is written.
    """

    def __init__(self, size: int = 0) -> None:
        self._buffer = BytesIO(bytes(size))

    def write(self, data: bytes) -> None:
        """See :class:`Room`."""
        self._buffer.write(data)

    def value(self) -> bytes:
        """See :class:`Room`."""
        self._buffer.truncate(self._buffer.tell())
        return self._buffer.getvalue()  # hands out its own buffer

    def discard(self) -> None:
        """See :class:`Room`."""
        self._buffer = BytesIO()


class FileRoom:
    """A file in *folder*, made when the bytes have become many.

    When it cannot be written any more, all goes on in memory: a full disk must not cost an image that has been paid for.
    """

    def __init__(self, folder: Path) -> None:
        self._folder: Path | None = folder
        self._few = MemoryRoom()
        self._size = 0
        self._file: _TemporaryFile | None = None

    def write(self, data: bytes) -> None:
        """See :class:`Room`."""
        try:
            self._store(data)
        except OSError:
            self._return_to_memory()
            self._few.write(data)
        self._size += len(data)

    def value(self) -> bytes:
        """See :class:`Room`."""
        return self._few.value() if self._file is None else cast(bytes, self._file.map())

    def discard(self) -> None:
        """See :class:`Room`."""
        self._few.discard()
        if self._file is not None:
            self._file.remove()

    def _store(self, data: bytes) -> None:
        if self._file is None and self._folder is not None and self._size + len(data) > SPILL:
            file = _TemporaryFile(self._folder)
            file.write(self._few.value())
            self._file = file
            self._few.discard()
        if self._file is None:
            self._few.write(data)
        else:
            self._file.write(data)

    def _return_to_memory(self) -> None:
        self._folder = None
        if self._file is not None:
            self._few.write(self._file.read(self._size))
            self._file.remove()
            self._file = None


class _TemporaryFile:
    """A file open for writing, under a hidden name in *folder*; short, for the real one may be as long as names can be."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f".{secrets.token_hex(8)}.part"
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
        self._remove = weakref.finalize(self, _remove, self._path)
        self._close = weakref.finalize(self, os.close, self._descriptor)

    def write(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def read(self, size: int) -> bytes:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            return file.read(size)

    def map(self) -> FileBytes:
        """The bytes; the file is theirs from now on."""
        mapped = FileBytes.of(self._descriptor, self._path)
        self._remove.detach()
        self._close()
        return mapped

    def remove(self) -> None:
        self._close()
        self._remove()


class FileBytes(mmap.mmap):
    """The bytes of a file, read where they stand. It goes when they are not referred to any more, unless it was moved."""

    path: Path
    _remove: weakref.finalize[Any, Any]

    @classmethod
    def of(cls, descriptor: int, path: Path) -> Self:
        """The bytes of the file that is open as *descriptor* and named *path*."""
        mapped = cls(descriptor, 0, access=mmap.ACCESS_READ)
        mapped.path = path
        mapped._remove = weakref.finalize(mapped, _remove, path)
        return mapped

    def move_to(self, target: Path) -> None:
        """Make *target* the file's name, in place of whatever had it.

        Raises:
            OSError: it cannot be; the file stays as it was.
        """
        self.path.replace(target)
        self._remove.detach()
        self.path = target

    def discard(self) -> None:
        """Remove the file now. The bytes can be read all the same, as long as they are referred to."""
        self._remove()

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, bytes | mmap.mmap) and memoryview(self) == memoryview(other))

    __hash__ = mmap.mmap.__hash__


class SpooledImage(GeneratedImage):
    """An image whose bytes are in the file behind *file*: ``data`` is read from there whenever it is asked for."""

    __slots__ = ("file",)

    file: FileBytes

    def __init__(self, *, file: FileBytes, mime_type: str, width: int, height: int) -> None:
        facts = {"file": file, "mime_type": mime_type, "width": width, "height": height}
        for name, value in facts.items():
            object.__setattr__(self, name, value)

    @property
    def data(self) -> bytes:
        """The bytes of the file, in memory."""
        return bytes(self.file)

    def __reduce__(self) -> tuple[Any, ...]:
        return _in_memory, (self.data, self.mime_type, self.width, self.height)


def _in_memory(data: bytes, mime_type: str, width: int, height: int) -> GeneratedImage:
    return GeneratedImage(data=data, mime_type=mime_type, width=width, height=height)


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
