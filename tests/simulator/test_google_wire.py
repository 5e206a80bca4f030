"""Google's wire, asked by Google's SDK and by hand."""

import base64

import httpx2
import pytest
from google import genai
from google.genai import errors, types

from tests.simulator.conftest import KEY, google_client, picture, pixels, post


def ask(simulator, size="1K", ratio="1:1", model="gemini-3-pro-image", contents="a cat", **config):
    image_config = types.ImageConfig(aspect_ratio=ratio, image_size=size)
    settings = types.GenerateContentConfig(response_modalities=["TEXT", "IMAGE"], image_config=image_config, **config)
    with google_client(simulator) as client:
        return client.models.generate_content(model=model, contents=contents, config=settings)


def image_of(response):
    return next(part.inline_data for part in reversed(response.parts) if part.inline_data)


@pytest.mark.parametrize(
    ("size", "ratio", "expected"),
    [
        ("1K", "1:1", (1024, 1024)),
        ("1K", "16:9", (1376, 768)),
        ("2K", "2:3", (1696, 2528)),
        ("4K", "21:9", (6336, 2688)),
    ],
)
def test_an_image_has_the_documented_pixels(image_upstream, size, ratio, expected):
    assert pixels(image_of(ask(image_upstream, size, ratio)).data) == expected


def test_the_flash_model_draws_512_and_tall_ratios(image_upstream):
    assert pixels(image_of(ask(image_upstream, "512", "1:8", "gemini-3.1-flash-image")).data) == (192, 1536)


def test_the_pro_model_refuses_512(image_upstream):
    with pytest.raises(errors.ClientError) as refused:
        ask(image_upstream, "512")
    assert (refused.value.code, refused.value.status) == (400, "INVALID_ARGUMENT")


def test_the_gemini_3_family_answers_jpeg_and_2_5_answers_png(image_upstream):
    jpeg = image_of(ask(image_upstream))
    png = image_of(ask(image_upstream, None, "16:9", "gemini-2.5-flash-image"))
    assert (jpeg.mime_type, jpeg.data[:2]) == ("image/jpeg", b"\xff\xd8")
    assert (png.mime_type, png.data[:4]) == ("image/png", b"\x89PNG")
    assert pixels(png.data) == (1344, 768)


def test_the_first_text_and_the_image_are_signed_and_thoughts_are_not(image_upstream):
    thinking = types.ThinkingConfig(include_thoughts=True)
    parts = ask(image_upstream, thinking_config=thinking).candidates[0].content.parts
    assert [bool(part.thought) for part in parts] == [True, True, False, False]
    assert [part.thought_signature is not None for part in parts] == [False, False, True, True]


def test_thoughts_stay_hidden_unless_asked_for(image_upstream):
    assert not any(part.thought for part in ask(image_upstream).parts)


def test_usage_names_modalities_and_its_totals_exceed_the_details(image_upstream):
    reference = types.Part.from_bytes(data=picture(64, 64), mime_type="image/png")
    usage = ask(image_upstream, "4K", contents=["a cat", reference]).usage_metadata
    detailed = sum(detail.token_count for detail in usage.candidates_tokens_details)
    assert detailed == 2000
    assert usage.candidates_token_count > detailed
    assert [detail.modality.value for detail in usage.prompt_tokens_details] == ["TEXT", "IMAGE"]
    assert usage.total_token_count == (
        usage.prompt_token_count + usage.candidates_token_count + usage.thoughts_token_count
    )


def test_the_ratio_follows_the_first_reference_image(image_upstream):
    reference = types.Part.from_bytes(data=picture(160, 90), mime_type="image/png")
    answer = ask(image_upstream, ratio=None, contents=[reference, "wider"])
    assert pixels(image_of(answer).data) == (1376, 768)
    assert image_upstream.requests[-1].images == 1


def test_url_safe_base64_and_snake_case_are_understood(image_upstream):
    data = base64.urlsafe_b64encode(picture(90, 160)).decode().rstrip("=")
    body = {"contents": [{"parts": [{"inline_data": {"mime_type": "image/png", "data": data}}, {"text": "x"}]}]}
    body["generation_config"] = {"image_config": {"image_size": "1K"}}
    url = f"{image_upstream.url}/v1/models/gemini-3-pro-image:generateContent?key=any"
    answer = httpx2.post(url, json=body, timeout=20).raise_for_status().json()
    parts = answer["candidates"][0]["content"]["parts"]
    assert pixels(base64.b64decode(parts[-1]["inlineData"]["data"])) == (768, 1376)


def test_images_alone_come_without_words(image_upstream):
    parts = post(image_upstream, responseModalities=["IMAGE"]).json()["candidates"][0]["content"]["parts"]
    assert [sorted(part) for part in parts] == [["inlineData", "thoughtSignature"]]


@pytest.mark.parametrize("size", ["1k", "4k", "8K", "1024"])
def test_a_size_that_is_not_spelt_as_documented_is_refused(image_upstream, size):
    answer = post(image_upstream, size)
    assert answer.status_code == 400
    assert answer.json()["error"]["status"] == "INVALID_ARGUMENT"


