"""Multipart forms, as the SDKs send them with files."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_NAME: Final = re.compile(rb'[ ;]name="([^"]*)"')
_BOUNDARY: Final = re.compile(r'boundary="?([^";]+)"?')


@dataclass(frozen=True, slots=True)
class Form:
    """A form's text *fields* and its *files*: (field, bytes) in the order sent."""

    fields: dict[str, str]
    files: tuple[tuple[str, bytes], ...] = field(repr=False)


def parse_form(body: bytes, media_type: str) -> Form | None:
    """The form in *body* of type *media_type*, or None if it is not multipart (RFC 7578)."""
    boundary = _BOUNDARY.search(media_type)
    if not media_type.startswith("multipart/form-data") or not boundary:
        return None
    fields: dict[str, str] = {}
    files: list[tuple[str, bytes]] = []
    delimiter = b"\r\n--" + boundary[1].encode()
    for section in (b"\r\n" + body).split(delimiter)[1:-1]:
        head, _, content = section.partition(b"\r\n\r\n")
        found = _NAME.search(head)
        name = found[1].decode() if found else ""
        if b"filename=" in head:
            files.append((name, content))
        else:
            fields[name] = content.decode()
    return Form(fields, tuple(files))
