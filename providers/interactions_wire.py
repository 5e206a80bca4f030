"""Google's Interactions wire, the answering side: a pure function from an exchange to an outcome.

An answer is a list of steps: thoughts, which carry the signatures, and what the model put out. A signature is kept with the
piece that follows its thought, as ``generateContent`` has it, so that a conversation can go on over either wire; one that
nothing follows is kept with an empty text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

from providers.answers import Piece, Reply, blocks, count, image_piece, mapping, objects, string
from providers.documents import events
from providers.exchange import Exchange
from providers.failures import UpstreamError, answer_of, classify
from providers.links import pieces_of
from providers.outcome import Outcome, Usage
from providers.sanitise import sanitise

_UNFINISHED: Final = frozenset({"failed", "cancelled", "in_progress", "queued"})
"""Statuses of an interaction that came to no answer, or not yet."""
_IMAGELESS: Final = frozenset({"NO_IMAGE", "IMAGE_OTHER", "OTHER"})
"""Errors that say that nothing was drawn, and no more; verdicts on the content are others."""
_STATUSES: Final[Mapping[str, int]] = {
    "3": 400, "4": 504, "5": 404, "7": 403, "8": 429, "13": 500, "14": 503, "16": 401,
    "INVALID_ARGUMENT": 400, "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "INTERNAL": 500,
    "UNAVAILABLE": 503, "SERVICE_UNAVAILABLE": 503, "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
"""HTTP statuses of the errors inside an answer, by google.rpc code or by name."""


def read(exchange: Exchange) -> Reply | Outcome:
    """The answer to an ``interactions`` call, or the outcome of a call that has none."""
    found = answer_of(exchange)
    if isinstance(found, Outcome):
        return _pointing_out(found, exchange.status)
    document = _joined(events(exchange.body)) if "event_type" in found else found
    reply = reply_of(document, exchange.images)
    if any(piece.is_image for piece in reply.pieces):
        return reply
    return _failure(document, exchange) or reply


def reply_of(document: Mapping[str, Any], images: Mapping[str, bytes]) -> Reply:
    """An ``Interaction`` as read from JSON, with ``steps`` or, as before May 2026, ``outputs``."""
    error, usage = _error(document), _usage(mapping(document.get("usage")))
    status = string(document.get("status")).upper()
    code = _code(error)
    return Reply(
        pieces=tuple(_pieces(document, images)),
        usage=usage,
        reason=code or ("" if status == "COMPLETED" else status),
        message=string(error.get("message")),
        blocked=_is_refusal(code),
        unbilled=_is_refusal(code) and usage is not None and not _has_worked(usage),
        drafts=True,
    )


def _pointing_out(outcome: Outcome, status: int | None) -> Outcome:
    """*outcome*, with a hint where the address itself seems unknown: most relays have no interactions."""
    if status not in (404, 405) or "model" in outcome.detail.lower():
        return outcome
    return replace(outcome, detail=sanitise(f'wire = "interactions" is not offered there: {outcome.detail}'))


def _failure(document: Mapping[str, Any], exchange: Exchange) -> Outcome | None:
    """The outcome of an interaction that came to no answer, unless the upstream's word on the content is the reason."""
    error, status = _error(document), string(document.get("status"))
    code = _code(error)
    if not (error or status in _UNFINISHED) or _is_refusal(code) or code in _IMAGELESS:
        return None
    failed = UpstreamError(
        status=_STATUSES.get(code, 200),
        message=string(error.get("message")) or f"the interaction is {status}",
        codes=(code,) if code else (),
    )
    outcome = replace(classify(exchange, failed), usage=_usage(mapping(document.get("usage"))))
    return replace(outcome, billed="maybe") if outcome.usage and _has_worked(outcome.usage) else outcome


def _error(document: Mapping[str, Any]) -> Mapping[str, Any]:
    """The first error that an interaction or one of its steps tells of."""
    told = [*objects(document.get("errors")), *(mapping(step.get("error")) for step in objects(document.get("steps")))]
    return next(filter(None, told), {})


