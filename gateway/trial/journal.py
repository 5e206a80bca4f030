"""The folder of a trial: its images, and ``trial.jsonl``, to which a line is added for everything that happens.

Nothing is ever changed in it, so that a trial that was killed goes on where it stood. A line that was cut off is passed over.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from providers.errors import ConfigError
from providers.sanitise import sanitise
from providers.sizes import Size

FILE: Final = "trial.jsonl"
IMAGES: Final = "images"

FileName = Annotated[str, Field(pattern=r"^\w[\w.-]*$", max_length=200)]
Usd = Annotated[Decimal, Field(ge=0)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A run of the trial began. *trial* and *seed* stay the same; *rate* is USD for an hour of cleaning up, from now on."""

    trial: str
    seed: str
    rate: Usd
    kind: Literal["begun"] = "begun"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """*lane* drew an image for *prompt* (its key): the request *id*, kept as *file*.

    *usd* is what the image cost, *lost* what failed attempts did or may have cost, *price* the list price, all USD.
    *seconds* is for the whole request.
    """

    id: str
    prompt: str
    lane: str
    task: str | None
    size: Size
    file: FileName
    mime_type: str
    width: int
    height: int
    usd: Usd
    lost: Usd
    price: Usd
    attempts: int
    seconds: float
    kind: Literal["drawn"] = "drawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """*lane* drew nothing for *prompt*, for the *reason* (an outcome, or an error's class); USD *lost* at most."""

    prompt: str
    lane: str
    reason: str
    lost: Usd
    attempts: int
    seconds: float
    kind: Literal["failed"] = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What somebody says of the image *id*, and the *minutes* it takes, or took, to clean it up."""

    id: str
    accepted: bool
    reason: str = ""
    minutes: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    kind: Literal["verdict"] = "verdict"

    def cleanup(self, rate: Decimal) -> Decimal:
        """USD that cleaning up costs at *rate* USD an hour."""
        return Decimal(str(self.minutes)) * rate / 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdrawn:
    """The verdict on the image *id* was taken back."""

    id: str
    kind: Literal["withdrawn"] = "withdrawn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Revealed:
    """The judge learnt which lane drew which image, after judging all images of so many *prompts*."""

    prompts: int
    kind: Literal["revealed"] = "revealed"


Line = Begun | Drawn | Failed | Verdict | Withdrawn | Revealed
_LINE: Final[TypeAdapter[Line]] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What is known of a trial so far.

    *drawn* and *failed* are by prompt and lane; *verdicts* by image, in the order in which they were given. *revealed* has
    how many prompts were judged at each time the lanes were revealed.
    """

    begun: Begun | None
    drawn: Mapping[tuple[str, str], Drawn]
    failed: Mapping[tuple[str, str], Failed]
    verdicts: Mapping[str, Verdict]
    revealed: tuple[int, ...]
    final: frozenset[str]
    """The images whose verdicts were given before the lanes were revealed, and stand."""

    @classmethod
    def of(cls, lines: Iterable[Line]) -> Trial:
        """What *lines* come to."""
        begun: Begun | None = None
        drawn: dict[tuple[str, str], Drawn] = {}
        failed: dict[tuple[str, str], Failed] = {}
        verdicts: dict[str, Verdict] = {}
        revealed: list[int] = []
        final: frozenset[str] = frozenset()
        for line in lines:
            match line:
                case Begun():
                    begun = line
                case Drawn():
                    drawn[line.prompt, line.lane] = line
                    failed.pop((line.prompt, line.lane), None)
                case Failed():
                    failed[line.prompt, line.lane] = line
                case Verdict():
                    verdicts.pop(line.id, None)  # it is given anew, and counts as the last
                    verdicts[line.id] = line
                case Withdrawn():
                    verdicts.pop(line.id, None)
                case Revealed():
                    revealed.append(line.prompts)
                    final = frozenset(verdicts)
        return cls(
            begun=begun, drawn=drawn, failed=failed, verdicts=verdicts, revealed=tuple(revealed), final=final
        )  # fmt: skip


class Journal:
    """The lines of the trial in *folder*. Any thread may use it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._path = folder / FILE
        self._lock = threading.Lock()

    @property
    def exists(self) -> bool:
        """Whether the trial has begun."""
        return self._path.is_file()

    def trial(self) -> Trial:
        """What is known so far.

        Raises:
            ConfigError: the file cannot be read, or is not one of ours.
        """
        return Trial.of(self._lines())

    def add(self, *lines: Line) -> None:
        """Add *lines*, for good when this returns.

        Raises:
            OSError: they could not be written.
        """
        text = b"".join(_LINE.dump_json(line) + b"\n" for line in lines)
        with self._lock, self._path.open("a+b") as file:
            end = file.seek(0, os.SEEK_END)
            if end:
                file.seek(end - 1)
                text = text if file.read(1) == b"\n" else b"\n" + text
            file.write(text)
            file.flush()
            os.fsync(file.fileno())

    def image(self, drawn: Drawn) -> bytes:
        """The bytes of an image.

        Raises:
            OSError: they cannot be read.
        """
        return (self.folder / IMAGES / drawn.file).read_bytes()

    def _lines(self) -> Iterator[Line]:
        try:
            content = self._path.read_bytes()
        except OSError as error:
            raise ConfigError(f"{sanitise(self._path)}: expected the file of a trial: {error.strerror}") from None
        for number, line in enumerate(content.splitlines(), 1):
            try:
                found = json.loads(line)
            except ValueError:
                continue  # cut off when the process was killed
            try:
                yield _LINE.validate_python(found)
            except ValidationError:
                problem = f"{sanitise(self._path)}, line {number}: expected a line that image-gateway trial wrote"
                raise ConfigError(problem) from None
