"""Reference images are looked at before any money is spent; the bytes say what they are."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from gateway import InvalidRequest, ReferenceImage, references
from tests.gateway.upstreams import lane, relay, studio


def encoded(form: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 6), "teal").save(file, form)
    return file.getvalue()


PNG, JPEG, WEBP = encoded("PNG"), encoded("JPEG"), encoded("WEBP")


def complaint(*given: ReferenceImage | bytes | Path) -> str:
    with pytest.raises(InvalidRequest) as caught:
        references.load(given)
    return str(caught.value)


def test_paths_bytes_and_reference_images_are_loaded_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    path.write_bytes(PNG)
    assert references.load((path, JPEG, ReferenceImage(WEBP, "image/webp"))) == (
        ReferenceImage(PNG, "image/png"),
        ReferenceImage(JPEG, "image/jpeg"),
        ReferenceImage(WEBP, "image/webp"),
    )


def test_the_bytes_decide_on_the_type_and_not_the_suffix_or_the_caller(tmp_path: Path) -> None:
    path = tmp_path / "fox.png"
    path.write_bytes(JPEG)
    loaded = references.load((path, ReferenceImage(WEBP, "image/png")))
    assert [each.mime_type for each in loaded] == ["image/jpeg", "image/webp"]


def test_a_missing_file_is_named_with_its_place(tmp_path: Path) -> None:
    assert complaint(PNG, tmp_path / "owl.png") == "images[1] (owl.png): cannot be read: No such file or directory"


def test_a_folder_is_no_image(tmp_path: Path) -> None:
    assert complaint(tmp_path).endswith("cannot be read: Is a directory")


def test_a_path_that_cannot_be_one_is_told(tmp_path: Path) -> None:
    assert complaint(tmp_path / "fox\0.png").endswith("is not a path")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "images[0]: the bytes are empty or blank, not an image"),
        (b"<!doctype html><html><body>Sign in</body></html>", "images[0]: this is HTML, not an image"),
        (b"GIF89a" + b"\0" * 20, "images[0]: this is GIF, which is not an accepted image format"),
        (PNG[:40], "images[0]: "),
    ],
)
def test_what_is_no_whole_image_is_refused_with_what_it_is(data: bytes, told: str) -> None:
    assert complaint(data).startswith(told)


def test_a_name_that_would_reorder_a_terminal_is_shown_harmless(tmp_path: Path) -> None:
    assert "\x1b" not in complaint(tmp_path / "fox\x1b[2J.png")


def test_more_bytes_than_the_limit_are_refused_unread(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(references, "MAX_REFERENCE", len(PNG))
    path = tmp_path / "fox.png"
    path.write_bytes(PNG + b"\0")
    assert complaint(path) == f"images[0] (fox.png): is over the limit of {len(PNG)} bytes"
    assert complaint(PNG + b"\0") == f"images[0]: is over the limit of {len(PNG)} bytes"
    assert len(references.load((PNG,))) == 1


def test_references_reach_the_upstream_as_bytes(tmp_path: Path) -> None:
    painters = studio(first=relay(lane(references=2)))
    path = tmp_path / "fox.jpg"
    path.write_bytes(JPEG)
    painters.draw(images=[str(path), PNG])
    assert painters.calls[0].request.images == (ReferenceImage(JPEG, "image/jpeg"), ReferenceImage(PNG, "image/png"))


def test_an_unreadable_reference_is_refused_before_any_call(tmp_path: Path) -> None:
    painters = studio(first=relay(lane(references=2)))
    with pytest.raises(InvalidRequest, match="cannot be read"):
        painters.draw(images=[tmp_path / "owl.png"])
    assert painters.calls == []


def test_only_references_in_memory_are_weighed(tmp_path: Path) -> None:
    assert references.weights((b"12345", tmp_path / "fox.png", ReferenceImage(b"123", "image/png"))) == (5, 3)
