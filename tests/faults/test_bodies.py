"""Rows 6 to 11 and 13 to 23: answers that break off, or are not what they should be."""

from __future__ import annotations

import asyncio
import zlib
from functools import lru_cache
from typing import Any

import pytest

from gateway import AsyncGateway
from providers import google
from tests.faults.socket_time import SocketTime
from tests.faults.stage import BOTH_KEYS, body, both, fate, moves_on, played, poster
from tests.providers.bodies import encoded, written
from tests.providers.wire import KEY, Script, Upstream, Wire, answer, answering, gzipped, parting

CUT = moves_on("transport", "maybe", 2)
UNREADABLE = moves_on("bad_response", "maybe", 2)


@both
def test_row_06_a_reset_in_mid_response_may_have_been_billed(kind: str) -> None:
    async def script(wire: Wire) -> None:
        await wire.request()
        await wire.send(answer(body(kind))[:1000])
        wire.reset()

    assert fate(kind, script) == CUT


@both
@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_row_07_a_body_shorter_than_its_content_length_may_have_been_billed(kind: str, share: float) -> None:
    whole = body(kind)
    assert fate(kind, parting(answer(whole[: int(share * len(whole))], length=len(whole)))) == CUT


@both
@pytest.mark.parametrize("less", [5, 7, 300])
def test_row_07_a_chunked_body_that_is_cut_may_have_been_billed(kind: str, less: int) -> None:
    assert fate(kind, parting(answer(body(kind), framing="chunked")[:-less])) == CUT


@both
@pytest.mark.parametrize("less", [1, 2, 3, 40, 2000])
def test_row_08_a_cut_body_that_only_the_close_delimits_is_never_a_success_though_its_status_is_200(
    kind: str, less: int
) -> None:
    assert fate(kind, parting(answer(body(kind)[:-less], framing="close"))) == UNREADABLE


@both
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_row_09_truncated_gzip_may_have_been_billed(kind: str, framing: str) -> None:
    packed = gzipped(body(kind))
    whole = answer(packed[: len(packed) // 2], framing=framing, headers=["Content-Encoding: gzip"])
    assert fate(kind, parting(whole)) == UNREADABLE


@both
def test_row_09_corrupt_gzip_may_have_been_billed(kind: str) -> None:
    packed = bytearray(gzipped(body(kind)))
    packed[len(packed) // 2] ^= 0xFF
    assert fate(kind, parting(answer(bytes(packed), headers=["Content-Encoding: gzip"]))) == UNREADABLE


def drips(kind: str, seconds: float) -> Script:
    """A good answer, one byte every so many seconds: each read is in time."""

    async def script(wire: Wire) -> None:
        await wire.request()
        for byte in answer(body(kind)):
            await wire.send(bytes([byte]))
            await asyncio.sleep(seconds)

    return script


@both
def test_row_10_a_drip_fed_body_is_ended_by_the_deadline(kind: str) -> None:
    ended = played(kind, drips(kind, 1.0), fields={"deadline": 30, "providers": {"only": ["first"]}})
    assert type(ended.error).__name__ == "DeadlineExceeded"
    assert ended.told == (("timeout", "maybe"),)
    assert (ended.seconds, ended.spent) == (pytest.approx(30), "0.05")


@both
def test_row_10_a_drip_fed_body_leaves_time_for_the_other_lane(kind: str) -> None:
    ended = played(kind, drips(kind, 1.0), fields={"deadline": 30})
    assert ended.told == (("timeout", "maybe"), ("ok", "yes"))
    assert (ended.attempts[0].duration, ended.spent) == (pytest.approx(20), "0.15")  # the other one usually takes 10 s
    assert fate(kind, drips(kind, 1.0), {"deadline": 30}).shut_after == 2


@both
def test_row_11_a_header_of_200_kilobytes_may_have_been_billed(kind: str) -> None:
    assert fate(kind, answering(answer(body(kind), headers=["X-Long: " + "x" * 200_000]))) == CUT


@both
@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00 this is not HTTP\r\n\r\n",
        b"\0" * 1000,
        b"HTTP/9 x\r\n\r\n",
        b"<html>hello</html>\r\n\r\n",
    ],
    ids=["TLS", "NUL", "a version nobody has", "a page without a head"],
)
def test_row_11_bytes_that_are_not_http_may_have_been_billed(kind: str, data: bytes) -> None:
    assert fate(kind, parting(data)) == CUT


ERRORS_IN_200: dict[int, tuple[str, str, int | None]] = {
    429: ("rate_limited", "no", 1),
    402: ("balance", "no", 1),
    401: ("auth", "no", 1),
    404: ("model_gone", "no", 1),
    400: ("invalid", "no", None),
    503: ("overloaded", "no", 4),
    502: ("overloaded", "maybe", 2),
    500: ("overloaded", "maybe", 2),
    504: ("timeout", "maybe", 2),
}
"""What the code in an error means: outcome, billed, and after how many of them the lane is shut."""


@both
@pytest.mark.parametrize("code", ERRORS_IN_200)
def test_row_13_a_200_with_an_error_body_counts_by_its_code(kind: str, code: int) -> None:
    for spelling in (code, str(code)):
        document = {"error": {"code": spelling, "message": "The provider had to say this.", "metadata": {}}}
        assert fate(kind, answering(answer(written(document)))) == moves_on(*ERRORS_IN_200[code])


PAGE = (
    b"<!DOCTYPE html><html><head><title>relay.example | Error</title></head><body><script>alert(1)</script>"
    b"\x1b[31m\xe2\x80\xae<p>Ray ID: 8f00ba4; authorization: Bearer " + KEY.encode() + b"</p></body></html>"
)


@both
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "404 Not Found", "405 Not Allowed"])
def test_row_14_an_html_page_from_a_cdn_is_a_bad_response_and_told_without_its_contents(kind: str, status: str) -> None:
    page = answering(answer(PAGE, status=status, headers=["Content-Type: text/html"]))
    billed = "maybe" if status.startswith("200") else "no"
    assert fate(kind, page) == moves_on("bad_response", billed, 2)
    detail = played(kind, page).attempts[0].detail
    assert detail == f"HTTP {status[:3]}: an HTML page"


