"""What a prompts.toml may hold, and what is said of one that cannot be meant."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.trial import plan
from gateway.trial.plan import TrialPlan
from providers.errors import ConfigError
from tests.test_docs import ROOT, blocks

PLAN = """\
title = "Posters"
bar = "It can be printed."
cleanup_usd_per_hour = 60
size = "2k"
task = "poster"

[[prompts]]
prompt = "a fox"

[[prompts]]
prompt = "an owl"
task = "icon"
"""


def load(folder: Path, text: str = PLAN) -> TrialPlan:
    (folder / "prompts.toml").write_text(text, encoding="utf-8")
    return plan.load("prompts.toml", folder)


def test_a_plan_is_read_with_its_prompts_in_order(tmp_path: Path) -> None:
    found = load(tmp_path)
    assert (found.title, found.bar, found.rate, found.size) == ("Posters", "It can be printed.", Decimal(60), "2K")
    assert [(each.text, each.task) for each in found.prompts] == [("a fox", "poster"), ("an owl", "icon")]


def test_prompts_may_be_texts_alone_and_the_title_that_of_the_file(tmp_path: Path) -> None:
    found = load(tmp_path, 'bar = "fine"\ncleanup_usd_per_hour = 0\nprompts = ["a fox", "an owl"]\n')
    assert (found.title, [each.text for each in found.prompts]) == ("prompts", ["a fox", "an owl"])


def test_a_prompt_keeps_its_key_among_others_and_changes_it_with_the_size(tmp_path: Path) -> None:
    fox, owl = (each.key for each in load(tmp_path).prompts)
    assert load(tmp_path, PLAN + '[[prompts]]\nprompt = "a hen"\n').prompts[1].key == owl
    assert load(tmp_path, PLAN.replace("2k", "4K")).prompts[0].key != fox


def test_references_are_shared_unless_a_prompt_has_its_own(tmp_path: Path) -> None:
    for name, width in (("logo.png", 64), ("cat.png", 80)):
        (tmp_path / name).write_bytes(picture(width))
    text = PLAN.replace('task = "poster"', 'references = ["logo.png"]')
    first, second = load(tmp_path, text + 'references = ["cat.png"]\n').prompts
    assert [each.data for each in (*first.references, *second.references)] == [picture(64), picture(80)]


def picture(width: int) -> bytes:
    from io import BytesIO

    from PIL import Image

    file = BytesIO()
    Image.new("RGB", (width, 64)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("task =", "taks =", "prompts.toml, line 5: taks: unknown key; the nearest known key is task"),
        ('task = "icon"', 'prmpt = "icon"', "line 12: prompts[1].prmpt: unknown key; the nearest known key is prompt"),
        ("cleanup_usd_per_hour = 60\n", "", "cleanup_usd_per_hour: expected a value: this key is required"),
        ('"2k"', '"3K"', "line 4: size: expected a size: 512, 1K, 2K, 4K"),
        ("an owl", "a fox", "line 10: prompts[1]: this prompt stands twice"),
        ("an owl", " ", "prompts[1].prompt: "),
        (
            'task = "poster"',
            'references = ["nowhere.png"]',
            "line 5: references: images[0] (nowhere.png): cannot be read",
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)):
        load(tmp_path, PLAN.replace(old, new))


def test_the_plan_in_the_docs_is_one(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "trial.md").read_text(encoding="utf-8")
    found = load(tmp_path, blocks(text, "toml")[0])
    assert len(found.prompts) == 4
    assert {each.task for each in found.prompts} == {"poster", "icon"}
