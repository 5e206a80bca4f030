"""Images that arrive in files: whole, under a temporary name, and gone unless somebody moved them."""

from __future__ import annotations

import asyncio
import gc
import os
import pickle
from pathlib import Path
from typing import Any

import pytest

from providers import spool
from providers.exchange import Exchange
from providers.images import GeneratedImage
from providers.outcome import Outcome
from providers.spool import SPILL, FileBytes, FileRoom, SpooledImage
from tests.providers.bodies import encoded
from tests.providers.wire import (
    BODY,
    PICTURE,
    Script,
    Upstream,
    Wire,
    answer,
    answering,
    drawing,
    every_dialect,
    make,
    parting,
    picture,
)

LARGE = picture(256, 256)
MANY = bytes(range(256)) * 1024
BODIES = {kind: body.replace(encoded(PICTURE).encode(), encoded(LARGE).encode()) for kind, body in BODY.items()}


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def filled(folder: Path, data: bytes = MANY, step: int = 10_000) -> FileRoom:
    room = FileRoom(folder)
    for start in range(0, len(data), step):
        room.write(data[start : start + step])
    return room


def spooled(folder: Path) -> Any:
    """The bytes of a file; typed as what they are used as."""
    return filled(folder).value()


class TestARoom:
    def test_makes_no_file_for_few_bytes(self, tmp_path: Path) -> None:
        assert filled(tmp_path, MANY[:SPILL]).value() == MANY[:SPILL]
        assert names(tmp_path) == []

    def test_puts_many_into_one_hidden_file(self, tmp_path: Path) -> None:
        value = spooled(tmp_path)
        assert isinstance(value, FileBytes)
        (name,) = names(tmp_path)
        assert name.startswith(".")
        assert name.endswith(".part")
        assert (tmp_path / name).read_bytes() == bytes(value) == MANY

    def test_leaves_nothing_when_it_is_not_wanted(self, tmp_path: Path) -> None:
        filled(tmp_path).discard()
        assert names(tmp_path) == []

    def test_leaves_nothing_when_it_is_forgotten(self, tmp_path: Path) -> None:
        filled(tmp_path)
        gc.collect()
        assert names(tmp_path) == []

    @pytest.mark.parametrize("full_after", [0, 1, 5, 20])
    def test_goes_on_in_memory_when_the_disk_is_full(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_after: int
    ) -> None:
        written: list[int] = []

        def write(descriptor: int, data: memoryview) -> int:
            if len(written) >= full_after:
                raise OSError(28, "No space left on device")
            written.append(really(descriptor, data[:7000]))  # never all at once
            return written[-1]

        really = os.write
        monkeypatch.setattr(spool.os, "write", write)
        value = filled(tmp_path).value()
        assert value == MANY
        assert isinstance(value, bytes)
        assert names(tmp_path) == []

    def test_goes_on_in_memory_when_the_folder_is_gone(self, tmp_path: Path) -> None:
        assert filled(tmp_path / "gone").value() == MANY


class TestTheBytesOfAFile:
    def test_can_be_moved_and_stay_there(self, tmp_path: Path) -> None:
        value = spooled(tmp_path)
        value.move_to(tmp_path / "fox.png")
        del value
        gc.collect()
        assert names(tmp_path) == ["fox.png"]
        assert (tmp_path / "fox.png").read_bytes() == MANY

    def test_that_could_not_be_moved_are_still_there(self, tmp_path: Path) -> None:
        value = spooled(tmp_path)
        (tmp_path / "fox.png").mkdir()
        with pytest.raises(OSError, match="directory"):
            value.move_to(tmp_path / "fox.png")
        assert bytes(value) == MANY
        del value
        gc.collect()
        assert names(tmp_path) == ["fox.png"]

    def test_can_be_read_after_the_file_was_removed(self, tmp_path: Path) -> None:
        value = spooled(tmp_path)
        value.discard()
        assert names(tmp_path) == []
        assert bytes(value) == MANY

    def test_equal_others_of_the_same_content(self, tmp_path: Path) -> None:
        assert spooled(tmp_path) == spooled(tmp_path) == MANY
        assert spooled(tmp_path) != filled(tmp_path, MANY[:-1] + b"x").value()

    def test_have_the_permissions_of_any_new_file(self, tmp_path: Path) -> None:
        value = spooled(tmp_path)
        (tmp_path / "other").touch()
        assert value.path.stat().st_mode == (tmp_path / "other").stat().st_mode