@both
@pytest.mark.parametrize(
    ("status", "expected"),
    [("500 Oops", ("overloaded", "maybe", 2)), ("502 Bad Gateway", ("overloaded", "maybe", 2)),
     ("503 Unavailable", ("overloaded", "no", 4)), ("504 Timeout", ("timeout", "maybe", 2))],
)  # fmt: skip
def test_row_14_an_html_page_whose_status_says_what_failed_counts_by_the_status(
    kind: str, status: str, expected: tuple[str, str, int]
) -> None:
    page = answering(answer(PAGE, status=status, headers=["Content-Type: text/html"]))
    assert fate(kind, page) == moves_on(*expected)
    assert played(kind, page).attempts[0].detail == f"HTTP {status[:3]}: an HTML page"


@both
def test_row_15_a_403_challenge_is_about_the_region_and_no_other_key_is_tried(kind: str) -> None:
    page = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking</body></html>"
    script = answering(
        answer(page, status="403 Forbidden", headers=["Content-Type: text/html", "cf-mitigated: challenge"])
    )
    assert fate(kind, script, api_key=BOTH_KEYS) == moves_on("region", "no", 1)


@both
@pytest.mark.parametrize("content_type", ["text/html", "text/plain; charset=utf-16", "image/png", "", "x"])
def test_row_16_under_a_wrong_content_type_the_bytes_decide(kind: str, content_type: str) -> None:
    ended = played(kind, answering(answer(body(kind), headers=[f"Content-Type: {content_type}"])))
    assert ended.result is not None
    assert ended.result.images[0].data == poster()
    assert (ended.told, ended.asked, ended.spent) == ((("ok", "yes"),), ("first",), "0.05")
    assert ended.health["first"].state == "closed"


@both
@pytest.mark.parametrize("behind", [b"\n<!-- served by cache -->", b"x", b"\0", b"[]", "twice"])
def test_row_17_garbage_or_a_second_document_behind_the_first_makes_the_answer_unreadable(
    kind: str, behind: bytes | str
) -> None:
    whole = body(kind)
    script = answering(answer(whole + (whole if isinstance(behind, str) else behind)))
    assert fate(kind, script) == UNREADABLE
    assert played(kind, script).attempts[0].detail == "the answer is not a JSON object"


BAD_NUMBERS = [b"NaN", b"Infinity", b"-Infinity", b"1e400", b"-5", b'"NaN"', b'"1e309"', '"٥"'.encode(), b"true", b"[]"]


@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_row_18_a_cost_that_is_no_amount_is_the_catalogues(number: bytes) -> None:
    document = body("openai")[:-1] + b', "usage": {"cost": ' + number + b', "output_tokens": ' + number + b"}}"
    ended = played("openai", answering(answer(document)))
    assert (ended.told, ended.spent) == ((("ok", "yes"),), "0.05")
    assert ended.result is not None
    assert ended.result.cost.basis == "catalogue"


