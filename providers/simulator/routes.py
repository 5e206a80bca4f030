"""Which wire a request is meant for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from providers.simulator import (
    chat_wire,
    google_batches,
    google_wire,
    imagen_wire,
    images_wire,
    interactions,
    openai_batches,
)
from providers.simulator.messages import Request
from providers.simulator.rules import Purpose
from providers.simulator.wire import Wire

GOOGLE: Final = Wire("google", google_wire.parse, google_wire.compose, google_wire.models_list)
IMAGEN: Final = Wire("imagen", imagen_wire.parse, imagen_wire.compose, google_wire.models_list)
INTERACTIONS: Final = Wire("interactions", interactions.parse, interactions.compose, google_wire.models_list)
CHAT: Final = Wire("chat", chat_wire.parse, chat_wire.compose, chat_wire.models_list)
IMAGES: Final = Wire("images", images_wire.parse, images_wire.compose, chat_wire.models_list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a request goes. *name* is the model in the path, or the file; empty where there is none."""

    wire: Wire
    purpose: Purpose
    name: str = ""


_VERTEX: Final = r"(?:projects/[^/]+/locations/[^/]+/)?(?:publishers/google/)?"
_OPENAI: Final = r"^(?:/api)?(?:/v1beta/openai|/v1)?"

_TABLE: Final[tuple[tuple[str, re.Pattern[str], Wire, Purpose], ...]] = (
    ("POST", re.compile(rf"^/v1(?:beta1?)?/{_VERTEX}models/([^/:]+):generateContent$"), GOOGLE, "draw"),
    ("POST", re.compile(rf"^/v1(?:beta1?)?/{_VERTEX}models/([^/:]+):predict$"), IMAGEN, "draw"),
    ("POST", re.compile(r"^/v1(?:beta)?/interactions()$"), INTERACTIONS, "draw"),
    ("POST", re.compile(rf"{_OPENAI}/chat/completions()$"), CHAT, "draw"),
    ("POST", re.compile(rf"{_OPENAI}/images/(?:generations|edits)()$"), IMAGES, "draw"),
    ("GET", re.compile(rf"^/v1beta1?/{_VERTEX}models(?:/(.+))?$"), GOOGLE, "list"),
    ("GET", re.compile(rf"{_OPENAI}/models(?:/(.+))?$"), CHAT, "list"),
    ("GET", re.compile(r"^/files/(\w+\.\w+)$"), CHAT, "file"),
    *((method, re.compile(pattern), GOOGLE, "batch") for method, pattern in google_batches.PATHS),
    *((method, re.compile(pattern), CHAT, "batch") for method, pattern in openai_batches.PATHS),
)


def find_route(request: Request) -> Route | None:
    """The route of *request*, or None."""
    for method, pattern, wire, purpose in _TABLE:
        found = pattern.match(request.path) if method == request.method else None
        if found:
            speaks_google = wire is CHAT and purpose == "list" and _from_google_client(request)
            return Route(wire=GOOGLE if speaks_google else wire, purpose=purpose, name=found[1] or "")
    return None


def _from_google_client(request: Request) -> bool:
    """Whether a call of ``/v1/models``, which both vendors have, was made in Google's way."""
    return "key" in request.query or any(name.startswith("x-goog-") for name in request.headers)
