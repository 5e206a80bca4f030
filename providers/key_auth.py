"""Where a key goes on the wire, for upstreams that want it elsewhere than the SDK would put it."""

from __future__ import annotations

from collections.abc import Generator
from typing import Final

import httpx2

from providers.secret import Secret

BEARER: Final = "bearer"
_HEADERS: Final = ("authorization", "x-goog-api-key", "api-key")


class KeyAuth(httpx2.Auth):
    """Sends the key under one header: ``Authorization`` for ``"bearer"``, else the one that *place* names; under no other."""

    def __init__(self, key: Secret, place: str) -> None:
        self._key = key
        self._place = place

    def auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Move the key."""
        for header in _HEADERS:
            request.headers.pop(header, None)
        key = self._key.reveal()
        header, value = ("authorization", f"Bearer {key}") if self._place == BEARER else (self._place, key)
        request.headers[header] = value
        yield request
