"""OpenAI's images wire: ``/images/generations`` and ``/images/edits``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Final

from providers.simulator.flavours import Site, rejected
from providers.simulator.forms import parse_form
from providers.simulator.jobs import Job, decode_reference, dimensions, measure
from providers.simulator.messages import JSON, Answer, Request, RequestError
from providers.simulator.models import Model
from providers.simulator.openai_errors import openai_error
from providers.simulator.pixels import Pixels, ratios
from providers.simulator.studio import DrawnImage, render
from providers.sizes import Size, parse_size, tier_of

_GPT_FIELDS: Final = {
    "model", "prompt", "n", "size", "quality", "background", "output_format", "output_compression", "moderation",
    "partial_images", "stream", "user", "image", "images", "mask",
}  # fmt: skip
"""What gpt-image-2 takes (OpenAI's API reference, 2026-09); it refuses all else, response_format included."""

_LONGEST: Final = 3840
_AREA: Final = 3840 * 2160
_STEP: Final = 16
_STEEPEST: Final = 3
"""Limits of gpt-image-2: pixels of an edge and of the area, the edges' common step, the ratio of one to the other."""

_MOST: Final = 10
"""Images per call."""


def parse(request: Request, _: str, site: Site) -> Job:
    """The job of a generation or an edit, JSON or multipart.

    Raises:
        RequestError: it does not pass the checks of the upstream.
    """
    form = parse_form(request.body, request.headers.get("content-type", ""))
    payload: JSON = dict(form.fields) if form else request.json()
    files = [data for name, data in form.files if name in ("image", "image[]")] if form else _listed(payload)
    model_id = str(payload.get("model") or "gpt-image-2")
    model = site.find(model_id)
    if model is None:
        raise rejected(
            site, 404, f"The model `{model_id}` does not exist or you do not have access to it.", "NOT_FOUND"
        )
    _check(payload, model, edit=request.path.endswith("/edits"), files=len(files))
    references = tuple(_measured(data) for data in files)
    size, ratio, pixels = _canvas(payload, model, references)
    return Job(
        model=model,
        asked_model=model_id,
        prompt=str(payload["prompt"]),
        size=size,
        pixels=pixels,
        aspect_ratio=ratio,
        mime_type=_mime_type(payload, model),
        references=references,
        n=_count(payload),
    )


def compose(job: Job, images: Sequence[DrawnImage], site: Site) -> Answer:
    """The answer to a generation or an edit."""
    data = [] if site.flavour.drops else [site.flavour.item(job, image) for image in images]
    if site.flavour.bare:
        return Answer(body=render({"data": data}, images))
    width, height = job.pixels
    payload = {
        "created": int(time.time()),
        "background": "opaque",
        "output_format": job.mime_type.removeprefix("image/"),
        "quality": "high",
        "size": f"{width}x{height}",
        "data": data,
        "usage": _usage(job, len(images), site),
    }
    return Answer(body=render(payload, images))


def _usage(job: Job, drawn: int, site: Site) -> JSON:
    given = job.prompt_tokens + job.reference_tokens
    made = job.image_tokens * drawn
    usage: JSON = {
        "input_tokens": given,
        "input_tokens_details": {"text_tokens": job.prompt_tokens, "image_tokens": job.reference_tokens},
        "output_tokens": made,
        "output_tokens_details": {"image_tokens": made, "text_tokens": 0},
        "total_tokens": given + made,
    }
    return {**usage, "cost": float(job.price * drawn)} if site.flavour.reports_cost else usage


def _check(payload: JSON, model: Model, *, edit: bool, files: int) -> None:
    if not payload.get("prompt"):
        raise _refused("Missing required parameter: 'prompt'.", "missing_required_parameter", "prompt")
    if edit and not files:
        raise _refused("Missing required parameter: 'image'.", "missing_required_parameter", "image")
    if files > model.references:
        raise _refused(f"Too many images: at most {model.references}.", "invalid_value", "image")
    if str(payload.get("stream") or "false").lower() == "true":
        raise _refused("Streaming is not available here.", "unsupported_parameter", "stream")
    unknown = sorted(set(payload) - _GPT_FIELDS) if model.method == "images" else []
    if unknown:
        raise _refused(f"Unknown parameter: '{unknown[0]}'.", "unknown_parameter", unknown[0])


def _count(payload: JSON) -> int:
    text = str(payload.get("n") or 1)
    if not (text.isdigit() and 1 <= int(text) <= _MOST):
        raise _refused(f"Invalid value: '{text}'. Expected 1 to {_MOST}.", "invalid_value", "n")
    return int(text)


def _canvas(payload: JSON, model: Model, references: Sequence[Pixels]) -> tuple[Size, str | None, Pixels]:
    """Size, ratio and pixels from ``size`` in pixels, or from ``size`` as a tier and ``aspect_ratio``."""
    text = str(payload.get("size") or "auto")
    exact = _exact(text)
    if exact is not None:
        _check_pixels(exact, text, model)
        return tier_of(*exact) or "512", None, exact
    size = parse_size(text) or parse_size(str(payload.get("image_size") or "1K")) or "1K"
    if (text != "auto" and parse_size(text) is None) or size not in model.prices:
        raise _refused(f"Invalid size '{text}'.", "invalid_value", "size")
    ratio = payload.get("aspect_ratio")
    if ratio is not None and ratio not in ratios(model):
        raise _refused(f"Invalid aspect ratio '{ratio}'.", "invalid_value", "aspect_ratio")
    return size, *dimensions(model, size, ratio, references)


def _exact(text: str) -> Pixels | None:
    width, cross, height = text.partition("x")
    return (int(width), int(height)) if cross and width.isdigit() and height.isdigit() else None


def _check_pixels(pixels: Pixels, text: str, model: Model) -> None:
    short, long = sorted(pixels)
    fits = short > 0 and long <= _LONGEST and short * long <= _AREA and long <= _STEEPEST * short
    if model.method == "images" and (not fits or short % _STEP or long % _STEP):
        raise _refused(f"Invalid size '{text}'.", "invalid_value", "size")
    if short == 0 or short * long > 2 * 4096 * 4096:
        raise _refused(f"Invalid size '{text}'.", "invalid_value", "size")


def _mime_type(payload: Mapping[str, object], model: Model) -> str:
    wanted = str(payload.get("output_format") or "")
    if wanted not in ("", "png", "jpeg", "webp"):
        raise _refused(f"Invalid value: '{wanted}'.", "invalid_value", "output_format")
    return f"image/{wanted}" if wanted else model.mime_type


def _listed(payload: JSON) -> list[bytes]:
    """The images of the JSON form of an edit. A file elsewhere is never fetched and counts as square."""
    return [_fetched(str(entry.get("image_url") or "")) for entry in payload.get("images") or ()]


def _fetched(url: str) -> bytes:
    return decode_data_uri(url) if url.startswith("data:") else b""


def _measured(data: bytes) -> Pixels:
    try:
        return measure(data) if data else (1, 1)
    except ValueError:
        raise _refused("Invalid image file or mode for image 1.", "invalid_image_file", "image") from None


def decode_data_uri(url: str) -> bytes:
    """The bytes of a ``data:`` URI in base64.

    Raises:
        RequestError: it is not one.
    """
    try:
        return decode_reference(url.partition(",")[2])
    except ValueError:
        raise _refused("Invalid base64 in image_url.", "invalid_image_url", "image_url") from None


def _refused(message: str, code: str, param: str) -> RequestError:
    return RequestError(openai_error(400, message, "invalid_request_error", code, param))
