"""How OpenAI-compatible upstreams are asked: each dialect is a row, and a row is a pure function from request to call."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from providers.chat_messages import Answered, data_uri, in_content, in_images, in_markdown, messages
from providers.images import SUFFIXES, ReferenceImage
from providers.presets import preset_for
from providers.request import UpstreamRequest
from providers.sizes import EDGE, Size, parse_ratio
from providers.turns import drawn_last

STEP: Final = 16
"""Pixels in whose multiples gpt-image-2 takes edges (OpenAI's image generation guide), and Gemini draws them."""
GPT_IMAGE_MAX_EDGE: Final = 3840
GPT_IMAGE_MAX_PIXELS: Final = 3840 * 2160


@dataclass(frozen=True, slots=True)
class Call:
    """One call through the openai SDK.

    *target* is a method as a dotted path below the client (``"images.generate"``), and *arguments* its keyword arguments;
    or a path that begins with a slash (``"/images"``), to which *arguments* are posted as JSON.
    """

    target: str
    arguments: Mapping[str, Any]


Dialect = Callable[[UpstreamRequest], Call]


def images(request: UpstreamRequest) -> Call:
    """``/images/generations``, or ``/images/edits`` as multipart when there are reference images."""
    arguments: dict[str, Any] = {
        "model": request.model,
        "prompt": _with_instruction(request),
        "n": request.n,
        "size": size_in_pixels(request.catalogue_model or request.model, request.size, request.aspect_ratio),
        "output_format": request.output_format,
        "stream": True if request.stream else None,
    }
    if request.images:
        arguments["image"] = [_file(number, image) for number, image in enumerate(request.images, 1)]
        return Call("images.edit", _given(arguments))
    return Call("images.generate", _given(arguments))


def images_json(request: UpstreamRequest) -> Call:
    """As ``images``, with the reference images as data URIs in JSON (``images: [{image_url}]``) instead of multipart."""
    call = images(request)
    if not request.images:
        return call
    links = [{"image_url": data_uri(image)} for image in request.images]
    return Call("/images/edits", {**{k: v for k, v in call.arguments.items() if k != "image"}, "images": links})


def openrouter_images(request: UpstreamRequest) -> Call:
    """``/images`` of OpenRouter: tier and ratio as words, reference images as ``input_references``."""
    links = [{"type": "image_url", "image_url": {"url": data_uri(image)}} for image in request.images]
    body = {
        "model": request.model,
        "prompt": _with_instruction(request),
        "n": request.n,
        "resolution": request.size,
        "aspect_ratio": request.aspect_ratio,
        "output_format": request.output_format,
        "seed": request.seed,
        "input_references": links or None,
        "stream": request.stream,
    }
    return Call("/images", _given(body))


def chat(request: UpstreamRequest) -> Call:
    """``/chat/completions`` with ``modalities`` and ``image_config``, as OpenRouter and its kin take it."""
    body: dict[str, Any] = {"modalities": ["image", "text"]}
    config = _image_config(request)
    if config:
        body["image_config"] = config
    if request.thinking is not None:
        body["reasoning"] = {"effort": request.thinking}
    return _chat_call(request, body, in_images)


def chat_flat(request: UpstreamRequest) -> Call:
    """``/chat/completions`` with ``aspect_ratio`` and ``image_size`` at the top of the JSON, as some one-api forks take it."""
    return _chat_call(request, {"modalities": ["image", "text"], **_image_config(request)}, in_content)


def new_api(request: UpstreamRequest) -> Call:
    """``/chat/completions`` with a literal ``extra_body.google`` in the JSON, as new-api and its descendants take it."""
    google: dict[str, Any] = {}
    config = _image_config(request)
    if config:
        google["image_config"] = config
    if request.thinking is not None:
        google["thinking_config"] = {"thinking_level": request.thinking}
    return _chat_call(request, {"extra_body": {"google": google}} if google else {}, in_markdown)


DIALECTS: Final[Mapping[str, Dialect]] = {
    "images": images,
    "images-json": images_json,
    "openrouter-images": openrouter_images,
    "chat": chat,
    "chat-flat": chat_flat,
    "new-api": new_api,
}
CONVERSING: Final = frozenset({"chat", "chat-flat", "new-api"})
"""The dialects whose requests can tell of earlier turns."""


def as_edit(request: UpstreamRequest) -> UpstreamRequest:
    """*request* for an upstream that is told of no earlier turns: an edit of the image that was drawn last."""
    if not request.history:
        return request
    last = drawn_last(request.history)
    images = (*([ReferenceImage(last.data, last.mime_type)] if last else []), *request.images)
    return replace(request, images=images, history=())


def spelled(request: UpstreamRequest, size_as: str) -> UpstreamRequest:
    """*request* with size and ratio moved to where *size_as* says, for upstreams whose dialect has no field for them.

    ``"model-suffix"``: behind the model's name (``gemini-3-pro-image-16x9-4k``). ``"prompt"``: behind the prompt, in the
    brackets that the relays concerned document (``【16:9】``, ``【4K】``). Anything else leaves it to the dialect.
    """
    ratio = request.aspect_ratio
    if size_as == "model-suffix":
        words = [ratio.replace(":", "x") if ratio else "", request.size.lower() if request.size else ""]
        model = "-".join((request.model, *filter(None, words)))
        return replace(request, model=model, size=None, aspect_ratio=None)
    if size_as == "prompt":
        words = [f"【{word}】" for word in (ratio, request.size) if word]
        return replace(request, prompt=" ".join((request.prompt, *words)), size=None, aspect_ratio=None)
    return request


def dialect_for(name: str, base_url: str | None) -> str:
    """*name*, or for ``"auto"`` and nothing the dialect of the preset whose host is in *base_url*, else ``chat``."""
    if name and name != "auto":
        return name
    row = preset_for(None, "openai", base_url or "https://api.openai.com/v1")
    return row.dialect if row and row.dialect else "chat"


def size_in_pixels(model: str, size: Size | None, aspect_ratio: str | None) -> str | None:
    """``"WIDTHxHEIGHT"`` for *size* and *aspect_ratio* (square if None): the tier's area, in steps of 16 pixels.

    GPT image models take at most 3840 × 2160 pixels, however they are laid out.
    """
    if size is None:
        return None
    across, down = parse_ratio(aspect_ratio or "1:1") or (1, 1)
    width = EDGE[size] * math.sqrt(across / down)
    height = EDGE[size] * math.sqrt(down / across)
    if _is_gpt_image(model):
        shrink = min(1.0, GPT_IMAGE_MAX_EDGE / max(width, height), math.sqrt(GPT_IMAGE_MAX_PIXELS / (width * height)))
        width, height = width * shrink, height * shrink
    return f"{_step_down(width)}x{_step_down(height)}"


def _chat_call(request: UpstreamRequest, extra_body: Mapping[str, Any], answered: Answered) -> Call:
    arguments = {
        "model": request.model,
        "messages": messages(request, answered),
        "stream": request.stream,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "seed": request.seed,
        "extra_body": dict(extra_body) or None,
    }
    return Call("chat.completions.create", _given(arguments))


def _image_config(request: UpstreamRequest) -> dict[str, str]:
    return _given({"aspect_ratio": request.aspect_ratio, "image_size": request.size})


def _with_instruction(request: UpstreamRequest) -> str:
    return "\n\n".join(part for part in (request.system_instruction, request.prompt) if part)


def _file(number: int, image: ReferenceImage) -> tuple[str, bytes, str]:
    return (f"image-{number}{SUFFIXES.get(image.mime_type, '')}", image.data, image.mime_type)


def _is_gpt_image(model: str) -> bool:
    return model.rpartition("/")[2].startswith(("gpt-image", "chatgpt-image"))


def _step_down(edge: float) -> int:
    return int(edge) // STEP * STEP


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in arguments.items() if value is not None}
