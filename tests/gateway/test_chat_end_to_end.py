"""Whole conversations over real sockets, through both real SDKs, with every image and signature looked for on the wire."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from gateway import AsyncGateway, Gateway, ImageResult
from gateway.chat.chat import UNSIGNED, Chat
from providers.simulator import Simulator, faults
from providers.simulator.forms import parse_form
from providers.simulator.recording import RecordedRequest
from tests.providers.wire import picture

PRO, GPT = "google/gemini-3-pro-image", "openai/gpt-image-2"


@pytest.fixture
def google() -> Iterator[Simulator]:
    with Simulator() as upstream:
        yield upstream


@pytest.fixture
def openai() -> Iterator[Simulator]:
    with Simulator(flavour="openrouter") as upstream:
        yield upstream


def configured(google: Simulator, openai: Simulator, dialect: str = "images", **more: Any) -> dict[str, Any]:
    """Gemini on Google's own wire, preferred for its price, and GPT Image behind an OpenAI-compatible one."""
    prices = {"1K": 0.01, "2K": 0.01, "4K": 0.01}
    dear = {"1K": 0.2, "2K": 0.2, "4K": 0.2}
    return {
        "providers": {
            "google": {
                "kind": "google", "base_url": google.google_url, "api_key": "key-1",
                "lanes": [{"model": "gemini-3-pro-image", "price": prices, "sizes": ["1K", "2K", "4K"]}],
            },
            "openai": {
                "kind": "openai", "base_url": openai.openai_url, "api_key": "key-2", "dialect": dialect,
                "lanes": [{"model": "gpt-image-2", "price": dear, "references": 16, **more}],
            },
        },
    }  # fmt: skip


def parts_of(request: RecordedRequest) -> list[tuple[str, str | bytes, str | None]]:
    """Role, text or image bytes, and signature of every part of a request on Google's wire."""
    return [
        (content["role"], _piece(part), part.get("thoughtSignature"))
        for content in request.json["contents"]
        for part in content["parts"]
    ]


def _piece(part: dict[str, Any]) -> str | bytes:
    if "inlineData" not in part:
        return str(part["text"])
    return base64.b64decode(part["inlineData"]["data"].replace("-", "+").replace("_", "/"))


def files_of(request: RecordedRequest) -> list[bytes]:
    form = parse_form(request.body, request.headers["content-type"])
    assert form is not None
    return [data for _, data in form.files]


def answered(result: ImageResult) -> list[tuple[str, str | bytes, str | None]]:
    """The parts of *result* as they have to come back in the model's turn."""
    return [("model", part.image.data if part.image else part.text or "", part.signature) for part in result.parts]


def pixels(result: ImageResult) -> tuple[int, int]:
    with Image.open(io.BytesIO(result.images[0].data)) as image:
        image.load()
        return image.size


