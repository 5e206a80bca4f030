"""Google's Interactions API: ``/interactions`` in the form it has had since May 2026. Nothing is stored, nothing streamed.

A request and an answer are lists of steps: the user's input, the model's thoughts (which carry the signatures) and its output.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from providers.simulator import signatures
from providers.simulator.flavours import Site
from providers.simulator.google_errors import BAD_IMAGE, invalid, no_such_model
from providers.simulator.google_schema import Schema, normalise
from providers.simulator.google_wire import asked_ratio, asked_size
from providers.simulator.jobs import Job, decode_reference, dimensions, measure
from providers.simulator.messages import JSON, Answer, Request, RequestError, answer
from providers.simulator.models import Model
from providers.simulator.pixels import Pixels
from providers.simulator.studio import DrawnImage, render


def _any(names: str) -> dict[str, None]:
    return dict.fromkeys(names.split())


_CONTENT: Final[Schema] = _any("type text data mimeType uri resolution annotations")
_INTERACTION: Final[Schema] = {
    "input": {"content": _CONTENT, "summary": _CONTENT, **_any("type signature")},
    "responseFormat": _any("type mimeType aspectRatio imageSize delivery"),
    "generationConfig": _any("temperature topP seed thinkingLevel thinkingSummaries maxOutputTokens stopSequences"),
    **_any("model systemInstruction tools safetySettings serviceTier labels store stream background"),
    **_any("previousInteractionId"),
}
"""The fields of a request that asks a model, as google-genai 3 has them, but for those of other media."""

_SUMMARY: Final = [{"type": "text", "text": "Considering the composition…"}]
_THOUGHT_TOKENS: Final = 223
_OVERHEAD_TOKENS: Final = 142
"""Tokens as a captured answer of gemini-3-pro-image had them (2026-05); the total exceeds its details."""
_REFUSED: Final = {"total_tokens": 70, "total_input_tokens": 59, "total_output_tokens": 11, "total_thought_tokens": 0}
_UNDRAWN: Final = {"total_tokens": 5, "total_input_tokens": 5, "total_output_tokens": 0, "total_thought_tokens": 0}
_ERRORS: Final = "https://ai.google.dev/errors/"
_IMAGELESS: Final = ("NO_IMAGE", "IMAGE_OTHER")


def parse(request: Request, name: str, site: Site) -> Job:
    """The job of a request; its model stands in the body, so that *name* says nothing.

    Raises:
        RequestError: it does not pass the checks that Google makes.
    """
    del name
    payload = _normalised(request.json())
    model = _asked_model(payload.get("model"), request, site)
    if payload.get("stream") or payload.get("background") or payload.get("previousInteractionId"):
        raise RequestError(invalid("Streams, background work and stored interactions are not simulated."))
    steps: list[JSON] = payload["input"]
    _check_turns(steps, model, site)
    formats = _formats(payload)
    image: JSON = formats.get("image", {})
    references = _references(steps, model)
    size = asked_size(model, image.get("imageSize"))
    ratio, drawn = dimensions(model, size, asked_ratio(model, image.get("aspectRatio")), references)
    config: JSON = payload.get("generationConfig") or {}
    return Job(
        model=model,
        asked_model=str(payload["model"]),
        prompt=" ".join(str(item["text"]) for item in _content(steps[-1:]) if item.get("text")),
        size=size,
        pixels=drawn,
        aspect_ratio=ratio,
        mime_type=image.get("mimeType") or model.mime_type,
        references=references,
        n=int(not formats or "image" in formats),
        words=not formats or "text" in formats,
        thoughts=config.get("thinkingSummaries") == "auto",
    )


def compose(job: Job, images: Sequence[DrawnImage], site: Site) -> Answer:
    """The answer: a signed thought, and behind it words, drafts and image."""
    words = [{"type": "text", "text": "Here is your picture."}] if job.words else []
    drawn = [
        {"mime_type": image.mime_type, "data": image.marker, "type": "image"}
        for image in images
        for _ in range(1 + job.drafts)
    ]
    steps = [*_thoughts(job, site), {"type": "model_output", "content": [*words, *drawn]}]
    usage = _usage(job, len(drawn))
    return Answer(body=render(_interaction(job.asked_model, "completed", steps=steps, usage=usage), images))


def refusal(google: Answer) -> Answer:
    """What an answer without an image on ``generateContent`` comes to here; errors are the same on both."""
    told = json.loads(google.content) if google.status == 200 and google.content[:1] == b"{" else {}
    if "usageMetadata" not in told:
        return google
    candidate: JSON = next(iter(told.get("candidates") or ()), {})
    blocked = (told.get("promptFeedback") or {}).get("blockReason")
    reason = blocked or candidate.get("finishReason") or "STOP"
    usage = _UNDRAWN if blocked else _REFUSED
    if reason == "STOP":
        words = [part["text"] for part in (candidate.get("content") or {}).get("parts") or ()]
        steps = [{"type": "model_output", "content": [{"type": "text", "text": text} for text in words]}]
        return answer(_interaction("{model}", "completed", steps=steps if words else [], usage=usage))
    error = {"code": _ERRORS + reason.lower(), "message": candidate.get("finishMessage") or f"Refused: {reason}."}
    status = "incomplete" if reason in _IMAGELESS else "failed"
    return answer(_interaction("{model}", status, steps=[], errors=[error], usage=usage))


def _interaction(model: str, status: str, **more: Any) -> JSON:
    return {"id": f"v1_{uuid.uuid4().hex}", "object": "interaction", "model": model, "status": status, **more}


def _normalised(payload: JSON) -> JSON:
    """*payload* with its input as steps and its fields in camelCase."""
    given = payload.get("input")
    return {**normalise({**payload, "input": []}, _INTERACTION), "input": list(_steps(given))}


def _steps(given: Any) -> Iterator[JSON]:
    """The steps of an input: a text, a piece of content or several of the user's, or steps as they are."""
    items = (
        [{"type": "text", "text": given}] if isinstance(given, str) else given if isinstance(given, list) else [given]
    )
    if not given:
        raise RequestError(invalid("The input is not specified."))
    if not all(
        isinstance(item, dict) and item.get("type") in ("user_input", "thought", "model_output") for item in items
    ):
        items = [{"type": "user_input", "content": items}]
    for number, item in enumerate(items):
        yield normalise(item, _INTERACTION["input"], f"input[{number}]")


