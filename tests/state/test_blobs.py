"""Bytes kept by their content."""

from __future__ import annotations

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.blobs import Blobs, FolderBlobs, MemoryBlobs


@pytest.fixture(params=["folder", "memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    return FolderBlobs(tmp_path / "blobs") if request.param == "folder" else MemoryBlobs()


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_what_is_put_is_found_under_its_hash_and_kept_once(blobs: Blobs) -> None:
    sha256 = blobs.put(b"a fox")
    assert sha256 == hashlib.sha256(b"a fox").hexdigest() == blobs.put(b"a fox")
    assert blobs.get(sha256) == b"a fox"
    blobs.discard(sha256)
    blobs.discard(sha256)
    assert blobs.get(sha256) is None


def test_sweeping_forgets_what_was_last_put_before_a_moment(blobs: Blobs) -> None:
    sha256 = blobs.put(b"a fox")
    assert blobs.sweep(datetime.now(UTC) - timedelta(days=1)) == 0
    assert blobs.get(sha256) == b"a fox"
    assert blobs.sweep(datetime.now(UTC) + timedelta(days=1)) == 1
    assert blobs.get(sha256) is None


def test_a_file_that_was_changed_counts_as_lost_and_can_be_put_again(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    sha256 = blobs.put(b"a fox")
    (file,) = files(tmp_path)
    file.write_bytes(b"a wolf")
    assert blobs.get(sha256) is None
    assert files(tmp_path) == []
    file.write_bytes(b"a wol")  # cut off by a crash of the machine
    assert blobs.put(b"a fox") == sha256
    assert blobs.get(sha256) == b"a fox"


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space"):
        FolderBlobs(tmp_path).put(b"a fox")
    assert files(tmp_path) == []


def test_putting_again_makes_it_young(tmp_path: Path) -> None:
    blobs = FolderBlobs(tmp_path)
    sha256 = blobs.put(b"a fox")
    (file,) = files(tmp_path)
    os.utime(file, (0, 0))
    blobs.put(b"a fox")
    assert blobs.sweep(datetime(2000, 1, 1, tzinfo=UTC)) == 0
    assert blobs.get(sha256) == b"a fox"


def test_memory_holds_so_much_and_forgets_what_was_not_used_for_longest() -> None:
    blobs = MemoryBlobs(limit=10)
    first, second = blobs.put(b"1234"), blobs.put(b"5678")
    blobs.get(first)
    third = blobs.put(b"9abc")
    assert [blobs.get(sha256) for sha256 in (first, second, third)] == [b"1234", None, b"9abc"]


def test_what_is_no_hash_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="SHA-256"):
        FolderBlobs(tmp_path).get("../../etc/passwd")
