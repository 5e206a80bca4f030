"""Images come out of a JSON body while it arrives, and nothing else about the body changes."""

from __future__ import annotations

import base64
import gc
import json
import tracemalloc
import weakref
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from providers import extraction
from providers.extraction import ExtractionError, ImageExtractor, Limits
from tests.providers.bodies import (
    JPEG,
    MIN_IMAGE,
    PNG,
    STRING,
    WEBP,
    cut,
    data_uri,
    encoded,
    expected,
    extracted,
    image,
    markdown,
    normal,
    written,
)

DRAWN = image(100)
PHOTO = image(101, JPEG)
STICKER = image(99, WEBP)
MIXED = encoded(PNG + b"\0" + b"\xfb\xff\xfe" * 20).replace("/", "_", 1)
"""PNG in base64 that uses both alphabets."""

HOLDERS: dict[str, Any] = {
    "a bare string": {"data": [{"b64_json": encoded(DRAWN)}]},
    "a bare JPEG": {"parts": [{"text": "a"}, {"inlineData": {"mimeType": "image/jpeg", "data": encoded(PHOTO)}}]},
    "a bare WebP": [encoded(STICKER)],
    "the URL-safe alphabet": {"data": encoded(PHOTO, url_safe=True), "thoughtSignature": "c2ln"},
    "no padding": {"data": encoded(PHOTO, padded=False), "more": encoded(DRAWN, padded=False)},
    "a data URI": {"image_url": {"url": data_uri(DRAWN)}},
    "a bare string that is a data URI": {"b64_json": data_uri(PHOTO, "image/jpeg")},
    "markdown": {"content": markdown(PHOTO), "role": "assistant"},
    "several in one string": {"content": markdown(DRAWN) + markdown(PHOTO) + data_uri(STICKER)},
    "data URIs without anything between them": {"content": data_uri(PHOTO) + data_uri(PHOTO) + "AAAA"},
    "a key": {encoded(DRAWN): data_uri(PHOTO)},
    "JSON inside a string": {"arguments": json.dumps({"data": encoded(DRAWN), "url": data_uri(DRAWN)})},
}
"""Documents by the place where their images stand."""

DECOYS: dict[str, str] = {
    **{
        f"{name} within": encoded(DRAWN)[:40] + character + encoded(DRAWN)[40:]
        for name, character in {
            "an exclamation mark": "!", "a blank": " ", "an umlaut": "ö", "a quote": '"', "a backslash": "\\",
            "a newline": "\n", "padding": "=", "a backslash and a slash": "\\/", "an escaped escape": "\\u002f",
            "NUL": "\0", "an emoji": "🦊", "a comma": ",",
        }.items()
    },
    "something behind the padding": encoded(PHOTO) + "x",
    "a length that no base64 has": encoded(DRAWN)[:81],
    "bits left over that no encoder leaves": encoded(DRAWN, padded=False)[:82],
    "mixed alphabets": MIXED,
    "mixed alphabets in a data URI": f"data:image/png;base64,{MIXED}",
    "less than any image": encoded(image(MIN_IMAGE - 1)),
    "less than any image, as a data URI": data_uri(image(MIN_IMAGE - 1, JPEG)),
    "a signature alone": "iVBORw0KGgo",
    "part of a signature": "iVBORw0KG",
    "text in base64": base64.b64encode(b"This is not an image. " * 20).decode(),
    "text as a data URI": "data:text/plain;base64," + base64.b64encode(b"This is not an image. " * 20).decode(),
    "a data URI without data": "data:image/png;base64,",
    "two of them": "base64,base64,iVBOR",
    "words": "base64, iVBORw0KGgo and /9j/ are words",
    "quotes and backslashes": '"\\" \\\\" base64,"\\',
    "a data URI cut by a quote": data_uri(DRAWN)[:60] + '"' + data_uri(DRAWN)[60:],
    "an image behind other text": "see " + encoded(DRAWN),
    "nothing": "",
}  # fmt: skip
"""Strings that are not images although they look like some."""

BODIES = {
    **{f"{name}, {style}": written(document, **options) for name, document in HOLDERS.items() for style, options in {
        "as it is": {"ascii_only": False},
        "with escapes": {"escapes": 1.0},
        "with some escapes": {"escapes": 0.3},
    }.items()},
    "every decoy": written(list(DECOYS.values())),
    "every decoy with escapes": written(list(DECOYS.values()), escapes=0.5),
}  # fmt: skip


