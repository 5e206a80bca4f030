"""What makes two requests the same: a hash of everything that shapes what is delivered, reference images included."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Final

from gateway.request import ImageRequest
from providers.images import ReferenceImage

_ABOUT_THE_JOB: Final = {
    "idempotency_key", "allow_second_charge", "cache", "save_to", "tags", "task", "deadline", "max_cost",
}  # fmt: skip
"""Fields that say how the work is done and booked, not what is wanted. A new field counts unless it is named here."""


def fingerprint(request: ImageRequest, references: Sequence[ReferenceImage]) -> str:
    """The SHA-256 of what *request*, with its *references* as they were loaded, asks for; 64 hexadecimal digits."""
    wanted = request.model_dump(mode="json", exclude={*_ABOUT_THE_JOB, "images"})
    wanted["images"] = [(image.mime_type, hashlib.sha256(image.data).hexdigest()) for image in references]
    return hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
