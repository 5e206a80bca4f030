"""A conversation in one file: it comes back as it was, is whole or not there, and a hostile one is refused."""

from __future__ import annotations

import hashlib
import json
import zipfile
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway import InvalidRequest
from gateway.chat import conversation_file
from gateway.chat.conversation import Conversation
from providers.images import GeneratedImage, ReferenceImage
from providers.outcome import Part
from providers.turns import Turn
from tests.gateway.upstreams import Studio, draws, two
from tests.providers.wire import picture

FOX, HAT = picture(24, 16, 1), picture(24, 16, 2)


def drawn(data: bytes = FOX) -> GeneratedImage:
    return GeneratedImage(data=data, mime_type="image/png", width=24, height=16)


TURNS = (
    Turn(prompt="a fox", images=(ReferenceImage(HAT, "image/png"),), lane="google/pro", answer=(
        Part(text="Voilà.", signature="c2ln+/=="), Part(image=drawn(), signature="bmVk"))),
    Turn(prompt="the same again", lane="relay/flash", answer=(Part(image=drawn()), Part(image=drawn(HAT)))),
)  # fmt: skip
FIELDS: dict[str, Any] = {
    "size": "4K", "aspect_ratio": "16:9", "model": ["nano-banana-pro", "flash"], "max_cost": 0.1, "deadline": 30,
    "providers": {"only": ["google", "relay"], "sort": "latency"}, "fallback": "switch", "tags": {"job": "7"},
    "temperature": 0.5, "seed": 7, "grounding": True, "save_to": "out/fox.png", "min_size": "2K",
}  # fmt: skip
SAVED = Conversation(Conversation.begun(FIELDS).defaults, TURNS)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    return conversation_file.save(SAVED, tmp_path / "fox.chat")


