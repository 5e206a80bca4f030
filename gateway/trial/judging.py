"""Judging blind: in which order the images are shown, and what a verdict must be. Pure.

The images of a prompt are shown side by side, shuffled by the trial's seed, and each is judged once. With two lanes that is
a pair. Where a lane delivered nothing, the others are judged without it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gateway.trial.journal import Drawn, Trial, Verdict
from gateway.trial.plan import Prompt, TrialPlan
from providers.errors import InvalidRequest

MAX_REASON: Final = 500
"""Characters of a reason."""
MAX_MINUTES: Final = 600
"""Minutes of cleaning one image up: above it, the figure is a slip of the finger."""
MAX_SHOWN: Final = 16
"""Lanes of one trial: more images than that cannot be compared at a glance."""


@dataclass(frozen=True, slots=True)
class Sheet:
    """The images that are shown together: those drawn for *prompt*, in blind order."""

    prompt: Prompt = field(repr=False)
    images: tuple[Drawn, ...]

    def judged(self, trial: Trial) -> bool:
        """Whether there is a verdict on every image."""
        return all(image.id in trial.verdicts for image in self.images)


def sheets(plan: TrialPlan, lanes: Sequence[str], trial: Trial) -> list[Sheet]:
    """What is shown, in blind order: both the prompts and the images of each are shuffled by the trial's seed."""
    seed = trial.begun.seed if trial.begun else ""
    order = sorted(plan.prompts, key=lambda prompt: hashlib.sha256(f"{seed}:{prompt.key}".encode()).digest())
    made = []
    for prompt in order:
        images = [trial.drawn[prompt.key, lane] for lane in sorted(lanes) if (prompt.key, lane) in trial.drawn]
        Random(f"{seed}:{prompt.key}").shuffle(images)  # noqa: S311 - no secret
        if images:
            made.append(Sheet(prompt, tuple(images)))
    return made


def judged_in_order(sheets: Iterable[Sheet], trial: Trial) -> list[Sheet]:
    """The sheets that are judged, in the order in which the last of each one's verdicts was given."""
    places = {image: place for place, image in enumerate(trial.verdicts)}
    judged = [sheet for sheet in sheets if sheet.judged(trial)]
    return sorted(judged, key=lambda sheet: max(places[image.id] for image in sheet.images))


class _Answer(BaseModel):
    """A verdict as the page sends it."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    id: Annotated[str, Field(max_length=64)]
    accepted: bool
    reason: Annotated[str, Field(max_length=MAX_REASON)] = ""
    minutes: Annotated[float, Field(ge=0, le=MAX_MINUTES, allow_inf_nan=False)] = 0.0


class _Answers(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    verdicts: tuple[_Answer, ...]


def verdicts_on(sheet: Sheet, answers: Any) -> tuple[Verdict, ...]:
    """The verdicts that *answers* hold, one on each image of *sheet*.

    Raises:
        InvalidRequest: they cannot be meant, or are on other images.
    """
    try:
        given = _Answers.model_validate(answers).verdicts
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    else:
        if sorted(each.id for each in given) == sorted(image.id for image in sheet.images):
            return tuple(
                Verdict(id=each.id, accepted=each.accepted, reason=each.reason.strip(), minutes=each.minutes)
                for each in given
            )
        problem = "verdicts: expected one on each image that is shown"
    raise InvalidRequest(problem)
