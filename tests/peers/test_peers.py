"""Upstreams that this project did not write, asked through ``kind = "openai"``, with the simulator behind them."""

from __future__ import annotations

from typing import Any

import pytest

from gateway import AllAttemptsFailed, Gateway, ImageResult
from providers.simulator import Simulator, faults
from tests.peers.conftest import MASTER_KEY

PRO = "gemini-3-pro-image"
GPT = "gpt-image-2"
SIZES = ("1K", "2K", "4K")


def draw(provider: dict[str, Any], model: str, upstream_model: str, **wishes: Any) -> ImageResult:
    lane = {"model": model, "upstream_model": upstream_model, "sizes": SIZES, "price": dict.fromkeys(SIZES, 0.5)}
    with Gateway.from_config({"providers": {"peer": {"kind": "openai", **provider, "lanes": [lane]}}}) as gateway:
        return gateway.generate("A launch poster", **{"size": "4K", "aspect_ratio": "16:9", "fallback": (), **wishes})


def through_litellm(base_url: str, dialect: str) -> dict[str, Any]:
    return {"preset": "litellm", "base_url": base_url, "api_key": MASTER_KEY, "dialect": dialect}


def through_portkey(base_url: str, vendor: str, host: str) -> dict[str, Any]:
    headers = {"x-portkey-provider": vendor, "x-portkey-custom-host": host}
    return {"preset": "portkey", "base_url": base_url, "api_key": "sk-upstream", "headers": headers}


@pytest.mark.parametrize(
    ("dialect", "name"), [("chat", "gemini"), ("images", "gemini"), ("chat", "openrouter")], ids=lambda value: value
)
def test_litellm_delivers_a_4k_image_of_gemini(litellm: str, google: Simulator, dialect: str, name: str) -> None:
    result = draw(through_litellm(litellm, dialect), PRO, name)
    assert (result.size, result.images[0].width, result.images[0].height) == ("4K", 5504, 3072)
    assert result.cost.basis == "reported"
    assert (google.requests[-1].size, google.requests[-1].aspect_ratio) == ("4K", "16:9")


def test_litellm_delivers_a_4k_image_of_gpt_image(litellm: str, google: Simulator) -> None:
    result = draw(through_litellm(litellm, "images"), GPT, "gpt")
    assert (result.size, result.images[0].width, result.images[0].height) == ("4K", 3840, 2160)
    assert google.requests[-1].path == "/v1/images/generations"


def test_a_refusal_behind_litellm_is_no_success(litellm: str, google: Simulator) -> None:
    google.inject(faults.text_only(count=1))
    with pytest.raises(AllAttemptsFailed) as failed:
        draw(through_litellm(litellm, "chat"), PRO, "gemini")
    assert [(attempt.outcome, attempt.billed) for attempt in failed.value.attempts] == [("no_image", "yes")]


def test_portkey_delivers_a_4k_image_of_gemini(portkey: str, google: Simulator) -> None:
    result = draw(through_portkey(portkey, "google", google.google_url), PRO, PRO)
    assert (result.size, result.images[0].width, result.images[0].height) == ("4K", 5504, 3072)
    assert (google.requests[-1].size, google.requests[-1].aspect_ratio) == ("4K", "16:9")


def test_portkey_in_strict_mode_drops_the_image_and_the_gateway_says_so(portkey: str, google: Simulator) -> None:
    provider = through_portkey(portkey, "google", google.google_url)
    provider["headers"]["x-portkey-strict-open-ai-compliance"] = "true"
    with pytest.raises(AllAttemptsFailed) as failed:
        draw(provider, PRO, PRO)
    assert [(attempt.outcome, attempt.billed) for attempt in failed.value.attempts] == [("no_image", "yes")]


def test_portkey_delivers_a_4k_image_of_gpt_image(portkey: str, google: Simulator) -> None:
    provider = {**through_portkey(portkey, "openai", google.openai_url), "dialect": "images"}
    result = draw(provider, GPT, GPT)
    assert (result.size, result.images[0].width, result.images[0].height) == ("4K", 3840, 2160)