def entries(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def rewritten(path: Path, document: Any = None, **changed: bytes) -> Path:
    """*path* with another document, or other entries."""
    held = {**entries(path), **{name.replace("__", "/"): data for name, data in changed.items()}}
    if document is not None:
        held["conversation.json"] = json.dumps(document).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in held.items():
            archive.writestr(name, data)
    return path


def document(path: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(entries(path)["conversation.json"])
    return read


class TestWhatComesBack:
    def test_is_what_was_saved(self, saved: Path) -> None:
        loaded = conversation_file.load(saved)
        assert loaded == SAVED
        assert dict(loaded.defaults) == dict(SAVED.defaults)
        assert loaded.defaults["max_cost"] == Decimal("0.1")

    def test_an_empty_one_too(self, tmp_path: Path) -> None:
        empty = Conversation.begun({})
        assert conversation_file.load(conversation_file.save(empty, tmp_path / "x")) == empty

    def test_each_image_is_there_once_under_its_hash(self, saved: Path) -> None:
        names = {f"images/{hashlib.sha256(data).hexdigest()}": data for data in (FOX, HAT)}
        assert {name: data for name, data in entries(saved).items() if name != "conversation.json"} == names

    def test_through_the_gateway_it_goes_on(self, tmp_path: Path) -> None:
        painters: Studio = two(references=3)
        painters.script("first", draws(GeneratedImage(data=FOX, mime_type="image/png", width=2048, height=2048)))
        chat = painters.gateway.chat(size="2K")
        painters.time.run(lambda: chat.send("a fox", images=[HAT]))
        loaded = painters.gateway.load_chat(chat.save(tmp_path / "fox"))
        painters.time.run(lambda: loaded.send("with a hat"))
        asked = painters.calls[-1].request
        assert (asked.size, asked.history[0].prompt, asked.history[0].drawn[0].data) == ("2K", "a fox", FOX)


class TestSaving:
    def test_replaces_a_file_only_by_a_whole_one(self, saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        before = saved.read_bytes()
        monkeypatch.setattr(zipfile.ZipFile, "writestr", _full)
        with pytest.raises(OSError, match="No space"):
            conversation_file.save(SAVED, saved)
        assert saved.read_bytes() == before
        assert list(saved.parent.iterdir()) == [saved]

    def test_in_a_folder_that_is_not_there_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            conversation_file.save(SAVED, tmp_path / "nowhere" / "x")

    def test_compresses_nothing(self, saved: Path) -> None:
        with zipfile.ZipFile(saved) as archive:
            assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")


class TestVersions:
    def test_a_later_minor_one_is_read_and_what_is_unknown_in_it_left_alone(self, saved: Path) -> None:
        later = document(saved)
        later |= {"minor": 9, "mood": "happy"}
        later["defaults"]["mood"] = "happy"
        later["turns"][0] |= {"mood": "happy"}
        later["turns"][0]["answer"][0]["mood"] = "happy"
        assert conversation_file.load(rewritten(saved, later, images__mood=b"x")) == SAVED

    def test_a_later_major_one_is_refused_with_the_version_that_reads_it(self, saved: Path) -> None:
        later = {"major": 2, "minor": 1, "written_by": "7.3.1", "talk": "of other things"}
        with pytest.raises(
            InvalidRequest, match=r"^fox\.chat: has version 2\.1 .* takes image-gateway 7\.3\.1 or later"
        ):
            conversation_file.load(rewritten(saved, later))


class TestDamage:
    def test_a_changed_image_is_named(self, saved: Path) -> None:
        name = f"images/{hashlib.sha256(FOX).hexdigest()}"
        rewritten(saved, **{name.replace("/", "__"): HAT})
        with pytest.raises(InvalidRequest, match=rf"^fox\.chat: {name}: has been changed"):
            conversation_file.load(saved)

    def test_a_missing_image_is_named(self, saved: Path) -> None:
        changed = document(saved)
        changed["turns"][0]["images"][0]["sha256"] = "0" * 64
        with pytest.raises(InvalidRequest, match=f"^fox.chat: images/{'0' * 64}: is not in it"):
            conversation_file.load(rewritten(saved, changed))

    def test_something_that_is_no_image_is_named(self, saved: Path) -> None:
        data = b"#!/bin/sh"
        name, changed = hashlib.sha256(data).hexdigest(), document(saved)
        changed["turns"][0]["images"][0]["sha256"] = name
        with pytest.raises(InvalidRequest, match=f"^fox.chat: images/{name}: "):
            conversation_file.load(rewritten(saved, changed, **{f"images__{name}": data}))

    def test_a_flipped_byte_is_found(self, saved: Path) -> None:
        data = bytearray(saved.read_bytes())
        data[data.index(FOX) + 60] ^= 1
        saved.write_bytes(data)
        with pytest.raises(InvalidRequest, match=r"^fox\.chat: images/[0-9a-f]{64}: is damaged"):
            conversation_file.load(saved)

    @pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
    def test_a_file_that_was_cut_off_is_damaged(self, saved: Path, share: float) -> None:
        saved.write_bytes(saved.read_bytes()[: int(saved.stat().st_size * share)])
        with pytest.raises(InvalidRequest, match=r"^fox\.chat: is damaged"):
            conversation_file.load(saved)

    def test_a_missing_file_says_so(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidRequest, match=r"^gone\.chat: cannot be read: No such file"):
            conversation_file.load(tmp_path / "gone.chat")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"turns": [{"prompt": 7}]}, r"^fox\.chat: conversation\.json: turns\.0\.prompt: "),
            (
                {"turns": [{"prompt": "x", "images": [{"sha256": "../../etc/passwd"}]}]},
                r"^fox\.chat: conversation\.json: turns\.0\.images\.0\.sha256: ",
            ),
            ({"defaults": {"size": "9K"}}, r"^fox\.chat: conversation\.json: defaults: size: "),
            ({"defaults": {"images": ["/etc/passwd"]}}, r"^fox\.chat: conversation\.json: defaults: images: "),
            ({"major": "x"}, r"^fox\.chat: conversation\.json: major: "),
        ],
    )
    def test_a_document_that_means_nothing_is_named_by_its_place(
        self, saved: Path, change: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(InvalidRequest, match=message):
            conversation_file.load(rewritten(saved, {**document(saved), **change}))

    @pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b"[" * 100_000])
    def test_a_document_that_is_none_is_refused(self, saved: Path, text: bytes) -> None:
        held = entries(saved) | {"conversation.json": text}
        with zipfile.ZipFile(saved, "w") as archive:
            for name, data in held.items():
                archive.writestr(name, data)
        with pytest.raises(InvalidRequest, match=r"^fox\.chat: conversation\.json: "):
            conversation_file.load(saved)


class TestHostileFiles:
    def test_a_bomb_is_refused_unopened(self, tmp_path: Path) -> None:
        bomb = tmp_path / "bomb"
        with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("conversation.json", b" " * 10_000_000)
        with pytest.raises(InvalidRequest, match=r"^bomb: is no saved conversation: something in it is compressed"):
            conversation_file.load(bomb)

    def test_entries_that_share_their_bytes_are_refused(self, saved: Path) -> None:
        with zipfile.ZipFile(saved, "a") as archive:
            first = archive.infolist()[0]
            archive.filelist.extend([first] * 1_000)
            archive._didModify = True  # type: ignore[attr-defined] # it writes the list anew
        with pytest.raises(
            InvalidRequest, match=r"^fox\.chat: is no saved conversation: it claims to hold more than it has"
        ):
            conversation_file.load(saved)

    def test_a_file_of_unlikely_size_is_refused_unread(self, tmp_path: Path) -> None:
        huge = tmp_path / "huge"
        with huge.open("wb") as file:
            file.truncate(conversation_file.MAX_FILE + 1)  # sparse
        with pytest.raises(InvalidRequest, match=r"^huge: is over the limit"):
            conversation_file.load(huge)

    def test_entries_with_paths_write_nothing(self, saved: Path) -> None:
        assert conversation_file.load(rewritten(saved, **{"..__..__evil": b"x"})) == SAVED
        assert not (saved.parent.parent.parent / "evil").exists()

    def test_no_key_is_ever_in_it(self, tmp_path: Path) -> None:
        painters = two(references=3)
        chat = painters.gateway.chat()
        painters.time.run(lambda: chat.send("a fox"))
        assert b"key-1" not in chat.save(tmp_path / "x").read_bytes()
