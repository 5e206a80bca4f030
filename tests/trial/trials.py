"""Trials to test with: their prompts, their lines, their verdicts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from gateway.trial.journal import IMAGES, Begun, Drawn, Journal, Line, Trial, Verdict
from gateway.trial.plan import Prompt, TrialPlan

CHEAP, FINE = "first/painter", "second/painter"
LANES = (CHEAP, FINE)
BEGUN = Begun(trial="the-trial", seed="the-seed", rate=Decimal(60))


def plan(prompts: int, **more: Any) -> TrialPlan:
    made = tuple(Prompt(key=f"key{n}", text=f"prompt {n}", task="poster", references=()) for n in range(prompts))
    facts: dict[str, Any] = {
        "title": "Posters", "bar": "It can be printed.", "rate": Decimal(60), "size": "1K", "aspect_ratio": None,
        "prompts": made,
    }  # fmt: skip
    return TrialPlan(**{**facts, **more})


def drawn(prompt: int, lane: str = CHEAP, **more: Any) -> Drawn:
    facts: dict[str, Any] = {
        "id": name(prompt, lane), "prompt": f"key{prompt}", "lane": lane, "task": "poster", "size": "1K",
        "file": f"{name(prompt, lane)}.png", "mime_type": "image/png", "width": 8, "height": 8,
        "usd": Decimal("0.05") if lane == CHEAP else Decimal("0.20"), "lost": Decimal(0),
        "price": Decimal("0.05") if lane == CHEAP else Decimal("0.20"), "attempts": 1, "seconds": 5.0,
    }  # fmt: skip
    return Drawn(**{**facts, **more})


def name(prompt: int, lane: str = CHEAP) -> str:
    """The id of an image: like those of requests, it tells nothing."""
    return f"{'ab'[LANES.index(lane)]}{prompt:015x}"


def verdict(prompt: int, lane: str, accepted: bool, minutes: float = 0.0) -> Verdict:
    return Verdict(id=name(prompt, lane), accepted=accepted, minutes=minutes)


def lines(prompts: int, cheap: Sequence[bool], fine: Sequence[bool], minutes: float = 0.0) -> Iterator[Line]:
    """A trial in which everything was drawn, and the first prompts judged; each rejection took *minutes*."""
    yield BEGUN
    for prompt in range(prompts):
        yield drawn(prompt, CHEAP)
        yield drawn(prompt, FINE)
    for prompt, (one, other) in enumerate(zip(cheap, fine, strict=True)):
        yield verdict(prompt, CHEAP, one, 0 if one else minutes)
        yield verdict(prompt, FINE, other, 0 if other else minutes)


def trial(prompts: int, cheap: Sequence[bool] = (), fine: Sequence[bool] = (), minutes: float = 0.0) -> Trial:
    return Trial.of(lines(prompts, cheap, fine, minutes))


def kept(folder: Path, *added: Line) -> Journal:
    """A journal with these lines, and an image for each that was drawn."""
    (folder / IMAGES).mkdir(parents=True, exist_ok=True)
    journal = Journal(folder)
    journal.add(*added)
    for line in added:
        if isinstance(line, Drawn):
            (folder / IMAGES / line.file).write_bytes(f"the image {line.id}".encode())
    return journal
