"""A conversation in one file: a ZIP archive with ``conversation.json``, and each image once, named by its SHA-256.

Nothing in it is compressed, so whoever reads it never gets more bytes than the file has. No key is ever in it. A file
with a later minor version is read, and what is unknown in it left alone; one with a later major version is refused.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import zipfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.chat.conversation import Conversation
from gateway.request import ImageRequest
from providers.errors import InvalidRequest
from providers.facts import ImageDefect, inspect
from providers.images import GeneratedImage, ReferenceImage
from providers.outcome import Part
from providers.sanitise import sanitise
from providers.turns import Turn

MAJOR: Final = 1
MINOR: Final = 0
"""The version of the format that is written. Files of the same major version are understood, whatever the minor."""
MAX_FILE: Final = 4 * 2**30
"""Bytes of a file that is read at most: it comes into memory."""
DOCUMENT: Final = "conversation.json"

_Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Kept(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)


class _Image(_Kept):
    sha256: _Sha256


class _Part(_Kept):
    text: str | None = None
    image: _Image | None = None
    signature: str | None = None


class _Turn(_Kept):
    prompt: str
    images: tuple[_Image, ...] = ()
    answer: tuple[_Part, ...] = ()
    lane: str = ""


class _Version(_Kept):
    """What every version of the format says; *written_by* is a version of image-gateway."""

    major: int
    minor: int
    written_by: str = ""


class _Document(_Version):
    defaults: dict[str, Any] = {}
    turns: tuple[_Turn, ...] = ()


_Model = TypeVar("_Model", bound=_Kept)


def save(conversation: Conversation, path: Path) -> Path:
    """Write *conversation* under a temporary name in the same folder, and rename what is complete.

    Raises:
        OSError: the file could not be written.
    """
    images: dict[str, bytes] = {}
    document = json.dumps(_written(conversation, images)).encode()
    temporary = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        with temporary.open("xb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                archive.writestr(zipfile.ZipInfo(DOCUMENT), document)
                for sha256, data in images.items():
                    archive.writestr(zipfile.ZipInfo(_entry(sha256)), data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    return path


def load(path: Path) -> Conversation:
    """The conversation in the file at *path*.

    Raises:
        InvalidRequest: it cannot be read, is damaged, or was written by too late a version; the message says which.
    """
    where = sanitise(path.name)
    try:
        if path.stat().st_size > MAX_FILE:
            raise InvalidRequest(f"{where}: is over the limit of {MAX_FILE:,} bytes")
        with zipfile.ZipFile(path) as archive:
            return _Reader(archive, where, path.stat().st_size).conversation()
    except InvalidRequest:
        raise
    except OSError as error:
        raise InvalidRequest(f"{where}: cannot be read: {error.strerror or type(error).__name__}") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise InvalidRequest(f"{where}: is damaged, or no saved conversation: {sanitise(error)}") from None


class _Reader:
    """Reads one archive; *where* is what messages call it, *size* how many bytes its file has."""

    def __init__(self, archive: zipfile.ZipFile, where: str, size: int) -> None:
        self._archive = archive
        self._where = where
        self._images: dict[str, bytes] = {}
        entries = archive.infolist()
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise InvalidRequest(f"{where}: is no saved conversation: something in it is compressed")
        if sum(entry.file_size for entry in entries) > size:
            raise InvalidRequest(f"{where}: is no saved conversation: it claims to hold more than it has")

    def conversation(self) -> Conversation:
        """All of it."""
        text = self._bytes(DOCUMENT)
        told = self._understood(_Version, text)
        if told.major > MAJOR:
            writer = f" {sanitise(told.written_by)}" if told.written_by else ""
            raise InvalidRequest(
                f"{self._where}: has version {told.major}.{told.minor} of the format, this image-gateway reads {MAJOR}: "
                f"it takes image-gateway{writer} or later"
            )
        document = self._understood(_Document, text)
        defaults = {name: value for name, value in document.defaults.items() if name in ImageRequest.model_fields}
        try:
            begun = Conversation.begun(defaults)
        except InvalidRequest as error:
            raise InvalidRequest(f"{self._where}: {DOCUMENT}: defaults: {error}") from None
        return Conversation(begun.defaults, tuple(self._turn(turn) for turn in document.turns))

    def _understood(self, kind: type[_Model], text: bytes) -> _Model:
        try:
            return kind.model_validate_json(text)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            place = ".".join(map(str, first["loc"]))
            raise InvalidRequest(f"{self._where}: {DOCUMENT}: {place}: {sanitise(first['msg'])}") from None

    def _turn(self, kept: _Turn) -> Turn:
        answer = tuple(
            Part(text=part.text, image=self._drawn(part.image) if part.image else None, signature=part.signature)
            for part in kept.answer
        )
        return Turn(prompt=kept.prompt, images=tuple(map(self._given, kept.images)), answer=answer, lane=kept.lane)

    def _given(self, kept: _Image) -> ReferenceImage:
        drawn = self._drawn(kept)
        return ReferenceImage(drawn.data, drawn.mime_type)

    def _drawn(self, kept: _Image) -> GeneratedImage:
        """The image, with the facts that its bytes show."""
        entry = _entry(kept.sha256)
        data = self._images.get(kept.sha256)
        if data is None:
            data = self._images[kept.sha256] = self._bytes(entry)
            if hashlib.sha256(data).hexdigest() != kept.sha256:
                raise InvalidRequest(f"{self._where}: {entry}: has been changed since it was saved")
        try:
            facts = inspect(data)
        except ImageDefect as defect:
            raise InvalidRequest(f"{self._where}: {entry}: {defect}") from None
        return GeneratedImage(data=data, mime_type=facts.mime_type, width=facts.width, height=facts.height)

    def _bytes(self, entry: str) -> bytes:
        try:
            return self._archive.read(entry)
        except KeyError:
            raise InvalidRequest(f"{self._where}: {entry}: is not in it") from None
        except zipfile.BadZipFile as error:
            raise InvalidRequest(f"{self._where}: {entry}: is damaged: {sanitise(error)}") from None


def _written(conversation: Conversation, images: dict[str, bytes]) -> dict[str, Any]:
    """The document; its *images* are gathered by their SHA-256."""

    def kept(image: ReferenceImage | GeneratedImage) -> dict[str, str]:
        sha256 = hashlib.sha256(image.data).hexdigest()
        images.setdefault(sha256, image.data)
        return {"sha256": sha256, "mime_type": image.mime_type}

    return {
        "major": MAJOR,
        "minor": MINOR,
        "written_by": version("image-gateway"),
        "defaults": _plain(conversation.defaults),
        "turns": [_written_turn(turn, kept) for turn in conversation.turns],
    }


def _written_turn(turn: Turn, kept: Callable[[ReferenceImage | GeneratedImage], dict[str, str]]) -> dict[str, Any]:
    answer = [
        {"text": part.text, "image": part.image and kept(part.image), "signature": part.signature}
        for part in turn.answer
    ]
    return {"prompt": turn.prompt, "images": list(map(kept, turn.images)), "answer": answer, "lane": turn.lane}


def _plain(value: Any) -> Any:
    """*value* as JSON has it, and as :class:`ImageRequest` takes it again."""
    if isinstance(value, BaseModel):
        return _plain({name: getattr(value, name) for name in type(value).model_fields})
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return float(value)
    return str(value) if isinstance(value, Path) else value


def _entry(sha256: str) -> str:
    return f"images/{sha256}"
