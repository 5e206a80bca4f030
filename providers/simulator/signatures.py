"""Thought signatures as Gemini 3 gives and checks them.

The first part after the thoughts and every image of an answer are signed, and have to come back signed in a model's turn
(https://ai.google.dev/gemini-api/docs/thought-signatures). A signature is sealed here: one that was altered, or that
another model or another simulator gave, is corrupt.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterator, Sequence
from typing import Final

import pybase64

from providers.simulator.flavours import Site
from providers.simulator.google_errors import invalid
from providers.simulator.jobs import decode_reference
from providers.simulator.messages import JSON, RequestError
from providers.simulator.models import Model

DUMMIES: Final = (b"context_engineering_is_the_way_to_go", b"skip_thought_signature_validator")
"""What Google documents for histories that another model wrote, as text or as base64 (FAQ of the page above)."""

_NONCE: Final = hashlib.sha256().digest_size
_REFER: Final = (
    " Please refer to https://ai.google.dev/gemini-api/docs/thought-signatures#model-behavior for more details."
)


def sign(model: Model, site: Site, what: str | None = None) -> str:
    """A signature of *model*: base64 text, to be echoed as it is. The same *what* is signed the same; None: a new one."""
    nonce = secrets.token_bytes(_NONCE) if what is None else hashlib.sha256(what.encode()).digest()
    return pybase64.b64encode_as_string(nonce + _seal(nonce, model, site))


def signs(model: Model) -> bool:
    """Whether *model* signs its answers, and wants them signed."""
    return model.id.startswith("gemini-3")


def check(contents: Sequence[JSON], model: Model, site: Site, *, vertex: bool = False) -> None:
    """Look at the model's turns in *contents*.

    *vertex*: a missing signature is let pass there, as Vertex documents for gemini-3-pro-image.

    Raises:
        RequestError: a signature is missing, or is not one of the model's.
    """
    if not signs(model):
        return
    for position, content in enumerate(contents, 1):
        if content.get("role") == "model":
            for number, part, kind in _to_be_signed(content.get("parts") or ()):
                _check_part(part, model, site, "" if vertex else _missing(kind, position, number))


def _to_be_signed(parts: Sequence[JSON]) -> Iterator[tuple[int, JSON, str]]:
    """The parts of a turn that carry a signature, or have to, with their numbers from 1 and what they are."""
    first = True
    for number, part in enumerate(parts, 1):
        if part.get("thought"):
            continue
        image = part.get("inlineData") or part.get("fileData")
        if image or first or part.get("thoughtSignature"):
            yield number, part, "Image" if image else "Text"
        first = False


def _check_part(part: JSON, model: Model, site: Site, missing: str) -> None:
    signature = str(part.get("thoughtSignature") or "")
    if not signature and missing:
        raise RequestError(invalid(missing))
    if signature and not _holds(signature, model, site):
        raise RequestError(invalid("Corrupted thought signature."))


def _missing(kind: str, position: int, number: int) -> str:
    """As Google says it, counting from 1 (googleapis/js-genai#1116, langchain-ai/langchain-google#1431)."""
    return f"{kind} part is missing a thought_signature in content position {position}, part position {number}.{_REFER}"


def _holds(signature: str, model: Model, site: Site) -> bool:
    try:
        data = decode_reference(signature)
    except ValueError:
        return False
    nonce, seal = data[:_NONCE], data[_NONCE:]
    return signature.encode() in DUMMIES or data in DUMMIES or hmac.compare_digest(seal, _seal(nonce, model, site))


def _seal(nonce: bytes, model: Model, site: Site) -> bytes:
    return hmac.digest(site.seal, nonce + model.id.encode(), hashlib.sha256)
