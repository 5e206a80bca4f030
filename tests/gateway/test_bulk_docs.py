"""What docs/bulk.md shows works as it stands."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.cli.request_files import read_requests
from providers.simulator import Simulator
from tests.test_docs import blocks

TEXT = (Path(__file__).parents[2] / "docs" / "bulk.md").read_text(encoding="utf-8")
SYNC, ASYNC = blocks(TEXT, "python")
(CSV,) = blocks(TEXT, "csv")


@pytest.fixture(autouse=True)
def google(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """A simulator, and a gateway.toml for it in the working directory."""
    monkeypatch.chdir(tmp_path)
    with Simulator() as simulator:
        table = f'[providers.google]\nkind = "google"\nbase_url = "{simulator.google_url}"\n'
        (tmp_path / "gateway.toml").write_text(table)
        yield simulator


def test_the_first_example_saves_an_image_for_each_prompt(google: Simulator, tmp_path: Path) -> None:
    exec(compile(SYNC, "docs/bulk.md", "exec"), {})
    assert sorted(path.stem for path in tmp_path.glob("image-*")) == ["image-0", "image-1"]
    assert sorted(request.size or "" for request in google.requests) == ["1K", "2K"]


def test_the_async_example_draws_them_all(google: Simulator) -> None:
    names: dict[str, object] = {}
    exec(compile(ASYNC, "docs/bulk.md", "exec"), names)
    posters = names["posters"]
    assert callable(posters)
    assert asyncio.run(posters(["a fox", "an owl", "a hen"])) == 3
    assert google.billed == 3


def test_the_file_is_one_of_requests(tmp_path: Path) -> None:
    (tmp_path / "prompts.csv").write_text(CSV)
    found = dict(read_requests(tmp_path / "prompts.csv"))
    assert found["hello"].aspect_ratio == "3:4"
    assert len(found) == 2
