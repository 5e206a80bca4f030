"""The Interactions API through google-genai itself, over sockets: what is sent, and what answers come to."""

from __future__ import annotations

import asyncio
import json
import logging
from dataclasses import replace
from typing import Any

import pytest

from gateway.configuration.config import load
from providers import interactions_request, interactions_wire
from providers.errors import ConfigError
from providers.exchange import Exchange
from providers.images import GeneratedImage, ReferenceImage
from providers.outcome import Outcome, Part, Usage
from providers.request import UpstreamRequest
from providers.turns import Turn
from tests.providers.bodies import encoded, written
from tests.providers.wire import (
    KEY,
    PICTURE,
    Received,
    Upstream,
    answer,
    answering,
    ask,
    drawing,
    make,
    picture,
    played,
)

WIRE: dict[str, Any] = {"options": {"wire": "interactions"}}
SIGNATURE = "EqGhogEKnKGi+/AQEMOdbH=="
LATER_SIGNATURE = "EtelrAEK0qWs/+AQEMOdbH=="

USAGE = {
    "total_tokens": 1497, "total_input_tokens": 12, "input_tokens_by_modality": [{"modality": "text", "tokens": 12}],
    "total_cached_tokens": 0, "total_output_tokens": 1262,
    "output_tokens_by_modality": [{"modality": "image", "tokens": 1120}],
    "total_tool_use_tokens": 0, "total_thought_tokens": 223,
}  # fmt: skip
IMAGE = {"mime_type": "image/png", "data": encoded(PICTURE), "type": "image"}
THOUGHT = {"signature": SIGNATURE, "type": "thought"}


def interaction(**more: Any) -> dict[str, Any]:
    """An answer, but for what the model did, as captured in May 2026."""
    common = {
        "id": "v1_ChdsV2Y1YWZPakRi", "status": "completed", "usage": USAGE, "created": "2026-05-05T03:44:40Z",
        "updated": "2026-05-05T03:44:40Z", "service_tier": "standard", "object": "interaction",
        "model": "gemini-3-pro-image-preview",
    }  # fmt: skip
    return {**common, **more}


def output(*content: dict[str, Any]) -> dict[str, Any]:
    return {"type": "model_output", "content": list(content)}


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


GOOD = interaction(steps=[THOUGHT, output(IMAGE)])


def answered(
    document: dict[str, Any], request: UpstreamRequest | None = None, **settings: Any
) -> tuple[Outcome, Exchange, Received]:
    """What an answer of *document* comes to, and the request it answered."""
    script = answering(answer(written(document)))
    outcome, exchange, upstream = played("google", script, request, **{**WIRE, **settings})
    assert len(upstream.requests) == 1
    return outcome, exchange, upstream.requests[0]


def outcome_of(document: dict[str, Any]) -> Outcome:
    return answered(document)[0]


def sent(request: UpstreamRequest) -> Any:
    """The JSON that leaves for *request*."""
    return json.loads(answered(GOOD, request)[2].body)


def image(data: bytes = PICTURE) -> GeneratedImage:
    return GeneratedImage(data=data, mime_type="image/png", width=24, height=16)


EDITING = replace(drawing("a secret cat"), images=(ReferenceImage(PICTURE, "image/png"),))
"""A request that the SDK sends itself: it differs from others in more than its prompt."""


# What is sent.


def test_everything_that_was_wished_is_asked_for():
    request = UpstreamRequest(
        model="gemini-3-pro-image", prompt="poster of my cat", images=(ReferenceImage(PICTURE, "image/png"),),
        size="2K", aspect_ratio="16:9", system_instruction="be brief", temperature=0.5, top_p=0.9, seed=7,
        thinking="high", grounding=True, output_format="jpeg",
    )  # fmt: skip
    received = answered(GOOD, request)[2]
    assert received.line == "POST /v1beta/interactions HTTP/1.1"
    assert json.loads(received.body) == {
        "model": "gemini-3-pro-image",
        "input": [{"type": "user_input", "content": [text("poster of my cat"), IMAGE]}],
        "system_instruction": "be brief",
        "response_format": [
            {"type": "text"},
            {"type": "image", "mime_type": "image/jpeg", "aspect_ratio": "16:9", "image_size": "2K"},
        ],
        "generation_config": {"temperature": 0.5, "top_p": 0.9, "seed": 7, "thinking_level": "high"},
        "tools": [{"type": "google_search"}],
        "store": False,
    }


