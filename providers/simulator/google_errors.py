"""The errors of Google's wire, as its vendor phrases them (``google.rpc.Status``)."""

from __future__ import annotations

from typing import Any, Final

from providers.simulator.messages import Answer, error

_TYPE: Final = "type.googleapis.com/google.rpc."
_SERVICE: Final = "generativelanguage.googleapis.com"
_INVALID_KEY: Final = "API key not valid. Please pass a valid API key."

# Bodies as users of the public API published them, 2025-12 to 2026-10.
MISSING_KEY: Final = error(
    403,
    "PERMISSION_DENIED",
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
    "form of API consumer identity to call this API.",
)
BAD_KEY: Final = error(
    400,
    "INVALID_ARGUMENT",
    _INVALID_KEY,
    [
        {
            "@type": _TYPE + "ErrorInfo",
            "reason": "API_KEY_INVALID",
            "domain": "googleapis.com",
            "metadata": {"service": _SERVICE},
        },
        {"@type": _TYPE + "LocalizedMessage", "locale": "en-US", "message": _INVALID_KEY},
    ],
)
LEAKED_KEY: Final = error(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please use another API key.")
REGION: Final = error(400, "FAILED_PRECONDITION", "User location is not supported for the API use.")
OVERLOADED: Final = error(503, "UNAVAILABLE", "The model is overloaded. Please try again later.")
INTERNAL: Final = error(
    500,
    "INTERNAL",
    "An internal error has occurred. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting",
)
DEADLINE: Final = error(
    504,
    "DEADLINE_EXCEEDED",
    "The request timed out. Please try again. Deadline expired before operation could complete.",
)
BAD_IMAGE: Final = error(400, "INVALID_ARGUMENT", "Unable to process input image. Please retry.")


def invalid(message: str) -> Answer:
    """400: the request has a value that will not do."""
    return error(400, "INVALID_ARGUMENT", message)


def unknown_field(name: str, path: str) -> Answer:
    """400: *name*, at *path* (dotted, snake case; empty at the top), is no field of the request."""
    where = f" at '{path}'" if path else ""
    message = f'Invalid JSON payload received. Unknown name "{name}"{where}: Cannot find field.'
    violation = {"field": path, "description": message} if path else {"description": message}
    return error(400, "INVALID_ARGUMENT", message, [{"@type": _TYPE + "BadRequest", "fieldViolations": [violation]}])


def no_such_model(model: str, version: str, method: str) -> Answer:
    """404: the model is gone, or never had this method."""
    return error(
        404,
        "NOT_FOUND",
        f"models/{model} is not found for API version {version}, or is not supported for {method}. Call ListModels to "
        "see the list of available models and their supported methods.",
    )


def quota(*, period: str, limit: int | None, retry_delay: str | None, free_tier: bool = False) -> Answer:
    """429: the quota per *period* (``"Minute"``, ``"Day"``) is used up, with a RetryInfo of *retry_delay* if given.

    *limit* is the quota as the message states it; 0 means the tier never had any.
    """
    tier = "free_tier" if free_tier else "paid_tier"
    metric = f"{_SERVICE}/generate_content_{tier}_requests"
    quota_id = f"GenerateRequestsPer{period}PerProjectPerModel" + ("-FreeTier" if free_tier else "-PaidTier")
    violation = {
        "quotaMetric": metric,
        "quotaId": quota_id,
        "quotaDimensions": {"location": "global", "model": "{model}"},
    }
    details: list[dict[str, Any]] = [
        {"@type": _TYPE + "QuotaFailure", "violations": [violation]},
    ]
    if retry_delay:
        details.append({"@type": _TYPE + "RetryInfo", "retryDelay": retry_delay})
    stated = "" if limit is None else f", limit: {limit}"
    retry = f"\nPlease retry in {retry_delay}." if retry_delay else ""
    return error(
        429,
        "RESOURCE_EXHAUSTED",
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        "error, head to: https://ai.google.dev/gemini-api/docs/rate-limits. \n"
        f"* Quota exceeded for metric: {metric}{stated}, model: {{model}}{retry}",
        details,
    )
