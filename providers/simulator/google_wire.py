"""Google's own wire: ``:generateContent`` and the lists of models."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final

from providers.simulator import signatures
from providers.simulator.flavours import Site
from providers.simulator.google_errors import BAD_IMAGE, invalid, no_such_model
from providers.simulator.google_schema import GENERATE_CONTENT, normalise
from providers.simulator.jobs import Job, decode_reference, dimensions, measure
from providers.simulator.messages import JSON, Answer, Request, RequestError, answer
from providers.simulator.models import Model
from providers.simulator.pixels import Pixels, ratios
from providers.simulator.studio import DrawnImage, render
from providers.sizes import Size

_THOUGHT_TOKENS: Final = 208
_OVERHEAD_TOKENS: Final = 118
"""Tokens as a published answer of gemini-3-pro-image had them; the total exceeds its details by 88 to 630."""


def asked_model(request: Request, model_id: str, site: Site, method: str) -> Model:
    """The model called *model_id*, if it draws by *method*.

    Raises:
        RequestError: there is none, or it draws by another method.
    """
    model = site.find(model_id)
    if model is None or model.method != method:
        raise RequestError(no_such_model(model_id, request.path.split("/")[1], method))
    return model


def parse(request: Request, model_id: str, site: Site) -> Job:
    """The job of a ``:generateContent`` request.

    Raises:
        RequestError: it does not pass the checks that Google makes.
    """
    model = asked_model(request, model_id, site, "generateContent")
    payload: JSON = normalise(request.json(), GENERATE_CONTENT)
    config: JSON = payload.get("generationConfig") or {}
    if (config.get("candidateCount") or 1) > 1:
        raise RequestError(invalid("Multiple candidates is not enabled for this model"))
    signatures.check(payload.get("contents") or (), model, site, vertex="/publishers/" in request.path)
    image: JSON = config.get("imageConfig") or (config.get("responseFormat") or {}).get("image") or {}
    references = _references(payload, model)
    size = asked_size(model, image.get("imageSize"))
    ratio, drawn = dimensions(model, size, asked_ratio(model, image.get("aspectRatio")), references)
    modalities = config.get("responseModalities") or ["TEXT", "IMAGE"]
    options: JSON = image.get("imageOutputOptions") or {}
    return Job(
        model=model,
        asked_model=model_id,
        prompt=_prompt(payload),
        size=size,
        pixels=drawn,
        aspect_ratio=ratio,
        mime_type=options.get("mimeType") or image.get("mimeType") or model.mime_type,
        references=references,
        n=int("IMAGE" in modalities),
        words="TEXT" in modalities,
        thoughts=bool((config.get("thinkingConfig") or {}).get("includeThoughts")),
    )


def asked_size(model: Model, text: object) -> Size:
    """The size that *text* asks of *model*, 1K if it asks none.

    Raises:
        RequestError: the model does not draw it; the K is a capital letter.
    """
    if text is None:
        return "1K"
    if not model.explicit_size:
        raise RequestError(invalid("Image size is not supported for this model."))
    for size in model.prices:
        if size == text:
            return size
    raise RequestError(invalid(f"Invalid image size: {text}. Supported sizes: {', '.join(model.prices)}."))


def asked_ratio(model: Model, text: object) -> str | None:
    """The aspect ratio that *text* asks of *model*, None if it asks none.

    Raises:
        RequestError: the model does not draw it.
    """
    if text is None:
        return None
    if text not in ratios(model):
        raise RequestError(invalid(f"aspect_ratio must be one of {', '.join(ratios(model))}."))
    return str(text)


def compose(job: Job, images: Sequence[DrawnImage], site: Site) -> Answer:
    """The answer to a ``:generateContent`` request: thoughts, words, drafts, image."""
    parts = [*_thoughts(job, images), *_signed([*_words(job), *_pictures(job, images)], job, images, site)]
    payload = {
        "candidates": [{"content": {"role": "model", "parts": parts}, "finishReason": "STOP", "index": 0}],
        "usageMetadata": _usage(job, len(images) * (1 + job.drafts)),
        "modelVersion": job.asked_model,
        "responseId": uuid.uuid4().hex,
    }
    return Answer(body=render(payload, images))


def models_list(model_id: str | None, site: Site) -> Answer:
    """The free list of models, or one of them."""
    if model_id is None:
        return answer({"models": [_entry(model) for model in site.models.values() if model.native]})
    model = site.find(model_id)
    if model is None or not model.native:
        return no_such_model(model_id, "v1beta", "generateContent")
    return answer(_entry(model))


def _entry(model: Model) -> JSON:
    return {
        "name": f"models/{model.id}",
        "version": "1",
        "displayName": model.id.replace("-", " ").title(),
        "inputTokenLimit": 65_536,
        "outputTokenLimit": 32_768,
        "supportedGenerationMethods": [model.method],
    }


def _parts(payload: JSON) -> Iterator[JSON]:
    for content in payload.get("contents") or ():
        yield from content.get("parts") or ()


def _prompt(payload: JSON) -> str:
    """The text of the request's last turn."""
    contents: list[JSON] = payload.get("contents") or []
    parts = list(_parts(payload))
    if not parts:
        raise RequestError(invalid("* GenerateContentRequest.contents: contents is not specified\n"))
    return " ".join(part["text"] for part in contents[-1].get("parts") or () if part.get("text"))


