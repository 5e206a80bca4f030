"""Why an upstream said no: error answers of every shape, turned into one outcome.

The one place that looks at status codes and error texts. Google's ``google.rpc.Status`` (list-wrapped too), OpenAI's error
objects with numeric, string or no codes, relays' mixtures of both, HTML pages and empty bodies all pass through
:func:`classify`, a pure function.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from providers.documents import document_of
from providers.exchange import Exchange
from providers.hints import retry_after
from providers.outcome import Billed, Outcome, OutcomeName
from providers.sanitise import sanitise

_GOOGLE_STATUS: Final[dict[str, int]] = {
    "INVALID_ARGUMENT": 400, "FAILED_PRECONDITION": 400, "OUT_OF_RANGE": 400, "UNAUTHENTICATED": 401,
    "PERMISSION_DENIED": 403, "NOT_FOUND": 404, "ABORTED": 409, "ALREADY_EXISTS": 409, "RESOURCE_EXHAUSTED": 429,
    "CANCELLED": 499, "INTERNAL": 500, "UNKNOWN": 500, "DATA_LOSS": 500, "UNIMPLEMENTED": 501, "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}  # fmt: skip
"""HTTP statuses of google.rpc codes, from google/rpc/code.proto."""

_CODES: Final[dict[str, OutcomeName]] = {
    "moderation_blocked": "blocked", "content_policy_violation": "blocked", "content_filter": "blocked",
    "contentfilter": "blocked", "prompt_blocked": "blocked", "refusal": "blocked", "sensitive_words_detected": "blocked",
    "insufficient_quota": "quota_exhausted", "project_spend_limit_exceeded": "quota_exhausted",
    "rate_limit_exceeded": "rate_limited", "billing_hard_limit_reached": "balance", "insufficient_user_quota": "balance",
    "insufficient_balance": "balance", "payment_required": "balance",
    "invalid_api_key": "auth", "api_key_invalid": "auth", "unsupported_country_region_territory": "region",
    "model_not_found": "model_gone", "provider_overloaded": "overloaded", "empty_response": "no_image",
}  # fmt: skip
"""Outcomes of error codes, types and reasons that mean one thing whatever the status is."""

_TEXTS: Final[tuple[tuple[re.Pattern[str], OutcomeName], ...]] = (
    (re.compile(
        r"location is not supported|not available in your (?:country|region)|(?:country|region|territory) not supported"
        r"|not supported in your (?:country|region)", re.IGNORECASE), "region"),
    (re.compile(
        r"api key not valid|api key expired|incorrect api key|invalid api key|reported as leaked|invalid token"
        r"|unregistered callers", re.IGNORECASE), "auth"),
    (re.compile(
        r"insufficient[ _](?:\w+[ _])?(?:balance|credits?|funds)|out of credits|余额不足|额度不足|quota is not enough",
        re.IGNORECASE), "balance"),
    (re.compile(r"rejected by the safety system|blocked by gemini api|content[ _]policy", re.IGNORECASE), "blocked"),
)  # fmt: skip
"""Outcomes of messages that mean one thing whatever the status is."""

_UNBILLED: Final[frozenset[int]] = frozenset({400, 401, 402, 403, 404, 405, 409, 413, 415, 422, 429, 503, 529})
_HTML: Final = re.compile(rb"^\s*(?:<!doctype html|<html|<head|<script)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamError:
    """What an error answer says, whoever wrote it. *status* is the HTTP status, or the one the body names in a 200."""

    status: int
    message: str = ""
    codes: tuple[str, ...] = ()
    quota_ids: tuple[str, ...] = ()
    retry_delay: str | None = None
    html: bool = False


def classify(exchange: Exchange, error: UpstreamError) -> Outcome:
    """The outcome of an error answer."""
    name = _name(error)
    codes = " ".join(dict.fromkeys(error.codes))
    return Outcome(
        name=name,
        billed=_billed(error, name),
        retry_after=retry_after(exchange.headers, error.retry_delay),
        detail=sanitise(
            f"HTTP {exchange.status} {codes}: {error.message}" if error.message else _bare(exchange, error)
        ),
    )


def read_error(exchange: Exchange) -> UpstreamError | None:
    """The error in an answer: any answer but a 200, and a 200 whose body is an error."""
    document = document_of(exchange.body)
    status = exchange.status or 0
    found = document.get("error") if isinstance(document, Mapping) else None
    if status == 200 and not found:
        return None
    if isinstance(found, str):
        found = {"message": found}
    if not isinstance(found, Mapping):
        found = document if isinstance(document, Mapping) else {}
    html = bool(_HTML.match(exchange.body))
    return _from_mapping(found, status, html=html, text="" if html else exchange.body[:2000].decode("utf-8", "replace"))


def broken(exchange: Exchange) -> Outcome:
    """The outcome of an exchange that did not end in a whole answer."""
    name: OutcomeName = exchange.failure or "transport"
    return Outcome(
        name=name, billed="maybe" if exchange.sent else "no", detail=sanitise(exchange.failure_detail or "no answer")
    )


def _from_mapping(error: Mapping[str, Any], http_status: int, *, html: bool, text: str) -> UpstreamError:
    details = [item for item in _list(error.get("details")) if isinstance(item, Mapping)]
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    message = ": ".join(part for part in (_text(error.get("message")), _text(raw)) if part)
    return UpstreamError(
        status=_status(error, http_status),
        message=message or ("" if error or html else text),
        codes=tuple(_codes(error, details)),
        quota_ids=tuple(_quota_ids(details)),
        retry_delay=next((_text(item["retryDelay"]) for item in details if "retryDelay" in item), None),
        html=html,
    )


def _status(error: Mapping[str, Any], http_status: int) -> int:
    """The HTTP status, except in a 200, where the body's own code or status counts."""
    if http_status != 200:
        return http_status
    code = _text(error.get("code"))
    if code.isascii() and code.isdigit() and len(code) == 3:
        return int(code)
    return _GOOGLE_STATUS.get(_text(error.get("status")), 200)


