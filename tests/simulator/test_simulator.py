"""The simulator as a thing to start, ask, read and stop."""

import asyncio
import hashlib
import json
import ssl
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx2
import pytest

from providers.simulator import Address, Simulator, faults
from providers.simulator.drawing import Picture, draw
from providers.simulator.padding import pad
from providers.simulator.studio import Studio
from tests.simulator.conftest import KEY, google_client, openai_client, picture, pixels, post


def test_it_records_requests_without_their_keys(image_upstream):
    with google_client(image_upstream) as client:
        client.models.generate_content(model="gemini-3-pro-image", contents="a cat")
    httpx2.get(f"{image_upstream.url}/v1beta/models?key={KEY}&pageSize=5")
    openai_client(image_upstream).models.list()
    requests = image_upstream.requests
    assert [request.auth for request in requests] == ["x-goog-api-key", "?key", "authorization"]
    assert {request.key_sha256 for request in requests} == {hashlib.sha256(KEY.encode()).hexdigest()}
    assert requests[0].json["contents"][0]["parts"][0]["text"] == "a cat"
    assert requests[1].query == {"pageSize": "5"}
    assert KEY not in repr(requests) + "".join(str([request.headers, request.query]) for request in requests)


def test_a_record_says_what_was_asked(image_upstream):
    post(image_upstream, "2K")
    request = image_upstream.requests[-1]
    assert (request.method, request.model, request.size, request.n) == ("POST", "gemini-3-pro-image", "2K", 1)
    assert request.path == "/v1beta/models/gemini-3-pro-image:generateContent"


def test_a_refused_request_is_recorded_with_its_body(image_upstream):
    post(image_upstream, "2k")
    assert image_upstream.requests[-1].json["generationConfig"]["imageConfig"] == {"imageSize": "2k"}


def test_old_requests_are_forgotten_when_they_grow_too_many(image_upstream, monkeypatch):
    monkeypatch.setattr("providers.simulator.recording.KEPT_REQUESTS", 2)
    for size in ("1k", "2k", "4k"):
        post(image_upstream, size)
    sizes = [request.json["generationConfig"]["imageConfig"]["imageSize"] for request in image_upstream.requests]
    assert sizes == ["2k", "4k"]


def test_it_adds_up_what_a_vendor_would_charge(image_upstream):
    for size in ("1K", "4K"):
        post(image_upstream, size)
    post(image_upstream, "512", model="gemini-3.1-flash-image")
    assert (image_upstream.billed, image_upstream.bill) == (3, Decimal("0.134") + Decimal("0.24") + Decimal("0.045"))


def test_faults_can_be_injected_while_it_runs(image_upstream):
    image_upstream.inject(faults.overloaded())
    assert post(image_upstream).status_code == 503


def test_it_stops_with_its_block_and_starts_again_on_its_port():
    simulator = Simulator()
    with simulator:
        first = simulator.url
        assert post(simulator).status_code == 200
    with pytest.raises(httpx2.ConnectError):
        post(simulator)
    with simulator:
        assert simulator.url == first
        assert post(simulator).status_code == 200


def test_it_stops_while_a_client_hangs_on_it():
    threads = threading.active_count()
    with Simulator(faults=[faults.hang()]) as simulator, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(post, simulator)
        while not (simulator.requests or answer.done()):
            pass
        simulator.stop()
        with pytest.raises(httpx2.TransportError):
            answer.result()
    assert threading.active_count() == threads


def test_it_serves_an_async_block():
    async def ask() -> int:
        async with Simulator() as simulator, httpx2.AsyncClient() as client:
            return (await client.get(f"{simulator.url}/v1beta/models?key=any")).status_code

    assert asyncio.run(ask()) == 200


def test_a_taken_port_is_an_error_at_once(image_upstream):
    port = int(image_upstream.url.rpartition(":")[2])
    with pytest.raises(OSError, match="address already in use"):
        Simulator(address=Address(port=port)).start()


def test_starting_twice_is_an_error(image_upstream):
    with pytest.raises(RuntimeError, match="already running"):
        image_upstream.start()


def test_it_answers_many_at_once_and_draws_the_same_picture_once(image_upstream):
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: post(image_upstream, "2K"), range(8)))
    bodies = [answer.json()["candidates"] for answer in answers]
    assert all(body == bodies[0] for body in bodies)
    assert image_upstream.billed == 8


def test_it_keeps_connections_open(image_upstream):
    with httpx2.Client() as client:
        for _ in range(3):
            client.get(f"{image_upstream.url}/v1beta/models?key=any").raise_for_status()
        assert len(client._transport._pool.connections) == 1


def test_it_tells_a_careful_client_to_go_on(image_upstream):
    host, port = image_upstream.url.removeprefix("http://").split(":")
    body = json.dumps({"contents": [{"parts": [{"text": "a cat"}]}]}).encode()
    head = (
        f"POST /v1/models/gemini-3-pro-image:generateContent?key=k HTTP/1.1\r\nHost: {host}\r\n"
        f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"
    )

    async def ask() -> tuple[bytes, bytes]:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(head.encode())
        go_on = await reader.readuntil(b"\r\n\r\n")
        writer.write(body)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        return go_on, answer

    go_on, answer = asyncio.run(asyncio.wait_for(ask(), timeout=10))
    assert go_on.startswith(b"HTTP/1.1 100 ")
    assert answer.startswith(b"HTTP/1.1 200 ")


