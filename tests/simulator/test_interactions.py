"""The Interactions API, asked by Google's SDK, by hand, and by the adapter."""

import asyncio
import base64
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from gateway import AsyncGateway
from providers.exchange import Exchange
from providers.google import GoogleProvider
from providers.images import ReferenceImage
from providers.outcome import Outcome, Part
from providers.provider import ProviderSettings
from providers.request import UpstreamRequest
from providers.secret import Secret
from providers.simulator import Fault, Simulator, faults, parse_fault
from providers.turns import Turn
from tests.simulator.conftest import _NO_TLS, KEY, google_client, picture, pixels

MODEL = "gemini-3-pro-image"
SECRET = "adapter-key-0123456789"
"""The adapter's key: another than that of the bare clients, which put theirs into addresses."""


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def user(words: str) -> dict[str, Any]:
    return {"type": "user_input", "content": [text(words)]}


def post(simulator: Simulator, given: object = "a cat", path: str = "/v1beta/interactions", **more: object) -> Any:
    return httpx2.post(
        f"{simulator.google_url}{path}",
        headers={"x-goog-api-key": KEY},
        json={"model": MODEL, "input": given, **more},
        timeout=20,
        verify=_NO_TLS,
    )


def steps_of(simulator: Simulator, given: object = "a cat", **more: object) -> list[dict[str, Any]]:
    answer = post(simulator, given, **more)
    assert answer.status_code == 200, answer.text
    return answer.json()["steps"]


def drawn(steps: list[dict[str, Any]]) -> bytes:
    return base64.b64decode(steps[-1]["content"][-1]["data"])


def request(prompt: str = "a cat", **fields: Any) -> UpstreamRequest:
    return UpstreamRequest(model=MODEL, prompt=prompt, size="1K", timeout=20.0, **fields)


def generated(simulator: Simulator, *requests: UpstreamRequest) -> list[Outcome]:
    """What the adapter makes of the answers to *requests*, each of which gets the turns before it as its history."""

    async def main() -> list[Outcome]:
        settings = ProviderSettings(
            name="test",
            kind="google",
            api_key=Secret(SECRET),
            base_url=simulator.google_url,
            options={"wire": "interactions"},
        )
        provider, outcomes, history = GoogleProvider(settings), [], ()
        for asked in requests:
            outcomes.append(await provider.generate(replace(asked, history=asked.history or history), Exchange()))
            history = (*history, Turn(prompt=asked.prompt, images=asked.images, answer=outcomes[-1].parts))
        await provider.aclose()
        return outcomes

    return asyncio.run(main())


def test_googles_sdk_finds_the_image(image_upstream):
    with google_client(image_upstream) as client:
        found = client.interactions.create(
            model=MODEL,
            input="poster of my cat",
            response_format={"type": "image", "mime_type": "image/jpeg", "aspect_ratio": "16:9", "image_size": "2K"},
            store=False,
        )
    assert (found.status, [step.type for step in found.steps]) == ("completed", ["thought", "model_output"])
    assert pixels(base64.b64decode(found.output_image.data)) == (2752, 1536)
    assert found.usage.total_output_tokens > found.usage.output_tokens_by_modality[0].tokens


@pytest.mark.parametrize("path", ["/v1beta/interactions", "/v1/interactions"])
def test_both_versions_answer_with_a_signed_thought_words_and_an_image(image_upstream, path):
    thought, output = post(image_upstream, path=path).json()["steps"]
    assert thought["type"] == "thought"
    assert base64.b64decode(thought["signature"], validate=True)
    assert [item["type"] for item in output["content"]] == ["text", "image"]


def test_an_image_format_alone_silences_the_words_and_summaries_come_when_asked(image_upstream):
    config = {"thinking_summaries": "auto"}
    thought, output = steps_of(image_upstream, response_format={"type": "image"}, generation_config=config)
    assert thought["summary"][0]["text"]
    assert [item["type"] for item in output["content"]] == ["image"]


