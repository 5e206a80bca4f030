"""OpenAI's images and chat wires, asked by OpenAI's SDK, in every flavour."""

import base64
import re

import httpx2
import openai
import pytest

from providers.simulator import FLAVOURS, Simulator
from tests.simulator.conftest import openai_client, picture, pixels


def chat(simulator, model="google/gemini-3-pro-image", content="a cat", **body):
    return openai_client(simulator).chat.completions.create(
        model=model,
        messages=[{"role": "user", "content": content}],
        extra_body={"modalities": ["image", "text"], **body},
    )


def from_data_uri(uri: str) -> bytes:
    return base64.b64decode(uri.partition("base64,")[2])


def test_an_image_has_exactly_the_pixels_asked_for(image_upstream):
    answer = openai_client(image_upstream).images.generate(model="gpt-image-2", prompt="a cat", size="1536x864", n=2)
    assert [pixels(base64.b64decode(image.b64_json)) for image in answer.data] == [(1536, 864)] * 2
    assert answer.data[0].b64_json != answer.data[1].b64_json
    assert answer.usage.output_tokens_details.image_tokens == answer.usage.output_tokens > 0
    assert image_upstream.billed == 2


@pytest.mark.parametrize("kind", ["png", "jpeg", "webp"])
def test_the_output_format_is_obeyed(image_upstream, kind):
    answer = openai_client(image_upstream).images.generate(model="gpt-image-2", prompt="a cat", output_format=kind)
    data = base64.b64decode(answer.data[0].b64_json)
    assert {"png": b"\x89PNG", "jpeg": b"\xff\xd8\xff\xe0", "webp": b"RIFF"}[kind] == data[:4]


def test_response_format_is_an_unknown_parameter(image_upstream):
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client(image_upstream).images.generate(model="gpt-image-2", prompt="a", response_format="b64_json")
    assert (refused.value.code, refused.value.param) == ("unknown_parameter", "response_format")


@pytest.mark.parametrize("size", ["1000x1000", "4096x4096", "3200x800", "0x0", "4K"])
def test_a_size_beyond_the_limits_is_refused(image_upstream, size):
    with pytest.raises(openai.BadRequestError) as refused:
        openai_client(image_upstream).images.generate(model="gpt-image-2", prompt="a", size=size + "0" * (size == "4K"))
    assert refused.value.param == "size"


@pytest.mark.parametrize("as_list", [True, False])
def test_an_edit_takes_its_references_as_files(image_upstream, as_list):
    file = ("a.png", picture(90, 160))
    answer = openai_client(image_upstream).images.edit(
        model="gpt-image-2", prompt="bluer", image=[file, file] if as_list else file
    )
    assert pixels(base64.b64decode(answer.data[0].b64_json)) == (768, 1376)
    assert image_upstream.requests[-1].images == 1 + as_list
    assert image_upstream.requests[-1].form["prompt"] == "bluer"


def test_an_edit_takes_its_references_as_json(image_upstream):
    uri = "data:image/png;base64," + base64.b64encode(picture(160, 90)).decode()
    body = {"model": "gpt-image-2", "prompt": "bluer", "images": [{"image_url": uri}], "size": "auto"}
    headers = {"Authorization": "Bearer any"}
    answer = httpx2.post(f"{image_upstream.url}/images/edits", json=body, headers=headers, timeout=20)
    assert answer.raise_for_status().json()["size"] == "1376x768"


def test_an_edit_without_an_image_is_refused(image_upstream):
    body = {"model": "gpt-image-2", "prompt": "bluer"}
    headers = {"Authorization": "Bearer any"}
    answer = httpx2.post(f"{image_upstream.openai_url}/images/edits", json=body, headers=headers)
    assert answer.json()["error"]["param"] == "image"


def test_openrouter_puts_images_beside_the_content_and_reports_its_cost(image_upstream):
    answer = chat(image_upstream, image_config={"aspect_ratio": "16:9", "image_size": "4K"})
    images = answer.choices[0].message.images
    assert pixels(from_data_uri(images[0]["image_url"]["url"])) == (5504, 3072)
    assert answer.usage.cost == pytest.approx(0.24)
    assert answer.usage.completion_tokens > answer.usage.completion_tokens_details.image_tokens == 2000


def test_openrouter_draws_nothing_unless_modalities_ask_for_it(image_upstream):
    answer = chat(image_upstream, modalities=["text"])
    assert not hasattr(answer.choices[0].message, "images")
    assert image_upstream.billed == 0