def test_unknown_paths_are_not_found(image_upstream):
    assert httpx2.post(f"{image_upstream.url}/v1/embeddings", json={}).status_code == 404


def test_other_models_can_be_offered(simulate):
    simulator = simulate(models=["house-blend"])
    assert post(simulator, "4K", model="house-blend").status_code == 200
    assert str(simulator.bill) == "0.151"


@pytest.mark.parametrize(("kind", "model"), [("jpeg", "gemini-3-pro-image"), ("png", "gemini-2.5-flash-image")])
def test_a_payload_can_be_as_heavy_as_asked(simulate, kind, model):
    simulator = simulate(payload_bytes=3_000_000)
    with google_client(simulator) as client:
        answer = client.models.generate_content(model=model, contents="a cat")
    inline = answer.parts[-1].inline_data
    assert inline.mime_type == f"image/{kind}"
    assert len(inline.data) == pytest.approx(3_000_000, rel=0.01)
    assert pixels(inline.data) == (1024, 1024)


def png_chunks(data: bytes) -> list[bytes]:
    names, position = [], 8
    while position < len(data):
        length = int.from_bytes(data[position : position + 4])
        names.append(data[position + 4 : position + 8])
        position += length + 12
    return names


def jpeg_segments(data: bytes) -> list[int]:
    """Markers up to the start of the scan."""
    markers, position = [], 2
    while 0xDA not in markers:
        assert data[position] == 0xFF
        markers.append(data[position + 1])
        position += 2 + int.from_bytes(data[position + 2 : position + 4])
    return markers


def test_padding_keeps_the_structure_of_a_png_and_of_a_jpeg():
    png, jpeg = (pad(picture(64, 64, kind), f"image/{kind.lower()}", 200_000) for kind in ("PNG", "JPEG"))
    assert png_chunks(png) == [b"IHDR", b"IDAT", b"paDd", b"IEND"]
    assert jpeg_segments(jpeg)[:5] == [0xE0, 0xFE, 0xFE, 0xFE, 0xFE]


def test_padding_leaves_heavier_images_and_other_formats_alone():
    image = picture(64, 64)
    assert pad(image, "image/png", len(image)) == image
    assert pad(picture(64, 64, "WEBP"), "image/webp", 10_000) == picture(64, 64, "WEBP")


@pytest.mark.parametrize("prompt", ["", "word", "a " * 500, "unbroken" * 100, "Ein Fuß, größer", "一只猫在月亮上"])
@pytest.mark.parametrize("size", [(192, 1536), (1536, 192)])
def test_any_prompt_fits_on_any_picture(prompt, size):
    data = draw(Picture(width=size[0], height=size[1], mime_type="image/png", title=prompt, caption="1K"))
    assert pixels(data) == size


def test_the_prompt_is_on_the_picture():
    one, other = (draw(Picture(width=256, height=256, mime_type="image/png", title="a", caption=c)) for c in "ab")
    assert one != other


def test_the_studio_forgets_what_was_not_asked_for_lately(monkeypatch):
    monkeypatch.setattr("providers.simulator.studio.KEPT_BYTES", 1)
    studio = Studio()
    pictures = [Picture(width=64, height=64, mime_type="image/png", title=t, caption="") for t in "ab"]

    async def ask() -> list[bool]:
        drawn = [await studio.draw(picture) for picture in pictures]
        return [studio.file(image.filename) is not None for image in drawn]

    assert asyncio.run(ask()) == [False, True]


def test_it_speaks_tls(simulate, tmp_path):
    certificate = tmp_path / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", certificate, "-out", tmp_path / "c.pem",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(tmp_path / "c.pem", certificate)
    simulator = simulate("url", address=Address(tls=server))
    client = ssl.create_default_context(cafile=tmp_path / "c.pem")
    body = {"model": "gpt-image-2", "prompt": "a cat"}
    headers = {"Authorization": "Bearer any"}
    answer = httpx2.post(
        f"{simulator.openai_url}/images/generations", json=body, headers=headers, verify=client, timeout=20
    )
    assert answer.json()["data"][0]["url"].startswith(simulator.url + "/files/")
    assert simulator.url.startswith("https://")


def test_the_pytest_plugin_is_light_to_import():
    code = (
        "import sys, providers.simulator.fixtures; print(sorted({'PIL', 'asyncio', 'h11', 'httpx'} & set(sys.modules)))"
    )
    baseline = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=".")
    assert baseline.stdout.strip() == "[]"


def test_the_packages_names_are_found_and_others_are_not():
    import providers.simulator

    assert all(hasattr(providers.simulator, name) for name in providers.simulator.__all__)
    assert not hasattr(providers.simulator, "nothing")