def test_no_more_is_asked_for_than_was_wished():
    assert sent(drawing("a cat")) == {
        "model": "some-model",
        "input": [{"type": "user_input", "content": [text("a cat")]}],
        "response_format": [{"type": "text"}, {"type": "image"}],
        "store": False,
    }


def test_a_large_reference_goes_out_whole_in_the_place_of_its_stand_in():
    reference = picture(400, 300)
    request = replace(drawing(), images=(ReferenceImage(reference, "image/png"),))
    assert len(reference) > 300_000
    assert sent(request)["input"][0]["content"][1]["data"] == encoded(reference)


def test_the_key_goes_under_one_header_and_nowhere_else():
    own = answered(GOOD, EDITING)[2]
    assert (own.headers["x-goog-api-key"], own.headers.get("authorization")) == (KEY, None)
    relayed = answered(GOOD, EDITING, auth="bearer")[2]
    assert (relayed.headers["authorization"], relayed.headers.get("x-goog-api-key")) == (f"Bearer {KEY}", None)
    assert KEY not in own.line
    assert KEY.encode() not in own.body


def test_the_environment_adds_nothing(monkeypatch, caplog):
    monkeypatch.setenv("GOOGLE_GENAI_DEBUG", "1")
    monkeypatch.setenv("GOOGLE_GENAI_USER_PROJECT", "somebody-elses")
    monkeypatch.setenv("GOOGLE_GENAI_API_VERSION", "v9")
    with caplog.at_level(logging.DEBUG):
        received = answered(GOOD, EDITING)[2]
    assert "x-goog-user-project" not in received.headers
    assert received.target == "/v1beta/interactions"
    assert KEY not in caplog.text
    assert "secret cat" not in caplog.text


def test_imagen_is_asked_by_predict_all_the_same():
    body = written({"predictions": [{"bytesBase64Encoded": encoded(PICTURE)}]})
    request = replace(drawing(), model="imagen-4.0-generate-001")
    outcome, _, upstream = played("google", answering(answer(body)), request, **WIRE)
    assert upstream.requests[0].target == "/v1beta/models/imagen-4.0-generate-001:predict"
    assert outcome.name == "ok"


# One call is one call.


@pytest.mark.parametrize("status", ["408 Request Timeout", "429 Too Many Requests", "503 Service Unavailable"])
def test_a_failed_call_is_not_repeated(status):
    body = written({"error": {"code": int(status[:3]), "message": "later"}})
    _, _, upstream = played("google", answering(answer(body, status=status)), EDITING, **WIRE)
    assert len(upstream.requests) == 1


def test_an_interaction_that_could_be_continued_is_not():
    unfinished = interaction(status="requires_continuation", continuation_token="token", steps=[THOUGHT])
    assert answered(unfinished, EDITING)[0].name == "no_image"


def test_a_redirect_is_not_followed():
    elsewhere = answer(b"", status="307 Temporary Redirect", headers=["Location: /v1beta/elsewhere"])
    outcome, _, upstream = played("google", answering(elsewhere), EDITING, **WIRE)
    assert [request.target for request in upstream.requests] == ["/v1beta/interactions"]
    assert "redirects are not followed" in outcome.detail


# What comes back.


@pytest.mark.parametrize(
    "document", [GOOD, interaction(outputs=[THOUGHT, IMAGE], role="model")], ids=["steps", "outputs, before May 2026"]
)
def test_a_captured_answer_is_read(document):
    outcome = outcome_of(document)
    assert (outcome.name, outcome.billed) == ("ok", "yes")
    assert [(part.text, part.image and part.image.data, part.signature) for part in outcome.parts] == [
        (None, PICTURE, SIGNATURE)
    ]
    assert outcome.usage == Usage(input_text=12, output_image=1120, output_text=142, thoughts=223, total=1497)


def test_the_words_beside_an_image_are_kept_in_order():
    outcome = outcome_of(interaction(steps=[THOUGHT, output(text("Here it is."), IMAGE, text("Enjoy."))]))
    assert [part.text for part in outcome.parts] == ["Here it is.", None, "Enjoy."]
    assert [part.signature for part in outcome.parts] == [SIGNATURE, None, None]


def test_what_was_asked_and_thought_is_no_answer():
    asked = {"type": "user_input", "content": [text("a cat"), {**IMAGE, "data": encoded(picture(seed=2))}]}
    draft = {**THOUGHT, "summary": [text("Considering…"), {**IMAGE, "data": encoded(picture(seed=3))}]}
    outcome = outcome_of(interaction(steps=[asked, draft, output(IMAGE)]))
    assert [found.data for found in outcome.images] == [PICTURE]
    assert outcome.text == ""


