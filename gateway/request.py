"""What a caller asks for."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from providers.errors import InvalidRequest
from providers.images import ReferenceImage
from providers.request import Thinking
from providers.sizes import SIZES, Size, parse_ratio, parse_size, rank

Reference = ReferenceImage | bytes | Path
Quality = Literal["standard", "premium", "auto"]
FallbackStep = Literal["switch", "downgrade"]
Sort = Literal["price", "latency", "success"]


def _size(value: object) -> object:
    size = parse_size(value) if isinstance(value, str) else None
    if size is None:
        raise ValueError(f"expected one of {', '.join(SIZES)}")
    return size


def _ratio(text: str) -> str:
    parsed = parse_ratio(text)
    if parsed is None:
        raise ValueError('expected a ratio such as "16:9"')
    return f"{parsed[0]}:{parsed[1]}"


def _finite(value: object) -> object:
    if isinstance(value, bool) or (isinstance(value, float | Decimal) and not math.isfinite(value)):
        raise ValueError("expected a finite number")
    return Decimal(repr(value)) if isinstance(value, float) else value  # 0.1 means a tenth, not its binary neighbour


def _one_or_more(value: object) -> object:
    return (value,) if isinstance(value, str) else value


def _sendable(text: str) -> str:
    if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds half of a surrogate pair, which cannot be sent as UTF-8")
    return text


Tier = Annotated[Size, BeforeValidator(_size)]
Amount = Annotated[Decimal, BeforeValidator(_finite), Field(gt=0)]
Text = Annotated[str, AfterValidator(_sendable)]


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, arbitrary_types_allowed=True)

    def __init__(self, **fields: Any) -> None:
        problem = ""
        try:
            super().__init__(**fields)
        except ValidationError as error:
            problem = _explain(error, tuple(type(self).model_fields))
        if problem:  # raised out here, so that pydantic's error, which knows the values, is not its context
            raise InvalidRequest(problem)


class ProviderPreferences(_Asked):
    """Which configured providers a request may use, by name, and what to sort them by.

    *only* and *ignore* are constraints, *order* is tried first and in that order, *sort* overrides the configuration's.
    """

    only: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    ignore: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    order: Annotated[tuple[str, ...], BeforeValidator(_one_or_more)] = ()
    sort: Sort | None = None


class ImageRequest(_Asked):
    """One request for images. The fields are those of :meth:`gateway.Gateway.generate`.

    *images* are references: paths, bytes, or :class:`ReferenceImage`. *max_cost* is USD and *deadline* seconds for the
    whole request, failed attempts included. *min_size* is the floor for downgrades (None: one step below *size*).

    Raises:
        InvalidRequest: a field is unknown or its value cannot be meant; the message names it.
    """

    prompt: Text = Field(repr=False)
    images: tuple[Reference, ...] = Field(default=(), repr=False)
    size: Tier = "1K"
    aspect_ratio: Annotated[str, AfterValidator(_ratio)] | None = None
    model: Annotated[tuple[str, ...] | None, BeforeValidator(_one_or_more)] = None
    quality: Quality = "standard"
    task: str | None = None
    n: int = Field(default=1, ge=1, le=100)
    min_size: Tier | None = None
    fallback: Annotated[tuple[FallbackStep, ...] | None, BeforeValidator(_one_or_more)] = None
    max_cost: Amount | None = None
    deadline: Amount | None = None
    residency: str | None = None
    providers: ProviderPreferences = ProviderPreferences()
    system_instruction: Text | None = Field(default=None, repr=False)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    seed: int | None = None
    thinking: Thinking | None = None
    grounding: bool = False
    output_format: Literal["png", "jpeg", "webp"] | None = None
    require_parameters: bool = False
    idempotency_key: str | None = None
    cache: bool | None = None
    save_to: Path | None = None
    tags: dict[str, str] = Field(default_factory=dict)

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("expected a description of the image, not an empty text")
        return prompt

    @field_validator("images", mode="before")
    @classmethod
    def _as_references(cls, images: object) -> object:
        if isinstance(images, str | bytes | Path | ReferenceImage) or not isinstance(images, Sequence):
            raise ValueError("expected a sequence of paths, bytes or ReferenceImage; put a single one in a list")
        return tuple(Path(image) if isinstance(image, str) else image for image in images)

    @field_validator("model")
    @classmethod
    def _names_a_model(cls, model: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if model is not None and not (model and all(name.strip() for name in model)):
            raise ValueError("expected a model's id or alias, or None to let the router pick")
        return model

    @model_validator(mode="after")
    def _consistent(self) -> ImageRequest:
        if self.min_size is not None and rank(self.min_size) > rank(self.size):
            raise ValueError(f"min_size {self.min_size} is above size {self.size}")
        if self.idempotency_key is not None or self.cache:
            name = "cache" if self.cache else "idempotency_key"
            raise ValueError(f"{name} is not available in this version: leave it out")
        return self

    def parameters(self) -> dict[str, Any]:
        """The optional model parameters that were given, by the name of the capability each needs."""
        names = ("system_instruction", "temperature", "top_p", "seed", "thinking", "grounding", "output_format")
        given = {name: getattr(self, name) for name in names}
        return {name: value for name, value in given.items() if value is not None and value is not False}


def _explain(error: ValidationError, known: tuple[str, ...]) -> str:
    """What is wrong, field by field, without any value."""
    return "; ".join(
        _sentence(item["loc"], item["type"], item["msg"], known) for item in error.errors(include_input=False)
    )


def _sentence(place: tuple[int | str, ...], kind: str, message: str, known: tuple[str, ...]) -> str:
    field = ".".join(str(part) for part in place[:1])
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(field, known, n=1, cutoff=0.0)
        return f"{field}: there is no such field; did you mean {near[0]}?"
    if kind == "missing":
        return f"{field}: required"
    text = message.removeprefix("Value error, ").replace("Input should be", "expected")
    return f"{field}: {text}" if field else text
