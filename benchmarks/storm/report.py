"""Scores as Markdown: a table for each scene, and how this gateway stands against its goals."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from benchmarks.storm.scenes import SCENES
from benchmarks.storm.score import Score

OURS: Final = "image_gateway"
COLUMNS: Final = (
    "contender", "as asked", "delivered", "wrong", "p50 s", "p99 s", "paid/image", "$/image", "× best", "into the fault",
)  # fmt: skip
MARKS: Final = "<!-- figures -->", "<!-- end of figures -->"

DELIVERED: Final = 0.999
"""The share of images that is to be delivered wherever one lane is healthy."""
OVER_BEST: Final = 1.05
"""How many times the price of the cheapest healthy lane an image may cost, refusals aside."""
INTO_A_HANG: Final = 25
"""Calls that a lane may get that hangs for ten minutes."""


def report(scores: Sequence[Score]) -> str:
    """The goals, then a table for each scene that was played."""
    scenes = ((scene, [score for score in scores if score.scene == scene.name]) for scene in SCENES)
    tables = [table(f"{scene.name}: {scene.about}", played) for scene, played in scenes if played]
    return "\n".join([goals(scores), *tables])


def table(title: str, scores: Sequence[Score]) -> str:
    """*scores* of one scene side by side."""
    return f"**{title}**\n\n" + _rows(COLUMNS, [_cells(score) for score in scores])


def goals(scores: Sequence[Score]) -> str:
    """For each scene whether this gateway reaches its goals, and who does better by more than a thousandth."""
    heads = (
        "scene",
        f"delivered ≥ {DELIVERED:.1%}",
        "wrong = 0",
        f"× best ≤ {OVER_BEST}",
        f"hang ≤ {INTO_A_HANG}",
        "better",
    )
    ours = [score for score in scores if score.contender == OURS]
    return "**goals**\n\n" + _rows(heads, [_standing(score, scores) for score in ours])


def fill(document: str, figures: str) -> str:
    """*document* with *figures* between its marks."""
    begin, end = MARKS
    return re.sub(f"(?<={begin}\n).*?(?={end})", lambda _: f"\n{figures}\n", document, count=1, flags=re.DOTALL)


def _standing(ours: Score, scores: Sequence[Score]) -> list[str]:
    share, rivals = _share(ours), [each for each in scores if each.scene == ours.scene and each.contender != OURS]
    return [
        ours.scene,
        _held(share >= DELIVERED, f"{share:.2%}"),
        _held(ours.wrong == 0, str(ours.wrong)),
        _held(ours.over_best <= OVER_BEST, f"{ours.over_best:.3f}"),
        _held(ours.into_the_fault <= INTO_A_HANG, str(ours.into_the_fault)) if ours.scene == "hang" else "",
        ", ".join(f"{rival.contender} ({what})" for rival in rivals for what in _better(rival, ours)),
    ]


def _better(rival: Score, ours: Score) -> list[str]:
    """By which goals *rival* does better; cheaper counts only if it delivers as much."""
    said = []
    if _share(rival) > _share(ours) + 0.001:
        said.append("delivers")
    if _share(rival) >= _share(ours) - 0.001 and rival.over_best < ours.over_best - 0.001:
        said.append("costs")
    if rival.wrong < ours.wrong:
        said.append("wrong")
    return said


def _share(score: Score) -> float:
    return score.delivered / score.requests


def _held(held: bool, shown: str) -> str:
    return shown if held else f"**{shown}**"


def _cells(score: Score) -> list[str]:
    head = [score.contender, f"{score.as_asked / score.requests:.2%}", f"{_share(score):.2%}", str(score.wrong)]
    if not score.delivered:
        return [*head, *["-"] * 5, str(score.into_the_fault)]
    return [
        *head,
        f"{score.p50:.1f}",
        f"{score.p99:.1f}",
        f"{score.paid_calls / score.delivered:.3f}",
        f"{score.dollars_each:.4f}",
        f"{score.over_best:.3f}",
        str(score.into_the_fault),
    ]


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)], *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
