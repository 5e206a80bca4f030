"""OpenAI's chat wire as relays use it for images, and its list of models."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from typing import Final

from providers.simulator.flavours import Site, rejected
from providers.simulator.images_wire import decode_data_uri
from providers.simulator.jobs import Job, dimensions, measure
from providers.simulator.messages import JSON, Answer, Request, answer
from providers.simulator.models import Model
from providers.simulator.pixels import Pixels, ratios
from providers.simulator.studio import DrawnImage, render
from providers.sizes import Size

_WORDS_TOKENS: Final = 9
"""Output tokens of the words beside an image (1299 for 1290 in a published answer)."""


def parse(request: Request, _: str, site: Site) -> Job:
    """The job of a chat completion.

    Raises:
        RequestError: it does not pass the checks of the upstream.
    """
    payload = request.json()
    model_id = str(payload.get("model") or "")
    model = site.find(model_id)
    if model is None:
        raise rejected(site, 404, f"{model_id} is not a valid model ID", "NOT_FOUND")
    if payload.get("stream"):
        raise rejected(site, 400, "Streaming is not available here.")
    parts = list(_parts(payload))
    references = tuple(_pixels(part, site) for part in parts if part.get("type") == "image_url")
    size, ratio = _asked(site.flavour.knobs(payload), model, site)
    ratio, pixels = dimensions(model, size, ratio, references)
    wanted = "image" in (payload.get("modalities") or ()) or not site.flavour.asks_modalities
    return Job(
        model=model,
        asked_model=model_id,
        prompt=" ".join(str(part.get("text")) for part in parts if part.get("type") == "text"),
        size=size,
        pixels=pixels,
        aspect_ratio=ratio,
        mime_type=model.mime_type,
        references=references,
        n=int(wanted),
    )


def compose(job: Job, images: Sequence[DrawnImage], site: Site) -> Answer:
    """The chat completion with the images where the flavour puts them, each draft before its image."""
    placed = [image for image in images for _ in range(1 + job.drafts)]
    message = site.flavour.message(job, placed) if images else {"role": "assistant", "content": "Which picture?"}
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "native_finish_reason": "STOP",
        "logprobs": None,
        "message": message,
    }
    payload = {
        "id": f"gen-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": job.asked_model,
        "provider": "Google",
        "choices": [choice],
        "usage": _usage(job, len(placed), site),
    }
    return Answer(body=render(payload, images))


def models_list(model_id: str | None, site: Site) -> Answer:
    """The free list of models, or one of them."""
    if model_id is None:
        return answer({"object": "list", "data": [_entry(model) for model in site.models.values()]})
    model = site.find(model_id)
    if model is None:
        return rejected(site, 404, f"The model '{model_id}' does not exist", "NOT_FOUND").answer
    return answer(_entry(model))


def _entry(model: Model) -> JSON:
    return {"id": model.id, "object": "model", "created": 1_765_440_499, "owned_by": "simulator"}


def _asked(knobs: JSON, model: Model, site: Site) -> tuple[Size, str | None]:
    """The size and the ratio asked for. A size is ignored where the model takes none, as relays do."""
    text = knobs.get("image_size") if model.explicit_size else None
    size = next((size for size in model.prices if size == text), None)
    if text is not None and size is None:
        raise rejected(site, 400, f"Invalid image size: {text}. Supported sizes: {', '.join(model.prices)}.")
    ratio = knobs.get("aspect_ratio")
    if ratio is not None and ratio not in ratios(model):
        raise rejected(site, 400, f"aspect_ratio must be one of {', '.join(ratios(model))}.")
    return size or "1K", ratio


def _parts(payload: JSON) -> Iterator[JSON]:
    """The parts of the last message that a user wrote."""
    messages = [message for message in payload.get("messages") or () if message.get("role") == "user"]
    content = messages[-1].get("content") if messages else ""
    if isinstance(content, str):
        yield {"type": "text", "text": content}
    else:
        yield from content or ()


def _pixels(part: JSON, site: Site) -> Pixels:
    """Pixels of a reference image. One elsewhere is never fetched and counts as square."""
    url = str((part.get("image_url") or {}).get("url") or "")
    if not url.startswith("data:"):
        return 1, 1
    try:
        return measure(decode_data_uri(url))
    except ValueError:
        raise rejected(site, 400, "Unable to process input image.") from None


def _usage(job: Job, drawn: int, site: Site) -> JSON:
    """Tokens in OpenAI's words; the completion exceeds its image tokens a little, as it does upstream."""
    given = job.prompt_tokens + job.reference_tokens
    images = job.image_tokens * drawn
    made = images + _WORDS_TOKENS
    usage: JSON = {
        "prompt_tokens": given,
        "completion_tokens": made,
        "total_tokens": given + made,
        "completion_tokens_details": {"reasoning_tokens": 0, "image_tokens": images},
    }
    if site.flavour.reports_cost:
        usage |= {"cost": float(job.price * job.n), "is_byok": False, "cost_details": {"upstream_inference_cost": None}}
    return usage
