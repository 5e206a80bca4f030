"""What a caller asks for."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    ValidationError,
    field_validator,
    model_validator,
)

from providers.errors import InvalidRequest
from providers.images import ReferenceImage
from providers.request import Thinking
from providers.sizes import SIZES, Size, parse_ratio, parse_size, rank
from providers.turns import Turn

Reference = ReferenceImage | bytes | Path
Quality = Literal["standard", "premium", "auto"]
FallbackStep = Literal["switch", "downgrade"]
Sort = Literal["price", "latency", "success"]

MAX_COST: Final = 1_000_000
"""USD. Above it, a budget is a slip of the pen."""
MAX_KEY: Final = 512
"""Characters of an idempotency key."""
MAX_DEADLINE: Final = 86_400
"""Seconds: no call lasts a day."""


def _size(value: object) -> object:
    size = parse_size(value) if isinstance(value, str) else None
    if size is None:
        raise ValueError("expected one of " + ", ".join(f'"{size}"' for size in SIZES))
    return size


def _ratio(text: str) -> str:
    parsed = parse_ratio(text)
    if parsed is None:
        raise ValueError('expected a ratio such as "16:9"')
    return f"{parsed[0]}:{parsed[1]}"


def _amount(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise ValueError("expected a number")
    return Decimal(repr(float(value))) if isinstance(value, float) else Decimal(value)  # 0.1 means a tenth


def _in_order(value: object) -> object:
    """One text or a sequence of them, as a tuple; a set has no order, and is left for the field's own type to refuse."""
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, Sequence) and not isinstance(value, bytes) else value


def _path(value: object) -> object:
    path = Path(value) if isinstance(value, str | os.PathLike) else value
    if isinstance(path, Path) and "\0" in str(path):
        raise ValueError("expected a path; a NUL character cannot be in one")
    return path


def _reference(number: int, image: object) -> Reference:
    if isinstance(image, str | os.PathLike):
        return Path(image)
    data = image.data if isinstance(image, ReferenceImage) else image
    if not isinstance(data, bytes):
        raise ValueError(f"image {number + 1}: expected a path, bytes or ReferenceImage, not {type(data).__name__}")
    return image if isinstance(image, ReferenceImage) else data


def _sendable(text: str) -> str:
    if not text.isprintable() and any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("holds half of a surrogate pair, which cannot be sent as UTF-8")
    return text


Tier = Annotated[Size, BeforeValidator(_size)]
Amount = Annotated[Decimal, BeforeValidator(_amount), Field(gt=0)]
Text = Annotated[str, AfterValidator(_sendable)]
Names = Annotated[tuple[str, ...], BeforeValidator(_in_order)]


class _Asked(BaseModel):
    # Strict: True is no number, and a number is no text.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

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

    only: Names = ()
    ignore: Names = ()
    order: Names = ()
    sort: Sort | None = None


class ImageRequest(_Asked):
    """One request for images. The fields are those of :meth:`gateway.Gateway.generate`.

    *images* are references: paths, bytes, or :class:`ReferenceImage`. *max_cost* is USD and *deadline* seconds for the
    whole request, failed attempts included. *min_size* is the floor for downgrades (None: one step below *size*).
    *idempotency_key*: the same key and the same request are carried out once, and the result is returned again for a day;
    *allow_second_charge* has it carried out once more where nobody knows what came of it. *history* is what was said
    before, oldest first; :meth:`gateway.Gateway.chat` takes care of it.

    Raises:
        InvalidRequest: a field is unknown or its value cannot be meant; the message names it.
    """

    prompt: Text = Field(repr=False)
    images: tuple[Reference, ...] = Field(default=(), repr=False)
    size: Tier = "1K"
    aspect_ratio: Annotated[str, AfterValidator(_ratio)] | None = None
    model: Names | None = None
    quality: Quality = "standard"
    task: str | None = None
    n: int = Field(default=1, ge=1, le=100)
    min_size: Tier | None = None
    fallback: Annotated[tuple[FallbackStep, ...], BeforeValidator(_in_order)] | None = None
    max_cost: Annotated[Amount, Field(le=MAX_COST)] | None = None
    deadline: Annotated[Amount, Field(le=MAX_DEADLINE)] | None = None
    residency: str | None = None
    providers: ProviderPreferences = Field(default=ProviderPreferences(), strict=False)
    system_instruction: Text | None = Field(default=None, repr=False)
    temperature: float | None = Field(default=None, ge=0, le=2, allow_inf_nan=False)
    top_p: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    seed: int | None = None
    thinking: Thinking | None = None
    grounding: bool = False
    output_format: Literal["png", "jpeg", "webp"] | None = None
    require_parameters: bool = False
    idempotency_key: Text | None = None
    allow_second_charge: bool = False
    cache: bool | None = None
    save_to: Annotated[Path, BeforeValidator(_path)] | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    history: Annotated[tuple[InstanceOf[Turn], ...], BeforeValidator(_in_order)] = Field(
        default=(), repr=False, exclude=True
    )

    @field_validator("prompt")
    @classmethod
    def _says_something(cls, prompt: str) -> str:
        if not prompt.strip():
            raise ValueError("expected a description of the image, not an empty text")
        return prompt

    @field_validator("images", mode="before")
    @classmethod
    def _as_references(cls, images: object) -> object:
        if isinstance(images, str | bytes) or not isinstance(images, Sequence):
            raise ValueError("expected a sequence of paths, bytes or ReferenceImage; put a single one in a list")
        return tuple(_reference(number, image) for number, image in enumerate(images))

    @field_validator("model")
    @classmethod
    def _names_a_model(cls, model: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if model is not None and not (model and all(name.strip() for name in model)):
            raise ValueError("expected a model's id or alias, or None to let the router pick")
        return model

    @model_validator(mode="after")
    def _consistent(self) -> ImageRequest:
        if self.min_size is not None and rank(self.min_size) > rank(self.size):
            raise ValueError(f"min_size: {self.min_size} is above size {self.size}; lower it, or raise size")
        if self.idempotency_key is not None and not 0 < len(self.idempotency_key.strip()) <= MAX_KEY:
            raise ValueError(f"idempotency_key: expected a text of 1 to {MAX_KEY} characters, or None")
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
    field = str(place[0]) if place else ""
    if kind == "extra_forbidden":
        near = difflib.get_close_matches(field, known, n=1, cutoff=0.0)
        return f"{field}: there is no such field; did you mean {near[0]}?"
    if kind == "missing":
        return f"{field}: required"
    text = message.removeprefix("Value error, ").replace("Input should be", "expected")
    text = text.replace("a valid integer", "an integer").replace("a valid", "a")
    return f"{field}: {text}" if field else text
