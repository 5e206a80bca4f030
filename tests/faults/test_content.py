"""Row 29: the model refuses, or answers in words. That is no fault of the lane's."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.stage import Fate, both, fate, moves_on, played
from tests.providers.bodies import written
from tests.providers.wire import answer, answering

GOOGLE_SAFETY = {"candidates": [{"content": {"role": "model"}, "finishReason": "IMAGE_SAFETY"}]}
GOOGLE_PROMPT = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"totalTokenCount": 5}}
OPENAI_MODERATION = {"error": {"code": "moderation_blocked", "message": "Your request was rejected.", "type": "x"}}
RELAY_PROMPT = {
    "error": {"message": "request blocked by Gemini API: SAFETY", "type": "prompt_blocked", "code": "prompt_blocked"}
}
BLOCKS: dict[str, tuple[str, dict[str, Any], str, str]] = {
    "the image, Google": ("google", GOOGLE_SAFETY, "200 OK", "yes"),
    "the prompt, Google": ("google", GOOGLE_PROMPT, "200 OK", "no"),
    "the prompt, OpenAI": ("openai", OPENAI_MODERATION, "400 Bad Request", "no"),
    "the prompt, a relay": ("openai", RELAY_PROMPT, "400 Bad Request", "maybe"),
}  # fmt: skip


@pytest.mark.parametrize(("kind", "document", "status", "billed"), BLOCKS.values(), ids=BLOCKS.keys())
def test_row_29_a_safety_block_ends_the_request_and_is_no_penalty_to_the_lane(
    kind: str, document: dict[str, Any], status: str, billed: str
) -> None:
    script = answering(answer(written(document), status=status))
    spent = "0.00" if billed == "no" else "0.05"
    assert fate(kind, script) == Fate("blocked", billed, ("first",), spent, None)
    ended = played(kind, script)
    assert type(ended.error).__name__ == "ContentBlocked"
    assert (ended.health["first"].state, ended.health["first"].success_rate) == ("closed", 0.9)


TEXT_ONLY: dict[str, dict[str, Any]] = {
    "google": {"candidates": [{"content": {"parts": [{"text": "I cannot draw that."}]}, "finishReason": "STOP"}]},
    "openai": {
        "choices": [{"message": {"role": "assistant", "content": "I cannot draw that."}, "finish_reason": "stop"}]
    },
}


@both
def test_row_29_text_only_is_paid_and_one_other_lane_is_asked_and_the_breaker_stays_closed(kind: str) -> None:
    script = answering(answer(written(TEXT_ONLY[kind])))
    ended = played(kind, script)
    assert ended.told == (("no_image", "yes"), ("ok", "yes"))
    assert ended.attempts[0].detail == "I cannot draw that."
    assert ended.health["first"].state == "closed"
    assert fate(kind, script) == moves_on("no_image", "yes", 3)  # a counter of its own: 3 of the last 10
