"""Results, and errors that cost money, kept so that they can be returned again: a document, and each image by its hash.

The document is JSON, never pickle: whoever can write to the state store must not be able to run code here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from gateway.blobs import Blobs
from gateway.result import Attempt, Cost, ImageResult, Judge
from providers import errors
from providers.errors import GatewayError
from providers.images import GeneratedImage
from providers.outcome import Part

VERSION: Final = 1
"""The version of the documents."""

_PLAIN: Final = (
    "text", "lane", "provider", "model", "requested_size", "size", "downgraded", "request_id", "elapsed",
)  # fmt: skip
"""The fields of a result that JSON has as they are."""


class Lost(Exception):  # noqa: N818 - it is no error of the caller's
    """What was kept is not all there any more, or comes from a newer version."""


class Archive:
    """Keeps things in *blobs*. Call it from a worker thread."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def keep(self, ended: ImageResult | GatewayError) -> str:
        """Keep the end of a request, and return the reference under which it is found.

        Raises:
            OSError: it could not be kept.
        """
        document = self._result(ended) if isinstance(ended, ImageResult) else self._error(ended)
        return self._blobs.put(json.dumps({"version": VERSION, **document}).encode())

    def find(self, reference: str, judge: Judge | None = None) -> ImageResult | GatewayError:
        """What was kept under *reference*; *judge* takes verdicts on a result.

        Raises:
            Lost: it is not all there any more.
        """
        document = json.loads(self._bytes(reference))
        if document.get("version") != VERSION:
            raise Lost("it was kept by another version of image-gateway")
        return self._to_error(document) if "error" in document else self._to_result(document, judge)

    def _result(self, result: ImageResult) -> dict[str, Any]:
        return {
            **{name: getattr(result, name) for name in (*_PLAIN, "cached")},
            "cost": _cost(result.cost),
            "total_cost": _cost(result.total_cost),
            "attempts": [_attempt(each) for each in result.attempts],
            "warnings": result.warnings,
            "images": [self._image(each) for each in result.images],
            "parts": [
                {"text": part.text, "image": part.image and self._image(part.image), "signature": part.signature}
                for part in result.parts
            ],
        }

    def _error(self, error: GatewayError) -> dict[str, Any]:
        public = next(kind for kind in type(error).__mro__ if kind.__module__ == errors.__name__)
        return {
            "error": public.__name__,
            "message": str(error),
            "attempts": [_attempt(each) for each in error.attempts],
            "images": [self._image(each) for each in error.images],
        }

    def _image(self, image: GeneratedImage) -> dict[str, Any]:
        return {
            "sha256": self._blobs.put(image.data), "mime_type": image.mime_type, "width": image.width,
            "height": image.height,
        }  # fmt: skip

    def _to_result(self, document: Mapping[str, Any], judge: Judge | None) -> ImageResult:
        find = self._finder()
        parts = (
            Part(text=part["text"], image=part["image"] and find(part["image"]), signature=part["signature"])
            for part in document["parts"]
        )
        return ImageResult(
            **{name: document[name] for name in _PLAIN},
            cached=document.get("cached", False),
            cost=_to_cost(document["cost"]),
            total_cost=_to_cost(document["total_cost"]),
            attempts=_to_attempts(document["attempts"]),
            warnings=tuple(document["warnings"]),
            images=tuple(map(find, document["images"])),
            parts=tuple(parts),
            _judge=judge,
        )

    def _to_error(self, document: Mapping[str, Any]) -> GatewayError:
        kind = getattr(errors, document["error"], GatewayError)
        made: GatewayError = (kind if issubclass(kind, GatewayError) else GatewayError)(
            document["message"],
            attempts=_to_attempts(document["attempts"]),
            images=tuple(map(self._finder(), document["images"])),
        )
        return made

    def _finder(self) -> Callable[[Mapping[str, Any]], GeneratedImage]:
        """Finds images by their facts, each once: the images of a result are those of its parts."""
        found: dict[str, GeneratedImage] = {}

        def find(facts: Mapping[str, Any]) -> GeneratedImage:
            sha256 = facts["sha256"]
            if sha256 not in found:
                shape = {name: facts[name] for name in ("mime_type", "width", "height")}
                found[sha256] = GeneratedImage(data=self._bytes(sha256), **shape)
            return found[sha256]

        return find

    def _bytes(self, sha256: str) -> bytes:
        data = self._blobs.get(sha256)
        if data is None:
            raise Lost("its images are not where they were kept")
        return data


def _cost(cost: Cost) -> list[str]:
    return [str(cost.usd), cost.basis]


def _to_cost(kept: Sequence[Any]) -> Cost:
    return Cost(Decimal(kept[0]), kept[1])


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "lane": attempt.lane, "size": attempt.size, "outcome": attempt.outcome, "billed": attempt.billed,
        "cost": attempt.cost and _cost(attempt.cost), "duration": attempt.duration, "retry_after": attempt.retry_after,
        "detail": attempt.detail,
    }  # fmt: skip


def _to_attempts(kept: Sequence[Mapping[str, Any]]) -> tuple[Attempt, ...]:
    return tuple(Attempt(**{**each, "cost": each["cost"] and _to_cost(each["cost"])}) for each in kept)