def test_ten_turns_survive_a_lane_switch_at_the_fifth_and_a_reload_at_the_seventh(
    google: Simulator, openai: Simulator, tmp_path: Path
) -> None:
    results: list[ImageResult] = []
    reference = picture(300, 200)
    with Gateway.from_config(configured(google, openai)) as gateway:
        chat = gateway.chat(size="1K", aspect_ratio="1:1")
        results.append(chat.send("turn 1", images=[reference]))
        results += [chat.send(f"turn {number}") for number in (2, 3, 4)]
        google.inject(faults.overloaded())
        results.append(chat.send("turn 5"))
        google.clear_faults()
        results.append(chat.send("turn 6", size="2K"))
        chat.save(tmp_path / "talk.chat")
    with Gateway.from_config(configured(google, openai)) as gateway:
        chat = gateway.load_chat(tmp_path / "talk.chat")
        results.append(chat.send("turn 7"))
        results.append(chat.send("turn 8", model="gemini-3-pro-image"))
        results.append(chat.send("turn 9"))
        results.append(chat.send("turn 10", size="4K"))

    assert [result.lane for result in results] == [PRO] * 4 + [GPT] * 3 + [PRO] * 3
    assert [pixels(result) for result in results] == [
        *[(1024, 1024)] * 5, (2048, 2048), *[(1024, 1024)] * 3, (4096, 4096),
    ]  # fmt: skip
    assert len({result.images[0].data for result in results}) == 10
    assert [turn.drawn for turn in chat.turns] == [result.images for result in results]
    assert [bool(result.warnings) for result in results] == [
        number in (5, 8) for number in range(1, 11)
    ]  # fmt: skip
    assert f"moved from {PRO} to {GPT}: it was sent the last image" in results[4].warnings[0]
    assert f"moved from {GPT} to {PRO}: it was sent the earlier turns" in results[7].warnings[0]

    # Turn 5 is an edit of turn 4's image, and 6 and 7 go on from there, the one after the reload as well.
    assert [files_of(each) for each in openai.requests] == [[results[n].images[0].data] for n in (3, 4, 5)]
    assert [each.form["prompt"] for each in openai.requests if each.form] == ["turn 5", "turn 6", "turn 7"]

    # Turn 10: Google's own answers come back byte for byte with their signatures, the others as what the user shows.
    own = [[("user", f"turn {n}", None), *answered(results[n - 1])] for n in (1, 2, 3, 4)]
    own[0].insert(1, ("user", reference, None))
    foreign = [
        [("user", f"turn {n}", None), ("user", results[n - 1].images[0].data, None)] for n in (5, 6, 7)
    ]  # fmt: skip
    again = [[("user", f"turn {n}", None), *answered(results[n - 1])] for n in (8, 9)]
    expected = [part for turn in (*own, *foreign, *again) for part in turn]
    assert parts_of(google.requests[-1]) == [*expected, ("user", "turn 10", None)]
    assert all(signature for result in results if result.lane == PRO for _, _, signature in answered(result))


@pytest.mark.parametrize(
    ("dialect", "flavour"), [("chat", "openrouter"), ("chat-flat", "openrouter"), ("new-api", "new-api")]
)
def test_a_chat_lane_is_told_the_whole_conversation(dialect: str, flavour: str, google: Simulator) -> None:
    with (
        Simulator(flavour=flavour) as openai,
        Gateway.from_config(configured(google, openai, dialect)) as gateway,
    ):
        chat = gateway.chat()
        before = [chat.send("turn 1"), chat.send("turn 2")]
        moved = chat.send("turn 3", model="gpt-image-2")
    assert moved.lane == GPT
    assert moved.warnings == (
        f"the conversation moved from {PRO} to {GPT}: it was sent the earlier turns in its own form; thought signatures "
        "were left behind",
    )
    body = openai.requests[-1].body
    roles = [message["role"] for message in openai.requests[-1].json["messages"]]
    assert roles == ["user", "assistant", "user", "assistant", "user"]
    for result in before:
        assert base64.b64encode(result.images[0].data) in body
        assert not any((part.signature or "").encode() in body for part in result.parts)


def talk(gateway: Gateway) -> Chat:
    chat = gateway.chat(model="gemini-3-pro-image")
    chat.send("turn 1")
    chat.send("turn 2")
    return chat


def test_a_branch_and_an_undone_turn_are_told_only_what_they_know(google: Simulator, openai: Simulator) -> None:
    with Gateway.from_config(configured(google, openai)) as gateway:
        chat = talk(gateway)
        first, second = (turn.drawn[0].data for turn in chat.turns)
        chat.branch(1).send("elsewhere")
        assert [piece for _, piece, _ in parts_of(google.requests[-1])][-2:] == [first, "elsewhere"]
        chat.undo()
        chat.send("instead")
        assert second not in [piece for _, piece, _ in parts_of(google.requests[-1])]
        assert [turn.prompt for turn in chat.turns] == ["turn 1", "instead"]


