"""Whatever stands in a body, no reader raises, and none calls anything an image that is none."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import google_wire, imagen_wire, interactions_wire, openai_wire
from providers.answers import Reply, conclude, final_pieces
from providers.documents import events
from providers.exchange import Exchange
from providers.extraction import ExtractionError, ImageExtractor
from providers.facts import inspect
from providers.json_body import MISSING, parse
from providers.outcome import Billed, Outcome, OutcomeName
from providers.sanitise import MAX_DETAIL
from tests.corpus.case import cases
from tests.corpus.samples import expanded

Reader = Callable[[Exchange], Reply | Outcome]

READERS: Final[dict[str, Reader]] = {
    "google": google_wire.read, "imagen": imagen_wire.read, "interactions": interactions_wire.read,
    "openai": openai_wire.read,
}  # fmt: skip
BODIES: Final = sorted({expanded(case.body).encode() for case in cases() if "<DEEP>" not in case.body})
DOCUMENTS: Final = [list(events(body)) if parse(body) is MISSING else parse(body) for body in BODIES]

KEYS: Final = (
    "candidates", "content", "parts", "text", "thought", "inlineData", "inline_data", "data", "mimeType",
    "thoughtSignature", "fileData", "fileUri", "finishReason", "finish_reason", "native_finish_reason",
    "finishMessage", "promptFeedback", "blockReason", "usageMetadata", "usage", "promptTokensDetails", "modality",
    "tokenCount", "totalTokenCount", "total_tokens", "prompt_tokens", "input_tokens_details", "cost", "predictions",
    "bytesBase64Encoded", "raiFilteredReason", "gcsUri", "image", "choices", "message", "delta", "images",
    "image_url", "url", "b64_json", "content_blocks", "refusal", "error", "code", "status", "details", "retryDelay",
    "violations", "quotaId", "metadata", "raw", "error_type", "detail", "msg", "type", "index", "outputs", "result",
    "input", "steps", "step", "signature", "errors", "uri", "event_type", "interaction",
)  # fmt: skip
TEXTS: Final = (
    "STOP", "stop", "IMAGE_SAFETY", "NO_IMAGE", "content_filter", "TEXT", "IMAGE", "429", "RESOURCE_EXHAUSTED", "7s",
    "image_generation.completed", "image_generation.partial_image", "https://example.invalid/a.png", "data:,", "base64,",
    "![image](", ")", "<html>", "limit: 0", "GenerateRequestsPerDay", "will not be charged",
)  # fmt: skip
IMAGES: Final = (
    "<PNG_B64>", "<JPEG_B64>", "<WEBP_B64>", "<JPEG_B64|urlsafe|unpadded>", "<PNG_B64|uri>", "![a](<PNG_B64|uri>)",
    "a <PNG_B64:2|uri> b <PNG_B64|uri>", "<PNG_B64|half>", "<JPEG_B64|odd>", "<WEBP_B64|half>", "<PNG_B64|garbled>",
    "<PNG_WITH_BAD_CRC_B64>", "<HUGE_PNG_B64>", "<HTML_B64>", "<GIF_B64|uri>", "<PNG_WITH_SCRIPT_B64>",
)  # fmt: skip

numbers = st.integers() | st.floats() | st.sampled_from([10**400, -(10**400), 429, 200, 503])
leaves = (
    st.none() | st.booleans() | numbers | st.text(max_size=9) | st.sampled_from(TEXTS)
    | st.sampled_from(IMAGES).map(expanded)
)  # fmt: skip
documents = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=25,
)
statuses = st.sampled_from([200, 200, 200, 200, 204, 302, 400, 403, 404, 429, 500, 503])
readers = pytest.mark.parametrize("read", READERS.values(), ids=READERS)


def framed(document: Any, stream: bool) -> bytes:
    """*document* as a body: whole, or each item of a list as an event."""
    if not (stream and isinstance(document, list)):
        return json.dumps(document).encode()
    return b"".join(b"data: %s\n\n" % json.dumps(item).encode() for item in document)


def grafted(document: Any, data: st.DataObject) -> Any:
    """*document* with something else in one place."""
    children = (
        list(document.items() if isinstance(document, dict) else enumerate(document))
        if isinstance(document, dict | list)
        else []
    )
    if not children or data.draw(st.integers(0, 5)) == 0:
        return data.draw(documents)
    key, child = data.draw(st.sampled_from(children))
    changed = {**document} if isinstance(document, dict) else [*document]
    changed[key] = grafted(child, data)
    return changed


def received(body: bytes, status: int) -> Exchange:
    """The exchange as the transport would have recorded it."""
    exchange = Exchange(sent=True, status=status, headers={"content-length": str(len(body))}, body=body)
    if status != 200:
        return exchange
    extractor = ImageExtractor()
    extractor.feed(body)
    try:
        extractor.close()
    except ExtractionError as error:
        exchange.failure, exchange.failure_detail = "bad_response", str(error)
    exchange.body, exchange.images = extractor.document, extractor.images
    return exchange


def concluded(read: Reader, exchange: Exchange) -> Outcome:
    """The outcome, without a fetcher: what only a link leads to stays away."""
    reply = read(exchange)
    return reply if isinstance(reply, Outcome) else conclude(replace(reply, pieces=tuple(final_pieces(reply))))


def assert_sound(outcome: Outcome, status: int) -> None:
    assert outcome.name in get_args(OutcomeName)
    assert outcome.billed in get_args(Billed)
    assert (outcome.name == "ok") == bool(outcome.images)
    for image in outcome.images:
        facts = inspect(image.data)
        assert (facts.end, facts.mime_type) == (len(image.data), image.mime_type)
        assert (status, outcome.billed) == (200, "yes")
    assert len(outcome.detail) <= MAX_DETAIL
    assert outcome.detail.isprintable()
    assert outcome.retry_after is None or 0 <= outcome.retry_after <= 86_400
    assert outcome.reported_cost is None or 0 <= outcome.reported_cost <= 1000


@readers
@given(document=documents, stream=st.booleans(), status=statuses)
@settings(max_examples=200, deadline=None)
def test_any_json_is_read(read: Reader, document: Any, stream: bool, status: int) -> None:
    assert_sound(concluded(read, received(framed(document, stream), status)), status)


@readers
@given(document=st.sampled_from(DOCUMENTS), data=st.data(), stream=st.booleans(), status=statuses)
@settings(max_examples=200, deadline=None)
def test_any_json_in_a_known_answer_is_read(
    read: Reader, document: Any, data: st.DataObject, stream: bool, status: int
) -> None:
    assert_sound(concluded(read, received(framed(grafted(document, data), stream), status)), status)


@readers
@given(
    body=st.binary(max_size=300),
    start=st.sampled_from([b"", b"{", b"data: ", b"[", b"<html", b'{"error":']),
    status=statuses,
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_read(read: Reader, body: bytes, start: bytes, status: int) -> None:
    assert_sound(concluded(read, received(start + body, status)), status)


@readers
@given(body=st.sampled_from(BODIES), data=st.data(), status=statuses)
@settings(max_examples=200, deadline=None)
def test_any_damage_to_a_known_body_is_read(read: Reader, body: bytes, data: st.DataObject, status: int) -> None:
    for _ in range(data.draw(st.integers(0, 4), label="damages")):
        start = data.draw(st.integers(0, len(body)), label="start")
        end = data.draw(st.integers(start, min(len(body), start + 40)), label="end")
        body = (
            body[:start]
            + data.draw(st.sampled_from([b"", b'"', b"{}", b"null", b"\xff", b"\\u", b"9", b"]"]))
            + body[end:]
        )
    assert_sound(concluded(read, received(body, status)), status)


@readers
@given(body=st.sampled_from(BODIES), data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_known_body_cut_anywhere_is_read(read: Reader, body: bytes, data: st.DataObject) -> None:
    cut = body[: data.draw(st.integers(0, len(body)), label="length")]
    assert_sound(concluded(read, received(cut, 200)), 200)