def test_the_last_of_images_in_a_row_counts_with_its_own_signature():
    draft = {**IMAGE, "data": encoded(picture(seed=2))}
    later = {**THOUGHT, "signature": LATER_SIGNATURE}
    outcome = outcome_of(interaction(steps=[THOUGHT, output(draft), later, output(IMAGE)]))
    assert [(part.image.data, part.signature) for part in outcome.parts] == [(PICTURE, LATER_SIGNATURE)]


def test_reference_tokens_are_told_apart():
    by_modality = [{"modality": "text", "tokens": 99}, {"modality": "image", "tokens": 516}]
    usage = {**USAGE, "total_input_tokens": 615, "input_tokens_by_modality": by_modality}
    found = outcome_of(interaction(steps=[output(IMAGE)], usage=usage)).usage
    assert (found.input_text, found.input_image) == (99, 516)


def test_a_large_image_is_taken_out_while_it_arrives():
    large = picture(1600, 1200)
    outcome, exchange, _ = answered(interaction(steps=[THOUGHT, output({**IMAGE, "data": encoded(large)})]))
    assert [found.data for found in outcome.images] == [large]
    assert (outcome.images[0].width, outcome.images[0].height) == (1600, 1200)
    assert len(exchange.body) < 1500
    assert list(exchange.images.values()) == [large]


EVENTS = [
    {
        "interaction": {"id": "v1_x", "status": "in_progress", "object": "interaction"},
        "event_type": "interaction.created",
    },
    {"interaction_id": "v1_x", "status": "in_progress", "event_type": "interaction.status_update"},
    {"index": 0, "step": {"type": "thought"}, "event_type": "step.start"},
    {"index": 0, "delta": {"signature": SIGNATURE, "type": "thought_signature"}, "event_type": "step.delta"},
    {"index": 0, "event_type": "step.stop"},
    {"index": 1, "step": {"type": "model_output", "content": [text("Here ")]}, "event_type": "step.start"},
    {"index": 1, "delta": text("it is."), "event_type": "step.delta"},
    {"index": 1, "delta": IMAGE, "event_type": "step.delta"},
    {"index": 1, "event_type": "step.stop"},
    {"interaction": {"id": "v1_x", "status": "completed", "usage": USAGE}, "event_type": "interaction.completed"},
]
"""A stream as captured in May 2026, with words before the image."""


