"""What upstreams do carelessly costs nobody an image, and nobody's privacy."""

from __future__ import annotations

import base64

import pytest

from gateway import Gateway
from tests.relays.relay import Asked, Relay, as_json, png

TEXT = base64.b64encode(png()).decode()


def opened(relay: Relay) -> Gateway:
    lane = {"model": "painter-9", "sizes": ["1K"], "price": {"1K": 0.01}}
    table = {
        "kind": "openai",
        "base_url": relay.url,
        "api_key": "sk-careless-relay",
        "dialect": "chat",
        "lanes": [lane],
    }
    return Gateway.from_config({"providers": {"p": table}})


@pytest.mark.parametrize("words", [rb"half a pair \ud83d", b"not UTF-8 \xff\xfe", rb"\udc00 the other half"])
def test_a_bad_character_beside_an_image_does_not_cost_the_image(words: bytes) -> None:
    body = b'{"choices":[{"message":{"content":"' + words + f'![image](data:image/png;base64,{TEXT})"}}}}]}}'.encode()
    with Relay(lambda _: (200, "application/json", body)) as relay, opened(relay) as gateway:
        result = gateway.generate("x")
    assert result.images[0].width == 1024
    assert result.text.encode("utf-8")


def test_cookies_that_an_upstream_sets_are_not_sent_back() -> None:
    def answer(asked: Asked) -> tuple[int, str, bytes]:
        return as_json({"data": [{"b64_json": TEXT}]})

    with Relay(answer, headers={"set-cookie": "visitor=42; Path=/"}) as relay, opened(relay) as gateway:
        gateway.generate("x")
        gateway.generate("x")
    assert ["cookie" in asked.headers for asked in relay.asked] == [False, False]
