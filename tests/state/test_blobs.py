"""Bytes kept by their content."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import obstore
import pytest
from obstore.store import LocalStore, MemoryStore, from_url

from gateway.blobs import Blobs, FolderBlobs, MemoryBlobs, ObjectBlobs, blobs_at
from providers.errors import ConfigError


@pytest.fixture(params=["folder", "memory", "local objects", "objects in memory"])
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Blobs:
    kinds: dict[str, Callable[[], Blobs]] = {
        "folder": lambda: FolderBlobs(tmp_path / "blobs"),
        "memory": MemoryBlobs,
        "local objects": lambda: ObjectBlobs(LocalStore(tmp_path / "objects", mkdir=True)),
        "objects in memory": lambda: ObjectBlobs(MemoryStore()),
    }
    return kinds[request.param]()


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


def test_what_is_spared_is_not_swept(blobs: Blobs) -> None:
    fox, wolf = blobs.put(b"a fox"), blobs.put(b"a wolf")
    assert blobs.sweep(datetime.now(UTC) + timedelta(days=1), {fox}) == 1
    assert (blobs.get(fox), blobs.get(wolf)) == (b"a fox", None)


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


# Object stores


def test_an_object_that_was_changed_counts_as_lost() -> None:
    store = MemoryStore()
    blobs = ObjectBlobs(store)
    sha256 = blobs.put(b"a fox")
    obstore.put(store, f"{sha256[:2]}/{sha256[2:]}", b"a wolf")
    assert blobs.get(sha256) is None
    assert [each for batch in obstore.list(store) for each in batch] == []


def test_what_others_keep_in_the_same_bucket_is_left_alone() -> None:
    store = MemoryStore()
    obstore.put(store, "theirs/report.pdf", b"...")
    blobs = ObjectBlobs(store)
    blobs.put(b"a fox")
    assert blobs.sweep(datetime.now(UTC) + timedelta(days=1)) == 1
    assert [each["path"] for batch in obstore.list(store) for each in batch] == ["theirs/report.pdf"]


def test_what_goes_wrong_at_an_object_store_is_an_os_error() -> None:
    nobody = from_url("http://127.0.0.1:9/", client_options={"allow_http": True}, retry_config={"max_retries": 0})
    with pytest.raises(OSError, match="error"):
        ObjectBlobs(nobody).get("0" * 64)


def test_where_the_blobs_are_is_told_by_a_folder_or_an_address(tmp_path: Path) -> None:
    for place in (str(tmp_path), f"file://{tmp_path}"):
        blobs = blobs_at(place)
        assert isinstance(blobs, FolderBlobs)
        assert blobs.folder == tmp_path
    assert isinstance(blobs_at("memory:///"), MemoryBlobs)
    assert isinstance(blobs_at("s3://bucket/prefix"), ObjectBlobs)


@pytest.mark.parametrize("address", ["ftp://host/path", "az://container", "s3://"])
def test_an_address_that_cannot_be_used_is_told_when_it_is_loaded(address: str) -> None:
    with pytest.raises(
        ConfigError, match=r"cache.store: expected a folder, or an address such as s3://bucket/prefix: "
    ):
        blobs_at(address)


def test_without_obstore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ConfigError, match=r"pip install 'image-gateway\[objects\]'"):
        blobs_at("s3://bucket/prefix")