def _references(payload: JSON, model: Model) -> tuple[Pixels, ...]:
    found = [_pixels(part) for part in _parts(payload) if part.get("inlineData") or part.get("fileData")]
    if len(found) > model.references:
        raise RequestError(invalid(f"Too many images: {len(found)}; the model takes at most {model.references}."))
    return tuple(found)


def _pixels(part: JSON) -> Pixels:
    """Pixels of a reference image. A file elsewhere is never fetched and counts as square."""
    if not part.get("inlineData"):
        return 1, 1
    try:
        return measure(decode_reference(str(part["inlineData"].get("data") or "")))
    except ValueError:
        raise RequestError(BAD_IMAGE) from None


def _thoughts(job: Job, images: Sequence[DrawnImage]) -> list[JSON]:
    if not job.thoughts:
        return []
    return [
        {"text": "Considering the composition…", "thought": True},
        *({**_inline(image), "thought": True} for image in images[:1]),
    ]


def _words(job: Job) -> list[JSON]:
    return [{"text": "Here is your picture."}] if job.words else []


def _pictures(job: Job, images: Sequence[DrawnImage]) -> list[JSON]:
    return [_inline(image) for image in images for _ in range(1 + job.drafts)]


def _signed(parts: Sequence[JSON], job: Job, images: Sequence[DrawnImage], site: Site) -> list[JSON]:
    """*parts*, of which the first is words or an image and all others are images, each with a signature of its own."""
    if not signatures.signs(job.model):
        return list(parts)
    what = " ".join(image.id for image in images)
    return [
        {**part, "thoughtSignature": signatures.sign(job.model, site, f"{number} {what}")}
        for number, part in enumerate(parts)
    ]


def _inline(image: DrawnImage) -> JSON:
    return {"inlineData": {"mimeType": image.mime_type, "data": image.marker}}


def _usage(job: Job, drawn: int) -> JSON:
    prompt = job.prompt_tokens + job.reference_tokens
    candidates = job.image_tokens * drawn + _OVERHEAD_TOKENS
    thoughts = _THOUGHT_TOKENS if job.model.explicit_size else 0
    usage: dict[str, Any] = {
        "promptTokenCount": prompt,
        "candidatesTokenCount": candidates,
        "totalTokenCount": prompt + candidates + thoughts,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": job.prompt_tokens}],
        "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": job.image_tokens * drawn}],
    }
    if thoughts:
        usage["thoughtsTokenCount"] = thoughts
    if job.references:
        usage["promptTokensDetails"].append({"modality": "IMAGE", "tokenCount": job.reference_tokens})
    return usage
