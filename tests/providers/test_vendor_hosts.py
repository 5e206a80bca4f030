"""What goes to the vendors' own hosts, which no test can reach: asserted at the edge of the network, through both SDKs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import google.auth.credentials
import httpx2
import pytest

from providers.exchange import Exchange
from providers.google import GoogleProvider, VertexProvider, vertex_url
from providers.http11 import Http11Transport
from providers.openai_compatible import OpenAICompatibleProvider
from providers.outcome import Outcome
from providers.provider import Provider, ProviderSettings
from providers.request import UpstreamRequest
from providers.secret import Secret

KEY = "vendor-key-0123456789"
PRO = "gemini-3-pro-image"
REQUEST = UpstreamRequest(
    model=PRO, prompt="A poster", size="4K", aspect_ratio="16:9", system_instruction="be brief", thinking="high",
    grounding=True, seed=7, temperature=0.5, top_p=0.9,
)  # fmt: skip


class Credentials(google.auth.credentials.Credentials):  # type: ignore[misc]
    """Application-default credentials that a test injects."""

    def refresh(self, request: object) -> None:
        self.token = "a-token-of-the-test"


def ask(make: Callable[[], Provider], request: UpstreamRequest = REQUEST) -> tuple[Outcome, httpx2.Request]:
    """The outcome of one call, and the one request that left for a host that answers with a refusal."""

    async def main() -> Outcome:
        provider = make()
        try:
            return await provider.generate(request, Exchange())
        finally:
            await provider.aclose()

    async def refuse(_: Http11Transport, request: httpx2.Request) -> httpx2.Response:
        await request.aread()
        left.append(request)
        return httpx2.Response(503, json={"error": {"code": 503, "status": "UNAVAILABLE"}})

    left: list[httpx2.Request] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Http11Transport, "handle_async_request", refuse)
        outcome = asyncio.run(main())
    (request,) = left
    return outcome, request


def settings(kind: str, **more: Any) -> ProviderSettings:
    return ProviderSettings(name="p", kind=kind, **more)


def test_the_developer_api_is_asked_as_google_documents_it() -> None:
    outcome, request = ask(lambda: GoogleProvider(settings("google", api_key=Secret(KEY))))
    assert str(request.url) == f"https://generativelanguage.googleapis.com/v1beta/models/{PRO}:generateContent"
    assert request.headers["x-goog-api-key"] == KEY
    assert "authorization" not in request.headers
    body = json.loads(request.content)
    assert body["contents"] == [{"role": "user", "parts": [{"text": "A poster"}]}]
    assert body["systemInstruction"]["parts"] == [{"text": "be brief"}]
    assert body["tools"] == [{"googleSearch": {}}]
    config = body["generationConfig"]
    assert config["responseModalities"] == ["TEXT", "IMAGE"]
    assert config["imageConfig"] == {"aspectRatio": "16:9", "imageSize": "4K"}
    assert config["thinkingConfig"] == {"thinking_level": "HIGH"}
    assert (config["seed"], config["temperature"], config["topP"]) == (7, 0.5, 0.9)
    assert (outcome.name, outcome.billed) == ("overloaded", "no")


def test_a_model_without_a_size_field_is_sent_none() -> None:
    request = UpstreamRequest(model="gemini-2.5-flash-image", prompt="A poster")
    _, sent = ask(lambda: GoogleProvider(settings("google", api_key=Secret(KEY))), request)
    assert "imageConfig" not in json.loads(sent.content)["generationConfig"]


@pytest.mark.parametrize(
    ("location", "host"),
    [
        ("global", "aiplatform.googleapis.com"),
        ("us", "aiplatform.us.rep.googleapis.com"),
        ("eu", "aiplatform.eu.rep.googleapis.com"),
        ("europe-west4", "europe-west4-aiplatform.googleapis.com"),
    ],
)
@pytest.mark.parametrize(
    ("model", "method"), [(PRO, "generateContent"), ("imagen-4.0-generate-001", "predict")], ids=["gemini", "imagen"]
)
def test_vertex_is_asked_where_its_location_is(location: str, host: str, model: str, method: str) -> None:
    options = {"project": "my-project", "location": location}
    request = UpstreamRequest(model=model, prompt="A poster", size="2K", aspect_ratio="16:9")
    _, sent = ask(lambda: VertexProvider(settings("vertex", options=options), lambda: Credentials()), request)
    path = f"/v1beta1/projects/my-project/locations/{location}/publishers/google/models/{model}:{method}"
    assert str(sent.url) == f"https://{host}{path}"
    assert sent.headers["authorization"] == "Bearer a-token-of-the-test"
    assert vertex_url(location) == f"https://{host}"


@pytest.mark.parametrize(
    ("model", "method"), [(PRO, "generateContent"), ("imagen-4.0-generate-001", "predict")], ids=["gemini", "imagen"]
)
def test_an_express_mode_key_needs_neither_project_nor_place(model: str, method: str) -> None:
    request = UpstreamRequest(model=model, prompt="A poster", size="2K")
    _, sent = ask(lambda: VertexProvider(settings("vertex", api_key=Secret(KEY))), request)
    assert str(sent.url) == f"https://aiplatform.googleapis.com/v1beta1/publishers/google/models/{model}:{method}"
    assert sent.headers["x-goog-api-key"] == KEY


def test_vertex_takes_the_output_format_that_the_developer_api_refuses() -> None:
    request = UpstreamRequest(model=PRO, prompt="A poster", size="1K", output_format="jpeg")
    options = {"project": "my-project", "location": "global"}
    _, sent = ask(lambda: VertexProvider(settings("vertex", options=options), lambda: Credentials()), request)
    image_config = json.loads(sent.content)["generationConfig"]["imageConfig"]
    assert image_config["imageOutputOptions"] == {"mimeType": "image/jpeg"}


def test_imagens_parameters_are_those_of_predict() -> None:
    request = UpstreamRequest(model="imagen-4.0-generate-001", prompt="A poster", size="2K", aspect_ratio="16:9", n=3)
    _, sent = ask(lambda: GoogleProvider(settings("google", api_key=Secret(KEY))), request)
    assert str(sent.url).startswith("https://generativelanguage.googleapis.com/v1beta/models/imagen-4.0")
    assert json.loads(sent.content) == {
        "instances": [{"prompt": "A poster"}],
        "parameters": {"sampleCount": 3, "aspectRatio": "16:9", "sampleImageSize": "2K", "includeRaiReason": True},
    }


def test_openai_is_asked_within_the_rules_of_its_model() -> None:
    request = UpstreamRequest(model="gpt-image-2", prompt="A poster", size="4K", aspect_ratio="16:9", n=2)
    _, sent = ask(lambda: OpenAICompatibleProvider(settings("openai", api_key=Secret(KEY))), request)
    assert str(sent.url) == "https://api.openai.com/v1/images/generations"
    assert sent.headers["authorization"] == f"Bearer {KEY}"
    assert json.loads(sent.content) == {"model": "gpt-image-2", "prompt": "A poster", "n": 2, "size": "3840x2160"}


def test_azure_gets_the_key_in_its_own_header_alone() -> None:
    base_url = "https://resource.openai.azure.com/openai/v1"
    made = settings("openai", api_key=Secret(KEY), base_url=base_url, auth="api-key", options={"dialect": "images"})
    request = UpstreamRequest(model="my-deployment", catalogue_model="gpt-image-2", prompt="A poster", size="1K")
    _, sent = ask(lambda: OpenAICompatibleProvider(made), request)
    assert str(sent.url) == f"{base_url}/images/generations"
    assert sent.headers["api-key"] == KEY
    assert "authorization" not in sent.headers


def test_credentials_that_are_not_there_are_a_matter_of_auth_and_free() -> None:
    def none() -> Any:
        raise google.auth.exceptions.DefaultCredentialsError("no credentials were found")  # type: ignore[no-untyped-call]

    async def main() -> Outcome:
        provider = VertexProvider(settings("vertex", options={"project": "p", "location": "eu"}), none)
        return await provider.generate(REQUEST, Exchange())

    outcome = asyncio.run(main())
    assert (outcome.name, outcome.billed) == ("auth", "no")
    assert "no credentials were found" in outcome.detail