def every(bodies: dict[str, bytes]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("body", bodies.values(), ids=bodies.keys())


def alike(one: tuple[bytes, list[bytes]], other: tuple[bytes, list[bytes]]) -> bool:
    """Whether two results are the same, but for how what was put back is escaped."""
    return one == other or (one[1] == other[1] and normal(one[0]) == normal(other[0]))


def parses(document: bytes) -> bool:
    try:
        json.loads(document)
    except ValueError:
        return False
    return True


def is_within_a_string(body: bytes, place: int) -> bool:
    return b'"' in STRING.sub(b"", body[:place])


class TestImages:
    @every(BODIES)
    def test_come_out_and_the_rest_stays(self, body: bytes) -> None:
        left, images = extracted(body)
        assert (normal(left), images) == expected(body)

    @pytest.mark.parametrize(
        ("document", "count"),
        list(zip(HOLDERS.values(), [1, 1, 1, 1, 2, 1, 1, 1, 3, 2, 2, 1], strict=True)),
        ids=HOLDERS.keys(),
    )
    def test_are_found_wherever_they_stand(self, document: Any, count: int) -> None:
        images = extracted(written(document))[1]
        assert len(images) == count
        assert {*images} <= {DRAWN, PHOTO, STICKER}

    @every(BODIES)
    def test_come_out_the_same_wherever_the_body_is_cut(self, body: bytes) -> None:
        whole = extracted(body)
        assert [place for place in range(len(body)) if not alike(extracted(*cut(body, place)), whole)] == []

    @every(BODIES)
    @pytest.mark.parametrize("step", [1, 2, 3, 5, 64])
    def test_come_out_the_same_in_pieces_of_any_size(self, body: bytes, step: int) -> None:
        assert alike(extracted(*cut(body, *range(step, len(body), step))), extracted(body))

    def test_come_in_their_order_and_each_by_itself_though_they_are_equal(self) -> None:
        body = written([encoded(PHOTO), encoded(DRAWN), encoded(PHOTO)])
        assert extracted(body) == (b'["<image 1>", "<image 2>", "<image 3>"]', [PHOTO, DRAWN, PHOTO])

    @pytest.mark.parametrize("size", range(MIN_IMAGE, MIN_IMAGE + 7))
    def test_of_every_length_lose_no_byte(self, size: int) -> None:
        for start in (PNG, JPEG, WEBP):
            assert extracted(written([encoded(image(size, start), padded=False)]))[1] == [image(size, start)]

    def test_leave_a_document_that_parses_to_the_markers(self) -> None:
        extractor = ImageExtractor()
        extractor.feed(written({"a": encoded(DRAWN), "b": markdown(PHOTO)}, escapes=0.5))
        extractor.close()
        first, second = extractor.images
        assert json.loads(extractor.document) == {
            "a": first,
            "b": markdown(PHOTO).replace(encoded(PHOTO), second),
        }

    def test_leave_a_few_bytes_of_many(self) -> None:
        body = written({"data": encoded(image(10**6))})
        assert len(extracted(body)[0]) < 100

    def test_come_out_of_server_sent_events_too(self) -> None:
        events = [{"n": 1, "b64_json": encoded(DRAWN)}, {"content": markdown(PHOTO)}, {"text": "done"}]
        body = b"".join(b"event: x\ndata: " + written(event) + b"\n\n" for event in events) + b"data: [DONE]\n\n"
        left, images = extracted(*cut(body, *range(7, len(body), 7)))
        assert (normal(left), images) == expected(body)
        assert images == [DRAWN, PHOTO]

    def test_come_out_behind_a_byte_order_mark(self) -> None:
        body = b"\xef\xbb\xbf" + written([encoded(DRAWN)])
        assert extracted(body) == (b'\xef\xbb\xbf["<image 1>"]', [DRAWN])


class TestDecoys:
    @pytest.mark.parametrize("decoy", DECOYS.values(), ids=DECOYS.keys())
    @pytest.mark.parametrize("escapes", [0.0, 0.4, 1.0])
    def test_come_through_as_they_were(self, decoy: str, escapes: float) -> None:
        body = written({"first": decoy, "second": encoded(DRAWN)}, escapes=escapes)
        left, images = extracted(body)
        assert json.loads(left) == {"first": decoy, "second": "<image 1>"}
        assert images == [DRAWN]

    def test_are_not_taken_for_the_image_that_stands_in_the_same_string(self) -> None:
        text = f"{data_uri(image(20))} {data_uri(DRAWN)} base64, {data_uri(b'text' * 50)}"
        left, images = extracted(written([text]))
        assert images == [DRAWN]
        assert json.loads(left) == [text.replace(encoded(DRAWN), "<image 1>")]

    def test_do_not_hide_the_text_after_an_escaped_backslash(self) -> None:
        assert extracted(rb'["\\", "\\\\", "' + encoded(DRAWN).encode() + rb'", "\\\""]')[1] == [DRAWN]

    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b"<html>no JSON</html>", b"\xff\xfe[]", b"  \n "])
    def test_may_be_anything_without_a_string(self, body: bytes) -> None:
        assert extracted(body) == (body, [])


