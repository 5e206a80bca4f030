"""A relay that appears nowhere in the code works from configuration alone."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from gateway import AllAttemptsFailed, ConfigError, Gateway, ImageResult
from providers.exchange import Exchange
from providers.openai_compatible import OpenAICompatibleProvider
from providers.outcome import Outcome
from providers.provider import ProviderSettings
from providers.request import UpstreamRequest
from providers.secret import Secret
from tests.relays.relay import Asked, Relay, as_json, png

KEY = "sk-unheard-of-relay"


def draw(relay: Relay, provider: dict[str, Any], **wishes: Any) -> ImageResult:
    lane = {"model": "painter-9", "sizes": ["1K", "2K", "4K"], "price": {"1K": 0.01, "2K": 0.02, "4K": 0.04}}
    table = {"kind": "openai", "base_url": f"{relay.url}/api", "api_key": KEY, "lanes": [lane], **provider}
    with Gateway.from_config({"providers": {"unheard-of": table}}) as gateway:
        return gateway.generate("A teal square", **wishes)


def pixels(result: ImageResult) -> tuple[int, int]:
    return result.images[0].width, result.images[0].height


def markdown(picture: bytes) -> dict[str, Any]:
    content = f"Here you are ![image](data:image/png;base64,{base64.b64encode(picture).decode()})"
    return {"choices": [{"message": {"role": "assistant", "content": content}, "finish_reason": "stop"}]}


def test_a_chat_relay_needs_a_base_url_a_dialect_and_its_lanes() -> None:
    with Relay(lambda _: as_json(markdown(png()))) as relay:
        result = draw(relay, {"dialect": "new-api"}, aspect_ratio="1:1")
    (asked,) = relay.asked
    assert asked.path == "/api/chat/completions"
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert asked.json["extra_body"] == {"google": {"image_config": {"aspect_ratio": "1:1", "image_size": "1K"}}}
    assert (result.lane, str(result.cost.usd), result.text) == ("unheard-of/painter-9", "0.01", "Here you are ")


def test_size_and_ratio_can_go_behind_the_models_name() -> None:
    with Relay(lambda _: as_json(markdown(png(3840, 2160)))) as relay:
        result = draw(relay, {"dialect": "chat", "size_as": "model-suffix"}, size="4K", aspect_ratio="16:9")
    asked = relay.asked[0].json
    assert asked["model"] == "painter-9-16x9-4k"
    assert "image_config" not in asked
    assert result.size == "4K"


def test_size_and_ratio_can_go_behind_the_prompt() -> None:
    with Relay(lambda _: as_json(markdown(png(2048, 2048)))) as relay:
        draw(relay, {"dialect": "chat", "size_as": "prompt"}, size="2K", aspect_ratio="1:1")
    assert relay.asked[0].json["messages"] == [{"role": "user", "content": "A teal square 【1:1】 【2K】"}]


def test_flat_parameters_are_a_dialect() -> None:
    with Relay(lambda _: as_json(markdown(png(2048, 2048)))) as relay:
        draw(relay, {"dialect": "chat-flat"}, size="2K", aspect_ratio="1:1")
    asked = relay.asked[0].json
    assert (asked["image_size"], asked["aspect_ratio"]) == ("2K", "1:1")


def test_what_else_a_relay_wants_is_added_to_every_request() -> None:
    with Relay(lambda _: as_json(markdown(png()))) as relay:
        draw(relay, {"dialect": "chat", "extra_body": {"group": "vip"}, "headers": {"x-team": "posters"}})
    asked = relay.asked[0]
    assert asked.json["group"] == "vip"
    assert asked.json["image_config"] == {"image_size": "1K"}
    assert asked.headers["x-team"] == "posters"


def test_reference_images_go_as_json_where_a_relay_takes_no_multipart() -> None:
    with Relay(lambda _: as_json({"data": [{"b64_json": base64.b64encode(png()).decode()}]})) as relay:
        lane = {"model": "painter-9", "sizes": ["1K"], "price": {"1K": 0.01}, "references": 2}
        draw(relay, {"dialect": "images-json", "lanes": [lane]}, images=[png(colour="red"), png(colour="blue")])
    asked = relay.asked[0]
    assert asked.path == "/api/images/edits"
    assert [image["image_url"][:22] for image in asked.json["images"]] == ["data:image/png;base64,"] * 2
    assert base64.b64decode(asked.json["images"][1]["image_url"][22:]) == png(colour="blue")


def test_openrouters_image_api_is_told_tier_and_ratio_in_words() -> None:
    with Relay(lambda _: as_json({"data": [{"b64_json": base64.b64encode(png(3840, 2160)).decode()}]})) as relay:
        draw(relay, {"dialect": "openrouter-images"}, size="4K", aspect_ratio="16:9")
    asked = relay.asked[0]
    assert asked.path == "/api/images"
    assert (asked.json["resolution"], asked.json["aspect_ratio"], asked.json["n"]) == ("4K", "16:9", 1)


def test_an_image_behind_a_link_is_fetched_without_the_key() -> None:
    def answer(asked: Asked) -> tuple[int, str, bytes]:
        if asked.path == "/files/1.png":
            return 200, "text/html", png()  # the bytes decide what it is
        return as_json({"data": [{"url": f"http://{relay.host}/files/1.png"}]})

    with Relay(answer) as relay:
        result = draw(relay, {"dialect": "images", "download_hosts": [relay.host]})
    assert pixels(result) == (1024, 1024)
    assert relay.asked[1].path == "/files/1.png"
    assert "authorization" not in relay.asked[1].headers


def test_a_link_to_a_private_address_is_not_followed_and_the_image_counts_as_paid() -> None:
    with Relay(lambda asked: as_json({"data": [{"url": f"http://{relay.host}/files/1.png"}]})) as relay:
        with pytest.raises(AllAttemptsFailed) as failed:
            draw(relay, {"dialect": "images"})
        assert len(relay.asked) == 1
    (attempt,) = failed.value.attempts
    assert (attempt.outcome, attempt.billed) == ("bad_response", "yes")
    assert "download_hosts" in attempt.detail


def test_a_streamed_answer_is_put_together() -> None:
    text = base64.b64encode(png()).decode()
    chunks = [
        '{"choices":[{"delta":{"content":"Sure "}}]}',
        f'{{"choices":[{{"delta":{{"images":[{{"image_url":{{"url":"data:image/png;base64,{text}"}}}}]}}}}]}}',
        '{"choices":[{"delta":{},"finish_reason":"stop"}],"usage":{"cost":0.03}}',
    ]
    stream = b": PING\n\n" + b"".join(b"data: " + chunk.encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"
    with Relay(lambda _: (200, "text/event-stream", stream)) as relay:
        lane = {"model": "painter-9", "sizes": ["1K"], "price": {"1K": 0.01}, "stream": True}
        result = draw(relay, {"dialect": "chat", "lanes": [lane]})
    assert relay.asked[0].json["stream"] is True
    assert (pixels(result), result.text, str(result.cost.usd)) == ((1024, 1024), "Sure ", "0.03")


TASK = {
    "submit": "/generate/submit",
    "poll": "/generate/tasks/{id}",
    "id": "data.task_id",
    "status": "data.status",
    "images": "data.output",
    "error": "data.reason",
    "interval": 0.5,
    "fields": {"prompt": "text", "model": "model", "size": "resolution", "aspect_ratio": "ratio"},
    "extra": {"public": False},
}


def task_relay(*polls: dict[str, Any]) -> Relay:
    left = list(polls)

    def answer(asked: Asked) -> tuple[int, str, bytes]:
        if asked.path == "/api/generate/submit":
            return as_json({"data": {"task_id": "t/1"}})
        if asked.path == "/files/1.png":
            return 200, "image/png", png()
        return as_json({"data": left.pop(0)})

    return Relay(answer)


def draw_task(relay: Relay) -> tuple[Outcome, list[float]]:
    """The outcome of one call to the adapter, and the pauses it took between polls."""
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    async def main() -> Outcome:
        options = {"task": TASK, "download_hosts": (relay.host,)}
        settings = ProviderSettings(
            name="p", kind="openai", api_key=Secret(KEY), base_url=f"{relay.url}/api", options=options
        )
        adapter = OpenAICompatibleProvider(settings, sleep=pause)
        request = UpstreamRequest(model="painter-9", prompt="A teal square", size="1K", aspect_ratio="1:1")
        try:
            return await adapter.generate(request, Exchange())
        finally:
            await adapter.aclose()

    with relay:
        return asyncio.run(main()), pauses


def test_a_relay_that_answers_with_a_task_is_polled_until_the_image_is_there() -> None:
    done: dict[str, Any] = {"status": "SUCCESS"}
    relay = task_relay({"status": "QUEUED"}, {"status": "RUNNING"}, done)
    done["output"] = [{"url": f"http://{relay.host}/files/1.png"}]
    outcome, pauses = draw_task(relay)
    assert relay.asked[0].json == {
        "text": "A teal square", "model": "painter-9", "resolution": "1K", "ratio": "1:1", "public": False
    }  # fmt: skip
    assert [asked.path for asked in relay.asked[1:]] == ["/api/generate/tasks/t%2F1"] * 3 + ["/files/1.png"]
    assert relay.asked[1].headers["authorization"] == f"Bearer {KEY}"
    assert (outcome.name, outcome.images[0].width) == ("ok", 1024)
    assert pauses == [0.5, 0.5, 0.5]


def test_a_task_that_fails_may_have_been_charged() -> None:
    outcome, _ = draw_task(task_relay({"status": "failed", "reason": "the content was moderated"}))
    assert (outcome.name, outcome.billed) == ("no_image", "maybe")
    assert "the content was moderated" in outcome.detail


def test_a_poll_that_fails_says_nothing_about_the_task() -> None:
    def answer(asked: Asked) -> tuple[int, str, bytes]:
        submitted = asked.path == "/api/generate/submit"
        return as_json({"data": {"task_id": 7}}) if submitted else as_json({"error": {"message": "busy"}}, 503)

    outcome, _ = draw_task(Relay(answer))
    assert (outcome.name, outcome.billed) == ("overloaded", "maybe")


def test_a_task_table_that_lacks_a_key_says_which() -> None:
    with Relay(lambda _: as_json({})) as relay, pytest.raises(ConfigError, match=r"providers\.unheard-of\.task\.poll"):
        draw(relay, {"task": {key: value for key, value in TASK.items() if key != "poll"}})
