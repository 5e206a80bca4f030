"""A ``generateContent`` request for an image, in the google-genai SDK's types. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import dropwhile
from typing import Any, Final

import pybase64
from google.genai import types

from providers.images import GeneratedImage, ReferenceImage
from providers.outcome import Part
from providers.request import UpstreamRequest
from providers.turns import Turn

MIME_TYPES: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


def contents(request: UpstreamRequest) -> list[types.Content]:
    """The turns so far, and the prompt with its reference images, inline.

    Gemini 3 signs the first part after its thoughts and every image, and refuses a model's turn in which one of these has
    no signature (https://ai.google.dev/gemini-api/docs/thought-signatures, "Image generation and editing"). So an answer
    is told in the model's role with its signatures as they came; and an answer of another lane, which has none that would
    hold here, as images in the user's role, which need none. For moved histories Google also documents dummy signatures
    (``context_engineering_is_the_way_to_go``), but discourages them, and Vertex and relays do not promise to take them.
    """
    turns = [content for turn in request.history for content in _turn(turn, _is_signed(request))]
    return [*turns, types.Content(role="user", parts=list(_asked(request)))]


def _turn(turn: Turn, signed: bool) -> Iterator[types.Content]:
    asked, answer = list(_asked(turn)), _own(turn.answer) if signed else turn.answer
    if answer:
        yield types.Content(role="user", parts=asked)
        yield types.Content(role="model", parts=[_echoed(part) for part in answer])
    else:
        yield types.Content(role="user", parts=[*asked, *map(_inline, turn.drawn)])


def _own(answer: Sequence[Part]) -> list[Part]:
    """*answer* as the model signed it, without unsigned words at its beginning; nothing if an image is not signed."""
    parts = list(dropwhile(lambda part: part.image is None and part.signature is None, answer))
    return parts if all(part.signature for part in parts if part.image) else []


def _is_signed(request: UpstreamRequest) -> bool:
    """Whether the model signs its answers: all since Gemini 3 do."""
    name = (request.catalogue_model or request.model).rpartition("/")[2]
    return not name.startswith(("gemini-1", "gemini-2"))


def _asked(said: UpstreamRequest | Turn) -> Iterator[types.Part]:
    yield types.Part.from_text(text=said.prompt)
    yield from map(_inline, said.images)


def _echoed(part: Part) -> types.Part:
    made = _inline(part.image) if part.image else types.Part(text=part.text or "")
    made.thought_signature = pybase64.b64decode(part.signature) if part.signature else None
    return made


def _inline(image: ReferenceImage | GeneratedImage) -> types.Part:
    return types.Part.from_bytes(data=image.data, mime_type=image.mime_type)


def config(request: UpstreamRequest) -> types.GenerateContentConfig:
    """Everything else. The answer is asked for as raw HTTP where the SDK allows it, which is not for a stream.

    The SDK's own parsing drops finishMessage and warns of reasons it does not know: the answer is read from its JSON.
    """
    asked: dict[str, Any] = {
        "system_instruction": request.system_instruction,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
    }
    return types.GenerateContentConfig(
        **{name: value for name, value in asked.items() if value is not None},
        response_modalities=["TEXT", "IMAGE"],
        image_config=_image_config(request),
        thinking_config=_thinking(request),
        tools=[types.Tool(google_search=types.GoogleSearch())] if request.grounding else None,
        http_options=time_limit(request.timeout),
        should_return_http_response=not request.stream,
    )


def config_at_once(request: UpstreamRequest) -> types.GenerateContentConfig:
    """:func:`config` for a call that is made now, with what tells the SDK to make one call: continuing is a second bill."""
    alone = types.AutomaticFunctionCallingConfig(disable=True)
    return config(request).model_copy(update={"automatic_continuation": False, "automatic_function_calling": alone})


def time_limit(seconds: float) -> types.HttpOptions:
    """The SDK's time limit; without one it waits for ever, whatever its client says."""
    return types.HttpOptions(timeout=max(1, int(seconds * 1000)))


def first_model(seconds: float) -> types.ListModelsConfig:
    """What to ask of the free list of models: that it answers within *seconds*."""
    return types.ListModelsConfig(page_size=1, http_options=time_limit(seconds))


def _image_config(request: UpstreamRequest) -> types.ImageConfig | None:
    asked: dict[str, Any] = {
        "image_size": request.size,
        "aspect_ratio": request.aspect_ratio,
        "output_mime_type": MIME_TYPES.get(request.output_format or ""),
    }
    given = {name: value for name, value in asked.items() if value is not None}
    return types.ImageConfig(**given) if given else None


def _thinking(request: UpstreamRequest) -> types.ThinkingConfig | None:
    if request.thinking is None:
        return None
    return types.ThinkingConfig(thinking_level=types.ThinkingLevel(request.thinking.upper()))
