"""What is submitted: requests by key, checked before anything is sent, and as the documents in which they are kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, TypeGuard, cast

from gateway import references
from gateway.blobs import Blobs
from gateway.bulk.run import Asked, request_of
from gateway.request import ImageRequest
from providers.errors import InvalidRequest
from providers.images import ReferenceImage
from providers.sanitise import sanitise

Requests = Mapping[str, Asked] | Sequence[Asked] | Sequence[tuple[str, Asked]]
"""Prompts, requests or their fields: by key, as pairs of key and request, or in a sequence, numbered from ``"1"``."""

MAX_LINES: Final = 100_000
"""Lines of one job."""
MAX_KEY: Final = 512
"""Characters of a key."""
SHOWN: Final = 60
"""Characters of a key that a message shows."""


class Lost(Exception):  # noqa: N818 - as in gateway.archive
    """A reference image is not where it was kept."""


def keyed(requests: Requests, check: Callable[[ImageRequest], None]) -> dict[str, ImageRequest]:
    """The requests by key, in order. *check* raises what the configuration has against one.

    Raises:
        InvalidRequest: one cannot be meant, a key is there twice, or there are none; the message says which.
    """
    found: dict[str, ImageRequest] = {}
    for key, asked in _pairs(requests):
        if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY:
            raise InvalidRequest(f"requests: expected keys that are texts of 1 to {MAX_KEY} characters")
        if key in found:
            raise InvalidRequest(f"{shown(key)}: two requests have this key; results are told apart by it")
        found[key] = _request(key, asked, check)
    if not 0 < len(found) <= MAX_LINES:
        raise InvalidRequest(f"requests: expected 1 to {MAX_LINES:,} of them, not {len(found):,}")
    return found


def _pairs(requests: Requests) -> Iterable[tuple[str, Asked]]:
    if isinstance(requests, Mapping):
        return requests.items()
    if isinstance(requests, str | bytes | ImageRequest) or not isinstance(requests, Iterable):
        raise InvalidRequest("requests: expected a sequence of requests, or a mapping of keys to requests")
    numbered = enumerate(requests, 1)
    return [each if _is_pair(each) else (str(number), cast(Asked, each)) for number, each in numbered]


def _is_pair(each: Asked | tuple[str, Asked]) -> TypeGuard[tuple[str, Asked]]:
    return isinstance(each, tuple) and len(each) == 2


def _request(key: str, asked: Asked, check: Callable[[ImageRequest], None]) -> ImageRequest:
    try:
        request = request_of(asked)
        check(request)
        if request.idempotency_key is not None:
            raise InvalidRequest("idempotency_key: a batch keeps what comes of each line by its key; leave it out")
        if request.history:
            raise InvalidRequest("history: a line of a batch stands by itself; leave it out")
    except InvalidRequest as error:
        raise InvalidRequest(f"{shown(key)}: {error}") from None
    return request


def shown(key: str) -> str:
    """*key* as a message shows it."""
    return sanitise(key, limit=SHOWN)


def loaded(key: str, request: ImageRequest) -> tuple[ReferenceImage, ...]:
    """The reference images of the request *key*. Reads files: call it from a worker thread.

    Raises:
        InvalidRequest: one cannot be used.
    """
    try:
        return references.load(request.images)
    except InvalidRequest as error:
        raise InvalidRequest(f"{shown(key)}: {error}") from None


def document(request: ImageRequest, given: Sequence[ReferenceImage], blobs: Blobs) -> dict[str, Any]:
    """*request* as JSON has it, its reference images, as *given*, kept in *blobs*. Call it from a worker thread.

    Raises:
        OSError: an image could not be kept.
    """
    fields = request.model_dump(exclude_defaults=True, exclude={"images"})
    if request.save_to is not None:
        fields["save_to"] = request.save_to.absolute()  # who fetches may stand elsewhere
    plain: dict[str, Any] = json.loads(json.dumps(fields, default=_plain))
    if given:
        plain["images"] = [(blobs.put(image.data), image.mime_type, len(image.data)) for image in given]
    return plain


def _plain(value: object) -> object:
    return float(value) if isinstance(value, Decimal) else str(value)


def bare(document: Mapping[str, Any]) -> ImageRequest:
    """The request that *document* is, without its reference images."""
    return ImageRequest(**{name: value for name, value in document.items() if name != "images"})


def images(document: Mapping[str, Any], blobs: Blobs) -> tuple[ReferenceImage, ...]:
    """The reference images of the request that *document* is. Call it from a worker thread.

    Raises:
        Lost: an image is not there any more.
    """
    return tuple(_image(blobs, sha256, mime_type) for sha256, mime_type, _ in document.get("images", ()))


def destination(document: Mapping[str, Any]) -> Path | None:
    """Where the request that *document* is wants its images saved."""
    return Path(document["save_to"]) if "save_to" in document else None


def weight(document: Mapping[str, Any]) -> int:
    """Bytes, roughly, that the request takes on its way, its reference images in base64."""
    images: int = sum(size for _, _, size in document.get("images", ()))
    return len(json.dumps(document)) + images * 4 // 3


def fingerprint(documents: Mapping[str, Mapping[str, Any]]) -> str:
    """What *documents*, by key, ask for: a SHA-256 as 64 hexadecimal digits."""
    return hashlib.sha256(json.dumps(list(documents.items()), sort_keys=True).encode()).hexdigest()


def _image(blobs: Blobs, sha256: str, mime_type: str) -> ReferenceImage:
    data = blobs.get(sha256)
    if data is None:
        raise Lost("a reference image is not where it was kept")
    return ReferenceImage(data, mime_type)