def streamed(events: list[dict[str, Any]]) -> tuple[Outcome, Received]:
    body = b"".join(b"event: x\ndata: " + written(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"
    script = answering(answer(body, headers=["Content-Type: text/event-stream"]))
    outcome, _, upstream = played("google", script, replace(drawing(), stream=True), **WIRE)
    return outcome, upstream.requests[0]


def test_a_stream_is_asked_for_and_put_together():
    outcome, received = streamed(EVENTS)
    assert json.loads(received.body)["stream"] is True
    assert received.headers["accept"] == "text/event-stream"
    assert [(part.text, part.image and part.image.data, part.signature) for part in outcome.parts] == [
        ("Here it is.", None, SIGNATURE),
        (None, PICTURE, None),
    ]
    assert outcome.usage.total == 1497


def test_an_error_in_a_stream_is_its_outcome():
    error = {"code": "https://ai.google.dev/errors/blocked", "message": "The prompt was blocked."}
    outcome, _ = streamed([*EVENTS[:3], {"event_type": "error", "error": error}])
    assert (outcome.name, outcome.billed) == ("blocked", "maybe")
    assert "The prompt was blocked." in outcome.detail


# Answers without an image.

NOTHING = {**USAGE, "total_output_tokens": 0, "output_tokens_by_modality": [], "total_thought_tokens": 0}


def failed(code: str, message: str, **more: Any) -> dict[str, Any]:
    return interaction(status="failed", errors=[{"code": code, "message": message}], **{"steps": [], **more})


@pytest.mark.parametrize(
    ("document", "name", "billed"),
    [
        (failed("https://ai.google.dev/errors/blocked", "Blocked."), "blocked", "yes"),
        (failed("https://ai.google.dev/errors/blocked", "Blocked.", usage=NOTHING), "blocked", "no"),
        (failed("safety", "You will not be charged."), "blocked", "no"),
        (failed("image_prohibited_content", "Sensitive."), "blocked", "yes"),
        (failed("https://ai.google.dev/errors/no_image", "Nothing was drawn."), "no_image", "yes"),
        (failed("https://ai.google.dev/errors/internal", "An internal error."), "overloaded", "maybe"),
        (failed("service_unavailable", "Overloaded.", usage=NOTHING), "overloaded", "no"),
        (failed("service_unavailable", "Overloaded."), "overloaded", "maybe"),
        (failed("resource_exhausted", "Slow down.", usage=None), "rate_limited", "no"),
        (failed("never_heard_of", "Something."), "bad_response", "maybe"),
        (interaction(status="failed", steps=[]), "bad_response", "maybe"),
        (interaction(status="cancelled", steps=[]), "bad_response", "maybe"),
        (interaction(status="in_progress", steps=[]), "bad_response", "maybe"),
        (interaction(status="incomplete", steps=[]), "no_image", "yes"),
        (interaction(status="requires_action", steps=[]), "no_image", "yes"),
        (interaction(steps=[THOUGHT]), "no_image", "yes"),
        (interaction(steps=[output(text("I can't draw that."))]), "no_image", "yes"),
        (interaction(steps=[{**output(), "error": {"code": 14, "message": "later"}}], usage=None), "overloaded", "no"),
    ],
)  # fmt: skip
def test_an_answer_without_an_image_says_why_and_what_it_cost(document, name, billed):
    outcome = outcome_of(document)
    assert (outcome.name, outcome.billed) == (name, billed)


def test_why_there_is_no_image_is_told():
    assert outcome_of(failed("https://ai.google.dev/errors/blocked", "Sensitive words.")).detail == (
        "BLOCKED: Sensitive words."
    )
    assert outcome_of(interaction(status="cancelled", steps=[])).detail == "HTTP 200: the interaction is cancelled"
    assert outcome_of(interaction(status="incomplete", steps=[output(text("It was"))])).detail == "INCOMPLETE: It was"


def test_an_image_that_came_counts_whatever_the_status_is():
    for status in ("incomplete", "failed", "cancelled"):
        outcome = outcome_of(interaction(status=status, errors=[{"message": "later"}], steps=[THOUGHT, output(IMAGE)]))
        assert (outcome.name, outcome.billed) == ("ok", "yes")


def test_errors_of_every_status_are_read_as_on_the_other_wire():
    body = written({"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}})
    assert played("google", answering(answer(body, status="400 Bad Request")), **WIRE)[0].name == "auth"
    body = written({"error": {"code": "https://ai.google.dev/errors/safety", "message": "No."}})
    assert played("google", answering(answer(body, status="400 Bad Request")), **WIRE)[0].name == "blocked"


@pytest.mark.parametrize("body", [b"", b'{"error":{"message":"Invalid URL (POST /v1beta/interactions)"}}'])
def test_a_relay_without_interactions_is_told_of(body):
    outcome = played("google", answering(answer(body, status="404 Not Found")), **WIRE)[0]
    assert (outcome.name, outcome.billed) == ("model_gone", "no")
    assert outcome.detail.startswith('wire = "interactions" is not offered there')


def test_a_model_that_is_gone_is_no_missing_wire():
    body = written({"error": {"code": 404, "message": "models/old is not found", "status": "NOT_FOUND"}})
    outcome = played("google", answering(answer(body, status="404 Not Found")), **WIRE)[0]
    assert (outcome.name, "interactions" in outcome.detail) == ("model_gone", False)


# Conversations.


def conversation(*answers: dict[str, Any]) -> list[Any]:
    """The JSON of each request of a conversation whose turns are answered with *answers*."""

    async def main() -> list[Any]:
        served = iter(answers)

        async def script(wire: Any) -> None:
            while True:
                await wire.request()
                await wire.send(answer(written(next(served))))

        history: list[Turn] = []
        async with Upstream(script) as upstream:
            provider = make("google", upstream.url, **WIRE)
            for number in range(len(answers)):
                request = replace(drawing(f"turn {number}"), history=tuple(history))
                outcome = await provider.generate(request, Exchange())
                history.append(Turn(prompt=f"turn {number}", answer=outcome.parts))
            await provider.aclose()
            return [json.loads(received.body) for received in upstream.requests]

    return asyncio.run(main())


def test_every_turn_goes_back_as_it_came_signatures_byte_for_byte():
    second = {**IMAGE, "data": encoded(picture(seed=2))}
    later = {**THOUGHT, "signature": LATER_SIGNATURE}
    one = [THOUGHT, output(text("Here it is."), IMAGE)]
    two = [later, output(second)]
    asked = conversation(interaction(steps=one), interaction(steps=two), GOOD)
    turns = [{"type": "user_input", "content": [text(f"turn {number}")]} for number in range(3)]
    assert [request["input"] for request in asked] == [
        [turns[0]],
        [turns[0], *one, turns[1]],
        [turns[0], *one, turns[1], *two, turns[2]],
    ]


@pytest.mark.parametrize(
    "steps",
    [
        [THOUGHT, {**THOUGHT, "signature": LATER_SIGNATURE}, output(IMAGE)],
        [THOUGHT, output(IMAGE), {**THOUGHT, "signature": LATER_SIGNATURE}],
        [THOUGHT, output(text("One.")), {**THOUGHT, "signature": LATER_SIGNATURE}, output(IMAGE, text("Two."))],
        [THOUGHT, output(IMAGE), THOUGHT, output(text("The same thought again."))],
    ],
    ids=["two thoughts in a row", "a thought at the end", "a thought in the middle", "one signature twice"],
)
def test_no_thought_is_lost_on_the_way_there_and_back(steps):
    asked = conversation(interaction(steps=steps), GOOD)
    assert asked[1]["input"][1:-1] == steps


def steps_of(*parts: Part) -> Any:
    """The steps that a turn answered with *parts* goes back as."""
    request = replace(drawing(), history=(Turn(prompt="before", answer=parts),))
    return sent(request)["input"][1:-1]


def test_a_turn_of_the_other_wire_goes_on_here():
    assert steps_of(Part(text="Here.", signature=SIGNATURE), Part(image=image(), signature=LATER_SIGNATURE)) == [
        THOUGHT,
        output(text("Here.")),
        {"type": "thought", "signature": LATER_SIGNATURE},
        output(IMAGE),
    ]


def test_an_image_without_a_thought_goes_back_in_the_users_role():
    request = replace(drawing(), history=(Turn(prompt="before", answer=(Part(text="Here."), Part(image=image()))),))
    assert sent(request)["input"][0] == {"type": "user_input", "content": [text("before"), IMAGE]}
    assert steps_of(Part(image=image()), Part(text="There.", signature=SIGNATURE)) == []


def test_a_turn_with_an_image_begins_with_its_thought():
    assert steps_of(Part(text="Well."), Part(image=image(), signature=SIGNATURE)) == [THOUGHT, output(IMAGE)]


def test_mere_words_and_silence_need_no_thought():
    assert steps_of(Part(text="I can't.")) == [output(text("I can't."))]
    assert steps_of() == []
    assert steps_of(Part(text="", signature=SIGNATURE)) == [THOUGHT]


def test_images_of_earlier_turns_go_along():
    request = replace(drawing(), history=(Turn(prompt="before", images=(ReferenceImage(PICTURE, "image/png"),)),))
    assert sent(request)["input"][0] == {"type": "user_input", "content": [text("before"), IMAGE]}


# Configuration.


def configured(**provider: object) -> Any:
    table = {"kind": "google", "api_key": "env:K", **provider}
    return load({"providers": {"mine": table}}, {"K": KEY})


def test_the_wire_is_a_line_of_the_configuration():
    entry = configured(wire="interactions").providers["mine"]
    assert entry.settings[0].options["wire"] == "interactions"
    assert "wire" not in configured().providers["mine"].settings[0].options


@pytest.mark.parametrize("kind", ["vertex", "openai"])
def test_no_other_kind_has_interactions(kind):
    with pytest.raises(ConfigError, match='wire "interactions" is offered for kind "google" alone'):
        configured(kind=kind, wire="interactions")


def test_without_that_line_google_is_asked_by_generate_content():
    async def main() -> str:
        body = written({"candidates": []})
        async with Upstream(answering(answer(body))) as upstream:
            await ask("google", upstream.url)
            return upstream.requests[0].target

    assert asyncio.run(main()) == "/v1beta/models/some-model:generateContent"


def test_reading_and_asking_hold_up_to_nonsense():
    for document in (
        {},
        {"steps": 1},
        {"steps": [{"type": "model_output", "content": {}}]},
        {"usage": []},
        {"errors": "x"},
    ):
        assert interactions_wire.reply_of(document, {}).pieces == ()
    assert interactions_request.arguments(drawing(""))["input"][0]["content"] == [text("")]
