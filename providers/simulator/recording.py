"""The requests a simulator has received, without their keys."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from providers.simulator.forms import parse_form
from providers.simulator.messages import Request
from providers.sizes import Size

KEPT_REQUESTS: Final = 10_000
KEPT_BYTES: Final = 256 * 2**20
"""How many requests are remembered, and how many bytes of their bodies, so that a simulator can run for days."""

_SECRET_HEADERS: Final = frozenset({"authorization", "x-goog-api-key", "api-key", "cookie", "proxy-authorization"})
_SECRET_QUERY: Final = frozenset({"key", "access_token"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRequest:
    """A request as it arrived.

    *headers* (lower-case names) and *query* lack what holds a key; *auth* names where the key was (``"authorization"``,
    ``"x-goog-api-key"``, ``"api-key"``, ``"?key"``) and *key_sha256* is its SHA-256 in hex. *model* is as asked, *size*
    and *aspect_ratio* as understood, *images* the number of reference images and *n* of images wanted; they stay empty
    for a request that was refused. *fault* is the name of the fault that struck.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    auth: str | None = None
    key_sha256: str | None = field(default=None, repr=False)
    body: bytes = field(default=b"", repr=False)
    model: str | None = None
    size: Size | None = None
    aspect_ratio: str | None = None
    images: int = 0
    n: int = 1
    fault: str | None = None

    @property
    def json(self) -> Any:
        """The body as JSON, or None if it is not."""
        try:
            return json.loads(self.body)
        except ValueError:
            return None

    @property
    def form(self) -> Mapping[str, str] | None:
        """The text fields of a multipart body, or None if it is not one."""
        form = parse_form(self.body, self.headers.get("content-type", ""))
        return form.fields if form else None


def without_keys(request: Request) -> dict[str, Any]:
    """The fields of a :class:`RecordedRequest` that *request* itself gives, its keys taken out."""
    return {
        "method": request.method,
        "path": request.path,
        "query": {name: value for name, value in request.query.items() if name not in _SECRET_QUERY},
        "headers": {name: value for name, value in request.headers.items() if name not in _SECRET_HEADERS},
        "body": request.body,
    }


def digest(key: str) -> str:
    """SHA-256 of *key*, in hex: enough to compare keys, not to use them."""
    return hashlib.sha256(key.encode()).hexdigest()


def presented_keys(request: Request) -> dict[str, str]:
    """SHA-256 of each key in *request*, by where it was."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    places = {
        "x-goog-api-key": request.headers.get("x-goog-api-key"),
        "authorization": token.strip() if scheme.lower() == "bearer" else None,
        "?key": request.query.get("key"),
        "api-key": request.headers.get("api-key"),
    }
    return {place: digest(key) for place, key in places.items() if key}


def accepted_key(presented: Mapping[str, str], accepted: Collection[str] | None) -> str | None:
    """The first place whose key is among *accepted* (SHA-256 digests; None: any key will do), or None."""
    return next((place for place, key in presented.items() if accepted is None or key in accepted), None)


class Book:
    """Requests received and images charged for, thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: deque[RecordedRequest] = deque()
        self._bytes = 0
        self._images = 0
        self._bill = Decimal(0)

    def record(self, request: RecordedRequest) -> None:
        """Remember *request*, and forget the oldest if that is too much."""
        with self._lock:
            self._requests.append(request)
            self._bytes += len(request.body)
            while len(self._requests) > KEPT_REQUESTS or (self._bytes > KEPT_BYTES and len(self._requests) > 1):
                self._bytes -= len(self._requests.popleft().body)

    def charge(self, images: int, price: Decimal) -> None:
        """Charge for *images* at *price* USD each."""
        with self._lock:
            self._images += images
            self._bill += images * price

    @property
    def requests(self) -> list[RecordedRequest]:
        """The requests so far, oldest first."""
        with self._lock:
            return list(self._requests)

    @property
    def images(self) -> int:
        """Images charged for so far."""
        with self._lock:
            return self._images

    @property
    def bill(self) -> Decimal:
        """USD charged so far."""
        with self._lock:
            return self._bill
