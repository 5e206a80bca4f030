"""The document in an answer: one JSON object, however the upstream delivered it.

A stream of server-sent events is put together into the object that the same upstream would have sent in one piece, so
that everything after it reads one shape. Keep-alive comments, event names and ``[DONE]`` are passed over.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from providers.answers import mapping, objects
from providers.json_body import MISSING, parse

_EVENT_STREAM: Final = re.compile(rb"(?:\xef\xbb\xbf)?\s*(?:data|event|id|retry)?:")
_WHOLE_LINE: Final = re.compile(rb"\s*|:.*|data: *\[DONE\]\s*")
_PAGE: Final = re.compile(r"<(?:!doctype\s+html|html|head|body|script|title|center|h1)\b", re.IGNORECASE)
_PAGE_ROOM: Final = 4000
"""Bytes in which a page has to show that it is one, and of a text that are read."""
_FINAL_IMAGES: Final = ("image_generation.completed", "image_edit.completed")


def document_of(body: bytes) -> Any:
    """The JSON in *body*, or ``MISSING``.

    A list of one object, as some relays wrap answers, counts as the object, an empty one as an empty object.
    """
    document = parse(body)
    if document is MISSING and _EVENT_STREAM.match(body) and not _is_cut(body):
        return joined(list(events(body)))
    if isinstance(document, list) and len(document) < 2:
        return document[0] if document else {}
    return joined(document) if isinstance(document, list) else document


def events(body: bytes) -> Iterator[Mapping[str, Any]]:
    """The JSON objects of a stream of server-sent events."""
    for block in re.split(rb"\r?\n\r?\n|\r\r", body.removeprefix(b"\xef\xbb\xbf")):
        lines = [_data(line) for line in block.splitlines() if line.startswith(b"data:")]
        whole = parse(b"\n".join(lines))
        # Some leave out the blank line between events.
        documents = map(parse, lines) if whole is MISSING else [whole]
        yield from (document for document in documents if isinstance(document, Mapping))


def is_page(body: bytes) -> bool:
    """Whether *body* is an HTML page."""
    text = body[:_PAGE_ROOM].decode("utf-8", "replace").lstrip()
    return text.startswith("<") and bool(_PAGE.search(text))


def prose(body: bytes) -> str:
    """What *body* says if it is neither JSON nor a page."""
    is_json = body.lstrip()[:1] in (b"{", b"[", b'"')
    return "" if is_json or is_page(body) else body[:_PAGE_ROOM].decode("utf-8", "replace")


def joined(chunks: list[Any]) -> Any:
    """What *chunks* of one answer amount to: their contents in order, and an error among them."""
    chunks = objects(chunks)
    if not chunks:
        return MISSING
    if any("candidates" in chunk or "promptFeedback" in chunk for chunk in chunks):
        return _candidates(chunks)
    if any(chunk.get("type") in _FINAL_IMAGES for chunk in chunks):
        return _images(chunks)
    return _choices(chunks)


def _is_cut(body: bytes) -> bool:
    """Whether a stream of events stops in the middle of a line: what was to come after it is not known."""
    last = re.split(rb"[\r\n]", body)[-1]
    return not _WHOLE_LINE.fullmatch(last) and parse(_data(last)) is MISSING


def _data(line: bytes) -> bytes:
    return line.removeprefix(b"data:").lstrip()


def _candidates(chunks: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Google's chunks: parts add up, everything else is last said last."""
    whole = _merged(chunks)
    candidates = [candidate for chunk in chunks for candidate in objects(chunk.get("candidates"))]
    if candidates:
        parts = [part for candidate in candidates for part in _list(mapping(candidate.get("content")).get("parts"))]
        whole["candidates"] = [{**_merged(candidates), "content": {"role": "model", "parts": parts}}]
    return whole


def _choices(chunks: list[Mapping[str, Any]]) -> dict[str, Any]:
    """Chat chunks: texts are joined, lists of images and parts add up."""
    choices = [choice for chunk in chunks for choice in objects(chunk.get("choices"))[:1]]
    if not choices:
        return _merged(chunks)
    deltas = [mapping(choice.get("delta", choice.get("message"))) for choice in choices]
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


def _merged(items: list[Mapping[str, Any]]) -> dict[str, Any]:
    """The keys of all objects, each with the last value that says something."""
    whole: dict[str, Any] = {}
    for each in items:
        whole.update({key: value for key, value in each.items() if value not in (None, "") or key not in whole})
    return whole


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
