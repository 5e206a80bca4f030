"""Reference images on their way out: byte for byte what the SDK would have sent, without the SDK having them."""

from __future__ import annotations

import asyncio
import base64
import json
import random
from typing import Any

import httpx2
import pybase64
import pytest

from providers import uploads
from providers.exchange import Exchange
from providers.images import ReferenceImage
from providers.request import UpstreamRequest
from providers.transport import http_client, recording
from providers.uploads import WORTHWHILE, StandInError, base64_of, lightened
from tests.providers.wire import BODY, Received, Upstream, answer, answering, make

kinds = pytest.mark.parametrize("kind", ["google", "openai", "chat"])


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def editing(*sizes: int) -> UpstreamRequest:
    images = tuple(ReferenceImage(noise(size, seed), "image/png") for seed, size in enumerate(sizes))
    return UpstreamRequest(model="some-model", prompt="a hat", images=images, timeout=20.0)


def sent(kind: str, request: UpstreamRequest) -> Received:
    """The request as it reaches the upstream of the adapter of *kind*."""

    async def main() -> Received:
        async with Upstream(answering(answer(BODY[kind]))) as upstream:
            provider = make(kind, upstream.url)
            assert (await provider.generate(request, Exchange())).name == "ok"
            await provider.aclose()
        (received,) = upstream.requests
        return received

    return asyncio.run(main())


def images_in(kind: str, received: Received) -> list[bytes]:
    if kind == "openai":
        boundary = received.headers["content-type"].partition("boundary=")[2].strip('"').encode()
        parts = [part.partition(b"\r\n\r\n") for part in received.body.split(b"--" + boundary)]
        return [body.removesuffix(b"\r\n") for head, _, body in parts if b"filename=" in head]
    document: Any = json.loads(received.body)
    if kind == "google":
        parts = document["contents"][0]["parts"]
        return [base64.b64decode(part["inlineData"]["data"], b"-_") if _is_url_safe(part) else
                base64.b64decode(part["inlineData"]["data"]) for part in parts if "inlineData" in part]  # fmt: skip
    links = [part["image_url"]["url"] for part in document["messages"][0]["content"] if "image_url" in part]
    return [base64.b64decode(link.removeprefix("data:image/png;base64,")) for link in links]


def _is_url_safe(part: Any) -> bool:
    return bool({"-", "_"} & set(part["inlineData"]["data"]))


@kinds
@pytest.mark.parametrize(
    "sizes", [(WORTHWHILE - 1,), (WORTHWHILE,), (400_001,), (3_000_000, 50, 196_608, 196_609)], ids=str
)
def test_images_arrive_as_they_were_and_in_order(kind: str, sizes: tuple[int, ...]) -> None:
    request = editing(*sizes)
    received = sent(kind, request)
    assert images_in(kind, received) == [image.data for image in request.images]
    assert int(received.headers["content-length"]) == len(received.body)


@kinds
def test_the_same_image_twice_arrives_twice(kind: str) -> None:
    image = editing(100_000).images[0]
    request = UpstreamRequest(model="m", prompt="x", images=(image, image))
    assert images_in(kind, sent(kind, request)) == [image.data] * 2


def spliced(body: bytes, exchange: Exchange, **options: Any) -> bytes:
    """What arrives of *body* when it is sent for *exchange*."""

    async def main() -> bytes:
        async with Upstream(answering(answer(b"{}"))) as upstream, http_client() as client:
            with recording(exchange):
                await client.post(upstream.url, content=body, **options)
        return upstream.requests[0].body

    return asyncio.run(main())


