"""Where images go: the file that was named, or a name made of the prompt. Nothing that was paid for is lost."""

from __future__ import annotations

import os
import re
import secrets
import tempfile
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from providers.errors import InvalidRequest
from providers.images import GeneratedImage, with_image_suffix

MAX_SLUG: Final = 48
"""Characters of the prompt that a file name takes."""
SPARE_NAME: Final = "image-gateway"
"""The name in the folder for temporary files of an image that cannot be written where it belongs."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where to save. *named*: the user chose the very name, so that an older file of this name is replaced."""

    path: Path
    named: bool

    def rejected(self) -> Target:
        """Where images go that were paid for but did not meet the request: a name nobody takes for the wanted image."""
        return Target(self.path.with_name(f"{self.path.stem}-rejected{self.path.suffix}"), named=False)


def target(output: str | None, prompt: str) -> Target:
    """Where to save, checked before any money is spent.

    Raises:
        InvalidRequest: *output* is a place where nothing can be written.
    """
    path = Path(output or ".")
    try:
        named = output is not None and not path.is_dir()
        folder = path.parent if named else path
        found = folder.is_dir()
    except OSError as error:
        raise InvalidRequest(f"output: cannot be a file: {error.strerror}") from None
    if output is not None and (output == "-" or (named and output.endswith(("/", os.sep)))):
        raise InvalidRequest(f"output: expected a file name or an existing folder, not {output!r}")
    if not found:
        raise InvalidRequest(f"output: there is no folder {str(folder)!r}")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InvalidRequest(f"output: the folder {str(folder)!r} cannot be written to")
    return Target(path if named else path / slug(prompt), named)


def slug(prompt: str) -> str:
    """The beginning of *prompt* as a file name without a suffix."""
    words = re.findall(r"\w+", unicodedata.normalize("NFKC", prompt[:1000]).lower())
    name = ""
    for word in words:
        if name and len(name) + 1 + len(word) > MAX_SLUG:
            break
        name = f"{name}-{word}" if name else word
    return name[:MAX_SLUG] or "image"


def save(images: Sequence[GeneratedImage], where: Target, complain: Callable[[str], None]) -> list[Path]:
    """Write *images* at *where*, or if that fails somewhere else, of which it will *complain*; the paths.

    A name that was not typed by the user, such as one with a corrected suffix, never replaces a file.

    Raises:
        OSError: nothing can be written anywhere.
    """
    return [_save_somewhere(image, where, complain) for image in images[:1]] + [
        _save_somewhere(image, Target(where.path, named=False), complain) for image in images[1:]
    ]


def _save_somewhere(image: GeneratedImage, where: Target, complain: Callable[[str], None]) -> Path:
    try:
        return _save(image, where)
    except OSError as error:
        path = _save(image, Target(Path(tempfile.gettempdir()) / SPARE_NAME, named=False))
        complain(f"{where.path} could not be written ({error.strerror}): the image was saved as {path}")
        return path


def _save(image: GeneratedImage, where: Target) -> Path:
    path = with_image_suffix(where.path, image.mime_type)
    if where.named and path == where.path:
        temporary = path.with_name(f".{path.stem[:64]}-{secrets.token_hex(8)}")
        _write_new(temporary, image.data)
        return temporary.replace(path)
    for candidate in _names(path):
        try:
            _write_new(candidate, image.data)
        except FileExistsError:
            continue
        return candidate
    raise AssertionError  # there is always another number


def _names(path: Path) -> Iterator[Path]:
    yield path
    yield from (path.with_name(f"{path.stem}-{number}{path.suffix}") for number in count(2))


def _write_new(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        try:
            file.write(data)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
