"""The flavours of OpenAI-compatible upstreams: where each puts its images and how it words its errors. One row each."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from secrets import token_bytes
from typing import Final

from providers.simulator.jobs import Job
from providers.simulator.messages import JSON, Answer, RequestError, answer, error
from providers.simulator.models import Model, canonical
from providers.simulator.openai_errors import openai_error
from providers.simulator.studio import DrawnImage

Images = Sequence[DrawnImage]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flavour:
    """How one kind of upstream answers.

    *message* makes the message of a chat completion, *item* an entry of ``data``; *knobs* finds the object with
    ``image_size`` and ``aspect_ratio`` in a chat request; *error* rewords an answer of Google's, under another status.
    *asks_modalities*: no image comes unless ``modalities`` asks for one. *reports_cost*: ``usage.cost`` is there.
    *bare*: answers of the images endpoint hold ``data`` and nothing else. *drops*: images get lost on the way.
    """

    name: str
    meaning: str
    message: Callable[[Job, Images], JSON]
    item: Callable[[Job, DrawnImage], JSON]
    knobs: Callable[[JSON], JSON]
    error: Callable[[Answer, int], Answer]
    asks_modalities: bool = False
    reports_cost: bool = False
    bare: bool = False
    drops: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What a wire knows of the simulator it works for: its flavour, the models it offers, by id, and what it signs with."""

    flavour: Flavour
    models: Mapping[str, Model] = field(repr=False)
    seal: bytes = field(default_factory=partial(token_bytes, 32), repr=False)

    def find(self, model_id: str) -> Model | None:
        """The model that *model_id* means, or None."""
        return self.models.get(model_id) or self.models.get(canonical(model_id))


def _data_uri(image: DrawnImage) -> str:
    return f"data:{image.mime_type};base64,{image.marker}"


def _url(job: Job, image: DrawnImage) -> str:
    return f"{job.origin}/files/{image.filename}"


def _image_parts(images: Images) -> list[JSON]:
    return [{"type": "image_url", "image_url": {"url": _data_uri(image)}} for image in images]


def _assistant(content: object, **more: object) -> JSON:
    return {"role": "assistant", "content": content, **more}


def _in_images(job: Job, images: Images) -> JSON:
    parts = [{**part, "index": index} for index, part in enumerate(_image_parts(images))]
    return _assistant("Here it is.", refusal=None, reasoning=None, images=parts)


def _in_markdown(job: Job, images: Images) -> JSON:
    return _assistant("\n".join(["Sure!", *(f"![image]({_data_uri(image)})" for image in images)]))


def _in_links(job: Job, images: Images) -> JSON:
    return _assistant("\n".join(["Sure!", *(f"![image]({_url(job, image)})" for image in images)]))


def _in_content(job: Job, images: Images) -> JSON:
    return _assistant([{"type": "text", "text": "Sure!"}, *_image_parts(images)])


def _in_blocks(job: Job, images: Images) -> JSON:
    return _assistant("Sure!", content_blocks=[{"type": "text", "text": "Sure!"}, *_image_parts(images)])


def _nowhere(job: Job, images: Images) -> JSON:
    return {"role": "assistant"}


def _base64_item(job: Job, image: DrawnImage) -> JSON:
    return {"b64_json": image.marker}


def _new_api_item(job: Job, image: DrawnImage) -> JSON:
    return {"url": "", "b64_json": image.marker, "revised_prompt": ""}


def _url_item(job: Job, image: DrawnImage) -> JSON:
    return {"url": _url(job, image)}


def _data_uri_item(job: Job, image: DrawnImage) -> JSON:
    return {"b64_json": _data_uri(image)}


def _image_config(payload: JSON) -> JSON:
    return payload.get("image_config") or {}


def _any_knobs(payload: JSON) -> JSON:
    return {**payload, **_image_config(payload)}


def _extra_body(payload: JSON) -> JSON:
    """new-api reads ``extra_body.google.image_config``, a literal key, and refuses it in camelCase."""
    google = (payload.get("extra_body") or {}).get("google") or {}
    if "imageConfig" in google:
        message = "extra_body.google.imageConfig is not supported, use extra_body.google.image_config instead"
        raise RequestError(openai_error(500, message, "new_api_error", "convert_request_failed", ""))
    return google.get("image_config") or {}