def _code(error: Mapping[str, Any]) -> str:
    """The name of an error, the last word of a URI, or its number."""
    code = error.get("code")
    return str(code) if isinstance(code, int) else string(code).rpartition("/")[2].upper()


def _is_refusal(code: str) -> bool:
    return blocks(code) or "BLOCKED" in code


def _pieces(document: Mapping[str, Any], images: Mapping[str, bytes]) -> Iterator[Piece]:
    signature = ""
    for item in _items(document):
        if item.get("type") == "thought":
            if signature:
                yield Piece(text="", signature=signature)
            signature = string(item.get("signature"))
        else:
            for piece in _content(item, images):
                yield replace(piece, signature=signature or None)
                signature = ""
    if signature:
        yield Piece(text="", signature=signature)


def _items(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Thoughts and content, in order. Steps of other types are the caller's own words, and searches."""
    for step in objects(document.get("steps")):
        if step.get("type") == "thought":
            yield step
        elif step.get("type") == "model_output":
            yield from objects(step.get("content"))
    yield from objects(document.get("outputs"))


def _content(item: Mapping[str, Any], images: Mapping[str, bytes]) -> Iterator[Piece]:
    data, uri = string(item.get("data")), string(item.get("uri"))
    if item.get("type") == "image" and data:
        yield image_piece(data, images)
    elif item.get("type") == "image" and uri:
        yield Piece(url=uri)
    else:
        yield from pieces_of(string(item.get("text")), images)


def _usage(told: Mapping[str, Any]) -> Usage | None:
    if not told:
        return None
    asked = _by_modality(told.get("input_tokens_by_modality"))
    image_tokens = _by_modality(told.get("output_tokens_by_modality")).get("image")
    answered = count(told.get("total_output_tokens"))
    return Usage(
        input_text=asked.get("text", count(told.get("total_input_tokens"))),
        input_image=asked.get("image"),
        output_image=image_tokens,
        output_text=None if answered is None else max(0, answered - (image_tokens or 0)),
        thoughts=count(told.get("total_thought_tokens")),
        total=count(told.get("total_tokens")),
    )


def _by_modality(details: Any) -> dict[str, int]:
    counted = ((string(item.get("modality")).lower(), count(item.get("tokens"))) for item in objects(details))
    return {modality: tokens for modality, tokens in counted if tokens is not None}


def _has_worked(usage: Usage) -> bool:
    """Whether the model has put out anything, thoughts included."""
    return any((usage.output_text, usage.output_image, usage.thoughts))


def _joined(stream: Iterable[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The interaction that a stream of events tells of."""
    whole: dict[str, Any] = {}
    steps: dict[int, dict[str, Any]] = {}
    for event in stream:
        whole.update(mapping(event.get("interaction")))
        number = count(event.get("index"))
        if number is None:
            continue
        if event.get("event_type") == "step.start":
            begun = mapping(event.get("step"))
            steps[number] = {**begun, "content": list(objects(begun.get("content")))}
        elif event.get("event_type") == "step.delta":
            _add(steps.setdefault(number, {"content": []}), mapping(event.get("delta")))
    return {**whole, "steps": [steps[number] for number in sorted(steps)]}


def _add(step: dict[str, Any], delta: Mapping[str, Any]) -> None:
    """What a *delta* adds to its step: a signature, more of the text before it, or a piece of content."""
    kind, content = delta.get("type"), step["content"]
    if kind == "thought_signature":
        step.update(type="thought", signature=delta.get("signature"))
    elif kind == "text" and content and content[-1].get("type") == "text":
        content[-1] = {**content[-1], "text": string(content[-1].get("text")) + string(delta.get("text"))}
    elif kind in ("text", "image"):
        step.setdefault("type", "model_output")
        content.append(delta)