def test_an_unknown_field_is_named_with_its_path(image_upstream):
    answer = post(image_upstream, aspectRatio="16:9")
    assert answer.status_code == 400
    assert (
        "Unknown name \"aspectRatio\" at 'generation_config': Cannot find field." in answer.json()["error"]["message"]
    )
    assert answer.json()["error"]["details"][0]["fieldViolations"][0]["field"] == "generation_config"


def test_several_candidates_are_refused(image_upstream):
    assert "Multiple candidates" in post(image_upstream, candidateCount=2).json()["error"]["message"]


@pytest.mark.parametrize(
    "body", [b"not json", b"[]", b"{}", b'{"contents": 3}', b'{"contents": [3]}', b'{"contents": [{"parts": ["x"]}]}']
)  # fmt: skip
def test_nonsense_is_refused_with_a_400(image_upstream, body):
    url = f"{image_upstream.url}/v1beta/models/gemini-3-pro-image:generateContent?key=any"
    answer = httpx2.post(url, content=body, headers={"content-type": "application/json"})
    assert answer.json()["error"]["code"] == 400


def test_a_dead_model_is_not_found(image_upstream):
    with pytest.raises(errors.ClientError) as refused:
        ask(image_upstream, model="gemini-1.0-image")
    assert refused.value.code == 404
    assert "models/gemini-1.0-image is not found for API version v1beta" in refused.value.message


def test_preview_ids_mean_the_same_model(image_upstream):
    assert ask(image_upstream, model="gemini-3-pro-image-preview").model_version == "gemini-3-pro-image-preview"
    assert image_upstream.billed == 1


def test_a_call_without_a_key_is_an_unregistered_caller(image_upstream):
    answer = httpx2.get(f"{image_upstream.url}/v1beta/models")
    assert (answer.status_code, answer.json()["error"]["status"]) == (403, "PERMISSION_DENIED")


def test_only_accepted_keys_are_accepted(simulate):
    simulator = simulate(keys={"another"})
    with pytest.raises(errors.ClientError) as refused:
        ask(simulator)
    assert refused.value.details["error"]["details"][0]["reason"] == "API_KEY_INVALID"
    assert simulator.billed == 0


@pytest.mark.parametrize(
    ("headers", "query", "place"),
    [
        ({"x-goog-api-key": KEY}, "", "x-goog-api-key"),
        ({"Authorization": f"Bearer {KEY}"}, "", "authorization"),
        ({}, f"?key={KEY}", "?key"),
    ],
)
def test_a_key_is_accepted_in_three_places(simulate, headers, query, place):
    simulator = simulate(keys=[KEY])
    httpx2.get(f"{simulator.url}/v1beta/models{query}", headers=headers).raise_for_status()
    assert simulator.requests[-1].auth == place


@pytest.mark.parametrize("version", ["v1", "v1beta"])
def test_models_are_listed_in_googles_form(image_upstream, version):
    with google_client(image_upstream, version) as client:
        assert "models/gemini-3-pro-image" in [model.name for model in client.models.list()]
        assert client.models.get(model="gemini-3-pro-image").supported_actions == ["generateContent"]


def test_imagen_predicts_as_many_samples_as_asked(image_upstream):
    answer = httpx2.post(
        f"{image_upstream.url}/v1beta/models/imagen-4.0-generate-001:predict?key=any",
        json={
            "instances": [{"prompt": "a cat"}],
            "parameters": {"sampleCount": 2, "aspectRatio": "16:9", "sampleImageSize": "1K"},
        },
        timeout=20,
    )
    predictions = answer.raise_for_status().json()["predictions"]
    assert [entry["mimeType"] for entry in predictions] == ["image/png", "image/png"]
    assert [pixels(base64.b64decode(entry["bytesBase64Encoded"])) for entry in predictions] == [(1376, 768)] * 2
    assert str(image_upstream.bill) == "0.08"


def test_a_gemini_model_does_not_predict(image_upstream):
    url = f"{image_upstream.url}/v1beta/models/gemini-3-pro-image:predict?key=any"
    answer = httpx2.post(url, json={"instances": [{"prompt": "a cat"}]})
    assert answer.status_code == 404
    assert "is not supported for predict" in answer.json()["error"]["message"]


def test_vertex_paths_are_served_too(image_upstream):
    path = "/v1beta1/projects/p/locations/global/publishers/google/models/gemini-3-pro-image:generateContent"
    body = {"contents": [{"role": "user", "parts": [{"text": "a cat"}]}]}
    httpx2.post(
        image_upstream.url + path, json=body, headers={"Authorization": "Bearer t"}, timeout=20
    ).raise_for_status()
    assert image_upstream.requests[-1].model == "gemini-3-pro-image"


def test_the_async_client_is_served_as_well(image_upstream):
    import asyncio

    async def draw() -> types.GenerateContentResponse:
        options = types.HttpOptions(base_url=image_upstream.google_url, timeout=20_000)
        async with genai.Client(api_key=KEY, http_options=options).aio as client:
            return await client.models.generate_content(model="gemini-3-pro-image", contents="a cat")

    assert pixels(image_of(asyncio.run(draw())).data) == (1024, 1024)
