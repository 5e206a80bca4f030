"""Images behind links, fetched as if the link came from an enemy: it came from a relay.

A link is followed only to public addresses over https. Its host is resolved once, every address is checked, and the
connection goes to the address that was checked, so that a second, different answer of the name server changes nothing.
Each redirect is checked the same way. Nothing of ours is sent along: no key, no cookie.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import Final

import anyio
import httpx2

from providers.loops import PerLoop
from providers.transport import CONNECT_TIMEOUT, POOL_TIMEOUT, READ_GAP

MAX_REDIRECTS: Final = 3
MAX_BYTES: Final = 64 * 2**20
"""Bytes of one image; the largest 4K answers have 25 MB."""

Resolver = Callable[[str, int], Awaitable[list[str]]]


class FetchRefusedError(Exception):
    """The link is not followed, or what is behind it cannot be had; the message says why without the link's query."""


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of *host*, as the system's resolver sees them; decimal and octal spellings included."""
    found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Whether *address* is global unicast, also after undoing IPv4-mapped, NAT64, 6to4 and Teredo wrappings.

    The wrappings are refused altogether: they count as global, and lead to whatever they wrap.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and any(parsed in network for network in _WRAPPERS):
        return False
    # 100.64.0.0/10 is neither private nor global: asking for global is what keeps it out.
    return parsed.is_global and not (parsed.is_multicast or parsed.is_reserved or parsed.is_unspecified)


_WRAPPERS: Final = tuple(
    ipaddress.IPv6Network(network)
    for network in ("::ffff:0:0/96", "::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2002::/16", "2001::/32", "fec0::/10")
)


class ImageFetcher:
    """Follows links for one provider. *allowed_hosts* are ``"host:port"`` exceptions: plain http and private ones too."""

    def __init__(
        self,
        allowed_hosts: Collection[str] = (),
        *,
        proxy: str | None = None,
        resolver: Resolver = resolve,
        transport: Callable[[], httpx2.AsyncBaseTransport] | None = None,
    ) -> None:
        self._allowed = frozenset(host.lower() for host in allowed_hosts)
        self._resolve = resolver
        connect = transport or (lambda: httpx2.AsyncHTTPTransport(proxy=proxy, http2=False, retries=0))
        self._transports = PerLoop(connect)

    async def fetch(self, link: str) -> bytes:
        """The bytes behind *link*.

        Raises:
            FetchRefusedError: the link, or one it redirects to, may not be followed, or it does not deliver.
        """
        url = _parse(link)
        for _ in range(MAX_REDIRECTS + 1):
            try:
                response = await self._transports.get().handle_async_request(await self._request(url))
            except httpx2.HTTPError as error:
                raise FetchRefusedError(f"the image's host {url.host} failed: {type(error).__name__}") from None
            try:
                if not response.is_redirect:
                    return await _body(response, url)
            finally:
                await response.aclose()
            url = _parse(response.headers.get("location", ""), url)
        raise FetchRefusedError(f"the image's link redirects more than {MAX_REDIRECTS} times")

    async def aclose(self) -> None:
        """Close this event loop's connections."""
        transport = self._transports.pop()
        if transport is not None:
            await transport.aclose()

    async def _request(self, url: httpx2.URL) -> httpx2.Request:
        """A request to the checked address of *url*'s host, under the host's own name."""
        address = await self._checked_address(url)
        timeout = {"connect": CONNECT_TIMEOUT, "pool": POOL_TIMEOUT, "read": READ_GAP, "write": READ_GAP}
        return httpx2.Request(
            "GET",
            url.copy_with(host=address),
            headers={"host": url.netloc.decode("ascii"), "accept": "image/*", "accept-encoding": "identity"},
            extensions={"sni_hostname": url.host, "timeout": timeout},
        )

    async def _checked_address(self, url: httpx2.URL) -> str:
        port = url.port or (443 if url.scheme == "https" else 80)
        excepted = f"{url.host}:{port}".lower() in self._allowed
        if url.scheme != "https" and not excepted:
            raise FetchRefusedError(
                f"the image's link is {url.scheme}, not https; download_hosts can make an exception"
            )
        try:
            addresses = await self._resolve(url.host, port)
        except (OSError, UnicodeError):
            raise FetchRefusedError(f"the image's host {url.host} cannot be resolved") from None
        if not addresses or not (excepted or all(map(is_public, addresses))):
            raise FetchRefusedError(
                f"the image's host {url.host} is not at a public address; download_hosts can make an exception"
            )
        return addresses[0]


def _parse(link: str, base: httpx2.URL | None = None) -> httpx2.URL:
    """The address that *link* means, seen from *base* if it may be relative."""
    try:
        url = base.join(link) if base is not None else httpx2.URL(link)
    except (httpx2.InvalidURL, ValueError):
        raise FetchRefusedError("the image's link is not a URL") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise FetchRefusedError("the image's link is not an http(s) URL")
    if url.userinfo:
        raise FetchRefusedError("the image's link carries credentials")
    return url


async def _body(response: httpx2.Response, url: httpx2.URL) -> bytes:
    if response.status_code != httpx2.codes.OK:
        raise FetchRefusedError(f"the image's host {url.host} answered HTTP {response.status_code}")
    body = bytearray()
    try:
        async for piece in response.aiter_bytes():
            body += piece
            if len(body) > MAX_BYTES:
                raise FetchRefusedError(f"the image behind the link is over {MAX_BYTES} bytes")
    except httpx2.HTTPError as error:
        raise FetchRefusedError(f"the image's host {url.host} broke off: {type(error).__name__}") from None
    return bytes(body)
