"""Rows 24 to 28: images that are fewer, smaller or other than they should be. They are paid for, and some are kept."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from gateway import ImageResult
from providers.facts import png
from tests.faults.stage import Ended, Fate, body, both, delivers, fate, moves_on, played, poster
from tests.providers.wire import Wire, answer


def only_first(**fields: Any) -> dict[str, Any]:
    return {"providers": {"only": ["first"]}, **fields}


def result_of(ended: Ended) -> ImageResult:
    assert ended.result is not None, ended.error
    return ended.result


def test_row_24_fewer_images_than_asked_are_a_partial_success_and_paid() -> None:
    ended = played("openai", delivers("openai"), facts={"n": 4}, fields=only_first(n=3))
    result = result_of(ended)
    assert (len(result.images), "1 of 3 images came" in result.warnings) == (1, True)
    assert (ended.told, ended.asked, ended.health["first"].state) == ((("ok", "yes"),), ("first",), "closed")
    assert ended.spent == "0.15"  # what was asked for may have been charged in full


def test_row_24_the_other_lane_is_asked_for_the_missing_images() -> None:
    ended = played("openai", delivers("openai"), facts={"n": 4}, fields={"n": 2})
    assert len(result_of(ended).images) == 2
    assert (ended.told, ended.asked) == ((("ok", "yes"),) * 2, ("first", "second"))
    assert ended.spent == "0.20"


@both
def test_row_24_a_call_that_fails_beside_others_does_not_cost_their_images(kind: str) -> None:
    left = [poster()] * 2

    async def one_too_few(wire: Wire) -> None:
        await wire.request()
        if left:
            left.pop()
            await wire.send(answer(body(kind), framing="close"))
        else:
            wire.reset()

    ended = played(kind, one_too_few, fields=only_first(n=3))
    assert len(result_of(ended).images) == 2
    assert sorted(ended.told) == [("ok", "yes"), ("ok", "yes"), ("transport", "maybe")]
    assert ended.spent == "0.15"


TWO = {"size": "2K"}


@both
def test_row_25_a_smaller_image_is_paid_and_accepted_by_default(kind: str) -> None:
    ended = played(kind, delivers(kind), fields=TWO)
    result = result_of(ended)
    assert (result.size, result.downgraded, result.images[0].data) == ("1K", True, poster())
    assert "2K was asked for, and 1K came" in result.warnings[0]
    assert fate(kind, delivers(kind), TWO) == Fate("wrong_size", "yes", ("first",), "0.05", 3)


@both
def test_row_25_a_smaller_image_is_paid_and_another_lane_is_asked_where_the_policy_says_so(kind: str) -> None:
    ended = played(kind, delivers(kind), delivers(kind, poster(2048, 2048)), fallback=FALLBACK, fields=TWO)
    assert (result_of(ended).size, ended.asked, ended.spent) == ("2K", ("first", "second"), "0.15")
    assert ended.told == (("wrong_size", "yes"), ("ok", "yes"))


@both
def test_row_25_the_smaller_image_is_kept_and_returned_if_nothing_better_comes(kind: str) -> None:
    ended = played(kind, delivers(kind), delivers(kind), fallback=FALLBACK, fields=TWO)
    assert (result_of(ended).size, ended.asked[:2]) == ("1K", ("first", "second"))
    assert ended.told[:2] == (("wrong_size", "yes"),) * 2


@both
def test_row_25_an_image_below_the_floor_is_paid_and_not_accepted(kind: str) -> None:
    wanted = {**TWO, "min_size": "2K"}
    assert fate(kind, delivers(kind, poster(1024, 1024)), wanted).asked == ("first", "second")
    ended = played(kind, delivers(kind), fields=only_first(**wanted))
    assert ended.told == (("wrong_size", "yes"),)
    assert ended.error is not None
    assert [image.data for image in ended.error.images] == [poster()]  # nothing bought is thrown away


FALLBACK = {"on_wrong_size": "fallback"}


def without_end(image: bytes) -> bytes:
    return image[:-12]


def wrong_checksum(image: bytes) -> bytes:
    place = image.index(b"IDAT") + 10
    return image[:place] + bytes([image[place] ^ 1]) + image[place + 1 :]


def short_pixels(image: bytes) -> bytes:
    """A PNG without a flaw in its frame, with the pixels of its upper half."""
    rows = b"".join(b"\0" + bytes(3 * 1024) for _ in range(512))
    return png_file(1024, 1024, zlib.compress(rows))


def giant(image: bytes) -> bytes:
    return png_file(20_000, 20_000, zlib.compress(bytes(1000)))


def png_file(width: int, height: int, data: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", data), (b"IEND", b""))
    framed = (
        struct.pack(">I", len(each)) + kind + each + struct.pack(">I", zlib.crc32(kind + each)) for kind, each in chunks
    )
    return png.SIGNATURE + b"".join(framed)


@both
@pytest.mark.parametrize(("spoil", "billed"), [(wrong_checksum, "yes"), (without_end, "maybe"), (short_pixels, "yes")])
def test_row_26_a_corrupt_png_is_a_bad_response(kind: str, spoil: Callable[[bytes], bytes], billed: str) -> None:
    assert fate(kind, delivers(kind, spoil(poster()))) == moves_on("bad_response", billed, 2)


@both
def test_row_27_a_header_of_20000_by_20000_is_refused_before_decoding(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("the image was decoded")

    ended = played(kind, delivers(kind, giant(poster())))
    assert ended.attempts[0].detail == "the image is too large: 20000 × 20000 pixels"
    monkeypatch.setattr(Image, "open", decoded)
    ended = played(kind, delivers(kind, giant(poster())), fields=only_first())
    assert ended.told == (("bad_response", "yes"),)
    assert fate(kind, delivers(kind, giant(poster())), only_first()).shut_after == 2


SCRIPT = b"<script>alert(1)</script>"


@both
def test_row_28_a_script_behind_the_image_is_stripped(kind: str) -> None:
    ended = played(kind, delivers(kind, poster() + SCRIPT))
    assert result_of(ended).images[0].data == poster()
    assert (ended.told, ended.spent, ended.health["first"].state) == ((("ok", "yes"),), "0.05", "closed")


@both
@pytest.mark.parametrize(
    "bait",
    [
        b'<svg xmlns="http://www.w3.org/2000/svg">' + SCRIPT * 10 + b"</svg>",
        b"<!DOCTYPE html><html><body>" + SCRIPT * 10 + b"</body></html>",
        b"GIF89a/*" + bytes(100) + b"*/=1;" + SCRIPT,
        b"%PDF-1.7\n" + bytes(100),
    ],
    ids=["SVG", "HTML", "GIF and JavaScript", "PDF"],
)
def test_row_28_what_is_no_accepted_image_is_refused_and_paid(kind: str, bait: bytes) -> None:
    assert fate(kind, delivers(kind, bait)) == moves_on("bad_response", "yes", 2)