def test_new_api_reads_the_literal_extra_body_and_nothing_else(simulate):
    simulator = simulate("new-api")
    ignored = chat(simulator, image_config={"image_size": "4K"})
    heard = chat(simulator, extra_body={"google": {"image_config": {"image_size": "2K", "aspect_ratio": "16:9"}}})
    found = [re.search(r"!\[image\]\((.+?)\)", answer.choices[0].message.content)[1] for answer in (ignored, heard)]
    assert [pixels(from_data_uri(uri)) for uri in found] == [(1024, 1024), (2752, 1536)]


def test_new_api_refuses_camel_case(simulate):
    with pytest.raises(openai.InternalServerError) as refused:
        chat(simulate("new-api"), extra_body={"google": {"imageConfig": {}}})
    assert refused.value.code == "convert_request_failed"


def test_content_array_puts_images_into_the_content(simulate):
    part = chat(simulate("content-array")).choices[0].message.content[1]
    assert pixels(from_data_uri(part["image_url"]["url"])) == (1024, 1024)


def test_content_blocks_puts_images_into_blocks(simulate):
    part = chat(simulate("content-blocks")).choices[0].message.content_blocks[1]
    assert pixels(from_data_uri(part["image_url"]["url"])) == (1024, 1024)


def test_url_serves_the_image_it_names(simulate):
    simulator = simulate("url")
    answer = openai_client(simulator).images.generate(model="gpt-image-2", prompt="a cat", size="1024x1024")
    file = httpx2.get(answer.data[0].url).raise_for_status()
    assert file.headers["content-type"] == "image/png"
    assert pixels(file.content) == (1024, 1024)
    link = re.search(r"\((http.+?)\)", chat(simulator).choices[0].message.content)[1]
    assert pixels(httpx2.get(link).content) == (1024, 1024)


def test_a_file_nobody_drew_is_not_found(image_upstream):
    assert httpx2.get(f"{image_upstream.url}/files/nothing.png").status_code == 404


def test_data_uri_b64_prefixes_its_base64(simulate):
    answer = openai_client(simulate("data-uri-b64")).images.generate(model="gpt-image-2", prompt="a cat")
    assert answer.data[0].b64_json.startswith("data:image/png;base64,")
    assert pixels(from_data_uri(answer.data[0].b64_json)) == (1024, 1024)


def test_dropped_charges_for_images_that_never_arrive(simulate):
    simulator = simulate("dropped")
    answer = chat(simulator)
    assert answer.choices[0].message.content is None
    assert answer.usage.completion_tokens > 1000
    assert simulator.billed == 1


def test_google_compat_answers_data_alone_and_wraps_its_errors(simulate):
    simulator = simulate("google-compat")
    headers = {"Authorization": "Bearer any"}
    url = f"{simulator.url}/v1beta/openai/images/generations"
    good = httpx2.post(url, json={"model": "gemini-3-pro-image", "prompt": "a cat"}, headers=headers, timeout=20).json()
    bad = httpx2.post(url, json={"model": "nothing", "prompt": "a cat"}, headers=headers).json()
    assert list(good) == ["data"]
    assert bad[0]["error"]["status"] == "NOT_FOUND"


def test_a_chat_reference_decides_the_ratio(image_upstream):
    uri = "data:image/png;base64," + base64.b64encode(picture(90, 160)).decode()
    content = [{"type": "text", "text": "taller"}, {"type": "image_url", "image_url": {"url": uri}}]
    images = chat(image_upstream, content=content).choices[0].message.images
    assert pixels(from_data_uri(images[0]["image_url"]["url"])) == (768, 1376)


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_every_flavour_refuses_a_missing_key_an_unknown_model_and_an_unknown_size(simulate, flavour):
    simulator = simulate(flavour)
    url = f"{simulator.openai_url}/chat/completions"
    body = {"model": "gemini-3-pro-image", "messages": [{"role": "user", "content": "a cat"}]}
    headers = {"Authorization": "Bearer any"}
    assert httpx2.post(url, json=body).status_code == 401
    assert httpx2.post(url, json={**body, "model": "gpt-2"}, headers=headers).status_code == 404
    odd = {"image_config": {"image_size": "4k"}, "extra_body": {"google": {"image_config": {"image_size": "4k"}}}}
    expected = 200 if flavour == "google-compat" else 400
    assert httpx2.post(url, json={**body, **odd}, headers=headers, timeout=20).status_code == expected


def test_models_are_listed_in_openais_form(image_upstream):
    client = openai_client(image_upstream)
    assert "gpt-image-2" in [model.id for model in client.models.list()]
    assert client.models.retrieve("gpt-image-2").object == "model"


def test_an_unknown_flavour_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"unknown flavour 'mint'; known flavours: openrouter"):
        Simulator("mint")