def test_a_spooled_image_gives_its_bytes_and_pickles_as_an_ordinary_one(tmp_path: Path) -> None:
    image = SpooledImage(file=spooled(tmp_path), mime_type="image/png", width=1, height=2)
    assert type(image.data) is bytes
    plain = pickle.loads(pickle.dumps(image))
    assert plain == GeneratedImage(data=MANY, mime_type="image/png", width=1, height=2)


def drawn(kind: str, script: Script, folder: Path) -> tuple[Outcome, Exchange]:
    async def main() -> tuple[Outcome, Exchange]:
        async with Upstream(script) as upstream:
            provider, exchange = make(kind, upstream.url), Exchange(folder=folder)
            outcome = await provider.generate(drawing(), exchange)
            await provider.aclose()
        return outcome, exchange

    return asyncio.run(main())


class TestAnAdapter:
    @every_dialect
    @pytest.mark.parametrize("framing", ["length", "chunked", "close"])
    def test_leaves_an_image_in_the_folder_of_the_exchange(self, kind: str, framing: str, tmp_path: Path) -> None:
        outcome, _ = drawn(kind, answering(answer(BODIES[kind], framing=framing)), tmp_path)
        (image,) = outcome.images
        assert isinstance(image, SpooledImage)
        assert (image.data, image.mime_type, image.width, image.height) == (LARGE, "image/png", 256, 256)
        assert names(tmp_path) == [image.file.path.name]

    @every_dialect
    def test_leaves_no_file_of_an_image_that_is_cut(self, kind: str, tmp_path: Path) -> None:
        whole = answer(BODIES[kind])
        outcome, _ = drawn(kind, parting(whole[: len(whole) * 9 // 10]), tmp_path)
        assert (outcome.images, outcome.billed) == ((), "maybe")
        assert names(tmp_path) == []

    @every_dialect
    def test_leaves_no_file_of_an_image_that_is_damaged(self, kind: str, tmp_path: Path) -> None:
        damaged = bytearray(LARGE)
        damaged[len(damaged) // 2] ^= 1
        body = BODY[kind].replace(encoded(PICTURE).encode(), encoded(bytes(damaged)).encode())
        outcome, exchange = drawn(kind, answering(answer(body)), tmp_path)
        assert (outcome.name, len(exchange.images)) == ("bad_response", 1)
        assert names(tmp_path) == []

    def test_leaves_no_file_of_a_draft(self, tmp_path: Path) -> None:
        part = b'{"inlineData": {"mimeType": "image/png", "data": "%s"}}'
        draft = part % encoded(picture(256, 256, seed=2)).encode()
        body = BODIES["google"].replace(b'{"inlineData"', draft + b', {"inlineData"', 1)
        outcome, exchange = drawn("google", answering(answer(body)), tmp_path)
        assert [image.data for image in outcome.images] == [LARGE]
        assert (len(exchange.images), len(names(tmp_path))) == (2, 1)

    @every_dialect
    def test_leaves_no_file_when_it_is_cancelled(self, kind: str, tmp_path: Path) -> None:
        async def script(wire: Wire) -> None:
            await wire.request()
            whole = answer(BODIES[kind])
            await wire.send(whole[: len(whole) * 9 // 10])
            await asyncio.Event().wait()

        async def main() -> list[str]:
            async with Upstream(script) as upstream:
                provider = make(kind, upstream.url)
                call = asyncio.create_task(provider.generate(drawing(), Exchange(folder=tmp_path)))
                while not (under_way := names(tmp_path)):
                    await asyncio.sleep(0)
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
                await provider.aclose()
            return under_way

        assert len(asyncio.run(main())) == 1
        assert names(tmp_path) == []
