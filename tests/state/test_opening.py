"""Which address opens what."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import platformdirs
import pytest

from gateway.blobs import FolderBlobs, MemoryBlobs
from gateway.state import default_url, open_state
from providers.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "engine"),
    [
        ("memory", "MemoryEngine"),
        ("sqlite:///state.db", "Database"),
        ("redis://localhost:6379/0", "Server"),
        ("rediss://user:password@host?timeout=0.5&prefix=ours", "Server"),
    ],
)
def test_an_address_chooses_the_backend_and_opens_nothing(url: str, engine: str, tmp_path: Path) -> None:
    assert type(open_state(url).engine).__name__ == engine
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "url",
    [
        "postgres://host", "sqlite://state.db", "", "redis://", "redis://host?db=1", "redis://host?timeout=never",
        "redis://host?timeout=0", "redis://host?timeout=nan", "redis://host:99999", "redis://host?prefix={ours}",
    ],
)  # fmt: skip
def test_an_address_that_cannot_be_meant_is_refused_with_what_was_expected(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^state: expected"):
        open_state(url)


def test_no_password_shows(tmp_path: Path) -> None:
    engine: Any = open_state("redis://user:the-password@host:1234/5?timeout=0.5").engine
    assert engine.name == "redis://host:1234/5"
    assert "the-password" not in repr(engine) + repr(engine._link)


def test_without_the_extra_it_is_said_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    really = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "gateway.state.redis":
            raise ImportError(name)
        return really(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"pip install 'image-gateway\[redis\]'"):
        open_state("redis://localhost")


def test_images_are_kept_beside_the_file_or_where_one_says(tmp_path: Path) -> None:
    assert isinstance(open_state().blobs, MemoryBlobs)
    beside, chosen = open_state(f"sqlite:///{tmp_path}/state.db").blobs, open_state("memory", blobs=tmp_path).blobs
    assert isinstance(beside, FolderBlobs)
    assert isinstance(chosen, FolderBlobs)
    assert (beside.folder, chosen.folder) == (tmp_path / "state.db-blobs", tmp_path)


def test_the_command_lines_own_state_is_a_file_in_the_users_state_folder() -> None:
    assert default_url() == f"sqlite:///{platformdirs.user_state_path('image-gateway', appauthor=False)}/state.db"
