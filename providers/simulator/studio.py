"""Images drawn off the event loop and kept for whoever asks for the same again."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import pybase64

from providers.simulator.drawing import Picture, draw
from providers.simulator.padding import pad

KEPT_BYTES: Final = 256 * 2**20
"""How many bytes of images, with their base64, a studio keeps."""

SUFFIXES: Final = {"image/jpeg": "jpg", "image/png": "png", "image/webp": "webp"}
"""File suffixes by media type."""

_MARKER: Final = re.compile(r"\\u0000(\w+)\\u0000")
"""A marker as ``json.dumps`` writes it: control characters keep it apart from what people write."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnImage:
    """A drawn image with its base64, which is made once. *mime_type* is what an answer says the bytes are."""

    data: bytes = field(repr=False)
    base64: bytes = field(repr=False)
    mime_type: str
    width: int
    height: int
    id: str

    @property
    def marker(self) -> str:
        """Text to put into an answer's JSON where the base64 belongs; :func:`render` fills it in."""
        return f"\0{self.id}\0"

    @property
    def filename(self) -> str:
        """The name under which the image can be downloaded."""
        return f"{self.id}.{SUFFIXES.get(self.mime_type, 'bin')}"


def render(payload: object, images: Sequence[DrawnImage]) -> tuple[bytes, ...]:
    """*payload* as JSON in pieces, each marker replaced by the base64 of its image."""
    encoded = {image.id: image.base64 for image in images}
    pieces = _MARKER.split(json.dumps(payload))
    return tuple(encoded[piece] if odd % 2 else piece.encode() for odd, piece in enumerate(pieces))


class Studio:
    """Draws each picture once, however many ask for it at the same time, and forgets the least recently asked for."""

    def __init__(self, payload_bytes: int | None = None) -> None:
        self._payload_bytes = payload_bytes
        self._tasks: OrderedDict[Picture, asyncio.Task[DrawnImage]] = OrderedDict()
        self._files: dict[str, DrawnImage] = {}

    async def draw(self, picture: Picture) -> DrawnImage:
        """The image of *picture*."""
        task = self._tasks.get(picture)
        if task is None:
            task = asyncio.create_task(asyncio.to_thread(self._make, picture))
            self._tasks[picture] = task
        self._tasks.move_to_end(picture)
        try:
            image = await asyncio.shield(task)
        finally:
            if task.done() and (task.cancelled() or task.exception()):
                self._tasks.pop(picture, None)
        self._files[image.filename] = image
        self._forget()
        return image

    def file(self, name: str) -> DrawnImage | None:
        """The kept image called *name*, or None."""
        return self._files.get(name)

    def _make(self, picture: Picture) -> DrawnImage:
        data = pad(draw(picture), picture.mime_type, self._payload_bytes or 0)
        return finished(data, picture.mime_type, picture.width, picture.height)

    def _forget(self) -> None:
        done = [(picture, task.result()) for picture, task in self._tasks.items() if task.done()]
        kept = sum(len(image.data) + len(image.base64) for _, image in done)
        for picture, image in done[:-1]:
            if kept <= KEPT_BYTES:
                break
            kept -= len(image.data) + len(image.base64)
            del self._tasks[picture]
            self._files.pop(image.filename, None)


def finished(data: bytes, mime_type: str, width: int, height: int) -> DrawnImage:
    """*data* with what an answer needs to know of it."""
    return DrawnImage(
        data=data,
        base64=pybase64.b64encode(data),
        mime_type=mime_type,
        width=width,
        height=height,
        id=hashlib.sha256(data).hexdigest()[:24],
    )