def test_signatures_that_another_account_gave_are_refused_and_then_left_out(
    google: Simulator, openai: Simulator, tmp_path: Path
) -> None:
    with Gateway.from_config(configured(google, openai)) as gateway:
        talk(gateway).save(tmp_path / "talk.chat")
    with Simulator() as other, Gateway.from_config(configured(other, openai)) as gateway:
        chat = gateway.load_chat(tmp_path / "talk.chat")
        result = chat.send("turn 3")
        assert [attempt.outcome for attempt in result.attempts] == ["invalid", "ok"]
        assert result.attempts[0].detail == "HTTP 400 INVALID_ARGUMENT: Corrupted thought signature."
        assert UNSIGNED in result.warnings
        images = [piece for _, piece, _ in parts_of(other.requests[-1]) if isinstance(piece, bytes)]
        assert images == [turn.drawn[0].data for turn in chat.turns[:2]]
        assert len(chat.send("turn 4").attempts) == 1


def test_a_long_conversation_keeps_to_the_images_that_the_model_takes(google: Simulator, openai: Simulator) -> None:
    with Gateway.from_config(configured(google, openai)) as gateway:
        chat = gateway.chat(model="gemini-3-pro-image")
        results = [chat.send(f"turn {number}") for number in range(1, 18)]
    assert results[14].warnings == ()
    assert results[-1].warnings == (
        f"{PRO} was not sent the first 2 of 16 turns: a request has no room for their images",
    )
    assert google.requests[-1].images == 14
    assert parts_of(google.requests[-1])[0] == ("user", "turn 3", None)


def test_the_async_face_awaits_send_alone(google: Simulator, openai: Simulator, tmp_path: Path) -> None:
    async def main() -> list[str]:
        async with AsyncGateway.from_config(configured(google, openai)) as gateway:
            chat = gateway.chat(model="gemini-3-pro-image")
            await chat.send("turn 1")
            await chat.send("turn 2")
            await chat.branch(1).send("elsewhere")
            chat.undo()
            loaded = gateway.load_chat(chat.save(tmp_path / "talk.chat"))
            await loaded.send("turn 3")
            return [turn.prompt for turn in loaded.turns]

    assert asyncio.run(main()) == ["turn 1", "turn 3"]


def test_the_example_in_the_docs_runs(
    google: Simulator,
    openai: Simulator,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "conversations.md").read_text(encoding="utf-8")
    example = text.partition("```python\n")[2].partition("```")[0]
    (tmp_path / "logo.png").write_bytes(picture(300, 200))
    (tmp_path / "gateway.toml").write_text(
        f'[providers.google]\nkind = "google"\nbase_url = "{google.google_url}"\napi_key = "env:KEY"\n',
        encoding="utf-8",
    )
    monkeypatch.setenv("KEY", "key-1")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "docs/conversations.md", "exec"), {})
    assert capsys.readouterr().out == "4 google/gemini-3.1-flash-image\n"
    assert (tmp_path / "lighthouse.jpg").exists()


def test_googles_newer_wire_gets_every_signature_and_image_back(google: Simulator, openai: Simulator) -> None:
    tables = configured(google, openai)
    tables["providers"]["google"]["wire"] = "interactions"
    with Gateway.from_config(tables) as gateway:
        chat = gateway.chat(model="gemini-3-pro-image")
        results = [chat.send("turn 1", images=[picture(300, 200)]), chat.send("turn 2")]
        chat.send("turn 3", model="gpt-image-2")
        assert chat.send("turn 4").lane == PRO
    body = google.requests[-1].body
    assert google.requests[-1].path.endswith("/interactions")
    for result in results:
        (signature,) = [part.signature for part in result.parts if part.signature]
        assert signature.encode() in body
        assert base64.b64encode(result.images[0].data) in body
    steps = [
        (step["type"], [part["type"] for part in step.get("content", [])]) for step in google.requests[-1].json["input"]
    ]
    turn = [("thought", []), ("model_output", ["text", "image"])]
    assert steps == [
        ("user_input", ["text", "image"]), *turn, ("user_input", ["text"]), *turn, ("user_input", ["text", "image"]),
        ("user_input", ["text"]),
    ]  # fmt: skip
