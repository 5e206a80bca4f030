"""The document in an answer: one JSON object, however the upstream delivered it.

A stream of server-sent events is put together into the object that the same upstream would have sent in one piece, so
that everything after it reads one shape. Keep-alive comments, event names and ``[DONE]`` are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from providers.json_body import MISSING, parse

_EVENT_STREAM: Final = re.compile(rb"\s*(?:data|event|id|retry)?:")
_FINAL_IMAGES: Final = ("image_generation.completed", "image_edit.completed")


def document_of(body: bytes) -> Any:
    """The JSON in *body*, or ``MISSING``. A list of one object, as some relays wrap answers, counts as the object."""
    document = parse(body)
    if document is MISSING and _EVENT_STREAM.match(body):
        return joined(list(events(body)))
    if isinstance(document, list) and len(document) == 1:
        return document[0]
    return joined(document) if isinstance(document, list) and document else document


def events(body: bytes) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a stream of server-sent events."""
    for block in re.split(rb"\r?\n\r?\n|\r\r", body):
        lines = (line.removeprefix(b"data:").lstrip() for line in block.splitlines() if line.startswith(b"data:"))
        document = parse(b"\n".join(lines))
        if isinstance(document, Mapping):
            yield document


def joined(chunks: list[Any]) -> Any:
    """What *chunks* of one answer amount to: the first error among them, else their contents in order."""
    objects = [chunk for chunk in chunks if isinstance(chunk, Mapping)]
    if not objects:
        return MISSING
    failed = next((chunk for chunk in objects if chunk.get("error")), None)
    if failed is not None:
        return failed
    if any("candidates" in chunk or "promptFeedback" in chunk for chunk in objects):
        return _candidates(objects)
    if any(chunk.get("type") in _FINAL_IMAGES for chunk in objects):
        return _images(objects)
    return _choices(objects)


def _candidates(chunks: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Google's chunks: parts add up, everything else is last said last."""
    whole = _merged(chunks)
    candidates = [candidate for chunk in chunks for candidate in _list(chunk.get("candidates"))]
    if candidates:
        parts = [part for candidate in candidates for part in _list(_dict(candidate.get("content")).get("parts"))]
        whole["candidates"] = [{**_merged(candidates), "content": {"role": "model", "parts": parts}}]
    return whole


def _choices(chunks: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Chat chunks: texts are joined, lists of images and parts add up."""
    choices = [choice for chunk in chunks for choice in _list(chunk.get("choices"))[:1]]
    if not choices:
        return _merged(chunks)
    deltas = [_dict(choice.get("delta", choice.get("message"))) for choice in choices]
    message: dict[str, Any] = _merged(deltas)
    texts = [delta["content"] for delta in deltas if isinstance(delta.get("content"), str)]
    parts = [part for delta in deltas for part in _list(delta.get("content"))]
    message["content"] = (
        [*({"type": "text", "text": text} for text in ["".join(texts)] if text), *parts] if parts else "".join(texts)
    )
    for key in ("images", "content_blocks"):
        message[key] = [item for delta in deltas for item in _list(delta.get(key))]
    return {**_merged(chunks), "choices": [{**_merged(choices), "message": message}]}


def _images(chunks: list[Mapping[str, Any]]) -> dict[str, Any]:
    """OpenAI's image events: the completed ones; partial images are previews."""
    final = [chunk for chunk in chunks if chunk.get("type") in _FINAL_IMAGES]
    return {**_merged(final), "data": final}


def _merged(objects: list[Any]) -> dict[str, Any]:
    """The objects' keys, each with the last value that says something."""
    whole: dict[str, Any] = {}
    for each in objects:
        whole.update({key: value for key, value in _dict(each).items() if value not in (None, "") or key not in whole})
    return whole


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