class TestTruncation:
    @every({name: body for name, body in BODIES.items() if "some" not in name})
    def test_never_looks_like_success_wherever_it_is(self, body: bytes) -> None:
        for place in range(len(body)):
            try:
                left, _ = extracted(body[:place])
            except ExtractionError:
                assert is_within_a_string(body, place), place
            else:
                assert not is_within_a_string(body, place), place
                assert not parses(left), place

    def test_says_whether_it_was_in_an_image(self) -> None:
        body = written([encoded(DRAWN), "text"])
        with pytest.raises(ExtractionError, match="in the middle of an image"):
            extracted(body[:60])
        with pytest.raises(ExtractionError, match="in the middle of a text"):
            extracted(body[:-3])

    @pytest.mark.parametrize("end", [b'"\\', b'"\\u00', b'"iVBORw0', b'"abc base64,', b'"base6'])
    def test_is_noticed_while_the_next_byte_is_waited_for(self, end: bytes) -> None:
        with pytest.raises(ExtractionError):
            extracted(b"[" + end)
        with pytest.raises(ExtractionError):
            extracted(b"[", *(end[place : place + 1] for place in range(len(end))))


class TestLimits:
    body = written([encoded(image(300)), "x" * 100, data_uri(image(200, JPEG))])

    def test_at_their_size_an_answer_is_taken_in(self) -> None:
        text = len(extracted(self.body)[0]) + 2 * (40 - len("<image 1>"))
        assert extracted(self.body, limits=Limits(images=500, text=text))[1] == [image(300), image(200, JPEG)]

    @pytest.mark.parametrize("limits", [Limits(images=499), Limits(images=299), Limits(images=0)])
    def test_on_images_are_on_their_sum(self, limits: Limits) -> None:
        with pytest.raises(ExtractionError, match=f"images are over the limit of {limits.images} bytes"):
            extracted(*cut(self.body, *range(1, len(self.body))), limits=limits)

    def test_on_text_count_what_is_left(self) -> None:
        text = len(extracted(self.body)[0]) + 2 * (40 - len("<image 1>"))
        with pytest.raises(ExtractionError, match="text is over the limit"):
            extracted(self.body, limits=Limits(text=text - 1))

    def test_on_text_count_what_turned_out_to_be_no_image(self) -> None:
        with pytest.raises(ExtractionError, match="text is over the limit"):
            extracted(written([encoded(image(900)) + "!"]), limits=Limits(text=1000))

    def test_on_images_stop_an_image_before_it_ends(self) -> None:
        extractor = ImageExtractor(Limits(images=1000))
        extractor.feed(b'["' + encoded(image(900)).encode())
        with pytest.raises(ExtractionError, match="images are over"):
            extractor.feed(b"A" * 300)

    @pytest.mark.parametrize("filler", [b" ", b"x", b'"x",', b"base64,"])
    def test_on_text_stop_an_endless_answer(self, filler: bytes) -> None:
        opening = b'["' if filler in b"xbase64," else b"["
        extractor = ImageExtractor(Limits(text=10_000))
        for piece in (opening, filler * 900):
            extractor.feed(piece)
        with pytest.raises(ExtractionError, match="text is over"):
            extractor.feed(filler * 10_000)


def markers_of(body: bytes) -> list[str]:
    extractor = ImageExtractor()
    extractor.feed(body)
    extractor.close()
    return list(extractor.images)


