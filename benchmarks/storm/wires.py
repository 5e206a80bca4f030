"""What travels between a contender and a lane: three wires, each with its requests, images, refusals and errors."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from benchmarks.storm.pictures import Size, encoded

Wire = Literal["google", "images", "chat"]
JSON = dict[str, Any]

_GOOGLE: Final = "type.googleapis.com/google.rpc."
_WORDS: Final = "I can't draw that, but here is how I would describe it."


@dataclass(frozen=True, slots=True)
class Answer:
    """What a lane answers. *billed* tells whether the lane charges for it."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    billed: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for: the *number* that stands in its prompt tells which request of the traffic it is."""

    number: int
    size: Size


def read(wire: Wire, body: bytes) -> Asked:
    """The request in *body*; without a size it means 1K, as upstreams do."""
    payload = json.loads(body)
    match wire:
        case "google":
            config = payload.get("generationConfig") or {}
            image = config.get("imageConfig") or config.get("image_config") or {}
            text = image.get("imageSize") or image.get("image_size")
        case "images":
            text = {"4096x4096": "4K", "1024x1024": "1K"}.get(payload.get("size"), payload.get("size"))
        case "chat":
            text = (payload.get("image_config") or {}).get("image_size")
    number = re.search(rb"#(\d+)", body)
    assert number, "a prompt without its number"
    assert text in (None, "1K", "4K"), f"asked for {text}"
    return Asked(int(number[1]), text or "1K")


def drawn(wire: Wire, size: Size) -> Answer:
    """An image."""
    match wire:
        case "google":
            part = {"inlineData": {"mimeType": "image/png", "data": encoded(size)}}
            return _json(
                _candidate({"content": {"role": "model", "parts": [part]}, "finishReason": "STOP"}), billed=True
            )
        case "images":
            return _json({"created": 1793620800, "data": [{"b64_json": encoded(size)}]}, billed=True)
        case "chat":
            url = f"data:image/png;base64,{encoded(size)}"
            image = {"type": "image_url", "image_url": {"url": url}, "index": 0}
            return _json(_completion({"role": "assistant", "content": "", "images": [image]}), billed=True)


def refused(wire: Wire, variant: int) -> Answer:
    """A 200 without an image, charged for: on Google's wire one of three forms by *variant*."""
    match wire:
        case "google":
            words = {"content": {"role": "model", "parts": [{"text": _WORDS}]}, "finishReason": "STOP"}
            forms = (words, {"content": {}, "finishReason": "NO_IMAGE"}, {"content": {}, "finishReason": "IMAGE_OTHER"})
            return _json(_candidate(forms[variant % 3]), billed=True)
        case "images":
            return _json({"created": 1793620800, "data": []}, billed=True)
        case "chat":
            return _json(_completion({"role": "assistant", "content": _WORDS}), billed=True)


def overloaded(wire: Wire) -> Answer:
    """503."""
    return _error(wire, 503, "UNAVAILABLE", "The model is overloaded. Please try again later.")


def internal(wire: Wire) -> Answer:
    """500."""
    return _error(wire, 500, "INTERNAL", "An internal error has occurred.")


def bad_gateway() -> Answer:
    """502 from what stands in front of a provider, as a page."""
    return Answer(502, b"<html><body><h1>502 Bad Gateway</h1></body></html>", {"Content-Type": "text/html"})


def rate_limited(wire: Wire, seconds: float) -> Answer:
    """429: the minute's quota is used up, with a hint of when to come again: RetryInfo on Google's wire, else a header."""
    if wire != "google":
        return _error(
            wire, 429, "rate_limit_exceeded", "Rate limit reached.", headers={"Retry-After": f"{seconds:.0f}"}
        )
    details = [_violation("Minute"), {"@type": _GOOGLE + "RetryInfo", "retryDelay": f"{seconds:.0f}s"}]
    return _error(wire, 429, "RESOURCE_EXHAUSTED", "You exceeded your current quota.", details)


def quota_gone(wire: Wire) -> Answer:
    """429: the day's quota is used up, with the misleading RetryInfo that Google sends along."""
    message = "You exceeded your current quota, please check your plan and billing details."
    if wire != "google":
        return _error(wire, 429, "insufficient_quota", message)
    details = [_violation("Day"), {"@type": _GOOGLE + "RetryInfo", "retryDelay": "47s"}]
    return _error(wire, 429, "RESOURCE_EXHAUSTED", message, details)


def _violation(period: str) -> JSON:
    metric = "generativelanguage.googleapis.com/generate_content_paid_tier_requests"
    quota_id = f"GenerateRequestsPer{period}PerProjectPerModel-PaidTier"
    return {"@type": _GOOGLE + "QuotaFailure", "violations": [{"quotaMetric": metric, "quotaId": quota_id}]}


def _candidate(candidate: JSON) -> JSON:
    usage = {"promptTokenCount": 12, "candidatesTokenCount": 1120, "totalTokenCount": 1132}
    return {"candidates": [{**candidate, "index": 0}], "usageMetadata": usage, "modelVersion": "gemini-3-pro-image"}


def _completion(message: JSON) -> JSON:
    return {
        "id": "gen-1",
        "object": "chat.completion",
        "created": 1793620800,
        "model": "gemini-3-pro-image",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 12, "completion_tokens": 1120, "total_tokens": 1132},
    }


def _error(
    wire: Wire, status: int, code: str, message: str, details: list[JSON] | None = None, headers: Any = None
) -> Answer:
    google = {"code": status, "message": message, "status": code, "details": details or []}
    openai = {"message": message, "type": code, "param": None, "code": code}
    return _json({"error": google if wire == "google" else openai}, status, headers=headers)


def _json(payload: JSON, status: int = 200, *, billed: bool = False, headers: dict[str, str] | None = None) -> Answer:
    body = json.dumps(payload).encode()
    return Answer(status, body, {"Content-Type": "application/json", **(headers or {})}, billed)
