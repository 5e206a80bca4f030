"""Upstreams that answer with a task's id: submit, poll until it is done, read the images.

What such an upstream calls things is a row of configuration (``[providers.NAME.task]``), read as :class:`TaskRow`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field

from providers.answers import Piece, Reply, image_piece, mapping, string
from providers.chat_messages import data_uri
from providers.documents import document_of
from providers.exchange import Exchange
from providers.failures import broken, classify, read_error
from providers.links import pieces_of
from providers.outcome import Outcome
from providers.request import UpstreamRequest
from providers.sanitise import sanitise

MIN_INTERVAL: Final = 0.5
"""Seconds between two polls at the least."""

Call = Callable[[str, str, Mapping[str, Any] | None, Exchange], Awaitable[Exchange]]
"""(method, path, JSON, record) to the record of one HTTP call."""


class TaskRow(BaseModel):
    """How one upstream's tasks work. Places in answers are dotted paths (``data.task_id``, ``data.images.0.url``).

    *fields* says under which name the request's ``prompt``, ``model``, ``size``, ``aspect_ratio``, ``n`` and ``images``
    (as data URIs) are sent; *extra* is added as it stands. *interval* is seconds between polls.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)

    submit: str = Field(pattern="^/")
    poll: str = Field(pattern=r"^/.*\{id\}")
    id: str
    status: str
    images: str
    done: tuple[str, ...] = ("succeeded", "success", "completed", "done")
    failed: tuple[str, ...] = ("failed", "failure", "error", "cancelled", "canceled", "expired")
    error: str = "error"
    interval: float = Field(default=3.0, ge=MIN_INTERVAL, allow_inf_nan=False)
    fields: Mapping[str, str] = {"prompt": "prompt", "model": "model", "size": "size", "aspect_ratio": "aspect_ratio"}
    extra: Mapping[str, Any] = {}


async def draw(
    request: UpstreamRequest, row: TaskRow, call: Call, exchange: Exchange, sleep: Callable[[float], Awaitable[None]]
) -> Reply | Outcome:
    """Submit *request*, poll until its task ends, and read the answer. The caller's time limit ends the polling."""
    submitted = _object(await call("POST", row.submit, body(request, row), exchange))
    if isinstance(submitted, Outcome):
        return submitted
    task = at(submitted, row.id)
    if not isinstance(task, str | int):
        return Outcome(name="bad_response", billed="maybe", detail=f"the answer has no task id at {row.id}")
    while True:
        await sleep(row.interval)
        record = await call("GET", row.poll.replace("{id}", quote(str(task), safe="")), None, Exchange())
        polled = _object(record)
        if isinstance(polled, Outcome):
            return _after_submission(polled)
        status = str(at(polled, row.status)).lower()
        if status in row.failed:
            said = sanitise(at(polled, row.error) or "no reason given")
            return Outcome(name="no_image", billed="maybe", detail=f"the task ended as {status}: {said}")
        if status in row.done:
            return Reply(pieces=tuple(_pieces(at(polled, row.images), record.images)))


def body(request: UpstreamRequest, row: TaskRow) -> dict[str, Any]:
    """The JSON with which a task is submitted."""
    asked = {
        "prompt": request.prompt,
        "model": request.model,
        "size": request.size,
        "aspect_ratio": request.aspect_ratio,
        "n": request.n,
        "images": [data_uri(image) for image in request.images] or None,
    }
    return {
        **row.extra,
        **{row.fields[key]: value for key, value in asked.items() if value is not None and key in row.fields},
    }


def at(document: Any, path: str) -> Any:
    """What stands at the dotted *path* of *document*, or None."""
    for key in path.split("."):
        if isinstance(document, list) and key.isdigit():
            document = document[int(key)] if int(key) < len(document) else None
        else:
            document = mapping(document).get(key)
    return document


def _object(exchange: Exchange) -> Mapping[str, Any] | Outcome:
    if exchange.failure is not None or exchange.status is None:
        return broken(exchange)
    document = document_of(exchange.body)
    if exchange.status != 200:
        error = read_error(exchange)
        assert error is not None
        return classify(exchange, error)
    if not isinstance(document, Mapping):
        return Outcome(name="bad_response", billed="maybe", detail="the answer is not a JSON object")
    return document


def _after_submission(outcome: Outcome) -> Outcome:
    """A poll that fails says nothing about the task: it may well be drawn and charged."""
    return Outcome(name=outcome.name, billed="maybe", retry_after=outcome.retry_after, detail=outcome.detail)


def _pieces(value: Any, images: Mapping[str, bytes]) -> Iterator[Piece]:
    if isinstance(value, list):
        for item in value:
            yield from _pieces(item, images)
    elif isinstance(value, Mapping):
        yield from _pieces(
            value.get("b64_json") or value.get("image_url") or value.get("url") or value.get("image"), images
        )
    elif string(value).startswith(("http://", "https://")) or "](" in string(value):
        yield from pieces_of(value, images)
    elif string(value):
        yield image_piece(value, images)
