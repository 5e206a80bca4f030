"""What makes two requests the same: a hash of everything that shapes what is delivered, images that go along included."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any, Final

from pydantic import BaseModel

from gateway.chat.history import unsigned
from gateway.request import ImageRequest
from providers.images import ReferenceImage

_ABOUT_THE_JOB: Final = frozenset(
    {"idempotency_key", "allow_second_charge", "cache", "save_to", "tags", "task", "deadline", "max_cost"}
)
"""Fields that say how the work is done and booked, not what is wanted. A new field counts unless it is named here."""


def fingerprint(request: ImageRequest, references: Sequence[ReferenceImage]) -> str:
    """The SHA-256 of what *request*, with its *references* as they were loaded, asks for; 64 hexadecimal digits.

    Thought signatures do not count: a conversation that had to leave them out still asks for the same.
    """
    wanted = {name: getattr(request, name) for name in type(request).model_fields if name not in _ABOUT_THE_JOB}
    return digest({**wanted, "images": tuple(references), "history": tuple(map(unsigned, request.history))})


def digest(value: object) -> str:
    """The SHA-256 of *value*, made of models, dataclasses, mappings, sequences and plain values; bytes by their own hash.

    Raises:
        TypeError: something in it is of another kind.
    """
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()


def _plain(value: object) -> Any:
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, bytes):
        return {"sha256": hashlib.sha256(value).hexdigest()}
    if isinstance(value, BaseModel):
        return _plain({name: getattr(value, name) for name in type(value).model_fields})
    if is_dataclass(value):
        return _plain({each.name: getattr(value, each.name) for each in fields(value)})
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, Sequence):
        return [_plain(item) for item in value]
    if isinstance(value, Decimal):
        return str(value)
    raise TypeError(f"a {type(value).__name__} has no fingerprint")
