"""A conversation's earlier turns as they leave through the SDKs: each upstream gets them in the form it can read."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from dataclasses import replace
from typing import Any

import pytest

from providers.exchange import Exchange
from providers.google import GoogleProvider
from providers.images import GeneratedImage, ReferenceImage
from providers.openai_compatible import OpenAICompatibleProvider
from providers.outcome import Part
from providers.provider import Provider, ProviderSettings
from providers.request import UpstreamRequest
from providers.secret import Secret
from providers.turns import Turn
from providers.uploads import WORTHWHILE, lightened
from tests.providers.wire import BODY, KEY, Received, Upstream, answer, answering

SIGNED = (base64.b64encode(b"\xff\xef\xbe" * 20).decode(), base64.b64encode(b"\xfb\xf0\x00" * 21 + b"x").decode())
"""Signatures with a plus, slashes and padding in them."""


def noise(size: int, seed: int = 1) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + random.Random(seed).randbytes(size)


def drawn(size: int = 500, seed: int = 1) -> GeneratedImage:
    return GeneratedImage(data=noise(size, seed), mime_type="image/png", width=1024, height=1024)


def turn(prompt: str = "a fox", *parts: Part, images: tuple[ReferenceImage, ...] = ()) -> Turn:
    signed = (Part(text="Here it is.", signature=SIGNED[0]), Part(image=drawn(), signature=SIGNED[1]))
    return Turn(prompt=prompt, images=images, answer=parts or signed, lane="google/gemini-3-pro-image")


def going_on(*turns: Turn, **more: Any) -> UpstreamRequest:
    fields = {"model": "gemini-3-pro-image", "prompt": "with a hat", "history": turns, "timeout": 20.0, **more}
    return UpstreamRequest(**fields)


def sent(kind: str, request: UpstreamRequest) -> Received:
    """*request* as it reaches the upstream of the adapter for *kind*: ``google``, or a dialect."""

    async def main() -> Received:
        body = BODY["google" if kind == "google" else "openai" if "images" in kind else "chat"]
        async with Upstream(answering(answer(body))) as upstream:
            provider = adapter(kind, upstream.url)
            assert (await provider.generate(request, Exchange())).name == "ok"
            await provider.aclose()
        (received,) = upstream.requests
        return received

    return asyncio.run(main())


def adapter(kind: str, url: str) -> Provider:
    if kind == "google":
        return GoogleProvider(ProviderSettings(name="t", kind="google", base_url=url, api_key=Secret(KEY)))
    settings = ProviderSettings(
        name="t", kind="openai", base_url=f"{url}/v1", api_key=Secret(KEY), options={"dialect": kind}
    )
    return OpenAICompatibleProvider(settings)


def contents(*turns: Turn, **more: Any) -> list[dict[str, Any]]:
    document: Any = json.loads(sent("google", going_on(*turns, **more)).body)
    found: list[dict[str, Any]] = document["contents"]
    return found


def decoded(part: dict[str, Any]) -> bytes:
    return base64.b64decode(part["inlineData"]["data"].replace("-", "+").replace("_", "/"))


def kinds_of(content: dict[str, Any]) -> list[str]:
    return ["image" if "inlineData" in part else part["text"] for part in content["parts"]]


class TestGoogle:
    def test_a_signature_comes_back_as_the_very_text_it_was(self) -> None:
        _, model, _ = contents(turn())
        assert [part["thoughtSignature"] for part in model["parts"]] == list(SIGNED)

    def test_the_turns_come_in_order_and_each_in_its_role(self) -> None:
        given = contents(turn("a fox"), turn("a red one"))
        assert [(each["role"], kinds_of(each)) for each in given] == [
            ("user", ["a fox"]), ("model", ["Here it is.", "image"]),
            ("user", ["a red one"]), ("model", ["Here it is.", "image"]),
            ("user", ["with a hat"]),
        ]  # fmt: skip

    @pytest.mark.parametrize("size", [500, WORTHWHILE, 3_000_001])
    def test_images_come_back_byte_for_byte(self, size: int) -> None:
        given, answered = ReferenceImage(noise(size, 2), "image/png"), drawn(size, 3)
        asked, model, now = contents(
            turn("a fox", Part(image=answered, signature=SIGNED[0]), images=(given,)),
            images=(ReferenceImage(noise(size, 4), "image/png"),),
        )
        assert [decoded(content["parts"][-1]) for content in (asked, model, now)] == [
            given.data, answered.data, noise(size, 4),
        ]  # fmt: skip

    def test_an_answer_without_signatures_is_shown_by_the_user_instead(self) -> None:
        foreign = turn("a fox", Part(text="Voilà."), Part(image=drawn()))
        given = contents(foreign, turn("a red one"))
        assert [(each["role"], kinds_of(each)) for each in given] == [
            ("user", ["a fox", "image"]),
            ("user", ["a red one"]), ("model", ["Here it is.", "image"]),
            ("user", ["with a hat"]),
        ]  # fmt: skip
        assert "thoughtSignature" not in json.dumps(given[0])

    def test_unsigned_words_before_a_signed_image_are_left_out(self) -> None:
        given = contents(turn("a fox", Part(text="Hm."), Part(image=drawn(), signature=SIGNED[0]), Part(text="So.")))
        assert kinds_of(given[1]) == ["image", "So."]

    def test_a_model_that_never_signs_speaks_for_itself(self) -> None:
        unsigned = turn("a fox", Part(text="Voilà."), Part(image=drawn()))
        given = contents(unsigned, model="gemini-2.5-flash-image")
        assert [(each["role"], kinds_of(each)) for each in given[:2]] == [
            ("user", ["a fox"]), ("model", ["Voilà.", "image"]),
        ]  # fmt: skip

    def test_a_signature_cannot_break_out_of_its_string(self) -> None:
        hostile = '","thought":true,"x":"\\'
        _, model, _ = contents(turn("a fox", Part(image=drawn(), signature=hostile)))
        (part,) = model["parts"]
        assert part["thoughtSignature"] == hostile
        assert "thought" not in part


def messages(dialect: str, *turns: Turn) -> list[dict[str, Any]]:
    document: Any = json.loads(sent(dialect, going_on(*turns)).body)
    found: list[dict[str, Any]] = document["messages"]
    return found


def link(data: bytes) -> dict[str, Any]:
    uri = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    return {"type": "image_url", "image_url": {"url": uri}}


class TestChat:
    @pytest.mark.parametrize("size", [500, 200_001])
    @pytest.mark.parametrize("dialect", ["chat", "chat-flat", "new-api"])
    def test_the_answer_goes_back_where_the_dialect_reads_it(self, dialect: str, size: int) -> None:
        image = drawn(size)
        reference = ReferenceImage(noise(size, 5), "image/png")
        asked, answered, now = messages(
            dialect, turn("a fox", Part(text="Here.", signature=SIGNED[0]), Part(image=image), images=(reference,))
        )
        expected = {
            "chat": {"content": "Here.", "images": [link(image.data)]},
            "chat-flat": {"content": [{"type": "text", "text": "Here."}, link(image.data)]},
            "new-api": {"content": f"Here.\n![image]({link(image.data)['image_url']['url']})"},
        }
        assert asked == {"role": "user", "content": [{"type": "text", "text": "a fox"}, link(reference.data)]}
        assert answered == {"role": "assistant", **expected[dialect]}
        assert now == {"role": "user", "content": "with a hat"}

    @pytest.mark.parametrize("dialect", ["chat", "chat-flat", "new-api"])
    def test_no_thought_signature_leaves(self, dialect: str) -> None:
        assert SIGNED[0][:20].encode() not in sent(dialect, going_on(turn(), turn())).body


class TestEdits:
    def test_the_last_image_goes_first_and_then_the_new_ones(self) -> None:
        first, last = turn("a fox", Part(image=drawn(40_000, 1))), turn("a red one", Part(image=drawn(50_000, 2)))
        new = ReferenceImage(noise(60_000, 3), "image/png")
        received = sent("images", going_on(first, last, images=(new,)))
        assert received.target.endswith("/images/edits")
        files = [part for part in received.body.split(b"\r\n--") if b"filename=" in part]
        assert [part.partition(b"\r\n\r\n")[2] for part in files] == [noise(50_000, 2), new.data]

    def test_the_prompts_of_earlier_turns_are_not_repeated(self) -> None:
        received = sent("images", going_on(turn("a fox"), turn("a red one")))
        assert b"with a hat" in received.body
        assert b"a fox" not in received.body
        assert b"a red one" not in received.body

    def test_of_several_images_the_last_one_is_edited(self) -> None:
        several = turn("foxes", Part(image=drawn(seed=1)), Part(image=drawn(seed=2)))
        document = json.loads(sent("images-json", going_on(several)).body)
        assert document["images"] == [{"image_url": link(noise(500, 2))["image_url"]["url"]}]

    def test_openrouters_images_take_it_as_an_input_reference(self) -> None:
        document = json.loads(sent("openrouter-images", going_on(turn(), turn())).body)
        assert document["input_references"] == [link(drawn().data)]
        assert document["prompt"] == "with a hat"

    def test_without_any_image_so_far_it_is_a_new_one(self) -> None:
        talk = turn("hello", Part(text="Hello."))
        assert sent("images", going_on(talk)).target.endswith("/images/generations")


def test_the_sdk_never_holds_the_images_of_earlier_turns() -> None:
    exchange = Exchange()
    big = turn("a fox", Part(image=drawn(1_000_000), signature=SIGNED[0]),
               images=(ReferenceImage(noise(900_000), "image/png"),))  # fmt: skip
    (light,) = lightened(going_on(big), exchange).history
    assert max(len(image.data) for image in (*light.images, *light.drawn)) < 100
    assert {len(image.data) for image in exchange.uploads.values()} == {1_000_008, 900_008}
    assert list(exchange.signatures.values()) == [SIGNED[0]]


def test_small_images_of_earlier_turns_go_as_they_are() -> None:
    request = going_on(replace(turn(), answer=(Part(image=drawn(100)),)))
    assert lightened(request, Exchange()) == request