@pytest.mark.parametrize("number", BAD_NUMBERS)
def test_row_18_token_counts_that_are_no_numbers_are_not_charged_by(
    number: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = b'{"promptTokenCount": %b, "candidatesTokenCount": %b, "candidatesTokensDetails": [' % (number, number)
    document = (
        body("google")[:-1] + b', "usageMetadata": ' + usage + b'{"modality": "IMAGE", "tokenCount": %b}]}}' % number
    )
    result = on_the_vendors_host(monkeypatch, document)
    assert (str(result.cost.usd), result.cost.basis) == ("0.134", "catalogue")


def test_row_18_token_counts_that_are_numbers_are_charged_by(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = b'{"candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 2000}]}'
    result = on_the_vendors_host(monkeypatch, body("google")[:-1] + b', "usageMetadata": ' + usage + b"}")
    assert (str(result.cost.usd), result.cost.basis) == ("0.24", "usage")


def on_the_vendors_host(monkeypatch: pytest.MonkeyPatch, document: bytes) -> Any:
    """The result of a request that a vendor's own host answers with *document*: usage counts there alone."""

    async def main() -> Any:
        async with Upstream(answering(answer(document))) as vendor:
            monkeypatch.setattr(google, "DEVELOPER_URL", vendor.url)
            tables = {"providers": {"google": {"kind": "google", "api_key": KEY}}}
            async with AsyncGateway.from_config(tables, clock=time.clock) as gateway:
                return await gateway.generate("a fox", model="gemini-3-pro-image")

    time = SocketTime()
    return time.run(main)


MONSTERS = {
    "a nesting of 100,000": b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "objects in 100,000 layers": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "an unfinished nesting": b"[" * 100_000,
    "an integer of 5,000 digits for a body": b"9" * 5000,
}


@both
@pytest.mark.parametrize("monster", MONSTERS.values(), ids=MONSTERS.keys())
def test_row_19_json_that_breaks_parsers_is_a_bad_response(kind: str, monster: bytes) -> None:
    assert fate(kind, answering(answer(monster))) == UNREADABLE
    assert played(kind, answering(answer(monster))).attempts[0].detail == "the answer is not a JSON object"


@both
@pytest.mark.parametrize("status", ["200 OK", "500 Oops"])
def test_row_19_json_that_breaks_parsers_ends_in_a_typed_error(kind: str, status: str) -> None:
    for monster in MONSTERS.values():
        ended = played(kind, answering(answer(monster, status=status)), fields={"providers": {"only": ["first"]}})
        assert type(ended.error).__name__ == "AllAttemptsFailed"


@both
def test_row_19_an_integer_of_5000_digits_beside_the_image_makes_the_answer_unreadable(kind: str) -> None:
    document = body(kind)[:-1] + b', "usage": {"cost": ' + b"9" * 5000 + b"}}"
    assert fate(kind, answering(answer(document))) == UNREADABLE


@both
def test_row_19_a_byte_order_mark_is_forgiven(kind: str) -> None:
    ended = played(kind, answering(answer(b"\xef\xbb\xbf" + body(kind))))
    assert (ended.told, ended.spent) == ((("ok", "yes"),), "0.05")


@lru_cache
def bomb() -> bytes:
    """256 MB of blanks in 261 kB."""
    packer = zlib.compressobj(9, wbits=31)
    blanks = b" " * 2**20
    return b"".join(packer.compress(blanks) for _ in range(256)) + packer.flush()


@both
def test_row_20_a_decompression_bomb_is_cut_at_the_cap(kind: str) -> None:
    script = answering(answer(bomb(), headers=["Content-Encoding: gzip"]))
    assert fate(kind, script) == UNREADABLE
    detail = played(kind, script).attempts[0].detail
    assert detail == "the answer's text is over the limit of 33554432 bytes"


@both
@pytest.mark.parametrize("framing", ["length", "close"])
def test_row_21_a_body_of_a_gigabyte_is_refused_long_before_its_end(kind: str, framing: str) -> None:
    sent = 0

    async def endless(wire: Wire) -> None:
        nonlocal sent
        await wire.request()
        await wire.send(answer(b'{"a": "', framing=framing, length=2**30))
        while sent < 2**30:
            await wire.send(b"x" * 2**20)
            sent += 2**20

    ended = played(kind, endless)
    assert ended.told == (("bad_response", "maybe"), ("ok", "yes"))
    assert "over the limit" in ended.attempts[0].detail
    assert sent < 2**26
    assert (ended.spent, ended.health["first"].state) == ("0.15", "closed")


@both
@pytest.mark.parametrize("cut", [1, 2, 3, 4])
@pytest.mark.parametrize("half", [True, False])
def test_row_22_truncated_base64_may_have_been_billed_wherever_it_is_cut(kind: str, cut: int, half: bool) -> None:
    whole = encoded(poster()).rstrip("=")
    short = whole[: len(whole) // 8 * 4 - cut] if half else whole[: len(whole) // 4 * 4 - cut]
    document = body(kind).replace(encoded(poster()).encode(), short.encode())
    assert fate(kind, answering(answer(document))) == UNREADABLE


@both
@pytest.mark.parametrize("garbage", [b"!?*", b"\\u0000", b"===", b"   ", "ééé".encode()])
def test_row_23_garbage_inside_base64_is_refused(kind: str, garbage: bytes) -> None:
    text = encoded(poster()).encode()
    middle = len(text) // 8 * 4
    document = body(kind).replace(text, text[:middle] + garbage + text[middle + 3 :])
    assert fate(kind, answering(answer(document))) == UNREADABLE