class TestStandIns:
    def test_are_short_and_look_the_same_in_both_alphabets(self) -> None:
        exchange = Exchange()
        (image,) = lightened(editing(100_000), exchange).images
        assert len(image.data) < 100
        assert exchange.uploads[image.data].data == noise(100_000, 0)
        assert pybase64.urlsafe_b64encode(image.data) == pybase64.b64encode(image.data)
        assert b"=" not in pybase64.b64encode(image.data)

    def test_are_new_each_time(self) -> None:
        tokens = {lightened(editing(100_000), Exchange()).images[0].data for _ in range(10)}
        assert len(tokens) == 10

    def test_are_not_used_for_small_images(self) -> None:
        exchange, request = Exchange(), editing(WORTHWHILE - 1)
        assert lightened(request, exchange) == request
        assert exchange.uploads == {}

    def test_give_way_to_bytes_or_base64_as_they_were_written(self) -> None:
        exchange = Exchange()
        first, second = (image.data for image in lightened(editing(40_000, 50_000), exchange).images)
        body = b"raw " + second + b" encoded " + pybase64.b64encode(first) + b" end"
        expected = b"raw " + noise(50_000, 1) + b" encoded " + base64.b64encode(noise(40_000, 0)) + b" end"
        assert spliced(body, exchange) == expected

    def test_of_which_some_are_missing_stop_the_request(self) -> None:
        exchange = Exchange()
        first, _ = (image.data for image in lightened(editing(40_000, 50_000), exchange).images)
        with pytest.raises(StandInError):
            spliced(b"only " + first, exchange)
        assert (exchange.sent, exchange.failure) == (False, "transport")

    def test_that_a_wire_does_not_send_at_all_are_no_trouble(self) -> None:
        exchange = Exchange()
        lightened(editing(40_000), exchange)
        assert spliced(b"no images here", exchange) == b"no images here"

    def test_are_not_looked_for_in_what_others_send(self) -> None:
        exchange = Exchange()
        (image,) = lightened(editing(40_000), exchange).images
        assert spliced(b"quoting " + image.data, Exchange()) == b"quoting " + image.data


class TestEncoding:
    @pytest.fixture(autouse=True)
    def counted(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """The sizes of the images that were encoded."""
        sizes: list[int] = []

        def encode(data: bytes) -> list[bytes]:
            sizes.append(len(data))
            return really(data)

        really = uploads._encoded
        monkeypatch.setattr(uploads, "_encoded", encode)
        monkeypatch.setattr(uploads.base64_of.__self__, "_kept", type(uploads.base64_of.__self__._kept)())  # type: ignore
        return sizes

    def test_is_that_of_the_standard_library(self) -> None:
        for size in (0, 1, 2, 3, 196_607, 196_608, 196_609, 500_000):
            assert b"".join(base64_of(noise(size))) == base64.b64encode(noise(size))

    def test_happens_once_for_the_same_content(self, counted: list[int]) -> None:
        for _ in range(3):
            base64_of(noise(100_000))  # another object each time
        assert counted == [100_000]

    def test_happens_anew_for_content_that_only_looks_the_same(self, counted: list[int]) -> None:
        first = bytearray(noise(100_000))
        place = 100_000 // 64 + 1  # between two samples
        second = first.copy()
        second[place] ^= 1
        assert b"".join(base64_of(bytes(first))) == base64.b64encode(first)
        assert b"".join(base64_of(bytes(second))) == base64.b64encode(second)
        assert len(counted) == 2

    def test_is_forgotten_beyond_a_limit(self, counted: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(uploads.base64_of.__self__, "_limit", 300_000)  # type: ignore[attr-defined]
        for seed in (1, 2, 3, 1):
            base64_of(noise(100_000, seed))
        assert len(counted) == 4
        base64_of(noise(100_000, 3))
        assert len(counted) == 4


def test_a_signed_request_keeps_its_headers_but_for_the_length() -> None:
    exchange = Exchange()
    (image,) = lightened(editing(40_000), exchange).images
    asked = httpx2.Request("POST", "http://upstream.invalid", content=image.data, headers={"authorization": "Bearer k"})
    before = dict(asked.headers)
    asyncio.run(uploads.put_in(asked, exchange.uploads))
    assert dict(asked.headers) == {**before, "content-length": "40000"}
