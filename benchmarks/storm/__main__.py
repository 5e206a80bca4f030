"""``python -m benchmarks.storm``: every contender through every scene; tables in Markdown, figures in a file.

LiteLLM and pydantic-ai live in environments of their own below ``.peers``, which ``make storm`` sets up.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.storm.report import fill, goals, report, table
from benchmarks.storm.scenes import SCENES
from benchmarks.storm.score import Score

ROOT = Path(__file__).parents[2]
SCENE_NAMES = [scene.name for scene in SCENES]
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
    parser.add_argument("--only", action="append", metavar="SCENE", choices=SCENE_NAMES, help=", ".join(SCENE_NAMES))
    parser.add_argument(
        "--contender", action="append", metavar="NAME", choices=list(INTERPRETERS), help=", ".join(INTERPRETERS)
    )
    parser.add_argument("--json", type=Path, help="keep the figures in this file, beside what it holds of the others")
    parser.add_argument("--docs", type=Path, help="write the tables between the marks of this document")
    asked = parser.parse_args()
    played: list[Score] = []
    for scene in SCENES:
        if scene.name in (asked.only or SCENE_NAMES):
            scores = list(_scores(scene.name, asked.contender or list(INTERPRETERS)))
            print(table(f"{scene.name}: {scene.about}", scores), flush=True)
            played += scores
    every = _merged(asked.json, played)
    print(goals(every))
    if asked.json:
        asked.json.write_text(json.dumps([score.as_dict() for score in every], indent=2) + "\n")
    if asked.docs:
        asked.docs.write_text(fill(asked.docs.read_text(encoding="utf-8"), report(every)), encoding="utf-8")


def play(contender: str, scene: str, share: float = 1.0) -> Score:
    """The score of *contender* in *scene*, played in a process of its own, in *share* of the scene's time."""
    command = [str(INTERPRETERS[contender]), "-m", "benchmarks.storm.play", contender, scene, "--share", str(share)]
    done = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return Score(**json.loads(done.stdout.splitlines()[-1]))


def _merged(kept: Path | None, played: list[Score]) -> list[Score]:
    """What was *played*, and what the file *kept* of other scenes and contenders."""
    earlier = [Score(**figures) for figures in json.loads(kept.read_text())] if kept and kept.exists() else []
    fresh = {(score.scene, score.contender) for score in played}
    every = [*played, *(score for score in earlier if (score.scene, score.contender) not in fresh)]
    return sorted(every, key=lambda score: (SCENE_NAMES.index(score.scene), list(INTERPRETERS).index(score.contender)))


def _scores(scene: str, contenders: list[str]) -> Iterator[Score]:
    for contender in contenders:
        if INTERPRETERS[contender].exists():
            yield play(contender, scene)
        else:
            print(f"{contender} is not installed: run make storm", file=sys.stderr)


if __name__ == "__main__":
    main()
