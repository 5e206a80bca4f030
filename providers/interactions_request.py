"""A request on the Interactions API for an image: the arguments of google-genai's ``interactions.create``. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import dropwhile
from typing import Any

import pybase64

from providers.gemini_request import MIME_TYPES
from providers.images import GeneratedImage, ReferenceImage
from providers.outcome import Part
from providers.request import UpstreamRequest
from providers.turns import Turn

Block = dict[str, Any]
"""A step of a conversation, or a piece of its content."""


def arguments(request: UpstreamRequest) -> dict[str, Any]:
    """What is asked for, without what was not wished.

    The gateway keeps the history itself: nothing is stored upstream, nothing goes on in the background.
    """
    asked: dict[str, Any] = {
        "model": request.model,
        "input": _steps(request),
        "system_instruction": request.system_instruction,
        # An image entry alone would silence the words beside the image.
        "response_format": [{"type": "text"}, _image_format(request)],
        "generation_config": _generation_config(request),
        "tools": [{"type": "google_search"}] if request.grounding else None,
        "store": False,
        "stream": request.stream or None,
    }
    return _given(asked)


def _steps(request: UpstreamRequest) -> list[Block]:
    told = [step for turn in request.history for step in _turn(turn)]
    return [*told, _user_input(request.prompt, request.images)]


def _turn(turn: Turn) -> list[Block]:
    """What was asked and answered. Images that no thought vouches for go back in the user's role, which needs none."""
    own = _own(turn.answer)
    if turn.drawn and not own:
        return [_user_input(turn.prompt, (*turn.images, *turn.drawn))]
    return [_user_input(turn.prompt, turn.images), *_answer(own or turn.answer)]


def _own(answer: Sequence[Part]) -> list[Part]:
    """*answer* as the model signed it: Google takes a turn with images back only if it begins with a thought."""
    parts = list(dropwhile(lambda part: not (part.image or part.signature), answer))
    return parts if parts and parts[0].signature else []


def _user_input(prompt: str, images: Iterable[ReferenceImage | GeneratedImage]) -> Block:
    return {"type": "user_input", "content": [_text(prompt), *map(_image, images)]}


def _answer(parts: Sequence[Part]) -> list[Block]:
    """What the model answered: each signature as the thought before what it came with."""
    steps: list[Block] = []
    for part in parts:
        if part.signature:
            steps.append({"type": "thought", "signature": part.signature})
        content = _content(part)
        if content and steps and steps[-1]["type"] == "model_output":
            steps[-1]["content"].append(content)
        elif content:
            steps.append({"type": "model_output", "content": [content]})
    return steps


def _content(part: Part) -> Block | None:
    """The piece of content that *part* holds, None for a mere signature: empty texts are refused."""
    if part.image is not None:
        return _image(part.image)
    return _text(part.text) if part.text else None


def _text(text: str) -> Block:
    return {"type": "text", "text": text}


def _image(image: ReferenceImage | GeneratedImage) -> Block:
    return {"type": "image", "mime_type": image.mime_type, "data": pybase64.b64encode_as_string(image.data)}


def _image_format(request: UpstreamRequest) -> Block:
    asked = {
        "type": "image",
        "mime_type": MIME_TYPES.get(request.output_format or ""),
        "aspect_ratio": request.aspect_ratio,
        "image_size": request.size,
    }
    return _given(asked)


def _generation_config(request: UpstreamRequest) -> Block | None:
    asked = {
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "thinking_level": request.thinking,
    }
    return _given(asked) or None


def _given(asked: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in asked.items() if value is not None}
