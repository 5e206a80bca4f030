"""Every shape in which an upstream is known to answer, through the real adapters and SDKs, and what has to come of it."""

from __future__ import annotations

import json
import re
from collections import Counter
from decimal import Decimal
from typing import Any, Final

import pytest

from providers.images import GeneratedImage
from providers.outcome import Outcome
from providers.sanitise import MAX_DETAIL
from tests.corpus.adapters import KEY, TOKEN, Adapters
from tests.corpus.case import Case, Sent, cases
from tests.corpus.samples import expanded, media_type, sample
from tests.corpus.server import Asked, ScriptedServer

CASES: Final = tuple(cases())
WHOLE: Final = sorted({name for case in CASES for name in case.images})
NEVER_SHOWN: Final = (KEY, TOKEN, "<html", "<!doctype", "<script", "\n")
_FIELD: Final = re.compile(rb'content-disposition: form-data; name="([^"]+)"', re.IGNORECASE)


@pytest.mark.parametrize("case", CASES, ids=[f"{case.section} {case.name}" for case in CASES])
def test_the_corpus(case: Case, adapters: Adapters, server: ScriptedServer) -> None:
    outcome = adapters.outcome(case)
    assert [pictured(image) for image in outcome.images] == list(case.images), outcome.detail
    assert [image.mime_type for image in outcome.images] == [media_type(name) for name in case.images]
    assert told(outcome, case) == expected(case), outcome.detail
    assert_discreet(outcome, case)
    assert len(server.asked) == 1
    if case.sent is not None:
        assert_sent(server.asked[0], case.sent)


def test_every_case_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(case.name for case in CASES).items() if count > 1] == []


def pictured(image: GeneratedImage) -> str:
    """The name of the sample that *image* is, or what else it is."""
    return next((name for name in WHOLE if sample(name) == image.data), f"another {image.mime_type}")


def expected(case: Case) -> dict[str, Any]:
    """What *case* has an opinion on."""
    wanted: dict[str, Any] = {"outcome": case.outcome, "billed": case.billed, "detail": case.detail.lower()}
    if case.text is not None:
        wanted["text"] = case.text
    if case.retry_after is not None:
        wanted["retry_after"] = case.retry_after or None
    if case.cost is not None:
        wanted["cost"] = None if case.cost == "none" else Decimal(case.cost)
    return wanted | {name: None if count < 0 else count for name, count in case.usage.items()}


def told(outcome: Outcome, case: Case) -> dict[str, Any]:
    """What *outcome* says of the same."""
    everything: dict[str, Any] = {
        "outcome": outcome.name,
        "billed": outcome.billed,
        "detail": case.detail.lower() if case.detail.lower() in outcome.detail.lower() else outcome.detail,
        "text": outcome.text,
        "retry_after": outcome.retry_after,
        "cost": outcome.reported_cost,
    }
    counted = {name: getattr(outcome.usage, name) for name in case.usage}
    return {name: everything[name] for name in expected(case) if name in everything} | counted


def assert_discreet(outcome: Outcome, case: Case) -> None:
    """The detail is there if anything went wrong, and it is one short line without secrets or markup."""
    assert bool(outcome.detail) == (outcome.name != "ok")
    assert len(outcome.detail) <= MAX_DETAIL
    shown = outcome.detail.lower()
    assert [text for text in (*NEVER_SHOWN, *case.hidden) if text.lower() in shown] == []


def assert_sent(asked: Asked, sent: Sent) -> None:
    assert (asked.method, asked.path) == (sent.method, sent.path)
    assert {name: asked.headers.get(name, "") for name in sent.headers} == sent.headers
    if sent.fields is not None:
        assert tuple(name.decode() for name in _FIELD.findall(asked.body)) == sent.fields
    if sent.json:
        body, wanted = json.loads(asked.body), json.loads(expanded(sent.json))
        assert part_of(body, wanted) == wanted
        assert [key for key in sent.absent if key in body] == []


def part_of(whole: Any, wanted: Any) -> Any:
    """*whole* without the keys that *wanted* says nothing about."""
    if isinstance(whole, dict) and isinstance(wanted, dict):
        return {key: part_of(value, wanted[key]) for key, value in whole.items() if key in wanted}
    if isinstance(whole, list) and isinstance(wanted, list) and len(whole) == len(wanted):
        return [part_of(*pair) for pair in zip(whole, wanted, strict=True)]
    return whole
