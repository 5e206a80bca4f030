"""``python -m benchmarks.storm``: every contender through every scene; print the tables and, with ``--json``, keep the figures.

LiteLLM and pydantic-ai live in environments of their own below ``.peers``, which ``make storm`` sets up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.storm.scenes import SCENES
from benchmarks.storm.score import Score

ROOT = Path(__file__).parents[2]
INTERPRETERS = {
    "image_gateway": Path(sys.executable),
    "litellm_router": ROOT / ".peers" / "litellm" / "bin" / "python",
    "pydantic_ai_fallback": ROOT / ".peers" / "pydantic-ai" / "bin" / "python",
    "google_genai": Path(sys.executable),
    "openai_sdk": Path(sys.executable),
}
"""The contenders, and which Python has each of them."""


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storm", description=__doc__)
    scenes = [scene.name for scene in SCENES]
    parser.add_argument("--only", action="append", metavar="SCENE", choices=scenes, help="; ".join(scenes))
    parser.add_argument(
        "--contender", action="append", metavar="NAME", choices=list(INTERPRETERS), help="; ".join(INTERPRETERS)
    )
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    asked = parser.parse_args()
    played = []
    for scene in SCENES:
        if scene.name in (asked.only or scenes):
            scores = list(_scores(scene.name, asked.contender or list(INTERPRETERS)))
            Console().print(table(f"{scene.name}: {scene.about}", scores))
            played += scores
    if asked.json:
        asked.json.write_text(json.dumps([score.as_dict() for score in played], indent=2) + "\n")


def play(contender: str, scene: str, share: float = 1.0) -> Score:
    """The score of *contender* in *scene*, played in a process of its own, in *share* of the scene's time."""
    command = [str(INTERPRETERS[contender]), "-m", "benchmarks.storm.play", contender, scene, "--share", str(share)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return Score(**json.loads(done.stdout.splitlines()[-1]))


def table(title: str, scores: list[Score]) -> Table:
    """*scores* of one scene, side by side."""
    made = Table(title=title, title_justify="left")
    for heading, style in COLUMNS.items():
        made.add_column(heading, justify=style)
    for score in scores:
        made.add_row(*row(score))
    return made


COLUMNS: dict[str, Any] = {
    "contender": "left",
    "as asked": "right",
    "delivered": "right",
    "wrong": "right",
    "p50 s": "right",
    "p99 s": "right",
    "paid/image": "right",
    "$/image": "right",
    "× best": "right",
    "into the fault": "right",
}


def row(score: Score) -> list[str]:
    """The cells of *score*, as in :data:`COLUMNS`."""
    none = not score.delivered
    return [
        score.contender,
        f"{score.as_asked / score.requests:.2%}",
        f"{score.delivered / score.requests:.2%}",
        str(score.wrong),
        f"{score.p50:.1f}",
        f"{score.p99:.1f}",
        "-" if none else f"{score.paid_calls / score.delivered:.3f}",
        "-" if none else f"{score.dollars_each:.4f}",
        "-" if none else f"{score.over_best:.3f}",
        str(score.into_the_fault),
    ]


def _scores(scene: str, contenders: list[str]) -> Iterator[Score]:
    for contender in contenders:
        if INTERPRETERS[contender].exists():
            yield play(contender, scene)
        else:
            print(f"{contender} is not installed: run make storm", file=sys.stderr)


if __name__ == "__main__":
    main()
