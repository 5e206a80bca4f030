"""Which processes on this machine are alive: each holds a lock on a file of its own, which the system frees when it ends.

Unlike process ids, locks are not given to others, work across containers that share the folder, and need no clock.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class Presence:
    """That *worker* is alive, for others who look into *folder*, until :meth:`leave` or the end of the process."""

    def __init__(self, folder: Path, worker: str) -> None:
        """Take the lock.

        Raises:
            OSError: the folder cannot be written to.
        """
        folder.mkdir(exist_ok=True)
        self._path = folder / worker
        self._file = os.open(self._path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        _lock(self._file)  # before anything is written in its name, so that nobody takes it for dead until then

    def leave(self) -> None:
        """Give the lock up."""
        self._path.unlink(missing_ok=True)
        self.drop()

    def drop(self) -> None:
        """Close the file, as a fork's child does with what it has inherited: the lock stays with the parent."""
        with suppress(OSError):
            os.close(self._file)


def is_alive(folder: Path, worker: str) -> bool:
    """Whether *worker* holds its lock; what a dead one has left is removed."""
    path = folder / worker
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        free = _lock(file)
        if free:
            path.unlink(missing_ok=True)
        return not free
    finally:
        os.close(file)


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only process in a block like this over *folder*, waiting for others to leave theirs.

    Raises:
        OSError: the folder cannot be written to.
    """
    folder.mkdir(exist_ok=True)
    file = os.open(folder / ".alone", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        _wait_for_lock(file)
        yield
    finally:
        os.close(file)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> bool:
        """Take the lock; False if another process holds it."""
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _wait_for_lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_LOCK, 1)

else:
    import fcntl

    def _lock(file: int) -> bool:
        """Take the lock; False if another process holds it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _wait_for_lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX)
