"""Imagen's ``:predict`` wire: what is asked, and what an answer says. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from providers.answers import Piece, Reply, image_piece, mapping, objects, string
from providers.exchange import Exchange
from providers.failures import answer_of
from providers.outcome import Outcome
from providers.request import UpstreamRequest


def body(request: UpstreamRequest) -> dict[str, Any]:
    """The JSON of a ``:predict`` call."""
    asked = {
        "sampleCount": request.n,
        "aspectRatio": request.aspect_ratio,
        "sampleImageSize": request.size,
        "includeRaiReason": True,
    }
    return {
        "instances": [{"prompt": request.prompt}],
        "parameters": {name: value for name, value in asked.items() if value is not None},
    }


def read(exchange: Exchange) -> Reply | Outcome:
    """The answer to a ``:predict`` call, or the outcome of a call that has none."""
    document = answer_of(exchange)
    return document if isinstance(document, Outcome) else reply_of(document, exchange.images)


def reply_of(document: Mapping[str, Any], images: Mapping[str, bytes]) -> Reply:
    """The predictions: images, and the reasons why some were filtered out."""
    predictions = objects(document.get("predictions"))
    reasons = [string(item.get("raiFilteredReason")) for item in predictions if string(item.get("raiFilteredReason"))]
    return Reply(
        pieces=tuple(piece for item in predictions for piece in _pieces(item, images)),
        reason="SAFETY" if reasons else "",
        message=" ".join(reasons),
    )


def _pieces(prediction: Mapping[str, Any], images: Mapping[str, bytes]) -> Iterator[Piece]:
    encoded = string(mapping(prediction.get("image", prediction)).get("bytesBase64Encoded"))
    bucket = string(prediction.get("gcsUri"))
    if encoded:
        yield image_piece(encoded, images)
    elif bucket:  # nothing that can be fetched without an account: the outcome says so
        yield Piece(url=bucket)
