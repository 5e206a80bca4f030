"""Answers of status 200 that hold no image, by the way the vendors give them."""

from __future__ import annotations

from typing import Any, Final

from providers.simulator.effects import Reply
from providers.simulator.messages import JSON, Answer, answer

_RESPONSIBLE_AI: Final = (
    "The model output could not be generated. This output contains sensitive words that violate Google's Responsible "
    "AI practices. If you think this was an error, send feedback. Support code: 42876398."
)
_NOT_CHARGED: Final = (
    "Unable to show the generated image. The model could not generate the image based on the prompt provided. You will "
    "not be charged for this request. Try rephrasing the prompt."
)
_WORDS: Final = "I can't generate images that are sexually explicit."
_USAGE: Final = {"promptTokenCount": 59, "candidatesTokenCount": 11, "totalTokenCount": 70}
_NO_IMAGES: Final = answer({"created": 1765440499, "data": []})
_FILTERED: Final = answer(
    {
        "predictions": [
            {
                "raiFilteredReason": "Unable to show generated images. All images were filtered out because they "
                "violated Vertex AI's usage guidelines. You will not be charged for blocked images. Try rephrasing the "
                "prompt. If you think this was an error, send feedback. Support codes: 1234567"
            }
        ]
    }
)


def _google(candidate: JSON | None = None, **more: Any) -> Answer:
    candidates = {} if candidate is None else {"candidates": [{**candidate, "index": 0}]}
    return answer({**candidates, "usageMetadata": _USAGE, "modelVersion": "{model}", **more})


def _chat(content: str = "", finish: str = "content_filter", native: str = "IMAGE_SAFETY") -> Answer:
    """A chat completion with text alone; new-api and OpenRouter end it alike."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": content},
        "finish_reason": finish,
        "native_finish_reason": native,
    }
    usage = {"prompt_tokens": 59, "completion_tokens": 11, "total_tokens": 70}
    return answer(
        {
            "id": "chatcmpl-simulated",
            "object": "chat.completion",
            "created": 1765440499,
            "model": "{model}",
            "choices": [choice],
            "usage": usage,
        }
    )


def _reply(google: Answer, chat: Answer, charged: bool = True) -> Reply:
    return Reply(google=google, imagen=_FILTERED, chat=chat, images=_NO_IMAGES, charged=charged)


# As published by people who met them, 2026-02 to 2026-09.
PROHIBITED: Final = _reply(
    _google(
        {
            "content": {"role": "model"},
            "finishReason": "IMAGE_PROHIBITED_CONTENT",
            "finishMessage": _RESPONSIBLE_AI,
        }
    ),
    _chat(native="IMAGE_PROHIBITED_CONTENT"),
)
IMAGE_OTHER: Final = _reply(
    _google({"content": {}, "finishReason": "IMAGE_OTHER", "finishMessage": _NOT_CHARGED}),
    _chat(finish="stop", native="IMAGE_OTHER"),
    charged=False,
)
RECITATION: Final = _reply(
    _google({"finishReason": "IMAGE_RECITATION"}),
    _chat(native="IMAGE_RECITATION"),
)
IMAGE_SAFETY: Final = _reply(
    _google({"content": {"parts": None}, "finishReason": "IMAGE_SAFETY"}),
    _chat(),
)
NO_CANDIDATES: Final = _reply(
    _google(
        candidates=None, usageMetadata={"promptTokenCount": 271, "candidatesTokenCount": 0, "totalTokenCount": 271}
    ),
    answer({"id": "chatcmpl-simulated", "object": "chat.completion", "created": 1765440499, "choices": []}),
)
PROMPT_FEEDBACK: Final = _reply(
    _google(
        promptFeedback={"blockReason": "PROHIBITED_CONTENT"},
        usageMetadata={"promptTokenCount": 5, "totalTokenCount": 5},
    ),
    _chat(native="PROHIBITED_CONTENT"),
    charged=False,
)
TEXT_ONLY: Final = _reply(
    _google({"content": {"role": "model", "parts": [{"text": _WORDS}]}, "finishReason": "STOP"}),
    _chat(_WORDS, "stop", "STOP"),
)
NO_IMAGE: Final = _reply(
    _google({"content": {"parts": None}, "finishReason": "NO_IMAGE"}),
    _chat(finish="stop", native="NO_IMAGE"),
)
