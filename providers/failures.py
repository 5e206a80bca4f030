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

from providers.answers import blocks, mapping, objects, string
from providers.documents import document_of, is_page, prose
from providers.exchange import Exchange
from providers.hints import retry_after
from providers.json_body import MISSING, mended
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
    "content_policy_violation": "blocked", "contentfilter": "blocked", "prompt_blocked": "blocked", "blocked": "blocked",
    "sensitive_words_detected": "blocked",
    "insufficient_quota": "quota_exhausted", "project_spend_limit_exceeded": "quota_exhausted",
    "rate_limit_exceeded": "rate_limited", "billing_hard_limit_reached": "balance", "insufficient_user_quota": "balance",
    "insufficient_balance": "balance", "payment_required": "balance", "budget_exceeded": "balance",
    "billing_disabled": "balance", "pre_consume_token_quota_failed": "balance",
    "invalid_api_key": "auth", "api_key_invalid": "auth", "unsupported_country_region_territory": "region",
    "model_not_found": "model_gone", "provider_overloaded": "overloaded", "failed_dependency": "overloaded",
    "empty_response": "no_image", "convert_request_failed": "invalid", "invalid_image": "invalid",
    "image_too_large": "invalid", "image_download_failed": "invalid",
}  # fmt: skip
"""Outcomes of error codes, types and reasons that mean one thing whatever the status is; block reasons are others."""

_TEXTS: Final[tuple[tuple[re.Pattern[str], OutcomeName], ...]] = (
    (re.compile(
        r"location is not supported|not available in your (?:country|region)|(?:country|region|territory) not supported"
        r"|not supported in your (?:country|region)", re.IGNORECASE), "region"),
    (re.compile(
        r"api key not valid|api key expired|incorrect api key|invalid api key|reported as leaked|invalid token"
        r"|unregistered callers", re.IGNORECASE), "auth"),
    (re.compile(
        r"insufficient[ _](?:\w+[ _])?(?:balance|credits?|funds)|(?:balance|credits?) (?:is |are )?(?:insufficient"
        r"|not enough|too low|exhausted)|out of credits|more credits|in arrears|quota is not enough"
        r"|余额不足|额度不足|额度已用尽|额度失败|欠费", re.IGNORECASE), "balance"),
    (re.compile(r"rejected by the safety system|blocked by gemini api|content[ _]policy", re.IGNORECASE), "blocked"),
    (re.compile(r"rate limit (?:reached|exceeded)|too many requests", re.IGNORECASE), "rate_limited"),
)  # fmt: skip
"""Outcomes of messages that mean one thing whatever the status is."""

_STATUSES: Final[dict[int, OutcomeName]] = {
    401: "auth", 402: "balance", 403: "auth", 404: "model_gone", 408: "timeout", 424: "overloaded", 429: "rate_limited",
    451: "region", 499: "timeout", 501: "invalid", 504: "timeout", 524: "timeout",
}  # fmt: skip
"""Outcomes of statuses; of the others, those from 500 on mean ``overloaded``, those from 400 on ``invalid``."""

_PAGES: Final[dict[int, OutcomeName]] = {
    **dict.fromkeys((400, 401, 402, 404, 405), "bad_response"),
    403: "region",
}
"""Outcomes of statuses that come with an HTML page: whoever wrote it stands in front of the upstream, and knows nothing
of keys, balances and models. A challenge page judges where the call came from."""

_UNBILLED: Final[frozenset[int]] = frozenset({400, 401, 402, 403, 404, 405, 409, 413, 415, 422, 429, 503, 529})
_NEVER_BILLED: Final[frozenset[OutcomeName]] = frozenset(
    {"rate_limited", "quota_exhausted", "balance", "auth", "region", "model_gone", "invalid"}
)
"""Outcomes that say that nothing was processed, whatever status they came with."""

_ANSWERS: Final = ("choices", "data", "candidates", "predictions", "images")
"""Keys one of which every answer has that is no error."""