def _codes(error: Mapping[str, Any], details: list[Mapping[str, Any]]) -> Iterator[str]:
    metadata = error.get("metadata")
    values = [error.get("status"), error.get("code"), error.get("type"), *(item.get("reason") for item in details)]
    if isinstance(metadata, Mapping):
        values.append(metadata.get("error_type"))
    yield from (_text(value) for value in values if value not in (None, ""))


def _quota_ids(details: list[Mapping[str, Any]]) -> Iterator[str]:
    for item in details:
        for violation in _list(item.get("violations")):
            if isinstance(violation, Mapping):
                yield _text(violation.get("quotaId"))


def _name(error: UpstreamError) -> OutcomeName:
    known = next((_CODES[code.lower()] for code in error.codes if code.lower() in _CODES), None)
    if known == "rate_limited" or (known is None and error.status == 429):
        return "quota_exhausted" if _is_exhausted(error) else "rate_limited"
    if known is not None:
        return known
    told = next((outcome for pattern, outcome in _TEXTS if pattern.search(error.message)), None)
    return told or _by_status(error)


def _is_exhausted(error: UpstreamError) -> bool:
    """A day's quota, or none at all: no hint of seconds changes that."""
    return any("PerDay" in quota for quota in error.quota_ids) or bool(re.search(r"\blimit: 0\b", error.message))


def _by_status(error: UpstreamError) -> OutcomeName:
    status = error.status
    if status in (500, 502, 503, 529):
        return "overloaded"
    if status in (408, 504, 524):
        return "timeout"
    if status == 403 and error.html:
        return "region"  # a challenge page of the CDN in front: it judges where the call came from
    if error.html or status < 400:
        return "bad_response"
    if status >= 500:
        return "overloaded"
    by_status: dict[int, OutcomeName] = {401: "auth", 402: "balance", 403: "auth", 404: "model_gone"}
    return by_status.get(status, "invalid")


def _billed(error: UpstreamError, name: OutcomeName) -> Billed:
    if "prompt_blocked" in error.codes:  # new-api bills the usage of a blocked prompt
        return "maybe"
    return "no" if error.status in _UNBILLED or 300 <= error.status < 400 else "maybe"


def _bare(exchange: Exchange, error: UpstreamError) -> str:
    what = "an HTML page" if error.html else "an empty answer" if not exchange.body.strip() else "no message"
    location = " (a redirect; redirects are not followed)" if 300 <= error.status < 400 else ""
    return f"HTTP {exchange.status}: {what}{location}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else "" if value is None else str(value)[:500]


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
