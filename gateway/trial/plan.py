"""What a trial asks for: ``prompts.toml``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, ValidationError, model_validator

from gateway import references
from gateway.complaints import Complaints
from gateway.configuration import document
from gateway.configuration.config import complaint
from gateway.configuration.document import Document
from gateway.configuration.general_settings import Table
from gateway.configuration.values import Ratio, Tier, Usd, Words, some
from providers.errors import ConfigError, InvalidRequest
from providers.images import ReferenceImage
from providers.sizes import Size

MAX_PROMPTS: Final = 1_000
"""Prompts of one trial: nobody judges more."""
MAX_PROMPT: Final = 100_000
"""Characters of a prompt: more than any model of the catalogue reads."""

Prompts = Annotated[str, Field(min_length=1, max_length=MAX_PROMPT, pattern=r"\S")]
Files = Annotated[tuple[Words, ...], Field(strict=False)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """One prompt with its reference images. *key* is the same for the same prompt, references, size and ratio."""

    key: str
    text: str = field(repr=False)
    task: str | None
    references: tuple[ReferenceImage, ...] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialPlan:
    """What every lane is asked for, and by which *bar* people accept it.

    *rate* is the USD that an hour of cleaning up costs.
    """

    title: str
    bar: str
    rate: Decimal
    size: Size
    aspect_ratio: str | None
    prompts: tuple[Prompt, ...]


class PromptTable(Table):
    """One prompt, or its text alone."""

    prompt: Prompts
    task: Words | None = None
    references: Files | None = None

    @model_validator(mode="before")
    @classmethod
    def _text_alone(cls, value: object) -> object:
        return {"prompt": value} if isinstance(value, str) else value


class PlanTable(Table):
    """``prompts.toml``."""

    title: Words | None = None
    bar: Annotated[str, Field(min_length=1, max_length=2_000)]
    cleanup_usd_per_hour: Usd
    size: Tier = "1K"
    aspect_ratio: Ratio | None = None
    task: Words | None = None
    references: Files = ()
    prompts: Annotated[tuple[PromptTable, ...], Field(strict=False, max_length=MAX_PROMPTS), AfterValidator(some)]


def load(file: str, cwd: Path | None = None) -> TrialPlan:
    """The plan in *file*; the references are read, relative to its folder.

    Raises:
        ConfigError: it cannot be read or meant; the message names the line, the key and what was expected there.
    """
    found = document.from_file(file, cwd or Path())
    try:
        table = PlanTable.model_validate(found.data)
    except ValidationError as error:
        complaints = Complaints(
            complaint(each, found, _known_keys) for each in error.errors(include_url=False, include_input=False)
        )
    else:
        return _plan(table, found)
    complaints.told()
    raise AssertionError("a validation error has details")


def _known_keys(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """The keys of the table at *path* of the file."""
    return tuple((PromptTable if path else PlanTable).model_fields)


def _plan(table: PlanTable, found: Document) -> TrialPlan:
    return TrialPlan(
        title=table.title or Path(found.label).stem,
        bar=table.bar,
        rate=table.cleanup_usd_per_hour,
        size=table.size,
        aspect_ratio=table.aspect_ratio,
        prompts=tuple(_prompts(table, found)),
    )


def _prompts(table: PlanTable, found: Document) -> Iterator[Prompt]:
    shared = _references(table.references, found, "references")
    seen: set[str] = set()
    for number, row in enumerate(table.prompts):
        own = row.references
        given = shared if own is None else _references(own, found, "prompts", number, "references")
        key = _key(table, row.prompt, given)
        if key in seen:
            raise ConfigError(f"{found.where('prompts', number)}: this prompt stands twice; expected each once")
        seen.add(key)
        yield Prompt(key=key, text=row.prompt, task=row.task or table.task, references=given)


def _references(names: tuple[str, ...], found: Document, *path: str | int) -> tuple[ReferenceImage, ...]:
    try:
        return references.load(tuple(found.folder / name for name in names))
    except InvalidRequest as error:
        problem = str(error)
    raise ConfigError(f"{found.where(*path)}: {problem}")


def _key(table: PlanTable, text: str, given: tuple[ReferenceImage, ...]) -> str:
    facts: Mapping[str, Any] = {
        "prompt": text,
        "size": table.size,
        "aspect_ratio": table.aspect_ratio,
        "references": [hashlib.sha256(each.data).hexdigest() for each in given],
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:32]
