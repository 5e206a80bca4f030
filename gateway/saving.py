"""Images written to where the caller wants them, each as it arrives, whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import anyio.to_thread

from gateway.result import numbered
from providers.errors import InvalidRequest
from providers.images import GeneratedImage
from providers.outcome import Part
from providers.sanitise import sanitise
from providers.spool import SpooledImage


class SavedImage(GeneratedImage):
    """An image that was written to *path*, from where its ``data`` is read whenever it is asked for."""

    __slots__ = ("path",)

    path: Path

    def __init__(self, *, path: Path, mime_type: str, width: int, height: int) -> None:
        facts = {"path": path, "mime_type": mime_type, "width": width, "height": height}
        for name, value in facts.items():
            object.__setattr__(self, name, value)

    @property
    def data(self) -> bytes:
        """The bytes of the file.

        Raises:
            OSError: the file cannot be read any more.
        """
        return self.path.read_bytes()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "mime_type": self.mime_type, "width": self.width, "height": self.height}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]


class Destination:
    """Where the images of one request go: a file name, numbered from the second image on, or a folder.

    *folder* is where files may be made for images that are still arriving.
    """

    def __init__(self, target: Path, request_id: str) -> None:
        """Look whether something can be written there; *request_id* names the files in a folder.

        Raises:
            InvalidRequest: the folder does not exist or cannot be written to.
        """
        folder = target if target.is_dir() else target.parent
        if not folder.is_dir():
            raise InvalidRequest(f"save_to: there is no folder {sanitise(folder)}; create it first")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise InvalidRequest(f"save_to: the folder {sanitise(folder)} cannot be written to; choose another")
        self.folder = folder
        self._base = target / request_id if target.is_dir() else target
        self._numbers = count(1)

    async def take(self, parts: tuple[Part, ...]) -> tuple[Part, ...]:
        """*parts* with each image written to its file and read from there from now on.

        Raises:
            OSError: a file could not be written.
        """
        numbers = [next(self._numbers) for part in parts if part.image is not None]  # before others arrive
        return await anyio.to_thread.run_sync(self._written, parts, iter(numbers))

    def _written(self, parts: tuple[Part, ...], numbers: Iterator[int]) -> tuple[Part, ...]:
        return tuple(
            part if part.image is None else replace(part, image=self._saved(part.image, next(numbers)))
            for part in parts
        )  # fmt: skip

    def _saved(self, image: GeneratedImage, number: int) -> SavedImage:
        path = numbered(self._base, number, image)
        if isinstance(image, SpooledImage):
            image.file.move_to(path)
        else:
            _write(path, image.data)
        return SavedImage(path=path, mime_type=image.mime_type, width=image.width, height=image.height)


def _write(path: Path, data: bytes) -> None:
    """Write under a temporary name in the same folder, and rename what is complete."""
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")  # short: *path* may be as long as names can be
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
