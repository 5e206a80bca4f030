"""Clients of the real SDKs, pointed at a simulator."""

import io
import ssl
from collections.abc import Callable, Iterator

import httpx2
import openai
import pytest
from google import genai
from google.genai import types
from PIL import Image

from providers.simulator import Simulator
from providers.simulator.fixtures import image_upstream  # noqa: F401 - the fixture as users get it

KEY = "loopback-key-0123456789"

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Spares each plain request the 20 ms in which the authorities' certificates are loaded."""

_clients: list[openai.OpenAI] = []


def google_client(simulator: Simulator, version: str = "v1beta") -> genai.Client:
    """Google's SDK."""
    return genai.Client(
        api_key=KEY, http_options=types.HttpOptions(base_url=simulator.google_url, api_version=version, timeout=20_000)
    )


def openai_client(simulator: Simulator) -> openai.OpenAI:
    """OpenAI's SDK, its own retries off."""
    client = openai.OpenAI(api_key=KEY, base_url=simulator.openai_url, max_retries=0, timeout=20)
    _clients.append(client)
    return client


def post(simulator: Simulator, size: str = "1K", model: str = "gemini-3-pro-image", **more: object) -> httpx2.Response:
    """A plain request on Google's wire."""
    config = {"imageConfig": {"imageSize": size}, **more}
    return httpx2.post(
        f"{simulator.google_url}/v1beta/models/{model}:generateContent",
        headers={"x-goog-api-key": KEY},
        json={"contents": [{"parts": [{"text": "a cat"}]}], "generationConfig": config},
        timeout=20,
        verify=_NO_TLS,
    )


def picture(width: int, height: int, kind: str = "PNG") -> bytes:
    """A small image to refer to."""
    target = io.BytesIO()
    Image.new("RGB", (width, height), "teal").save(target, kind)
    return target.getvalue()


def pixels(data: bytes) -> tuple[int, int]:
    """Width and height of an image, all of which must decode."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        return image.size


@pytest.fixture(autouse=True)
def _close_clients() -> Iterator[None]:
    yield
    while _clients:
        _clients.pop().close()


@pytest.fixture
def simulate() -> Iterator[Callable[..., Simulator]]:
    """Starts simulators and stops them afterwards."""
    started: list[Simulator] = []

    def start(*args: object, **options: object) -> Simulator:
        simulator = Simulator(*args, **options)
        simulator.start()
        started.append(simulator)
        return simulator

    yield start
    for simulator in started:
        simulator.stop()
