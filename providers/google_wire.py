"""Google's ``generateContent`` wire, the answering side: a pure function from an exchange to an outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from providers.answers import Piece, Reply, count, image_piece, mapping, objects, string
from providers.exchange import Exchange
from providers.failures import answer_of
from providers.links import pieces_of
from providers.outcome import Outcome, Usage


def read(exchange: Exchange) -> Reply | Outcome:
    """The answer to a ``generateContent`` call, or the outcome of a call that has none."""
    document = answer_of(exchange)
    return document if isinstance(document, Outcome) else reply_of(document, exchange.images)


def reply_of(document: Mapping[str, Any], images: Mapping[str, bytes]) -> Reply:
    """A ``GenerateContentResponse`` as read from JSON, in camelCase or snake_case."""
    candidates = objects(document.get("candidates"))
    candidate = candidates[0] if candidates else {}
    feedback = mapping(_either(document, "promptFeedback", "prompt_feedback"))
    block = string(_either(feedback, "blockReason", "block_reason"))
    finish = string(_either(candidate, "finishReason", "finish_reason"))
    said = _either(feedback, "blockReasonMessage", "block_reason_message") if block else None
    return Reply(
        pieces=tuple(
            replace(piece, choice=number) for number, each in enumerate(candidates) for piece in _pieces(each, images)
        ),
        usage=_usage(mapping(_either(document, "usageMetadata", "usage_metadata"))),
        reason=block or ("" if finish == "STOP" else finish),
        message=string(said or _either(candidate, "finishMessage", "finish_message")),
        blocked=bool(block),
        unbilled=bool(block),  # a prompt that was blocked was not drawn
        drafts=True,
    )


def _pieces(candidate: Mapping[str, Any], images: Mapping[str, bytes]) -> Iterator[Piece]:
    for part in objects(mapping(candidate.get("content")).get("parts")):
        thought = part.get("thought") is True
        signature = string(_either(part, "thoughtSignature", "thought_signature")) or None
        inline = mapping(_either(part, "inlineData", "inline_data"))
        file = mapping(_either(part, "fileData", "file_data"))
        uri = string(_either(file, "fileUri", "file_uri"))
        if string(inline.get("data")):
            yield image_piece(inline["data"], images, signature, thought=thought)
        elif uri:
            yield Piece(url=uri, signature=signature, thought=thought)
        for text in (part.get("text"), inline.get("text")):  # one relay puts a link into the text of an inline part
            for piece in pieces_of(string(text), images):
                yield replace(piece, signature=signature, thought=thought)


def _usage(metadata: Mapping[str, Any]) -> Usage | None:
    if not metadata:
        return None
    asked = _by_modality(_either(metadata, "promptTokensDetails", "prompt_tokens_details"))
    drawn = _by_modality(_either(metadata, "candidatesTokensDetails", "candidates_tokens_details"))
    answered = count(_either(metadata, "candidatesTokenCount", "candidates_token_count"))
    image_tokens = drawn.get("IMAGE")
    return Usage(
        input_text=asked.get("TEXT", count(_either(metadata, "promptTokenCount", "prompt_token_count"))),
        input_image=asked.get("IMAGE"),
        output_image=image_tokens,
        output_text=None if answered is None else max(0, answered - (image_tokens or 0)),
        thoughts=count(_either(metadata, "thoughtsTokenCount", "thoughts_token_count")),
        total=count(_either(metadata, "totalTokenCount", "total_token_count")),
    )


def _by_modality(details: Any) -> dict[str, int]:
    counted = (
        (string(item.get("modality")), count(_either(item, "tokenCount", "token_count"))) for item in objects(details)
    )
    return {modality: tokens for modality, tokens in counted if tokens is not None}


def _either(document: Mapping[str, Any], camel: str, snake: str) -> Any:
    return document.get(camel, document.get(snake))
