"""The errors of OpenAI-compatible wires, in the words of the vendors and relays that send them."""

from __future__ import annotations

from typing import Final

from providers.simulator.messages import JSON, Answer, answer


def openai_error(status: int, message: str, kind: str, code: object = None, param: str | None = None) -> Answer:
    """An error in OpenAI's form."""
    return answer({"error": {"message": message, "type": kind, "param": param, "code": code}}, status)


INSUFFICIENT_QUOTA: Final = openai_error(
    429,
    "You exceeded your current quota, please check your plan and billing details. For more information on this error, "
    "read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
    "insufficient_quota",
    "insufficient_quota",
)

_MODERATION: Final[JSON] = {
    "message": "Your request was rejected by the safety system. If you believe this is an error, contact us at "
    "help.openai.com and include the request ID req_simulated. safety_violations=[sexual].",
    "type": "image_generation_user_error",
    "param": None,
    "code": "moderation_blocked",
    "moderation_details": {"moderation_stage": "output", "categories": ["sexual"]},
}
MODERATION_BLOCKED: Final = answer({"error": _MODERATION}, 400)

# new-api, 2026: a prompt that Gemini blocks.
PROMPT_BLOCKED: Final = openai_error(
    400, "request blocked by Gemini API: PROHIBITED_CONTENT", "prompt_blocked", "prompt_blocked", ""
)

# new-api, 2026: no candidates came back; the call is billed all the same.
EMPTY_RESPONSE: Final = openai_error(
    500, "empty response from Gemini API (request id: simulated)", "upstream_error", "empty_response", ""
)

# LiteLLM's proxy writes the status into `code` as a string.
LITELLM: Final = openai_error(
    429, "litellm.RateLimitError: RateLimitError: GeminiException - quota exceeded", "throttling_error", "429"
)

BALANCE: Final = answer(
    {"error": {"message": "Insufficient credits. Add more using https://openrouter.ai/credits", "code": 402}}, 402
)

MISSING_KEY: Final = "You didn't provide an API key."
BAD_KEY: Final = "Incorrect API key provided."
"""Messages for 401; which form they take is a flavour's business."""
