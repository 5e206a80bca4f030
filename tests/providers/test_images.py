"""Images are saved under the suffix of what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from providers.images import GeneratedImage, ReferenceImage, with_image_suffix


def drawn(mime_type: str = "image/png") -> GeneratedImage:
    return GeneratedImage(data=b"canary bytes", mime_type=mime_type, width=3, height=2)


class TestSaving:
    @pytest.mark.parametrize(
        ("path", "mime_type", "saved"),
        [
            ("poster", "image/png", "poster.png"),
            ("poster", "image/jpeg", "poster.jpg"),
            ("poster", "image/webp", "poster.webp"),
            ("poster.png", "image/png", "poster.png"),
            ("poster.PNG", "image/png", "poster.PNG"),
            ("poster.jpeg", "image/jpeg", "poster.jpeg"),
            ("poster.JPEG", "image/jpeg", "poster.JPEG"),
            ("poster.png", "image/jpeg", "poster.jpg"),
            ("poster.jpeg", "image/png", "poster.png"),
            ("poster.WebP", "image/png", "poster.png"),
            ("poster.v2", "image/png", "poster.v2.png"),
            ("poster.v2.png", "image/jpeg", "poster.v2.jpg"),
            ("poster.txt", "image/webp", "poster.txt.webp"),
            (".hidden", "image/png", ".hidden.png"),
            ("Plakat für 🦊", "image/png", "Plakat für 🦊.png"),
            ("poster", "image/tiff", "poster.img"),
            ("poster.img", "image/tiff", "poster.img"),
        ],
    )
    def test_goes_to_the_path_with_the_right_suffix(
        self, path: str, mime_type: str, saved: str, tmp_path: Path
    ) -> None:
        target = drawn(mime_type).save(tmp_path / path)
        assert target == tmp_path / saved
        assert [file.name for file in tmp_path.iterdir()] == [saved]
        assert target.read_bytes() == b"canary bytes"

    def test_takes_a_path_as_text(self, tmp_path: Path) -> None:
        assert drawn().save(str(tmp_path / "poster")) == tmp_path / "poster.png"

    def test_replaces_what_was_there(self, tmp_path: Path) -> None:
        (tmp_path / "poster.png").write_bytes(b"x" * 100)
        assert drawn().save(tmp_path / "poster.png").read_bytes() == b"canary bytes"

    def test_into_a_folder_that_is_not_there_is_an_error_of_the_system(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            drawn().save(tmp_path / "missing" / "poster")

    def test_leaves_folders_with_dots_in_their_names_alone(self) -> None:
        assert with_image_suffix(Path("v1.png/poster"), "image/jpeg") == Path("v1.png/poster.jpg")


class TestPrinting:
    def test_does_not_show_the_bytes(self) -> None:
        assert "canary" not in repr(drawn())
        assert "canary" not in repr(ReferenceImage(data=b"canary", mime_type="image/png"))
        assert "image/png" in repr(drawn())
