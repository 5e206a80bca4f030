"""Imagen's wire: ``:predict``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from providers.simulator.flavours import Site
from providers.simulator.google_errors import invalid
from providers.simulator.google_schema import PREDICT, normalise
from providers.simulator.google_wire import asked_model, asked_ratio, asked_size
from providers.simulator.jobs import Job, dimensions
from providers.simulator.messages import JSON, Answer, Request, RequestError
from providers.simulator.studio import DrawnImage, render

_DEFAULT_SAMPLES: Final = 4
_MAX_SAMPLES: Final = 4
"""Images per call when none are asked for, and at most (Imagen's parameter reference)."""


def parse(request: Request, model_id: str, site: Site) -> Job:
    """The job of a ``:predict`` request.

    Raises:
        RequestError: it does not pass the checks that Google makes.
    """
    model = asked_model(request, model_id, site, "predict")
    payload: JSON = normalise(request.json(), PREDICT)
    parameters: JSON = payload.get("parameters") or {}
    size = asked_size(model, parameters.get("sampleImageSize") or parameters.get("imageSize"))
    ratio, drawn = dimensions(model, size, asked_ratio(model, parameters.get("aspectRatio")), ())
    options: JSON = parameters.get("outputOptions") or {}
    return Job(
        model=model,
        asked_model=model_id,
        prompt=_prompt(payload),
        size=size,
        pixels=drawn,
        aspect_ratio=ratio,
        mime_type=options.get("mimeType") or model.mime_type,
        n=_samples(parameters),
    )


def compose(job: Job, images: Sequence[DrawnImage], site: Site) -> Answer:
    """The answer to a ``:predict`` request."""
    del job, site
    predictions = [{"mimeType": image.mime_type, "bytesBase64Encoded": image.marker} for image in images]
    return Answer(body=render({"predictions": predictions}, images))


def _prompt(payload: JSON) -> str:
    instances = payload.get("instances")
    if isinstance(instances, list) and instances and isinstance(instances[0], dict) and instances[0].get("prompt"):
        return str(instances[0]["prompt"])
    raise RequestError(invalid("Text prompt is required."))


def _samples(parameters: JSON) -> int:
    count = parameters.get("sampleCount") or _DEFAULT_SAMPLES
    if not isinstance(count, int) or not 1 <= count <= _MAX_SAMPLES:
        raise RequestError(invalid(f"sampleCount must be between 1 and {_MAX_SAMPLES}."))
    return count