class TestMarkers:
    def test_differ_between_any_two_answers(self) -> None:
        body = written([encoded(DRAWN)])
        assert len({markers_of(body)[0] for _ in range(100)}) == 100

    def test_of_one_answer_say_nothing_of_the_next_ones(self) -> None:
        seen = markers_of(written([encoded(DRAWN)]))[0]
        forged = written([encoded(DRAWN), seen, seen[:-1] + "1", "0" * 40])
        extractor = ImageExtractor()
        extractor.feed(forged)
        extractor.close()
        (own,) = extractor.images
        assert json.loads(extractor.document) == [own, seen, seen[:-1] + "1", "0" * 40]
        assert own != seen

    def test_hold_128_random_bits(self) -> None:
        first, second = (int(markers_of(written([encoded(DRAWN)]))[0][:32], 16) for _ in range(2))
        assert 20 < (first ^ second).bit_count() < 108

    def test_are_base64_in_both_alphabets(self) -> None:
        for marker in markers_of(written([encoded(DRAWN), encoded(PHOTO)])):
            assert base64.b64decode(marker, validate=True) == base64.urlsafe_b64decode(marker)
            assert marker.isascii()
            assert marker.isalnum()


def extracted_within(body: bytes) -> tuple[ImageExtractor, int]:
    """The extractor that has read *body*, and the most bytes that were allocated for it at once."""
    tracemalloc.start()
    try:
        extractor = ImageExtractor()
        for start in range(0, len(body), 65_536):
            extractor.feed(body[start : start + 65_536])
        extractor.close()
        return extractor, tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


class TestMemory:
    @pytest.mark.parametrize(
        ("before", "after", "escapes"),
        [('["', '"]', False), ('["![](data:image/png;base64,', ')"]', False), ('["', '"]', True)],
        ids=["bare", "markdown", "escaped"],
    )
    def test_stays_near_the_size_of_the_image(self, before: str, after: str, escapes: bool) -> None:
        drawn = image(21 * 2**20)
        text = encoded(drawn).replace("/", "\\/") if escapes else encoded(drawn)
        body = f"{before}{text}{after}".encode()
        del text
        extractor, peak = extracted_within(body)
        assert list(extractor.images.values()) == [drawn]
        assert peak / len(drawn) <= 1.35

    def test_is_bounded_by_the_limits_for_an_image_that_is_none(self) -> None:
        text = encoded(image(6 * 2**20))
        body = f'["{text}!"]'.encode()
        extractor, peak = extracted_within(body)
        assert extractor.document == body
        assert peak / len(body) <= 4


BIG = written({"a": encoded(image(150_000)), "b": markdown(image(120_001, JPEG)) + encoded(image(90_000))}, escapes=0.5)


class TestLongImages:
    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.integers(0, len(BIG)), max_size=8))
    def test_come_out_the_same_wherever_the_body_is_cut(self, places: list[int]) -> None:
        left, images = extracted(*cut(BIG, *places))
        assert images == [image(150_000), image(120_001, JPEG)]
        assert len(left) > 120_000

    @settings(max_examples=10, deadline=None)
    @given(st.integers(100, 70_000))
    def test_come_out_the_same_in_pieces_of_any_size(self, step: int) -> None:
        assert extracted(*cut(BIG, *range(step, len(BIG), step)))[1] == [image(150_000), image(120_001, JPEG)]


