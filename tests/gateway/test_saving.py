"""``save_to``: images are written as they arrive, whole or not at all, and never at the price of losing them."""

from __future__ import annotations

import os
import pickle
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway import GatewayError, InvalidRequest
from gateway.saving import Destination
from providers.exchange import Exchange
from providers.outcome import Outcome, Part
from providers.request import UpstreamRequest
from tests.gateway.upstreams import draws, fails, image, lane, relay, studio, two

PNG, JPEG = image(mime_type="image/png"), image(mime_type="image/jpeg")


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_image_is_written_under_its_name_with_the_suffix_of_its_format(tmp_path: Path) -> None:
    painters = two()
    painters.script("first", draws(JPEG))
    painters.draw(save_to=tmp_path / "fox.png")
    assert files(tmp_path) == ["fox.jpg"]
    assert (tmp_path / "fox.jpg").read_bytes() == JPEG.data


def test_several_images_are_numbered_from_the_second_on(tmp_path: Path) -> None:
    two().draw(n=3, save_to=tmp_path / "fox")
    assert files(tmp_path) == ["fox-2.png", "fox-3.png", "fox.png"]


def test_several_images_of_one_call_are_numbered_too(tmp_path: Path) -> None:
    painters = two()
    painters.script("first", draws(PNG, JPEG))
    painters.draw(save_to=tmp_path / "fox")
    assert files(tmp_path) == ["fox-2.jpg", "fox.png"]


def test_in_a_folder_files_are_named_after_the_request(tmp_path: Path) -> None:
    result = two().draw(n=2, save_to=str(tmp_path))
    assert files(tmp_path) == [f"{result.request_id}-2.png", f"{result.request_id}.png"]


def test_an_existing_file_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "fox.png").write_text("an older fox")
    two().draw(save_to=tmp_path / "fox.png")
    assert b"older" not in (tmp_path / "fox.png").read_bytes()


def test_a_name_as_long_as_names_can_be_is_no_trouble(tmp_path: Path) -> None:
    name = "f" * (os.pathconf(tmp_path, "PC_NAME_MAX") - len(".png"))
    two().draw(save_to=tmp_path / name)
    assert files(tmp_path) == [f"{name}.png"]


def test_data_is_read_from_the_file_whenever_it_is_asked_for(tmp_path: Path) -> None:
    painters = two()
    painters.script("first", draws(PNG, text="Here."))
    result = painters.draw(save_to=tmp_path / "fox")
    saved = result.images[0]
    assert (saved.data, saved.mime_type, saved.width, saved.height) == (PNG.data, "image/png", 1024, 1024)
    assert result.parts == (Part(text="Here."), Part(image=saved))
    (tmp_path / "fox.png").write_bytes(b"retouched")
    assert saved.data == b"retouched"


def test_a_saved_image_saves_elsewhere_pickles_and_shows_no_bytes(tmp_path: Path) -> None:
    result = two().draw(save_to=tmp_path / "fox")
    (copy,) = result.save(tmp_path / "copy")
    assert copy.read_bytes() == (tmp_path / "fox.png").read_bytes()
    assert pickle.loads(pickle.dumps(result)) == result
    assert "1024x1024" not in repr(result)
    with pytest.raises(AttributeError):
        result.images[0].width = 1  # type: ignore[misc]


def test_images_are_on_disk_before_the_others_have_come(tmp_path: Path) -> None:
    seen: list[list[str]] = []

    async def looks(request: UpstreamRequest, exchange: Exchange) -> Outcome:
        seen.append(files(tmp_path))
        return await draws()(request, exchange)

    painters = two()
    painters.script("first", draws(), fails("overloaded"))
    painters.script("second", looks)
    painters.draw(n=2, save_to=tmp_path / "fox")
    assert seen == [["fox.png"]]
    assert files(tmp_path) == ["fox-2.png", "fox.png"]


def test_an_image_that_is_only_kept_is_written_when_nothing_better_came(tmp_path: Path) -> None:
    painters = two(fallback={"on_wrong_size": "fallback"})
    kept = image(2000, 2000)
    painters.script("first", draws(kept))
    painters.script("second", fails("overloaded"))
    result = painters.draw(size="4K", fallback=["switch"], save_to=tmp_path / "fox")
    assert (tmp_path / "fox.png").read_bytes() == kept.data
    assert len(result.images) == 1