def _no_knobs(payload: JSON) -> JSON:
    return {}


def message_of(google: Answer) -> str:
    """The message in an error of Google's form."""
    return str(json.loads(google.content)["error"]["message"])


_OPENAI_CODES: Final = {
    401: ("invalid_request_error", "invalid_api_key"),
    404: ("invalid_request_error", "model_not_found"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
}
"""Type and code by status, as OpenAI gives them."""


def _openai_error(google: Answer, status: int) -> Answer:
    kind, code = _OPENAI_CODES.get(status, ("server_error" if status >= 500 else "invalid_request_error", None))
    return openai_error(status, message_of(google), kind, code)


def _openrouter_error(google: Answer, status: int) -> Answer:
    if status == 401:
        return answer({"error": {"message": message_of(google), "code": 401}}, 401)
    metadata = {"raw": google.content.decode(), "provider_name": "Google"}
    body = {"code": status, "message": "Provider returned error", "metadata": metadata}
    return answer({"error": body, "user_id": "user_simulated"}, status)


def _new_api_error(google: Answer, status: int) -> Answer:
    kind = "new_api_error" if status == 401 else "upstream_error"
    return openai_error(status, f"{message_of(google)} (request id: simulated)", kind, status, "")


def _litellm_error(google: Answer, status: int) -> Answer:
    return openai_error(status, f"litellm.APIError: {message_of(google)}", "None", str(status), "None")


def _google_error(google: Answer, status: int) -> Answer:
    return Answer(status=google.status, body=(b"[", *google.body, b"]"))


_ROWS: Final = (
    Flavour(
        name="openrouter",
        meaning="message.images[] with data URIs, usage.cost",
        message=_in_images,
        item=_base64_item,
        knobs=_image_config,
        error=_openrouter_error,
        asks_modalities=True,
        reports_cost=True,
    ),
    Flavour(
        name="openai",
        meaning="data[].b64_json and OpenAI's own errors",
        message=_in_images,
        item=_base64_item,
        knobs=_any_knobs,
        error=_openai_error,
    ),
    Flavour(
        name="new-api",
        meaning="markdown data URIs in the text; size from extra_body.google.image_config",
        message=_in_markdown,
        item=_new_api_item,
        knobs=_extra_body,
        error=_new_api_error,
    ),
    Flavour(
        name="litellm",
        meaning="message.images[]; status codes as strings",
        message=_in_images,
        item=_base64_item,
        knobs=_any_knobs,
        error=_litellm_error,
    ),
    Flavour(
        name="content-array",
        meaning="message.content is a list of parts",
        message=_in_content,
        item=_base64_item,
        knobs=_any_knobs,
        error=_new_api_error,
    ),
    Flavour(
        name="content-blocks",
        meaning="message.content_blocks[]",
        message=_in_blocks,
        item=_base64_item,
        knobs=_any_knobs,
        error=_openai_error,
    ),
    Flavour(
        name="url",
        meaning="data[].url and markdown links, served under /files",
        message=_in_links,
        item=_url_item,
        knobs=_any_knobs,
        error=_new_api_error,
    ),
    Flavour(
        name="data-uri-b64",
        meaning="data[].b64_json that begins with data:image/…",
        message=_in_markdown,
        item=_data_uri_item,
        knobs=_any_knobs,
        error=_new_api_error,
    ),
    Flavour(
        name="google-compat",
        meaning="Google's OpenAI-compatible endpoint: bare data[], errors wrapped into a list",
        message=_in_images,
        item=_base64_item,
        knobs=_no_knobs,
        error=_google_error,
        bare=True,
    ),
    Flavour(
        name="dropped",
        meaning="images are drawn, charged, and lost on the way",
        message=_nowhere,
        item=_base64_item,
        knobs=_any_knobs,
        error=_new_api_error,
        drops=True,
    ),
)

FLAVOURS: Final[dict[str, Flavour]] = {flavour.name: flavour for flavour in _ROWS}
"""Every flavour by its name."""


def rejected(site: Site, status: int, message: str, name: str = "INVALID_ARGUMENT") -> RequestError:
    """A refusal in the form of *site*'s flavour; *name* is Google's canonical status."""
    return RequestError(site.flavour.error(error(status, name, message), status))
