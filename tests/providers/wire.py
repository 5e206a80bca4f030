"""An upstream on loopback whose every byte is scripted, and the two adapters pointed at it."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import io
import random
import socket
import ssl
import struct
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from PIL import Image

from providers.exchange import Exchange
from providers.google import GoogleProvider
from providers.images import ReferenceImage
from providers.openai_compatible import OpenAICompatibleProvider
from providers.outcome import Outcome
from providers.provider import Provider, ProviderSettings
from providers.request import UpstreamRequest
from providers.secret import Secret
from tests.providers.bodies import encoded, markdown, written

AUTHORITY_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Test authority")])
KEY = "canary-key-0123456789"
KINDS = ("google", "openai")
LARGE = 24 * 2**20
"""Bytes of a reference image beyond what the kernel's buffers take in."""

both = pytest.mark.parametrize("kind", KINDS)
every_dialect = pytest.mark.parametrize("kind", [*KINDS, "chat"])


@dataclass(frozen=True)
class Received:
    """A request as it came in; header names are in lower case, and a repeated header has both values, comma-joined."""

    line: str
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def target(self) -> str:
        return self.line.split(" ")[1]


class Wire:
    """One connection, from the upstream's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, upstream: Upstream) -> None:
        self._reader = reader
        self._writer = writer
        self._upstream = upstream

    async def head(self) -> tuple[str, dict[str, str]]:
        """The request line and the headers."""
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers: dict[str, str] = {}
        for line in lines[1:-2]:
            name, _, value = line.partition(": ")
            headers[name.lower()] = f"{headers[name.lower()]}, {value}" if name.lower() in headers else value
        return lines[0], headers

    async def request(self) -> Received:
        """A whole request."""
        line, headers = await self.head()
        if headers.get("transfer-encoding") == "chunked":
            body = b"".join([chunk async for chunk in self._chunks()])
        else:
            body = await self._reader.readexactly(int(headers.get("content-length", 0)))
        received = Received(line, headers, body)
        self._upstream.requests.append(received)
        return received

    async def _chunks(self) -> Any:
        while size := int(await self._reader.readline(), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readline()

    async def send(self, *pieces: bytes) -> None:
        """Each of *pieces*, in a segment of its own as far as the kernel allows."""
        for piece in pieces:
            self._writer.write(piece)
            await self._writer.drain()

    async def half_close(self) -> None:
        """Say that nothing more will come, and wait until the client has left."""
        self._writer.write_eof()
        await self.client_left()

    async def client_left(self) -> None:
        """Wait until the client closes the connection."""
        with contextlib.suppress(ConnectionError):
            while await self._reader.read(65_536):
                pass

    async def join(self, host: str, port: int) -> None:
        """Pass bytes to and fro between the client and *port* until both have left."""
        reader, writer = await asyncio.open_connection(host, port)
        try:
            await asyncio.gather(_pump(self._reader, writer), _pump(reader, self._writer))
        finally:
            writer.close()

    def reset(self) -> None:
        """Send RST."""
        reset = struct.pack("ii", 1, 0)  # linger for no time
        self._writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        self._writer.transport.abort()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


Script = Callable[[Wire], Awaitable[None]]


class Upstream:
    """Listens on a free port of 127.0.0.1 and plays *script* on each connection, which it closes afterwards."""

    def __init__(self, script: Script, *, tls: Any = None) -> None:
        self.requests: list[Received] = []
        self.connections = 0
        self._script = script
        self._tls = tls
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**16, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self.connections += 1
        try:
            await self._script(Wire(reader, writer, self))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client left
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                await writer.wait_closed()


def answering(*pieces: bytes) -> Script:
    """Reads a request and sends *pieces*, again and again until the client leaves or no length says where they end."""

    async def script(wire: Wire) -> None:
        while True:
            await wire.request()
            await wire.send(*pieces)
            if b"content-length" not in pieces[0].lower():
                return

    return script


def parting(*pieces: bytes) -> Script:
    """Reads one request, sends *pieces*, and leaves."""

    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(*pieces)

    return script


def answer(
    body: bytes,
    *,
    status: str = "200 OK",
    framing: str = "length",
    headers: Iterable[str] = (),
    length: int | None = None,
) -> bytes:
    """An HTTP answer. *framing* is ``"length"``, ``"chunked"`` or ``"close"``; *length* is claimed in place of the true."""
    head = [f"HTTP/1.1 {status}", *headers]
    if not any(header.lower().startswith("content-type") for header in head):
        head.append("Content-Type: application/json")
    if framing == "length":
        head.append(f"Content-Length: {len(body) if length is None else length}")
    if framing == "chunked":
        head.append("Transfer-Encoding: chunked")
        step = max(1, len(body) // 7)
        parts = [body[start : start + step] for start in range(0, len(body), step)]
        body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    if framing == "close":
        head.append("Connection: close")
    return "\r\n".join([*head, "", ""]).encode() + body


_SIGNS_CERTIFICATES = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip


class Authority:
    """Signs certificates; its own is in the file *path*."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "authority.pem"
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._certificate(AUTHORITY_NAME, self._key.public_key(), 1)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(_SIGNS_CERTIFICATES, critical=True)  # Python 3.13 asks for it
        )
        self.path.write_bytes(_pem(certificate.sign(self._key, hashes.SHA256())))

    def server(self, address: str = "127.0.0.1", days: int = 1) -> ssl.SSLContext:
        """What a server needs to show that it is *address*, for *days* from now on (or until *days* ago)."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, address)])
        certificate = self._certificate(subject, key.public_key(), days).add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))]), critical=False
        )
        file = self._folder / f"{address}{days}.pem"
        file.write_bytes(
            _pem(certificate.sign(self._key, hashes.SHA256()))
            + key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        return context

    def _certificate(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(AUTHORITY_NAME)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=30))
            .not_valid_after(now + timedelta(days=days))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def picture(width: int = 24, height: int = 16, seed: int = 1) -> bytes:
    """A PNG full of noise."""
    file = io.BytesIO()
    Image.frombytes("RGB", (width, height), random.Random(seed).randbytes(3 * width * height)).save(file, "PNG")
    return file.getvalue()


PICTURE = picture()
GOOD = {
    "google": {"candidates": [{"content": {"role": "model", "parts": [
        {"inlineData": {"mimeType": "image/png", "data": encoded(PICTURE)}}]}, "finishReason": "STOP"}]},
    "openai": {"created": 1, "data": [{"b64_json": encoded(PICTURE)}]},
    "chat": {"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": markdown(PICTURE)}}]},
}  # fmt: skip
"""Answers of which PICTURE is the image."""

BODY = {kind: written(document) for kind, document in GOOD.items()}


def gzipped(body: bytes) -> bytes:
    return gzip.compress(body, mtime=0)


def make(kind: str, url: str, **settings: Any) -> Provider:
    """The adapter of *kind*, for the upstream at *url*; kind ``"chat"`` is openai's in the dialect of that name."""
    common: dict[str, Any] = {"name": "test", "api_key": Secret(KEY), **settings}
    if kind == "google":
        return GoogleProvider(ProviderSettings(kind="google", base_url=url, **common))
    options = {"dialect": "chat" if kind == "chat" else "images"}
    return OpenAICompatibleProvider(ProviderSettings(kind="openai", base_url=f"{url}/v1", options=options, **common))


def drawing(prompt: str = "a cat", *, reference: int = 0, timeout: float = 20.0) -> UpstreamRequest:
    """A request, with a reference image of *reference* bytes unless that is 0."""
    images = (ReferenceImage(data=bytes(reference), mime_type="image/png"),) if reference else ()
    return UpstreamRequest(model="some-model", prompt=prompt, images=images, timeout=timeout)


async def ask(kind: str, url: str, request: UpstreamRequest | None = None, **settings: Any) -> tuple[Outcome, Exchange]:
    """What one call of the adapter of *kind* comes to, and the record of it."""
    provider, exchange = make(kind, url, **settings), Exchange()
    try:
        return await provider.generate(request or drawing(), exchange), exchange
    finally:
        await provider.aclose()


def played(
    kind: str, script: Script, request: UpstreamRequest | None = None, **settings: Any
) -> tuple[Outcome, Exchange, Upstream]:
    """:func:`ask` against an upstream that plays *script*."""

    async def main() -> tuple[Outcome, Exchange, Upstream]:
        async with Upstream(script) as upstream:
            outcome, exchange = await ask(kind, upstream.url, request, **settings)
        return outcome, exchange, upstream

    return asyncio.run(main())