def _asked_model(name: object, request: Request, site: Site) -> Model:
    model = site.find(str(name))
    if model is None or model.method != "generateContent":
        raise RequestError(no_such_model(str(name), request.path.split("/")[1], "createInteraction"))
    return model


def _check_turns(steps: Sequence[JSON], model: Model, site: Site) -> None:
    """The model's turns have to come back as they were, if it signs them."""
    if steps[-1]["type"] != "user_input" or not any(item.get("text") for item in _content(steps[-1:])):
        raise RequestError(invalid("The last step must be the user's input, with a text."))
    for turn in _turns(steps):
        thoughts = [step for step in turn if step["type"] == "thought"]
        drawn = any(item.get("type") == "image" for item in _content(turn))
        if signatures.signs(model) and drawn and turn[0]["type"] != "thought":
            raise RequestError(invalid("Model turns with images must start with a thought block."))
        if any(not thought.get("signature") for thought in thoughts):
            raise RequestError(invalid("Request contains an invalid argument."))
        signed = [{"text": "", "thoughtSignature": thought["signature"]} for thought in thoughts]
        signatures.check([{"role": "model", "parts": signed}], model, site)


def _turns(steps: Iterable[JSON]) -> Iterator[list[JSON]]:
    """The model's steps between the user's, turn by turn."""
    turn: list[JSON] = []
    for step in steps:
        if step["type"] != "user_input":
            turn.append(step)
        elif turn:
            yield turn
            turn = []


def _content(steps: Iterable[JSON]) -> Iterator[JSON]:
    for step in steps:
        yield from step.get("content") or ()


def _formats(payload: JSON) -> dict[str, JSON]:
    """What the answer may hold, by kind."""
    given = payload.get("responseFormat") or []
    return {str(entry.get("type")): entry for entry in (given if isinstance(given, list) else [given])}


def _references(steps: Iterable[JSON], model: Model) -> tuple[Pixels, ...]:
    found = [_pixels(item) for item in _content(steps) if item.get("type") == "image"]
    if len(found) > model.references:
        raise RequestError(invalid(f"Too many images: {len(found)}; the model takes at most {model.references}."))
    return tuple(found)


def _pixels(item: JSON) -> Pixels:
    """Pixels of an image. A file elsewhere is never fetched and counts as square."""
    if not item.get("data"):
        return 1, 1
    try:
        return measure(decode_reference(str(item["data"])))
    except ValueError:
        raise RequestError(BAD_IMAGE) from None


def _thoughts(job: Job, site: Site) -> list[JSON]:
    if not signatures.signs(job.model):
        return []
    summary = {"summary": _SUMMARY} if job.thoughts else {}
    return [{"signature": signatures.sign(job.model, site), **summary, "type": "thought"}]


def _usage(job: Job, drawn: int) -> JSON:
    asked = job.prompt_tokens + job.reference_tokens
    tokens = job.image_tokens * drawn
    thoughts = _THOUGHT_TOKENS if signatures.signs(job.model) else 0
    images = [{"modality": "image", "tokens": job.reference_tokens}] if job.references else []
    return {
        "total_tokens": asked + tokens + _OVERHEAD_TOKENS + thoughts,
        "total_input_tokens": asked,
        "input_tokens_by_modality": [{"modality": "text", "tokens": job.prompt_tokens}, *images],
        "total_cached_tokens": 0,
        "total_output_tokens": tokens + _OVERHEAD_TOKENS,
        "output_tokens_by_modality": [{"modality": "image", "tokens": tokens}],
        "total_tool_use_tokens": 0,
        "total_thought_tokens": thoughts,
    }