def test_text_alone_draws_nothing(image_upstream):
    assert [item["type"] for item in steps_of(image_upstream, response_format=[{"type": "text"}])[-1]["content"]] == [
        "text"
    ]
    assert image_upstream.billed == 0


def test_a_reference_sets_the_ratio(image_upstream):
    data = base64.b64encode(picture(160, 90)).decode()
    given = [text("edit it"), {"type": "image", "mime_type": "image/png", "data": data}]
    assert pixels(drawn(steps_of(image_upstream, given))) == (1376, 768)
    assert image_upstream.requests[-1].images == 1


def test_requests_are_recorded_and_charged(image_upstream):
    post(image_upstream, response_format={"type": "image", "image_size": "4K", "aspect_ratio": "1:1"})
    (recorded,) = image_upstream.requests
    assert (recorded.model, recorded.size, recorded.aspect_ratio, recorded.n) == (MODEL, "4K", "1:1", 1)
    assert image_upstream.billed > 0


@pytest.mark.parametrize(
    ("more", "status", "told"),
    [
        ({"model": "no-such-model"}, 404, "models/no-such-model is not found for API version v1beta"),
        ({"input": ""}, 400, "input is not specified"),
        ({"input": [user("a"), {"type": "model_output", "content": [text("b")]}]}, 400, "last step must be the user's"),
        ({"response_format": {"type": "image", "image_size": "4k"}}, 400, "Invalid image size: 4k"),
        ({"response_format": {"type": "image", "aspect_ratio": "7:5"}}, 400, "aspect_ratio must be one of"),
        ({"generation_config": {"image_config": {}}}, 400, "Unknown name \"image_config\" at 'generation_config'"),
        ({"input": [{"type": "user_input", "parts": []}]}, 400, "Unknown name \"parts\" at 'input[0]'"),
        ({"input": [{"type": "image", "data": "AAAA"}, text("edit it")]}, 400, "Unable to process input image"),
        ({"stream": True}, 400, "not simulated"),
        ({"previous_interaction_id": "v1_x"}, 400, "not simulated"),
    ],
)
def test_a_wrong_request_is_refused_as_google_does(image_upstream, more, status, told):
    answer = post(image_upstream, **{"given": more.pop("input", "a cat"), **more})
    assert (answer.status_code, told in answer.json()["error"]["message"]) == (status, True), answer.text
    assert image_upstream.billed == 0


def test_a_conversation_goes_on_with_the_turns_as_they_came(image_upstream):
    first = steps_of(image_upstream, [user("a cat")])
    second = steps_of(image_upstream, [user("a cat"), *first, user("with a hat")])
    assert pixels(drawn(second)) == (1024, 1024)
    assert first[0]["signature"] != second[0]["signature"]


def changed(signature: str) -> str:
    return ("A" if signature[0] != "A" else "B") + signature[1:]


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (lambda thought, output: [{**thought, "signature": changed(thought["signature"])}, output], "Corrupted"),
        (lambda thought, output: [output], "must start with a thought"),
        (lambda thought, output: [output, thought], "must start with a thought"),
        (lambda thought, output: [{"type": "thought"}, output], "invalid argument"),
    ],
    ids=["altered", "missing", "too late", "unsigned"],
)
def test_a_turn_that_is_not_as_it_came_is_refused(image_upstream, spoil, told):
    spoilt = spoil(*steps_of(image_upstream, [user("a cat")]))
    answer = post(image_upstream, [user("a cat"), *spoilt, user("with a hat")])
    assert (answer.status_code, told in answer.json()["error"]["message"]) == (400, True), answer.text


def test_a_signature_of_another_model_is_refused(image_upstream):
    steps = steps_of(image_upstream, [user("a cat")])
    answer = post(image_upstream, [user("a cat"), *steps, user("with a hat")], model="gemini-3.1-flash-image")
    assert answer.status_code == 400