_QUOTED_PAGE: Final = re.compile(r"<(?:!doctype\s+html|html)\b.*", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamError:
    """What an error answer says, whoever wrote it. *status* is the HTTP status, or the one the body names in a 200."""

    status: int
    message: str = ""
    codes: tuple[str, ...] = ()
    quota_ids: tuple[str, ...] = ()
    retry_delay: str | None = None
    html: bool = False


def answer_of(exchange: Exchange) -> Mapping[str, Any] | Outcome:
    """The JSON object of a good answer, or the outcome of a call that has none."""
    if exchange.failure is not None or exchange.status is None:
        return broken(exchange)
    error = read_error(exchange)
    if error is not None:
        return classify(exchange, error)
    document = document_of(exchange.body)
    if document is MISSING and exchange.images:
        document = document_of(mended(exchange.body))
    return document if isinstance(document, Mapping) else _shapeless(exchange)


def classify(exchange: Exchange, error: UpstreamError) -> Outcome:
    """The outcome of an error answer."""
    name = _name(error)
    codes = (code for code in error.codes if code != str(exchange.status))
    said = " ".join(dict.fromkeys((f"HTTP {exchange.status}", *codes)))
    return Outcome(
        name=name,
        billed=_billed(error, name),
        retry_after=retry_after(exchange.headers, error.retry_delay),
        lasting=_has_no_quota(error),
        detail=sanitise(f"{said}: {error.message}" if error.message else _bare(exchange, error.html)),
    )


def read_error(exchange: Exchange) -> UpstreamError | None:
    """The error in an answer: any answer but a 200, and a 200 whose body is an error."""
    document = document_of(exchange.body)
    status = exchange.status or 0
    found = _error_in(document, drawn=bool(exchange.images))
    if status == 200 and not found:
        return None
    if isinstance(found, str):
        found = {"message": found}
    if not isinstance(found, Mapping):
        found = document if isinstance(document, Mapping) else {"message": prose(exchange.body)}
    return _from_mapping(found, status, html=is_page(exchange.body))


def broken(exchange: Exchange) -> Outcome:
    """The outcome of an exchange that did not end in a whole answer."""
    name: OutcomeName = exchange.failure or "transport"
    return Outcome(
        name=name, billed="maybe" if exchange.sent else "no", detail=sanitise(exchange.failure_detail or "no answer")
    )


def _shapeless(exchange: Exchange) -> Outcome:
    """The outcome of a 200 without a JSON object. One without anything, by its own account, is an answer without image."""
    declared = {"content-length", "transfer-encoding"} & {name.lower() for name in exchange.headers}
    if declared and not exchange.body.strip():
        return Outcome(name="no_image", billed="yes", detail=_bare(exchange))
    detail = _bare(exchange, html=True) if is_page(exchange.body) else "the answer is not a JSON object"
    return Outcome(name="bad_response", billed="maybe", detail=detail)


def _error_in(document: Any, *, drawn: bool) -> Any:
    """What a document says went wrong: at its top, in its first choice, or as all it says if nothing was *drawn*."""
    if not isinstance(document, Mapping):
        return None
    first = next(iter(objects(document.get("choices"))), {})
    alone = not drawn and _message(document) and not any(document.get(key) for key in _ANSWERS)
    return document.get("error") or first.get("error") or (document if alone else None)


def _from_mapping(error: Mapping[str, Any], http_status: int, *, html: bool) -> UpstreamError:
    details = objects(error.get("details"))
    raw = string(mapping(error.get("metadata")).get("raw"))
    message = ": ".join(part for part in (_message(error), raw) if part)
    return UpstreamError(
        status=_status(error, http_status),
        message=_QUOTED_PAGE.sub("an HTML page", message),
        codes=tuple(_codes(error, details)),
        quota_ids=tuple(_quota_ids(details)),
        retry_delay=next((_text(item["retryDelay"]) for item in details if "retryDelay" in item), None),
        html=html or bool(_QUOTED_PAGE.search(message)),
    )


def _message(error: Mapping[str, Any]) -> str:
    """What an error says in words, wherever its author puts them."""
    detail = error.get("detail")
    told = [item.get("msg") for item in objects(detail)]
    values = (error.get("message"), error.get("msg"), detail, *told)
    return next(filter(None, map(string, values)), "")


def _status(error: Mapping[str, Any], http_status: int) -> int:
    """The HTTP status, except in a 200, where the body's own code or status counts."""
    if http_status != 200:
        return http_status
    code = _text(error.get("code"))
    if code.isascii() and code.isdigit() and len(code) == 3:
        return int(code)
    return _GOOGLE_STATUS.get(_text(error.get("status")), 200)


def _codes(error: Mapping[str, Any], details: list[Mapping[str, Any]]) -> Iterator[str]:
    values = [error.get("status"), error.get("code"), error.get("type"), *(item.get("reason") for item in details)]
    values.append(mapping(error.get("metadata")).get("error_type"))
    yield from filter(None, map(_text, values))


def _quota_ids(details: list[Mapping[str, Any]]) -> Iterator[str]:
    for item in details:
        yield from (string(violation.get("quotaId")) for violation in objects(item.get("violations")))


def _name(error: UpstreamError) -> OutcomeName:
    known = next((name for name in map(_by_code, error.codes) if name), None)
    told = next((outcome for pattern, outcome in _TEXTS if pattern.search(error.message)), None)
    name: OutcomeName = known or told or _by_status(error)
    return "quota_exhausted" if name == "rate_limited" and _is_exhausted(error) else name


def _by_code(code: str) -> OutcomeName | None:
    name = code.rpartition("/")[2]  # the Interactions API names its errors by URIs
    return _CODES.get(name.lower()) or ("blocked" if blocks(name) else None)


def _is_exhausted(error: UpstreamError) -> bool:
    """A day's quota, or none at all: no hint of seconds changes that. Relays put Google's details into the message."""
    return _has_no_quota(error) or any("PerDay" in text for text in (*error.quota_ids, error.message))


def _has_no_quota(error: UpstreamError) -> bool:
    """The account has no quota for the model at all, as Google says it of the free tier."""
    return re.search(r"\blimit: 0\b", error.message) is not None


def _by_status(error: UpstreamError) -> OutcomeName:
    status = error.status
    if status < 400:
        return "bad_response"
    if error.html and status in _PAGES:
        return _PAGES[status]
    return _STATUSES.get(status, "overloaded" if status >= 500 else "invalid")


def _billed(error: UpstreamError, name: OutcomeName) -> Billed:
    if "prompt_blocked" in map(str.lower, error.codes):  # new-api bills the usage of a blocked prompt
        return "maybe"
    return "no" if name in _NEVER_BILLED or error.status in _UNBILLED or 300 <= error.status < 400 else "maybe"


def _bare(exchange: Exchange, html: bool = False) -> str:
    what = "an HTML page" if html else "an empty answer" if not exchange.body.strip() else "no message"
    location = " (a redirect; redirects are not followed)" if 300 <= (exchange.status or 0) < 400 else ""
    return f"HTTP {exchange.status}: {what}{location}"


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""