class TestWork:
    @pytest.mark.parametrize("unit", ["!", "A" * 64 + "!", "A" * 100 + "-+", "A" * 200 + "=!", "A" * 9000 + "-+"])
    def test_grows_with_the_length_of_the_body_alone(self, unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
        decoded: list[int] = []
        decode = extraction._decode

        def counting(characters: bytes | memoryview, alphabet: bytes | None) -> bytes | None:
            decoded.append(len(characters))
            return decode(characters, alphabet)

        monkeypatch.setattr(extraction, "_decode", counting)
        unit = f"base64,iVBORw0KGgo{unit}"
        text = unit * (2**20 // len(unit))
        extractor = ImageExtractor()
        extractor.feed(written([text]))
        extractor.close()
        assert sum(decoded) <= 60 * len(text)


texts = st.text(max_size=30)
drawn_images = st.builds(
    image, st.integers(MIN_IMAGE - 6, 180), st.sampled_from([PNG, JPEG, WEBP, b"GIF8"]), st.integers(0, 99)
)
encodings = st.builds(
    lambda data, url_safe, padded: encoded(data, url_safe=url_safe, padded=padded),
    drawn_images, st.booleans(), st.booleans(),
)  # fmt: skip
data_uris = encodings.map(lambda text: f"data:image/png;base64,{text}")
spoilt = st.builds(
    lambda text, place, character: text[:place] + character + text[place:],
    encodings | data_uris, st.integers(0, 300), st.sampled_from(list('=-_+/A!"\\ ,\n\0é🦊)')) | st.characters(codec="utf-8"),
)  # fmt: skip
strings = st.one_of(
    texts, encodings, data_uris, spoilt, st.sampled_from(list(DECOYS.values())),
    st.lists(texts | data_uris | spoilt, max_size=4).map("".join),
    st.builds(lambda text: json.dumps({"data": text, "url": "base64," + text}), encodings),
)  # fmt: skip
documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | strings,
    lambda children: st.lists(children, max_size=4) | st.dictionaries(strings, children, max_size=4),
    max_leaves=8,
)
bodies = st.builds(
    lambda document, ascii_only, escapes, seed: written(document, ascii_only=ascii_only, escapes=escapes, seed=seed),
    documents, st.booleans(), st.sampled_from([0.0, 0.3, 1.0]), st.integers(0, 9),
)  # fmt: skip


class TestAnyDocument:
    @settings(max_examples=200, deadline=None)
    @given(bodies)
    def test_comes_through_as_json_loads_reads_it_but_for_its_images(self, body: bytes) -> None:
        left, images = extracted(body)
        assert (normal(left), images) == expected(body)

    @settings(max_examples=200, deadline=None)
    @given(bodies, st.lists(st.integers(0, 2000), max_size=5))
    def test_gives_the_same_in_any_pieces(self, body: bytes, places: list[int]) -> None:
        assert alike(extracted(*cut(body, *(min(place, len(body)) for place in places))), extracted(body))

    @settings(max_examples=200, deadline=None)
    @given(documents, st.floats(0, 1))
    def test_cut_short_is_an_error_or_does_not_parse(self, document: Any, share: float) -> None:
        body = written({"answer": document})
        body = body[: int(share * (len(body) - 1))]
        if is_within_a_string(body, len(body)):
            with pytest.raises(ExtractionError):
                extracted(body)
        else:
            assert not parses(extracted(body)[0])

    @settings(max_examples=200, deadline=None)
    @given(st.lists(st.binary(max_size=20) | st.sampled_from([b'"', b"\\", b"base64,", encoded(DRAWN).encode()])))
    def test_or_none_at_all_is_left_byte_for_byte_between_the_images(self, pieces: list[bytes]) -> None:
        try:
            left, images = extracted(*pieces)
        except ExtractionError:
            return
        for number, data in enumerate(images, 1):
            left = left.replace(f"<image {number}>".encode(), encoded(data).encode())
        assert left == b"".join(pieces)


def test_the_end_of_an_image_in_the_middle_of_a_text_takes_little_memory() -> None:
    image = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)) * 1000
    body = b'{"content": "![](data:image/png;base64,' + encoded(image).encode() + b')"}'
    extractor = ImageExtractor()
    extractor.feed(body[:100_000])
    tracemalloc.start()
    extractor.feed(body[100_000:])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    extractor.close()
    assert list(extractor.images.values()) == [image]
    assert peak < 2**21


def test_images_are_let_go_of_as_soon_as_nobody_needs_them() -> None:
    gc.disable()  # what refers to itself would stay until the next collection
    try:
        extractor = ImageExtractor()
        extractor.feed(b'{"data":"' + base64.b64encode(PNG[:8] + bytes(300_000)) + b'"}')
        extractor.close()
        assert [len(image) for image in extractor.images.values()] == [300_008]
        left = weakref.ref(extractor)
        del extractor
        assert left() is None
    finally:
        gc.enable()


def test_room_for_an_image_holds_all_of_it_from_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    class Noted(extraction.MemoryRoom):
        def __init__(self, size: int = 0) -> None:
            made.append(size)
            super().__init__(size)

    monkeypatch.setattr(extraction, "MemoryRoom", Noted)
    image = PNG[:8] + bytes(300_000)
    body = b'{"data":"' + base64.b64encode(image) + b'"}'
    extractor = ImageExtractor(expected=len(body))
    for start in range(0, len(body), 100_000):
        extractor.feed(body[start : start + 100_000])
    extractor.close()
    assert len(image) <= made[0] <= len(image) + 20