def test_the_adapter_converses(image_upstream):
    outcomes = generated(image_upstream, request(), request("with a hat"), request("and boots"))
    assert [outcome.name for outcome in outcomes] == ["ok"] * 3
    assert [recorded.images for recorded in image_upstream.requests] == [0, 1, 2]


def test_the_adapter_goes_on_from_a_turn_of_another_lane(image_upstream):
    (drawing,) = generated(image_upstream, request())
    foreign = tuple(replace(part, signature=None) for part in drawing.parts)
    history = (Turn(prompt="a cat", answer=(*foreign, Part(text="There."))),)
    (outcome,) = generated(image_upstream, request("with a hat", history=history))
    assert outcome.name == "ok"


def test_the_adapter_sends_references_whole(image_upstream):
    reference = ReferenceImage(picture(2400, 1350), "image/png")
    (outcome,) = generated(image_upstream, request("edit it", images=(reference,)))
    assert (outcome.images[0].width, outcome.images[0].height) == (1376, 768)


@pytest.mark.parametrize(
    ("fault", "name", "billed"),
    [
        (faults.overloaded(), "overloaded", "no"),
        (faults.internal(), "overloaded", "maybe"),
        (faults.rate_limited(), "rate_limited", "no"),
        (faults.bad_key(), "auth", "no"),
        (faults.model_gone(), "model_gone", "no"),
        (faults.error_in_200(), "overloaded", "maybe"),
        (faults.prohibited(), "blocked", "yes"),
        (faults.image_safety(), "blocked", "yes"),
        (faults.recitation(), "blocked", "yes"),
        (faults.prompt_feedback(), "blocked", "no"),
        (faults.image_other(), "no_image", "no"),
        (faults.no_image(), "no_image", "yes"),
        (faults.text_only(), "no_image", "yes"),
        (faults.no_candidates(), "no_image", "yes"),
        (faults.cut(0.5), "transport", "maybe"),
        (faults.reset(), "transport", "maybe"),
        (faults.not_an_image(), "bad_response", "yes"),
        (faults.garbage_base64(), "bad_response", "maybe"),
        (faults.gzipped(), "ok", "yes"),
        (faults.drafts(), "ok", "yes"),
    ],
    ids=lambda value: value.name if isinstance(value, Fault) else "",
)
def test_faults_strike_as_on_generate_content(image_upstream, fault, name, billed):
    image_upstream.inject(fault)
    (outcome,) = generated(image_upstream, request())
    assert (outcome.name, outcome.billed) == (name, billed), outcome.detail
    assert image_upstream.requests[-1].fault == fault.name


def test_refusals_take_the_form_of_an_interaction(image_upstream):
    image_upstream.inject(faults.prohibited(count=1))
    refused = post(image_upstream).json()
    image_upstream.inject(faults.no_image(count=1))
    empty = post(image_upstream).json()
    assert (refused["status"], refused["model"], refused["steps"]) == ("failed", MODEL, [])
    assert refused["errors"][0]["code"] == "https://ai.google.dev/errors/image_prohibited_content"
    assert "Responsible AI" in refused["errors"][0]["message"]
    assert (empty["status"], empty["errors"][0]["code"].rpartition("/")[2]) == ("incomplete", "no_image")


def test_a_smaller_image_than_asked_is_one_here_too(image_upstream):
    image_upstream.inject(parse_fault("wrong_size=512"))
    (outcome,) = generated(image_upstream, request())
    assert outcome.images[0].width == 512


def test_a_gateway_is_told_in_its_configuration(image_upstream):
    async def main() -> Any:
        provider = {
            "kind": "google", "api_key": SECRET, "base_url": image_upstream.google_url, "wire": "interactions",
            "lanes": [{"model": MODEL, "sizes": ["1K"], "price": {"1K": 0.1}}],
        }  # fmt: skip
        async with AsyncGateway.from_config({"providers": {"mine": provider}}) as gateway:
            return await gateway.generate("a cat")

    assert asyncio.run(main()).lane == f"mine/{MODEL}"
    assert image_upstream.requests[-1].path == "/v1beta/interactions"