def test_an_image_that_is_not_delivered_is_not_written(tmp_path: Path) -> None:
    painters = two(fallback={"on_wrong_size": "fallback"})
    painters.script("first", draws(image(2000, 2000)))
    painters.draw(size="4K", save_to=tmp_path / "fox")
    assert (tmp_path / "fox.png").read_bytes() == b"image/png 4096x4096"
    assert files(tmp_path) == ["fox.png"]


# Trouble before any money is spent


def test_a_folder_that_does_not_exist_is_told_before_any_call(tmp_path: Path) -> None:
    painters = two()
    with pytest.raises(InvalidRequest, match=r"^save_to: there is no folder .*missing; create it first$"):
        painters.draw(save_to=tmp_path / "missing" / "fox")
    assert painters.calls == []


def test_a_file_in_the_place_of_the_folder_is_told_before_any_call(tmp_path: Path) -> None:
    painters = two()
    (tmp_path / "fox").write_text("a file")
    with pytest.raises(InvalidRequest, match="there is no folder"):
        painters.draw(save_to=tmp_path / "fox" / "poster")
    assert painters.calls == []


def test_a_folder_that_may_not_be_written_to_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)  # whoever runs this may be root
    for target in (tmp_path, tmp_path / "fox"):
        with pytest.raises(InvalidRequest, match="cannot be written to; choose another"):
            Destination(target, "request")


# Trouble afterwards


def test_images_that_cannot_be_written_are_on_the_error(tmp_path: Path) -> None:
    painters = two()
    (tmp_path / "fox.png").mkdir()
    with pytest.raises(GatewayError) as caught:
        painters.draw(save_to=tmp_path / "fox.png" / ".." / "fox")
    error = caught.value
    assert str(error).startswith("the images came, but could not be saved: Is a directory")
    assert [each.data for each in error.images] == [b"image/png 1024x1024"]
    assert [attempt.outcome for attempt in error.attempts] == ["ok"]


@pytest.fixture
def full_disk() -> Iterator[None]:
    """No file may grow beyond ten bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_write_that_breaks_off_leaves_what_was_there_before(tmp_path: Path, full_disk: None) -> None:
    (tmp_path / "fox.png").write_bytes(b"older fox")
    with pytest.raises(GatewayError, match="could not be saved: File too large"):
        two().draw(save_to=tmp_path / "fox")
    assert files(tmp_path) == ["fox.png"]
    assert (tmp_path / "fox.png").read_bytes() == b"older fox"


def test_nothing_half_written_is_left_behind(tmp_path: Path) -> None:
    (tmp_path / "fox.png").mkdir()
    with pytest.raises(GatewayError):
        two().draw(save_to=tmp_path / "fox")
    assert files(tmp_path) == ["fox.png"]
    assert files(tmp_path / "fox.png") == []


def test_no_further_image_is_bought_once_one_could_not_be_written(tmp_path: Path) -> None:
    painters = studio(first=relay(), second=relay(lane(price=0.06)))
    painters.script("first", draws(seconds=1.0), fails("overloaded", seconds=2.0))
    (tmp_path / "fox.png").mkdir()
    with pytest.raises(GatewayError):
        painters.draw(n=2, save_to=tmp_path / "fox")
    assert [provider for provider, _ in painters.asked] == ["first", "first"]


def test_what_was_written_before_the_trouble_stays_and_is_on_the_error(tmp_path: Path) -> None:
    painters = two()
    painters.script("first", draws(seconds=1.0), draws(JPEG, seconds=2.0))
    (tmp_path / "fox-2.jpg").mkdir()
    with pytest.raises(GatewayError) as caught:
        painters.draw(n=2, save_to=tmp_path / "fox")
    assert [each.data for each in caught.value.images] == [b"image/png 1024x1024", JPEG.data]
    assert files(tmp_path) == ["fox-2.jpg", "fox.png"]
