"""Images written to where the caller wants them, whole or not at all."""

from __future__ import annotations

import secrets
from pathlib import Path

from gateway.result import ImageResult, numbered


def saved(result: ImageResult, target: Path) -> ImageResult:
    """*result*, after its images were written to *target*, a file name or an existing folder.

    Each file is written under a temporary name in the same folder and renamed when it is complete.

    Raises:
        OSError: a file could not be written.
    """
    base = target / result.request_id if target.is_dir() else target
    for number, image in enumerate(result.images, 1):
        _write(numbered(base, number, image), image.data)
    return result


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.stem}-{secrets.token_hex(8)}{path.suffix}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
