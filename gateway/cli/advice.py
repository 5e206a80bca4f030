"""What to do about an outcome or an error, in a sentence."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from providers.errors import (
    BudgetExceeded,
    ContentBlocked,
    DeadlineExceeded,
    GatewayError,
    NoLaneAvailable,
)
from providers.outcome import OutcomeName

FOR_OUTCOME: Final[Mapping[OutcomeName, str]] = {
    "auth": "The key was refused: check api_key of the provider; `image-gateway doctor` names the place.",
    "balance": "The account has no credit left: top it up, or add another provider.",
    "quota_exhausted": "The quota is used up: raise it with the vendor, or add another provider.",
    "rate_limited": "Too many calls for now: try again in a little while, or add another provider.",
    "region": "The provider refuses calls from here: say so with egress_country, and use a provider that takes them.",
    "model_gone": "The upstream does not know the model: check upstream_model of the lane.",
    "overloaded": "The upstream is overloaded: try again later, add another provider, or allow --fallback downgrade.",
    "transport": "The upstream could not be reached: check base_url, proxy and the network.",
    "timeout": "The upstream took too long: raise --deadline or the provider's timeout.",
    "bad_response": "The answer made no sense: check that base_url, kind and dialect fit the upstream.",
    "no_image": "The model answered without an image: say plainly in the prompt what to draw.",
    "blocked": 'The model refused the content: change the prompt, or set on_blocked = "switch" under [fallback].',
    "wrong_size": "The images are smaller than accepted: lower --min-size, or name another --model.",
    "invalid": "The upstream refused the request as such: its words in the attempts say why.",
}
"""What helps against an outcome."""


FOR_EXCLUSION: Final[Mapping[str, str]] = {
    "max_cost": "Raise --max-cost, or ask for a smaller --size.",
    "size": "Ask for another --size, or allow --fallback downgrade with a lower --min-size.",
    "region": "Some lanes refuse calls from egress_country: use a provider that takes them, or one with a proxy.",
    "residency": "Few lanes promise a place of processing: leave --residency out, or configure one that does.",
    "retired": "Configure the replacement of the retired model.",
}
"""What helps against being left out."""


def for_error(error: GatewayError) -> list[str]:
    """What the caller of a failed request might do next."""
    return list(dict.fromkeys([*_by_kind(error), *_by_outcomes(error), *_by_hint(error)]))


def _by_kind(error: GatewayError) -> Iterator[str]:
    if isinstance(error, BudgetExceeded):
        yield "Raise --max-cost, or ask for a smaller --size."
    elif isinstance(error, DeadlineExceeded):
        yield "Raise --deadline, or ask for a smaller --size."
    elif isinstance(error, NoLaneAvailable):
        reasons = [exclusion.reason for exclusion in error.plan.excluded] if error.plan else []
        yield from (advice for reason, advice in FOR_EXCLUSION.items() if reason in reasons)
        yield "`image-gateway lanes` shows what is configured."
    elif isinstance(error, ContentBlocked):
        yield FOR_OUTCOME["blocked"]


def _by_outcomes(error: GatewayError) -> Iterator[str]:
    for attempt in error.attempts:
        if attempt.outcome in FOR_OUTCOME:
            yield FOR_OUTCOME[attempt.outcome]


def _by_hint(error: GatewayError) -> Iterator[str]:
    if error.retry_after is not None:
        yield f"Another try makes sense in {error.retry_after:.0f} s."
