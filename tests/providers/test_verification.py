"""Every delivered image is gone through to its last pixel: what passes, what is refused, and what that costs nobody."""

from __future__ import annotations

import asyncio
import io
import itertools
import struct
import threading
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import anyio
import anyio.to_thread
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from providers import verification
from providers.adapter import settle
from providers.answers import Piece, Reply
from providers.facts import ImageDefect, ImageFacts, inspect, parts
from providers.outcome import Outcome
from providers.provider import ProviderSettings
from providers.verification import PixelDefect, verify, verify_all
from tests.test_facts import (
    END,
    IMAGES,
    JPEGS,
    PNGS,
    SCAN,
    WEBPS,
    chunk,
    every,
    frame,
    header,
    jpeg,
    picture,
    png,
    saved,
)

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}


def rows_of(width: int, height: int, depth: int, colour: int, interlace: int) -> list[int]:
    """Bytes of every row after its filter byte, written down pixel by pixel."""
    passes = ADAM7 if interlace else ((0, 0, 1, 1),)
    found = []
    for left, top, across, down in passes:
        columns = len(range(left, width, across))
        found += [(columns * CHANNELS[colour] * depth + 7) // 8 for _ in range(top, height, down) if columns]
    return found


def raw_of(width: int, height: int, depth: int, colour: int, interlace: int, filtering: int = 1) -> bytes:
    rows = rows_of(width, height, depth, colour, interlace)
    return b"".join(bytes([filtering]) + bytes(length) for length in rows)


def built(
    width: int, height: int, depth: int = 8, colour: int = 2, interlace: int = 0, raw: bytes | None = None
) -> bytes:
    """A PNG of any kind: Pillow writes neither interlaced ones nor 16-bit colour."""
    raw = raw_of(width, height, depth, colour, interlace) if raw is None else raw
    palette = [chunk(b"PLTE", bytes(3))] if colour == 3 else []
    head = header(width, height, depth, colour, 0, 0, interlace)
    return png(head, *palette, chunk(b"IDAT", zlib.compress(raw)), END)


def says(data: bytes) -> str:
    """What is wrong with the pixels of *data*, whose structure is sound."""
    inspect(data)
    with pytest.raises(PixelDefect) as raised:
        verify(data)
    return str(raised.value)


def is_refused(data: bytes) -> bool:
    try:
        verify(data)
    except ImageDefect:
        return True
    return False


DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
KINDS = [(depth, colour) for colour, depths in DEPTHS.items() for depth in depths]
SIZES = [(1, 1), (1, 9), (9, 1), (3, 2), (5, 5), (23, 14)]
SINGLE_SCANS = {
    f"jpeg {name}": saved(picture(mode, size=(96, 64)), "JPEG", **options)
    for name, mode, options in (
        ("4:2:0", "RGB", {"quality": 95}),
        ("4:4:4", "RGB", {"quality": 95, "subsampling": 0}),
        ("grey", "L", {}),
        ("CMYK", "CMYK", {}),
        ("optimised", "RGB", {"optimize": True}),
        ("with restart markers", "RGB", {"restart_marker_blocks": 5}),
    )
}
LARGE = saved(picture(size=(400, 300)), "JPEG", quality=99, subsampling=0)
FORMS = {**IMAGES, **SINGLE_SCANS, "jpeg in several reads": LARGE}


PACKED = zlib.compress(raw_of(23, 14, 8, 2, 0))
SHORT = built(23, 14, raw=raw_of(23, 14, 8, 2, 0)[:-1])
CUT = png(header(23, 14, 8, 2), chunk(b"IDAT", PACKED[:-1]), END)
DAMAGED = png(header(23, 14, 8, 2), chunk(b"IDAT", PACKED[:-1] + bytes([PACKED[-1] ^ 1])), END)


class TestSoundImages:
    @every(FORMS)
    def test_of_every_form_that_pillow_writes_pass(self, data: bytes) -> None:
        assert verify(data) == inspect(data)

    @pytest.mark.parametrize("interlace", [0, 1], ids=["straight", "interlaced"])
    @pytest.mark.parametrize(("depth", "colour"), KINDS)
    def test_of_every_png_kind_and_odd_size_pass(self, depth: int, colour: int, interlace: int) -> None:
        for width, height in SIZES:
            data = built(width, height, depth, colour, interlace)
            with Image.open(io.BytesIO(data)) as seen:
                seen.load()  # the images of this test are sound
            assert verify(data).width == width

    @every(FORMS)
    def test_pass_with_anything_behind_them(self, data: bytes) -> None:
        for trailing in (b"<script>alert(1)</script>", data, b"\0" * 70_000):
            assert verify(data + trailing).end == len(data)

    def test_pass_interlaced_in_every_small_size(self) -> None:
        for width, height in itertools.product(range(1, 10), repeat=2):
            assert verify(built(width, height, interlace=1)).width == width

    @pytest.mark.parametrize("data", [PNGS["png RGB"], built(23, 14, interlace=1)], ids=["straight", "interlaced"])
    def test_pass_and_others_do_not_where_there_is_no_wheel_of_isal(
        self, data: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(verification.png, "zlib", zlib)
        assert verify(data).width == 23
        assert "less image data" in says(SHORT)
        assert "ends too early" in says(CUT)
        assert "damaged" in says(DAMAGED)

    def test_pass_in_however_many_chunks_their_data_comes(self) -> None:
        packed = zlib.compress(raw_of(23, 14, 8, 2, 0))
        for size in (1, 2, 7):
            pieces = [chunk(b"IDAT", packed[at : at + size]) for at in range(0, len(packed), size)]
            assert verify(png(header(23, 14, 8, 2), *pieces, chunk(b"IDAT"), END)).width == 23

    @pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
    @pytest.mark.parametrize("progressive", [False, True])
    @pytest.mark.parametrize("size", [(1, 1), (8, 8), (9, 17), (2, 300)])
    def test_pass_as_jpegs_of_any_size(self, mode: str, progressive: bool, size: tuple[int, int]) -> None:
        data = saved(picture(mode, size=size), "JPEG", progressive=progressive)
        assert verify(data).height == size[1]


class TestPngPixels:
    @pytest.mark.parametrize("interlace", [0, 1], ids=["straight", "interlaced"])
    @given(data=st.data())
    @settings(max_examples=60, deadline=None)
    def test_that_are_too_few_are_noticed_though_every_checksum_holds(
        self, interlace: int, data: st.DataObject
    ) -> None:
        raw = raw_of(23, 14, 8, 2, interlace)
        short = raw[: data.draw(st.integers(0, len(raw) - 1))]
        assert says(built(23, 14, interlace=interlace, raw=short)) == "the PNG has less image data than pixels"

    @pytest.mark.parametrize("extra", [1, 70, 70_000])
    def test_that_are_too_many_are_noticed(self, extra: int) -> None:
        raw = raw_of(23, 14, 8, 2, 0) + bytes(extra)
        assert says(built(23, 14, raw=raw)) == "the PNG has more image data than pixels"

    @pytest.mark.parametrize("interlace", [0, 1], ids=["straight", "interlaced"])
    @pytest.mark.parametrize("size", [(23, 14), (200, 500)])
    def test_with_an_unknown_filter_in_any_row_are_noticed(self, size: tuple[int, int], interlace: int) -> None:
        at = 0
        for length in rows_of(*size, 8, 2, interlace)[:1200]:
            raw = bytearray(raw_of(*size, 8, 2, interlace))
            assert raw[at] == 1
            if at % 7 == 0 or size == (23, 14):
                raw[at] = 5
                assert "filter" in says(built(*size, interlace=interlace, raw=bytes(raw)))
            at += 1 + length

    def test_are_not_taken_for_filters(self) -> None:
        raw = b"".join(b"\x04" + b"\xff" * length for length in rows_of(23, 14, 8, 2, 1))
        assert verify(built(23, 14, interlace=1, raw=raw)).width == 23

    def test_with_a_wrong_checksum_of_their_own_are_noticed(self) -> None:
        assert says(DAMAGED) == "the PNG's image data is damaged"

    @pytest.mark.parametrize("cut", [1, 2, 4, 5])
    def test_without_the_end_of_their_checksum_are_noticed(self, cut: int) -> None:
        packed = zlib.compress(raw_of(23, 14, 8, 2, 0))[:-cut]
        assert "ends too early" in says(png(header(23, 14, 8, 2), chunk(b"IDAT", packed), END))

    def test_that_go_on_after_another_chunk_are_not_read_as_decoders_do_not(self) -> None:
        packed = zlib.compress(raw_of(23, 14, 8, 2, 0), 0)
        parts = chunk(b"IDAT", packed[:500]), chunk(b"tEXt", b"a\0b"), chunk(b"IDAT", packed[500:])
        assert "ends too early" in says(png(header(23, 14, 8, 2), *parts, END))

    @given(st.integers(0, 10**9), st.integers(1, 255))
    @settings(max_examples=300, deadline=None)
    def test_with_any_byte_changed_are_refused(self, place: int, flip: int) -> None:
        data = bytearray(PNGS["png RGB"])
        start = data.index(b"IDAT") + 4
        data[start + place % (len(data) - start)] ^= flip
        assert is_refused(bytes(data))

    @given(st.integers(0, 10**9), st.integers(1, 255))
    @settings(max_examples=300, deadline=None)
    def test_with_any_byte_changed_and_the_chunk_summed_again_are_refused(self, place: int, flip: int) -> None:
        packed = bytearray(zlib.compress(picture(size=(23, 14)).tobytes("raw", "RGB") + bytes(14)))
        packed[2 + place % (len(packed) - 2)] ^= flip  # the first two bytes hold hints for decoders
        assert is_refused(png(header(23, 14, 8, 2), chunk(b"IDAT", bytes(packed)), END))

    def test_that_inflate_without_end_are_stopped_at_those_announced(self) -> None:
        packer = zlib.compressobj()
        bomb = b"".join(packer.compress(bytes(2**20)) for _ in range(300)) + packer.flush()
        data = png(header(100, 100, 8, 2), chunk(b"IDAT", bomb), END)
        with watched_memory() as peak:
            assert says(data) == "the PNG has more image data than pixels"
        assert peak() < 2**20


class TestJpegPixels:
    @every({**SINGLE_SCANS, "jpeg in several reads": LARGE})
    def test_cut_off_with_an_end_marker_put_behind_them_are_noticed(self, data: bytes) -> None:
        start = data.rindex(b"\xff\xda") + 14
        last_blocks = 200
        for cut in range(start + 1, len(data) - last_blocks, len(data) // 200):
            assert is_refused(data[:cut] + b"\xff\xd9"), len(data) - cut

    @pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
    def test_with_fewer_or_more_blocks_than_the_frame_has_are_noticed(self, mode: str) -> None:
        data = saved(picture(mode, size=(64, 48)), "JPEG", quality=90)
        assert "less image data" in says(resized(data, 64, 65))
        assert "more image data" in says(resized(data, 64, 32))

    def test_that_are_missing_are_noticed_even_where_the_application_lets_pillow_take_cut_images(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
        assert "less image data" in says(resized(JPEGS["jpeg"], 40, 65))

    def test_behind_a_lost_restart_marker_are_noticed(self) -> None:
        data = JPEGS["jpeg with restart markers"]
        at = data.index(b"\xff\xd1")
        assert says(data[:at] + data[data.index(b"\xff\xd2") :]) == "a restart marker of the JPEG is missing"

    @every(SINGLE_SCANS)
    def test_with_a_restart_marker_out_of_place_are_noticed(self, data: bytes) -> None:
        middle = (data.rindex(b"\xff\xda") + len(data)) // 2
        assert is_refused(data[:middle] + b"\xff\xd6" + data[middle:])

    def test_of_a_progressive_image_without_its_last_scans_are_noticed(self) -> None:
        data = JPEGS["jpeg progressive"]
        scans = [at for at in range(len(data)) if data.startswith(b"\xff\xda", at)]
        assert len(scans) > 5
        for at in scans[1:]:
            start = data.rfind(b"\xff\xc4", 0, at)  # the tables of a scan go with it
            assert "lacks scans" in says(data[: max(start, scans[0] + 14)].rstrip(b"\xff") + b"\xff\xd9")

    def test_that_no_decoder_can_read_are_refused(self) -> None:
        assert says(jpeg(frame(), SCAN)) == "the JPEG's image data cannot be decoded"  # there are no tables

    def test_in_scans_without_end_are_refused_undecoded(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verification.jpeg, "_decode", None)
        assert "far too many scans" in says(jpeg(frame(code=0xC2), SCAN * 101))


class TestWebpPixels:
    @every({name: data for name, data in WEBPS.items() if "animated" not in name})
    def test_cut_off_with_the_lengths_made_right_are_noticed(self, data: bytes) -> None:
        chopped = list(shorter_webps(data))
        assert len(chopped) > 300
        assert all(is_refused(cut) for cut in chopped[3:])  # less than that may be padding

    def test_of_another_format_within_the_container_are_refused(self) -> None:
        data = WEBPS["webp lossless"]
        assert says(data[:30] + b"\xff" * (len(data) - 30)) == "the WebP's image data cannot be decoded"


class TestTooLargeImages:
    @pytest.mark.parametrize(
        "data", [built(20_000, 20_000, raw=b""), jpeg(frame(20_000, 20_000), SCAN)], ids=["png", "jpeg"]
    )
    def test_are_refused_before_anything_is_decoded(self, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verification, "_CHECKS", {})
        with watched_memory() as peak, pytest.raises(ImageDefect, match="too large: 20000 × 20000"):
            verify(data)
        assert peak() < 2**16

    @every(IMAGES)
    def test_are_judged_by_our_limits_and_not_by_what_the_application_told_pillow(
        self, data: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
        assert verify(data).width > 1


class TestAnyBytesWhatever:
    @settings(max_examples=400, deadline=None)
    @given(
        st.sampled_from(list(FORMS.values())),
        st.lists(st.tuples(st.floats(0, 1), st.integers(0, 3), st.binary(max_size=4)), min_size=1, max_size=4),
    )
    def test_are_refused_as_a_defect_or_opened_by_pillow_too(
        self, data: bytes, changes: list[tuple[float, int, bytes]]
    ) -> None:
        for place, deleted, inserted in changes:
            offset = round(place * len(data))
            data = data[:offset] + inserted + data[offset + deleted :]
        if not is_refused(data):
            facts = verify(data)
            with Image.open(io.BytesIO(data[: facts.end])) as image:
                assert image.size == (facts.width, facts.height)

    @pytest.mark.parametrize("name", ["png RGB", "jpeg", "webp lossy", "webp lossless"])
    def test_that_are_the_beginning_of_an_image_are_refused(self, name: str) -> None:
        data = IMAGES[name]
        assert [size for size in range(len(data)) if not is_refused(data[:size])] == []


GOOD = PNGS["png RGB"]


def settled(*images: bytes) -> Outcome:
    reply = Reply(pieces=tuple(Piece(data=data) for data in images))
    return asyncio.run(settle(reply, None, ProviderSettings(name="p", kind="k")))


class TestDeliveredImages:
    def test_whose_pixels_are_short_are_a_bad_response_that_was_paid_for(self) -> None:
        outcome = settled(SHORT)
        assert (outcome.name, outcome.billed) == ("bad_response", "yes")
        assert outcome.detail == "the PNG has less image data than pixels"

    def test_that_were_cut_on_their_way_may_have_been_paid_for(self) -> None:
        outcome = settled(GOOD[: len(GOOD) // 2])
        assert (outcome.name, outcome.billed) == ("bad_response", "maybe")

    def test_whose_checksum_fails_were_paid_for(self) -> None:
        outcome = settled(GOOD[:60] + bytes([GOOD[60] ^ 1]) + GOOD[61:])
        assert (outcome.name, outcome.billed) == ("bad_response", "yes")

    def test_that_are_sound_are_kept_next_to_one_that_is_not(self) -> None:
        outcome = settled(SHORT, GOOD)
        assert (outcome.name, [image.data for image in outcome.images]) == ("ok", [GOOD])

    @every(IMAGES)
    def test_end_where_the_image_ends_whatever_was_hidden_behind_it(self, data: bytes) -> None:
        (image,) = settled(data + b"<script>alert(1)</script>").images
        assert image.data == data

    @pytest.mark.parametrize("data", [JPEGS["jpeg"], WEBPS["webp lossy"]], ids=["jpeg", "webp"])
    def test_of_the_other_formats_are_gone_through_as_well(self, data: bytes) -> None:
        bad = resized(data, 40, 65) if data is JPEGS["jpeg"] else list(shorter_webps(data))[40]
        assert (settled(bad).name, settled(bad).billed) == ("bad_response", "yes")


HEAVY_JPEG = saved(Image.effect_noise((512, 512), 60), "JPEG", quality=90)
HEAVY_PNG = saved(Image.effect_noise((512, 512), 60), "PNG", compress_level=0)
AT_MOST = 70_000
"""Bytes of each that are looked at below: not all of its picture data."""


class TestHeavyImages:
    """Of picture data beyond the amount that is asked for, the beginning counts."""

    @pytest.mark.parametrize("heavy", [HEAVY_JPEG, HEAVY_PNG], ids=["jpeg", "png"])
    def test_pass_when_the_beginning_is_sound(self, heavy: bytes) -> None:
        assert len(heavy) > 2 * AT_MOST
        assert verify(heavy, AT_MOST) == inspect(heavy)

    def test_with_a_damaged_beginning_are_refused(self) -> None:
        raw = raw_of(400, 400, 8, 2, 0, filtering=5)
        assert "filter" in says(built(400, 400, raw=raw))
        file = png(header(400, 400, 8, 2), chunk(b"IDAT", zlib.compress(raw, 0)), END)
        with pytest.raises(PixelDefect, match="filter"):
            verify(file, AT_MOST)

    def test_whose_decoder_needs_less_than_there_is_are_refused(self) -> None:
        with pytest.raises(PixelDefect, match="more image data than pixels"):
            verify(resized(HEAVY_JPEG, 64, 64), AT_MOST)

    def test_may_lack_their_end_unless_all_of_them_is_looked_at(self) -> None:
        raw = raw_of(400, 400, 8, 2, 0)[:-1]
        png_cut = png(header(400, 400, 8, 2), chunk(b"IDAT", zlib.compress(raw, 0)), END)
        for short in (resized(HEAVY_JPEG, 512, 1024), png_cut):
            assert verify(short, AT_MOST) == inspect(short)
            assert "less image data than pixels" in says(short)

    def test_of_a_provider_are_gone_through_as_far_as_its_table_says(self) -> None:
        reply = Reply(pieces=(Piece(data=resized(HEAVY_JPEG, 512, 1024)),))

        def outcome(**options: object) -> Outcome:
            return asyncio.run(settle(reply, None, ProviderSettings(name="p", kind="k", options=options)))

        assert outcome(pixel_check=AT_MOST).name == "ok"
        assert outcome(pixel_check=10 * len(HEAVY_JPEG)).name == outcome().name == "bad_response"

    @pytest.mark.parametrize("form", ["JPEG", "PNG"])
    def test_leave_the_interpreter_to_other_threads_now_and_then(
        self, form: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        options = {"quality": 95, "subsampling": 0} if form == "JPEG" else {"compress_level": 0}
        data = saved(Image.merge("RGB", [Image.effect_noise((800, 800), 60)] * 3), form, **options)
        assert len(data) > 600_000
        pauses: list[float] = []
        monkeypatch.setattr(parts.time, "sleep", pauses.append)
        inspect(data)
        looked = len(pauses)
        verify(data)
        assert len(pauses) > 2 * looked

    def test_that_are_webp_are_decoded_whole_or_not_at_all(self) -> None:
        bad = list(shorter_webps(WEBPS["webp lossy"]))[40]
        assert verify(bad, len(bad) - 1) == inspect(bad)
        assert says(bad)


class Gate:
    """Stands in for the check: each image waits in its thread until the gate is opened."""

    def __init__(self) -> None:
        self.opened = threading.Event()
        self.inside = self.most = 0
        self._lock = threading.Lock()

    def verify(self, data: bytes, _: int | None) -> ImageFacts:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.opened.wait(10)
        with self._lock:
            self.inside -= 1
        return inspect(data)

    async def until(self, count: int) -> None:
        with anyio.fail_after(10):
            while self.inside < count:
                await anyio.sleep(0)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    monkeypatch.setattr(verification, "verify", gate.verify)
    monkeypatch.setattr(verification, "_WORKERS", 2)
    monkeypatch.setattr(verification, "_SMALL", 0)
    yield gate
    gate.opened.set()


class TestSideBySide:
    def test_images_of_one_answer_are_checked_though_never_more_than_there_are_workers(self, gate: Gate) -> None:
        async def main() -> int:
            async with anyio.create_task_group() as group:
                group.start_soon(verify_all, [GOOD] * 5)
                await gate.until(2)
                gate.opened.set()
            return gate.most

        assert anyio.run(main) == 2

    @pytest.mark.parametrize(("edge", "comment", "elsewhere"), [(64, 0, False), (64, 40_000, True), (1400, 0, True)])
    def test_only_images_of_few_bytes_and_pixels_are_checked_where_the_event_loop_runs(
        self, edge: int, comment: int, elsewhere: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        file = io.BytesIO()
        Image.new("L", (edge, edge)).save(file, "JPEG", comment=bytes(comment))
        threads: list[threading.Thread] = []

        def noted(data: bytes, _: int | None) -> ImageFacts:
            threads.append(threading.current_thread())
            return inspect(data)

        monkeypatch.setattr(verification, "verify", noted)
        anyio.run(verify_all, [file.getvalue()])
        assert [thread is not threading.main_thread() for thread in threads] == [elsewhere]

    def test_results_are_in_the_order_of_the_images_defects_among_them(self) -> None:
        results = anyio.run(verify_all, [SHORT, GOOD, b"no image", JPEGS["jpeg"]])
        assert [type(result).__name__ for result in results] == [
            "PixelDefect",
            "ImageFacts",
            "ImageDefect",
            "ImageFacts",
        ]

    def test_the_application_s_own_threads_neither_wait_for_images_nor_hold_them_up(self, gate: Gate) -> None:
        async def main() -> str:
            anyio.to_thread.current_default_thread_limiter().total_tokens = 1
            async with anyio.create_task_group() as group:
                group.start_soon(verify_all, [GOOD, GOOD])
                await gate.until(2)
                answer = await anyio.to_thread.run_sync(lambda: "not held up")
                gate.opened.set()
            return answer

        assert anyio.run(main) == "not held up"

    @pytest.mark.parametrize("cancel", ["scope", "task"])
    def test_a_cancelled_check_leaves_nothing_behind_that_the_next_would_wait_for(
        self, gate: Gate, cancel: str
    ) -> None:
        async def main() -> tuple[bool, list[ImageFacts | ImageDefect]]:
            task = asyncio.create_task(under_a_scope([GOOD] * 5))
            await gate.until(2)
            if cancel == "task":
                task.cancel()
            else:
                scopes[0].cancel()
            await anyio.sleep(0)
            gate.opened.set()
            await asyncio.wait([task])
            return task.cancelled(), await verify_all([GOOD, GOOD, GOOD])

        scopes: list[anyio.CancelScope] = []

        async def under_a_scope(images: list[bytes]) -> None:
            with anyio.CancelScope() as scope:
                scopes.append(scope)
                await verify_all(images)
                pytest.fail("the check was cancelled")

        cancelled, after = asyncio.run(main())
        assert cancelled == (cancel == "task")
        assert [type(result) for result in after] == [ImageFacts] * 3

    def test_each_event_loop_has_a_limit_of_its_own(self) -> None:
        for _ in range(2):
            assert len(anyio.run(verify_all, [GOOD] * 3)) == 3


@contextmanager
def watched_memory() -> Iterator[Callable[[], int]]:
    """How many bytes Python took at most since the beginning."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        yield lambda: tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


def resized(data: bytes, width: int, height: int) -> bytes:
    """The JPEG with other numbers in its frame header."""
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def shorter_webps(data: bytes) -> Iterator[bytes]:
    """The WebP with ever fewer bytes of its picture, all lengths corrected."""
    at = 12
    while data[at : at + 4] not in (b"VP8 ", b"VP8L"):
        at += 8 + (length := int.from_bytes(data[at + 4 : at + 8], "little")) + length % 2
    length = int.from_bytes(data[at + 4 : at + 8], "little")
    for left in range(length - 1, 10, -1):
        picture_chunk = data[at : at + 4] + struct.pack("<I", left) + data[at + 8 : at + 8 + left] + bytes(left % 2)
        body = data[8:at] + picture_chunk + data[at + 8 + length + length % 2 :]
        yield b"RIFF" + struct.pack("<I", len(body)) + body
