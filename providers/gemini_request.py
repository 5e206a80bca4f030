"""A ``generateContent`` request for an image, in the google-genai SDK's types. Pure."""

from __future__ import annotations

from typing import Any, Final

from google.genai import types

from providers.request import UpstreamRequest

MIME_TYPES: Final = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


def contents(request: UpstreamRequest) -> types.Content:
    """The prompt and the reference images, inline."""
    images = [types.Part.from_bytes(data=image.data, mime_type=image.mime_type) for image in request.images]
    return types.Content(role="user", parts=[types.Part.from_text(text=request.prompt), *images])


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
