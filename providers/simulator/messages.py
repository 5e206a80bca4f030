"""HTTP requests and answers as the simulator's parts hand them to each other."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

JSON = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request as it was read. *headers* have lower-case names; *query* and *headers* may hold keys: never shown."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)

    def json(self) -> JSON:
        """The body as a JSON object.

        Raises:
            RequestError: it is not one.
        """
        try:
            payload = json.loads(self.body)
        except ValueError:
            payload = None
        if not isinstance(payload, dict):
            raise RequestError(error(400, "INVALID_ARGUMENT", "Invalid JSON payload received. Expected an object."))
        return payload


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer to be sent. *body* is in pieces, so that megabytes of base64 are never copied into one string."""

    status: int = 200
    body: tuple[bytes, ...] = field(default=(), repr=False)
    media_type: str = "application/json; charset=UTF-8"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return sum(map(len, self.body))

    @property
    def content(self) -> bytes:
        """The body in one piece."""
        return b"".join(self.body)


class RequestError(Exception):
    """The request does not pass validation; *answer* says so in the wire's own words."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def answer(payload: object, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """A JSON answer."""
    return Answer(status=status, body=(json.dumps(payload).encode(),), headers=headers)


def error(status: int, name: str, message: str, details: list[JSON] | None = None) -> Answer:
    """An error in Google's form (``google.rpc.Status``); *name* is the canonical status, e.g. ``"UNAVAILABLE"``."""
    payload: JSON = {"code": status, "message": message, "status": name}
    if details:
        payload["details"] = details
    return answer({"error": payload}, status)
