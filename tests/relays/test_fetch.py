"""Links to images come from relays, and relays are not to be trusted: row 57 and 58 of the fault table, and what they imply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import httpx2
import pytest

from providers.fetch import MAX_BYTES, FetchRefusedError, ImageFetcher, is_public, resolve

PUBLIC = "93.184.216.34"
PICTURE = b"\x89PNG the bytes of a picture"


class Host:
    """Answers requests as scripted, and remembers them."""

    def __init__(self, answer: Callable[[httpx2.Request], httpx2.Response]) -> None:
        self.requests: list[httpx2.Request] = []
        self._answer = answer

    def transport(self) -> httpx2.AsyncBaseTransport:
        def handle(request: httpx2.Request) -> httpx2.Response:
            self.requests.append(request)
            return self._answer(request)

        return httpx2.MockTransport(handle)


def picture(_request: httpx2.Request) -> httpx2.Response:
    return httpx2.Response(200, content=PICTURE)


def fetch(
    link: str,
    host: Host,
    names: Mapping[str, list[str]] | None = None,
    allowed: tuple[str, ...] = (),
) -> bytes:
    async def look_up(name: str, port: int) -> list[str]:
        return (names or {}).get(name, [PUBLIC])

    async def main() -> bytes:
        fetcher = ImageFetcher(allowed, resolver=look_up, transport=host.transport)
        try:
            return await fetcher.fetch(link)
        finally:
            await fetcher.aclose()

    return asyncio.run(main())


def test_a_public_https_link_is_fetched() -> None:
    assert fetch("https://pictures.example/a.png", Host(picture)) == PICTURE


def test_the_connection_goes_to_the_checked_address_under_the_hosts_own_name() -> None:
    host = Host(picture)
    fetch("https://pictures.example/a.png?signature=1", host)
    (request,) = host.requests
    assert request.url.host == PUBLIC
    assert request.headers["host"] == "pictures.example"
    assert request.extensions["sni_hostname"] == "pictures.example"
    assert request.url.raw_path == b"/a.png?signature=1"


def test_nothing_of_ours_is_sent_along() -> None:
    host = Host(picture)
    fetch("https://pictures.example/a.png", host)
    assert set(host.requests[0].headers) == {"host", "accept", "accept-encoding"}


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.0.1", "169.254.169.254", "100.64.0.1", "100.127.255.254",
        "192.0.0.1", "192.0.2.1", "198.18.0.1", "224.0.0.1", "240.0.0.1", "255.255.255.255",
        "::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fec0::1", "ff02::1", "2001:db8::1",
        "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::ffff:93.184.216.34", "::169.254.169.254",
        "64:ff9b::169.254.169.254", "64:ff9b::a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "2002:a9fe:a9fe::", "2001:0:a9fe:a9fe::",
        "not an address", "",
    ],
)  # fmt: skip
def test_what_is_not_global_unicast_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", [PUBLIC, "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946"])
def test_global_unicast_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    ("spelling", "means"),
    [("2852039166", "169.254.169.254"), ("0x7f.1", "127.0.0.1"), ("017700000001", "127.0.0.1"), ("127.1", "127.0.0.1")],
)
def test_odd_spellings_are_judged_by_the_address_they_resolve_to(spelling: str, means: str) -> None:
    assert asyncio.run(resolve(spelling, 443)) == [means]
    assert not is_public(means)


def test_a_host_that_resolves_to_a_private_address_is_refused_before_any_connection() -> None:
    host = Host(picture)
    with pytest.raises(FetchRefusedError, match=r"inside\.example is not at a public address"):
        fetch("https://inside.example/a.png", host, {"inside.example": ["169.254.169.254"]})
    assert host.requests == []


def test_one_private_address_among_public_ones_is_enough_to_refuse() -> None:
    with pytest.raises(FetchRefusedError, match="not at a public address"):
        fetch("https://mixed.example/a.png", Host(picture), {"mixed.example": [PUBLIC, "10.0.0.1"]})


def test_a_name_that_changes_its_mind_is_asked_only_once_for_each_hop() -> None:
    answers = iter([[PUBLIC], ["127.0.0.1"]])
    host = Host(picture)

    async def look_up(name: str, port: int) -> list[str]:
        return next(answers)

    async def main() -> bytes:
        return await ImageFetcher(resolver=look_up, transport=host.transport).fetch("https://rebinding.example/a.png")

    assert asyncio.run(main()) == PICTURE
    assert [request.url.host for request in host.requests] == [PUBLIC]


def redirecting(*targets: str) -> Host:
    left = list(targets)

    def answer(request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(302, headers={"location": left.pop(0)}) if left else picture(request)

    return Host(answer)


def test_three_redirects_are_followed() -> None:
    host = redirecting("https://b.example/", "/relative.png", "//c.example/x.png")
    assert fetch("https://a.example/", host) == PICTURE
    assert [request.headers["host"] for request in host.requests] == [
        "a.example",
        "b.example",
        "b.example",
        "c.example",
    ]


def test_a_fourth_redirect_is_not() -> None:
    with pytest.raises(FetchRefusedError, match="redirects more than 3 times"):
        fetch("https://a.example/", redirecting(*["https://b.example/"] * 4))


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("https://inside.example/", "not at a public address"),
        ("http://b.example/", "http, not https"),
        ("file:///etc/passwd", r"not an http\(s\) URL"),
        ("https://user:secret@b.example/", "carries credentials"),
    ],
)
def test_each_hop_is_checked_like_the_first(target: str, why: str) -> None:
    host = redirecting(target)
    with pytest.raises(FetchRefusedError, match=why) as refused:
        fetch("https://a.example/", host, {"inside.example": ["10.0.0.1"]})
    assert len(host.requests) == 1
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    "link",
    [
        "http://pictures.example/a.png",
        "ftp://pictures.example/a.png",
        "https://",
        "data:image/png;base64,",
        "https://[::1",
    ],
)
def test_what_is_not_an_https_link_is_refused(link: str) -> None:
    with pytest.raises(FetchRefusedError):
        fetch(link, Host(picture))


def test_plain_http_and_private_hosts_are_fetched_where_the_configuration_names_them() -> None:
    names = {"files.internal": ["10.0.0.7"]}
    allowed = ("files.internal:8080",)
    assert fetch("http://files.internal:8080/a.png", Host(picture), names, allowed) == PICTURE
    with pytest.raises(FetchRefusedError):
        fetch("http://files.internal:8081/a.png", Host(picture), names, allowed)


def test_an_image_over_the_cap_is_cut_off() -> None:
    async def pieces() -> Any:
        for _ in range(MAX_BYTES // 2**20 + 2):
            yield bytes(2**20)

    with pytest.raises(FetchRefusedError, match="over"):
        fetch("https://pictures.example/a.png", Host(lambda _: httpx2.Response(200, content=pieces())))


def test_an_error_page_is_no_image() -> None:
    with pytest.raises(FetchRefusedError, match="answered HTTP 404"):
        fetch("https://pictures.example/gone.png", Host(lambda _: httpx2.Response(404)))


def test_a_host_that_cannot_be_reached_is_named_without_the_links_query() -> None:
    def fail(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError("refused", request=request)

    with pytest.raises(FetchRefusedError) as refused:
        fetch("https://pictures.example/a.png?signature=abc", Host(fail))
    assert str(refused.value) == "the image's host pictures.example failed: ConnectError"
