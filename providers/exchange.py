"""The record of one HTTP exchange: what was sent, what came back, what was cut out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from providers.images import ReferenceImage

if TYPE_CHECKING:
    import httpx2

Failure = Literal["transport", "timeout", "bad_response"]


@dataclass(slots=True, kw_only=True)
class Exchange:
    """Filled in by the transport while a call is under way; read by an adapter, and by whoever cancels the call.

    *sent* turns true when the whole request body has left: from then on the upstream may have charged for it.
    *body* is the answer with each image replaced by a marker; *images* holds the bytes by marker.
    *uploads* are the large images that the request shall carry, *signatures* the thought signatures, by the token that
    stands in for each.
    With a *folder*, large images are gathered in files there instead of in memory.
    *import_seconds* went into importing the SDK, which the first call of a process does.
    In a rehearsal, nothing is sent: what would be is added to *rehearsed*.
    *failure* says how the exchange broke, if it did, and *failure_detail* why.
    """

    uploads: dict[bytes, ReferenceImage] = field(default_factory=dict, repr=False)
    signatures: dict[bytes, str] = field(default_factory=dict, repr=False)
    folder: Path | None = None
    rehearsed: list[httpx2.Request] | None = field(default=None, repr=False)
    import_seconds: float = 0.0
    sent: bool = False
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = field(default=b"", repr=False)
    images: dict[str, bytes] = field(default_factory=dict, repr=False)
    failure: Failure | None = None
    failure_detail: str = ""
