"""OpenAI-compatible wires, the answering side: a pure function from an exchange to an outcome.

Relays put the image wherever they like, so every place is looked at, whatever was asked: ``message.images``, parts of a
content array or of ``content_blocks``, data URIs in markdown, ``data[].b64_json``, and Google's own ``inlineData``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

from providers import google_wire
from providers.answers import Piece, Reply, count, image_piece, mapping, money, objects, string
from providers.exchange import Exchange
from providers.failures import answer_of
from providers.links import pieces_anywhere, pieces_of
from providers.outcome import Outcome, Usage


def read(exchange: Exchange) -> Reply | Outcome:
    """The answer of an OpenAI-compatible upstream, or the outcome of a call that has none."""
    document = answer_of(exchange)
    if isinstance(document, Outcome):
        return document
    return replace(reply_of(document, exchange.images), reported_cost=_cost(document, exchange))


def reply_of(document: Mapping[str, Any], images: Mapping[str, bytes]) -> Reply:
    """An answer as read from JSON."""
    if "candidates" in document or "promptFeedback" in document:
        return replace(google_wire.reply_of(document, images), unbilled=False)
    choices = objects(document.get("choices"))
    choice = choices[0] if choices else {}
    refusal = string(mapping(choice.get("message")).get("refusal"))
    reason = _reason(choice, refusal)
    pieces = list(_pieces(document, choices, images))
    if not (reason or any(piece.is_image for piece in pieces)):
        pieces += pieces_anywhere(document, images)
    return Reply(
        pieces=tuple(pieces),
        usage=_usage(mapping(document.get("usage"))),
        reason=reason,
        message=refusal,
        drafts=bool(choices),
    )


def _pieces(
    document: Mapping[str, Any], choices: list[Mapping[str, Any]], images: Mapping[str, bytes]
) -> Iterator[Piece]:
    for number, choice in enumerate(choices):
        for piece in _from_message(mapping(choice.get("message")), images):
            yield replace(piece, choice=number)
    for place in ("data", "images"):
        for item in _items(document.get(place)):
            yield from _from_image_item(item, images)


def _from_message(message: Mapping[str, Any], images: Mapping[str, bytes]) -> Iterator[Piece]:
    content = message.get("content")
    if isinstance(content, str):
        yield from pieces_of(content, images)
    for place, parts in (("content", content), ("content_blocks", message.get("content_blocks"))):
        for part in objects(parts):
            yield from (replace(piece, place=place) for piece in _from_part(part, images))
    for item in _items(message.get("images")):
        yield from _from_image_item(item, images)


def _from_part(part: Mapping[str, Any], images: Mapping[str, bytes]) -> Iterator[Piece]:
    inline = mapping(part.get("inlineData", part.get("inline_data")))
    if string(inline.get("data")):
        yield image_piece(inline["data"], images)
    elif string(part.get("text")):
        yield from pieces_of(part["text"], images)
    else:
        yield from _from_image_item(part, images)


def _from_image_item(item: Any, images: Mapping[str, bytes]) -> Iterator[Piece]:
    """``{"image_url": {"url": …}}``, ``{"image_url": "…"}``, ``{"url": …}``, ``{"b64_json": …}``, or such text alone."""
    link = mapping(item).get("image_url", mapping(item).get("url", item))
    url = string(mapping(link).get("url")) or string(link)
    encoded = string(mapping(item).get("b64_json")) or (url if url in images or url[:5].lower() == "data:" else "")
    if encoded:
        yield image_piece(encoded, images)
    elif url:
        yield Piece(url=url)


def _items(value: Any) -> list[Any]:
    """The items of a list, and a single one as well."""
    return value if isinstance(value, list) else [value]


def _reason(choice: Mapping[str, Any], refusal: str) -> str:
    """Google's own reason where the relay kept it, else OpenAI's."""
    native = string(choice.get("native_finish_reason"))
    if native and native.upper() not in ("STOP", "COMPLETED"):
        return native
    finish = string(choice.get("finish_reason"))
    return "refusal" if refusal else "" if finish == "stop" else finish


def _usage(usage: Mapping[str, Any]) -> Usage | None:
    if not usage:
        return None
    asked = mapping(_said(usage, "input_tokens_details", "prompt_tokens_details"))
    drawn = mapping(_said(usage, "output_tokens_details", "completion_tokens_details"))
    answered = count(_said(usage, "output_tokens", "completion_tokens"))
    image_tokens, thoughts = count(drawn.get("image_tokens")), count(drawn.get("reasoning_tokens"))
    rest = None if answered is None else max(0, answered - (image_tokens or 0) - (thoughts or 0))
    text_tokens = count(asked.get("text_tokens"))
    return Usage(
        input_text=count(_said(usage, "input_tokens", "prompt_tokens")) if text_tokens is None else text_tokens,
        input_image=count(asked.get("image_tokens")),
        output_image=image_tokens,
        output_text=rest,
        thoughts=thoughts,
        total=count(usage.get("total_tokens")),
    )


def _said(usage: Mapping[str, Any], *names: str) -> Any:
    """The first value that says something: new-api gives the names of both APIs, one of them all zeros."""
    values = [usage[name] for name in names if usage.get(name) is not None]
    return next((value for value in values if value), values[0] if values else None)


def _cost(document: Mapping[str, Any], exchange: Exchange) -> Decimal | None:
    """USD as the relay reports them: OpenRouter's ``usage.cost``, LiteLLM's response header."""
    reported = money(mapping(document.get("usage")).get("cost"))
    return reported if reported is not None else money(exchange.headers.get("x-litellm-response-cost"))
