"""What is read from an image's bytes, held against Pillow, and what is refused."""

from __future__ import annotations

import io
import random
import struct
import warnings
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from providers.facts import MAX_EDGE, MAX_PIXELS, ImageDefect, ImageFacts, inspect, parts, sniff
from providers.facts.parts import MAX_PARTS

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def picture(mode: str = "RGB", size: tuple[int, int] = (23, 14), seed: int = 1) -> Image.Image:
    """Noise, so that entropy-coded data is long enough to hold the byte FF."""
    grey = Image.frombytes("L", size, random.Random(seed).randbytes(size[0] * size[1]))
    return Image.merge("RGB", (grey, grey.rotate(180), grey)).convert(mode) if mode != "I;16" else grey.convert(mode)


def saved(image: Image.Image, form: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def exif_with_thumbnail() -> Image.Exif:
    """A turned picture with a whole JPEG, of another size, in one of its tags."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x927C] = saved(picture(size=(5, 3)), "JPEG")
    return exif


FRAMES = [picture(seed=2), picture(seed=3)]

PNGS = {
    **{f"png {mode}": saved(picture(mode), "PNG") for mode in ("1", "L", "LA", "RGB", "RGBA", "P", "I;16")},
    "png with metadata": saved(picture(), "PNG", dpi=(300, 300), exif=exif_with_thumbnail()),
    "png animated": saved(picture(), "PNG", save_all=True, append_images=FRAMES),
}
JPEGS = {
    "jpeg": saved(picture(size=(40, 24)), "JPEG", quality=95),
    "jpeg L": saved(picture("L"), "JPEG"),
    "jpeg CMYK": saved(picture("CMYK"), "JPEG"),
    "jpeg progressive": saved(picture(size=(40, 24)), "JPEG", progressive=True),
    "jpeg with restart markers": saved(picture(size=(40, 24)), "JPEG", restart_marker_blocks=1),
    "jpeg with thumbnail": saved(picture(), "JPEG", exif=exif_with_thumbnail()),
}
WEBPS = {
    "webp lossy": saved(picture(), "WEBP"),
    "webp lossless": saved(picture(), "WEBP", lossless=True),
    "webp lossy with alpha": saved(picture("RGBA").rotate(30), "WEBP"),
    "webp lossless with alpha": saved(picture("RGBA").rotate(30), "WEBP", lossless=True),
    "webp with metadata": saved(picture(), "WEBP", exif=exif_with_thumbnail()),
    "webp animated": saved(picture(), "WEBP", save_all=True, append_images=FRAMES, duration=50),
}
IMAGES = PNGS | JPEGS | WEBPS


def every(images: dict[str, bytes]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("data", images.values(), ids=images.keys())


def defect(data: bytes) -> str:
    """What is said to be wrong with *data*."""
    with pytest.raises(ImageDefect) as raised:
        inspect(data)
    return str(raised.value)


def is_refused(data: bytes | memoryview) -> bool:
    try:
        inspect(data)
    except ImageDefect:
        return True
    return False


def read_alike(data: bytes) -> None:
    """*data* is refused as a defect, or its facts hold, and Pillow sees no other size in it."""
    try:
        facts = inspect(data)
    except ImageDefect:
        return
    assert 0 < facts.end <= len(data)
    assert 0 < facts.width * facts.height <= MAX_PIXELS
    assert inspect(data[: facts.end]) == facts
    try:
        with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
            assert image.size == (facts.width, facts.height)
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        return  # Pillow looks into more than the structure


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def header(width: int = 1, height: int = 1, depth: int = 8, colour: int = 0, *rest: int) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, *(rest or (0, 0, 0))))


def png(*chunks: bytes) -> bytes:
    return b"".join((PNG_SIGNATURE, *chunks))


DATA, END = chunk(b"IDAT", zlib.compress(bytes(2))), chunk(b"IEND")


def segment(code: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, code, len(body) + 2) + body


def frame(width: int = 23, height: int = 14, code: int = 0xC0) -> bytes:
    return segment(code, struct.pack(">BHHB", 8, height, width, 1) + b"\x01\x11\x00")


SCAN = segment(0xDA, b"\x01\x01\x00\x00\x3f\x00") + b"\x12\xff\x00\x34"


def jpeg(*segments: bytes) -> bytes:
    return b"".join((b"\xff\xd8", *segments, b"\xff\xd9"))


def riff(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def webp(*chunks: bytes) -> bytes:
    return riff(b"RIFF", b"".join((b"WEBP", *chunks)))


def u24(number: int) -> bytes:
    return number.to_bytes(3, "little")


def canvas(width: int, height: int, flags: int = 0) -> bytes:
    return riff(b"VP8X", struct.pack("<I", flags) + u24(width - 1) + u24(height - 1))


def lossless(width: int, height: int, version: int = 0) -> bytes:
    return riff(b"VP8L", b"\x2f" + struct.pack("<I", width - 1 | height - 1 << 14 | version << 29))


def animation_frame(left: int, top: int, width: int, height: int, *chunks: bytes) -> bytes:
    place = u24(left // 2) + u24(top // 2) + u24(width - 1) + u24(height - 1)
    return riff(b"ANMF", place + bytes(4) + b"".join(chunks))


class TestSoundImages:
    @every(IMAGES)
    def test_are_what_pillow_says_they_are(self, data: bytes) -> None:
        with Image.open(io.BytesIO(data)) as image:
            expected = (image.get_format_mimetype(), *image.size)
        facts = inspect(data)
        mime_type = facts.mime_type if expected[0] != "image/apng" else "image/apng"
        assert (mime_type, facts.width, facts.height) == expected
        assert facts.end == len(data)

    @every(IMAGES)
    def test_end_where_they_end_whatever_follows(self, data: bytes) -> None:
        for trailing in (b"\0", b"<script>alert(1)</script>", data, b"\xff\xd9", b"\xff" * 50):
            assert inspect(data + trailing) == inspect(data)

    @every(IMAGES)
    def test_are_read_from_a_memoryview_as_from_bytes(self, data: bytes) -> None:
        assert inspect(memoryview(b"before" + data)[6:]) == inspect(data)

    @every(IMAGES)
    def test_show_their_type_in_twelve_bytes(self, data: bytes) -> None:
        assert sniff(data[:12]) == inspect(data).mime_type

    def test_keep_their_stored_size_when_exif_turns_them(self) -> None:
        assert inspect(JPEGS["jpeg with thumbnail"]).width == 23

    def test_have_the_tier_their_area_covers(self) -> None:
        facts = ImageFacts(mime_type="image/png", width=2816, height=1536, end=1)
        assert facts.tier == "2K"
        assert inspect(PNGS["png L"]).tier is None


class TestCutOrChangedImages:
    @every(IMAGES)
    def test_any_shorter_part_is_refused(self, data: bytes) -> None:
        view = memoryview(data)
        assert [size for size in range(len(data)) if not is_refused(view[:size])] == []

    @every(PNGS)
    def test_any_changed_byte_of_a_png_is_noticed(self, data: bytes) -> None:
        for offset in range(len(data)):
            for flip in (0x01, 0x20, 0x80, 0xFF):
                changed = data[:offset] + bytes([data[offset] ^ flip]) + data[offset + 1 :]
                assert is_refused(changed), (offset, flip)

    @every(IMAGES)
    def test_any_changed_byte_is_either_refused_or_read_as_pillow_reads_it(self, data: bytes) -> None:
        for offset in range(len(data)):
            for flip in (0x10, 0xFF):
                read_alike(data[:offset] + bytes([data[offset] ^ flip]) + data[offset + 1 :])


BROKEN = [
    # PNG
    ("not start with a header", png(DATA, END)),
    ("not start with a header", png(chunk(b"IHDR", bytes(12)), DATA, END)),
    ("two headers", png(header(), header(20_000, 20_000), DATA, END)),
    ("no image data", png(header(), END)),
    ("needs a palette", png(header(colour=3), DATA, END)),
    ("not start with a header", png(chunk(b"CgBI", header()[8:-4]), DATA, END)),
    ("stops before", png(header(), DATA)),
    ("stops before", png(header(), DATA, END[:-1])),
    ("fails its checksum", png(header(), DATA[:-1] + b"\0", END)),
    # JPEG
    ("no image data after a frame header", jpeg(frame())),
    ("no image data after a frame header", jpeg(SCAN, frame())),
    ("two frame headers", jpeg(frame(), frame(), SCAN)),
    ("stops within its image data", jpeg(frame(), SCAN)[:-2]),
    ("a scan of the JPEG has no data", jpeg(frame(), segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"))),
    ("frame header has an impossible length", jpeg(segment(0xC0, bytes(6)), SCAN)),
    ("frame header has an impossible length", jpeg(segment(0xC0, b"\x08\x00\x01\x00\x01\x03" + bytes(6)), SCAN)),
    ("cut off or has an impossible length", jpeg(b"\xff\xe0\x00\x01", frame(), SCAN)),
    ("cut off or has an impossible length", jpeg(frame(), b"\xff\xe0\xff\xff", SCAN)),
    ("cut off or has an impossible length", jpeg(frame(), SCAN, b"\xff\xe0\x00\x05")),
    ("where a marker has to stand", jpeg(frame() + b"\0", SCAN)),
    ("where a marker has to stand", jpeg(b"\xff\xd8", frame(), SCAN)),
    ("where a marker has to stand", jpeg(segment(0xF1, b"reserved"), frame(), SCAN)),
    ("where a marker has to stand", jpeg(segment(0xDE, b"hierarchical"), frame(), SCAN)),
    # WebP
    ("shorter than it declares", webp(lossless(3, 2))[:-1]),
    ("runs past the end", webp(lossless(3, 2)[:-2])),
    ("no image data", webp(riff(b"EXIF", b"1234"))),
    ("no image data", webp()),
    ("extended header is too short", webp(riff(b"VP8X", bytes(9)), lossless(1, 1))),
    ("differs in size from its extended header", webp(canvas(3, 3), lossless(3, 2))),
    ("animation without frames", webp(canvas(3, 2, flags=2), lossless(3, 2))),
    ("differs in size from its picture", webp(canvas(3, 2, flags=2), animation_frame(0, 0, 3, 1, lossless(3, 2)))),
    ("lies outside", webp(canvas(4, 2, flags=2), animation_frame(2, 0, 3, 2, lossless(3, 2)))),
    ("lies outside", webp(canvas(3, 3, flags=2), animation_frame(0, 2, 3, 2, lossless(3, 2)))),
    ("start with a key frame", webp(riff(b"VP8 ", b"\x01\0\0\x9d\x01\x2a\x03\0\x02\0"))),
    ("start with a key frame", webp(riff(b"VP8 ", b"\0\0\0\x9d\x01\x2b\x03\0\x02\0"))),
    ("start with a key frame", webp(riff(b"VP8 ", b"\0\0\0\x9d\x01\x2a\x03\0\x02"))),
    ("start with its header", webp(lossless(3, 2, version=1))),
    ("start with its header", webp(riff(b"VP8L", b"\x2e\0\0\0\0"))),
    ("start with its header", webp(riff(b"VP8L", b"\x2f\0\0"))),
]


class TestBrokenStructure:
    @pytest.mark.parametrize(("message", "data"), BROKEN, ids=[message for message, _ in BROKEN])
    def test_is_refused_and_named(self, message: str, data: bytes) -> None:
        assert message in defect(data)

    def test_is_not_in_the_pieces_the_broken_ones_are_made_of(self) -> None:
        assert inspect(png(header(3, 2), DATA, END)).width == 3
        assert inspect(jpeg(frame(), SCAN)).height == 14
        assert inspect(webp(lossless(3, 2))).height == 2
        assert inspect(webp(canvas(5, 4, flags=2), animation_frame(2, 2, 3, 2, lossless(3, 2)))).width == 5

    @pytest.mark.parametrize("fields", [(16, 3), (3, 0), (4, 2), (8, 1), (8, 7), (8, 0, 1, 0, 0), (8, 0, 0, 1, 0)])
    def test_is_a_png_header_with_values_that_no_png_may_have(self, fields: tuple[int, ...]) -> None:
        assert "no PNG may have" in defect(png(header(1, 1, *fields), chunk(b"PLTE", bytes(3)), DATA, END))

    def test_is_not_an_interlaced_png_but_another_interlacing_is(self) -> None:
        assert inspect(png(header(1, 1, 8, 0, 0, 0, 1), DATA, END)).width == 1
        assert is_refused(png(header(1, 1, 8, 0, 0, 0, 2), DATA, END))


class TestPngDetails:
    def test_only_what_precedes_the_end_chunk_belongs_to_the_picture(self) -> None:
        whole = png(header(), DATA, END)
        assert inspect(whole + header(9, 9) + DATA + END).end == len(whole)


class TestJpegDetails:
    def test_fill_bytes_and_lone_markers_may_precede_any_marker(self) -> None:
        padded = jpeg(b"\xff" * 5, frame(), b"\xff\x01\xff\xff\xd0", SCAN, b"\xff" * 3)
        assert inspect(padded).end == len(padded)

    def test_entropy_coded_data_may_hold_stuffed_bytes_and_restart_markers(self) -> None:
        restarts = b"".join(bytes([0xFF, 0xD0 + count]) + b"\xff\x00\xd9" for count in range(8))
        data = jpeg(frame(), SCAN + restarts + b"\xff\xff\x00\xff\xff\xd0\x34")
        assert inspect(data).end == len(data)

    def test_several_scans_with_tables_between_them_are_one_picture(self) -> None:
        data = jpeg(frame(code=0xC2), SCAN, segment(0xC4, b"tables, \xff\xd9 among them"), SCAN)
        assert inspect(data).end == len(data)

    @pytest.mark.parametrize("code", [0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC7, 0xC9, 0xCB, 0xCD, 0xCF])
    def test_every_frame_header_gives_the_size(self, code: int) -> None:
        assert inspect(jpeg(frame(23, 14, code), SCAN)).width == 23

    @pytest.mark.parametrize("code", [0xC4, 0xC8, 0xCC])
    def test_tables_are_no_frame_header(self, code: int) -> None:
        assert is_refused(jpeg(frame(23, 14, code), SCAN))

    def test_whole_pictures_within_segments_are_passed_over(self) -> None:
        inner = jpeg(frame(5, 3), SCAN)
        data = jpeg(segment(0xE1, inner), frame(), segment(0xFE, inner), SCAN)
        assert (inspect(data).width, inspect(data).end) == (23, len(data))

    def test_the_first_picture_of_several_is_the_picture(self) -> None:
        several = saved(picture(), "MPO", save_all=True, append_images=[picture(size=(7, 7))])
        facts = inspect(several)
        assert (facts.width, facts.height) == (23, 14)
        assert several[facts.end - 2 : facts.end + 2] == b"\xff\xd9\xff\xd8"


class TestWebpDetails:
    def test_lossy_edges_are_read_without_their_scaling_bits(self) -> None:
        data = webp(riff(b"VP8 ", b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", 0x4000 | 300, 0x8000 | 200)))
        assert (inspect(data).width, inspect(data).height) == (300, 200)

    def test_an_odd_chunk_is_padded(self) -> None:
        data = webp(canvas(3, 2), riff(b"ICCP", b"odd"), lossless(3, 2))
        assert inspect(data).end == len(data)

    def test_a_container_that_leaves_out_the_last_padding_is_whole(self) -> None:
        data = b"RIFF" + struct.pack("<I", 17) + b"WEBP" + lossless(3, 2)[:-1]
        assert inspect(data).end == len(data)

    def test_an_alpha_chunk_may_precede_a_frames_picture(self) -> None:
        moving = animation_frame(0, 0, 3, 2, riff(b"ALPH", b"x"), lossless(3, 2))
        assert inspect(webp(canvas(3, 2, flags=2), moving)).width == 3


class TestSizes:
    @pytest.mark.parametrize(
        ("width", "height"), [(20_000, 20_000), (MAX_EDGE + 1, 1), (1, MAX_EDGE + 1), (8193, 8192)]
    )
    def test_beyond_the_limits_are_refused(self, width: int, height: int) -> None:
        assert defect(png(header(width, height), DATA, END)) == f"the image is too large: {width} × {height} pixels"

    @pytest.mark.parametrize(("width", "height"), [(MAX_EDGE, 1), (1, MAX_EDGE), (8192, 8192), (1536, 12_288)])
    def test_at_the_limits_are_accepted(self, width: int, height: int) -> None:
        assert inspect(png(header(width, height), DATA, END)).height == height

    def test_hold_for_every_format(self) -> None:
        assert "too large" in defect(jpeg(frame(20_000, 20_000), SCAN))
        assert "too large" in defect(webp(lossless(16_384, 16_384)))
        assert "too large" in defect(webp(canvas(20_000, 9, flags=2), animation_frame(0, 0, 3, 2, lossless(3, 2))))

    def test_stay_below_what_pillow_takes_for_a_bomb(self) -> None:
        assert Image.MAX_IMAGE_PIXELS is not None
        assert MAX_PIXELS < Image.MAX_IMAGE_PIXELS

    @pytest.mark.parametrize(
        "data",
        [png(header(0, 1), DATA, END), png(header(1, 0), DATA, END), jpeg(frame(0, 5), SCAN), jpeg(frame(5, 0), SCAN)],
    )
    def test_of_zero_are_refused(self, data: bytes) -> None:
        assert "no pixels" in defect(data)


class TestWorkIsBounded:
    @pytest.mark.parametrize(
        "data",
        [
            png(header(), DATA, chunk(b"aaAa") * MAX_PARTS, END),
            jpeg(segment(0xE0, b"") * MAX_PARTS, frame(), SCAN),
            webp(lossless(3, 2), riff(b"XXXX", b"") * MAX_PARTS),
        ],
        ids=["png", "jpeg", "webp"],
    )
    def test_far_too_many_parts_are_refused(self, data: bytes) -> None:
        assert "far too many parts" in defect(data)

    def test_many_parts_are_fine(self) -> None:
        assert inspect(png(header(), DATA * (MAX_PARTS - 2), END)).width == 1

    def test_a_frame_is_not_searched_beyond_where_its_picture_stands(self) -> None:
        hidden = animation_frame(0, 0, 3, 2, riff(b"XXXX", b"") * 2, lossless(3, 2))
        assert "no image data" in defect(webp(canvas(3, 2, flags=2), hidden))


FOREIGN = {
    "empty": [b"", b"  \r\n\t", b" " * 2000],
    "this is HTML": [b"<!DOCTYPE html><p>", b"\xef\xbb\xbf\n<HTML lang=en>", b"<!-- x --><html>", b"<html><svg>"],
    "SVG": [b"<svg xmlns=''>", b'<?xml version="1.0"?>\n<!DOCTYPE svg>\n<SVG>'],
    "XML": [b'<?xml version="1.0"?><Error/>', b"<p>Not found"],
    "JSON": [b'{"error": {}}', b"\n[1]"],
    "PDF": [b"%PDF-1.7\n"],
    "GIF": [saved(picture("P"), "GIF")],
    "BMP": [saved(picture(), "BMP")],
    "TIFF": [saved(picture(), "TIFF"), b"MM\0*"],
    "AVIF": [b"\0\0\0\x20ftypavif"],
    "HEIF": [b"\0\0\0\x18ftypheic", b"\0\0\0\x18ftypmif1"],
    "not a PNG, JPEG or WebP": [
        b"no image",
        b"RIFX\0\0\0\0WEBP",
        b"RIFF\0\0\0\0WAVEfmt ",
        b"\xff\xd8",
        PNG_SIGNATURE[:-1],
        b"\0" * 99,
    ],
}


class TestOtherThings:
    @pytest.mark.parametrize(("name", "data"), [(name, data) for name, many in FOREIGN.items() for data in many])
    def test_are_refused_by_name(self, name: str, data: bytes) -> None:
        assert name in defect(data)
        assert sniff(data[:12]) is None

    def test_never_show_their_bytes_in_the_message(self) -> None:
        for start in (b"", b"<html>", b"<svg>", b"{", *(data[: len(data) // 2] for data in IMAGES.values())):
            assert "canary" not in defect(start + b"canary")


images = st.sampled_from(list(IMAGES.values()))
starts = st.sampled_from(
    [b"", PNG_SIGNATURE, png(header()), b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBP", webp(canvas(1, 1))]
)
edits = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(min_size=1, max_size=4)), max_size=4)


class TestAnyBytesWhatever:
    @settings(deadline=None)
    @given(starts, st.binary(max_size=200))
    def test_are_refused_as_a_defect_or_read(self, start: bytes, rest: bytes) -> None:
        read_alike(start + rest)

    @settings(max_examples=400, deadline=None)
    @given(images, edits)
    def test_made_by_changing_inserting_and_deleting_are_read_as_pillow_reads_them(
        self, data: bytes, changes: list[tuple[float, int, bytes]]
    ) -> None:
        for place, deleted, inserted in changes:
            offset = round(place * len(data))
            data = data[:offset] + inserted + data[offset + deleted :]
        read_alike(data)


def heavy_jpeg(size: int) -> bytes:
    return jpeg(frame(), SCAN + b"\x12" * size)


def heavy_png(size: int) -> bytes:
    return png(header(), *[chunk(b"IDAT", bytes(2**16))] * (size // 2**16), END)


class TestOtherThreads:
    """A large image is looked at in a thread, which must not keep the interpreter to itself; a small one on the event loop."""

    @pytest.mark.parametrize("build", [heavy_jpeg, heavy_png])
    def test_have_their_turn_after_each_half_mebibyte_of_a_large_image(
        self, build: Callable[[int], bytes], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pauses: list[float] = []
        monkeypatch.setattr(parts.time, "sleep", pauses.append)
        inspect(build(2**18))
        assert not pauses
        inspect(build(2**21))
        assert 3 <= len(pauses) <= 5
