"""What docs/batch.md shows works as it stands."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from gateway import ImageResult
from gateway.batch import batch as batches
from gateway.batch import jobs
from providers.simulator import BatchBehaviour, Simulator
from tests.test_docs import ROOT, blocks

SUBMITTED, COLLECTED = blocks((ROOT / "docs" / "batch.md").read_text(encoding="utf-8"), "python")


def test_the_examples_submit_fetch_and_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(jobs, "FIRST_LOOK", 0.0)
    monkeypatch.setattr(jobs, "LOOK_SHARE", 0.0)
    monkeypatch.setattr(batches, "BREATH", 0.0)
    monkeypatch.chdir(tmp_path)
    with Simulator(batches=BatchBehaviour(polls=1)) as simulator:
        Path("gateway.toml").write_text(
            '[gateway]\nstate = "sqlite:///state.db"\n[providers.google]\nkind = "google"\n'
            f'base_url = "{simulator.google_url}"\napi_key = "canary-key-0123456789"\n'
            '[[providers.google.lanes]]\nmodel = "gemini-3.1-flash-image"\n'
            'batch_price = { "512" = 0.0225, "1K" = 0.0335 }\n'
        )
        exec(compile(SUBMITTED, "docs/batch.md", "exec"), {})
        assert "2: 0 succeeded, 0 failed, 2 pending" in capsys.readouterr().out
        assert sorted(path.name for path in tmp_path.glob("*.jpg")) == ["fox.jpg", "owl.jpg"]
        names: dict[str, Any] = {}
        exec(compile(COLLECTED, "docs/batch.md", "exec"), names)
        found = asyncio.run(names["collected"]("spring-posters"))
        assert {key: type(ended) for key, ended in found.items()} == {"fox": ImageResult, "owl": ImageResult}
        assert found["owl"].size == "512"
