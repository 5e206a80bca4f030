"""Tiers and ratios, held against the pixels that vendors document and that were measured."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.sizes import (
    EDGE,
    RATIO_TOLERANCE,
    SIZES,
    TIER_COVERAGE,
    parse_ratio,
    parse_size,
    rank,
    ratio_matches,
    smaller,
    tier_of,
)

FLASH = """
    1:1   512x512    1024x1024  2048x2048  4096x4096
    1:4   256x1024   512x2048   1024x4096  2048x8192
    1:8   192x1536   384x3072   768x6144   1536x12288
    2:3   424x632    848x1264   1696x2528  3392x5056
    3:2   632x424    1264x848   2528x1696  5056x3392
    3:4   448x600    896x1200   1792x2400  3584x4800
    4:1   1024x256   2048x512   4096x1024  8192x2048
    4:3   600x448    1200x896   2400x1792  4800x3584
    4:5   464x576    928x1152   1856x2304  3712x4608
    5:4   576x464    1152x928   2304x1856  4608x3712
    8:1   1536x192   3072x384   6144x768   12288x1536
    9:16  384x688    768x1376   1536x2752  3072x5504
    16:9  688x384    1376x768   2752x1536  5504x3072
    21:9  792x336    1584x672   3168x1344  6336x2688
"""
"""Gemini 3.1 Flash Image at 512, 1K, 2K and 4K; 3 Pro has the same from 1K on. Google prints 792x168 at 21:9, see below."""

FLASH_25 = """
    1:1 1024x1024  2:3 832x1248  3:2 1248x832  3:4 864x1184  4:3 1184x864  4:5 896x1152  5:4 1152x896  9:16 768x1344
    16:9 1344x768  21:9 1536x672
"""
"""Gemini 2.5 Flash Image, which has 1K alone."""

MEASURED = """
    16:9 1408x768 2816x1536 5632x3072
    3:2 1248x832 2496x1664 4992x3328
    5:4 1152x896 2304x1792 4608x3584
"""
"""What upstreams and relays were seen to return for 1K, 2K and 4K."""


NEIGHBOURS = {"5:4": "4:3", "4:5": "3:4"}
"""Ratios so near that what is measured for the first lies within the tolerance of the second as well."""


def pixels(text: str) -> tuple[int, int]:
    width, _, height = text.partition("x")
    return int(width), int(height)


def rows() -> list[tuple[str, str, int, int]]:
    found = []
    for line in FLASH.split("\n"):
        ratio, *cells = line.split() or [""]
        found += [(ratio, size, *pixels(cell)) for size, cell in zip(SIZES, cells, strict=False)]
    for line in MEASURED.split("\n"):
        ratio, *cells = line.split() or [""]
        found += [(ratio, size, *pixels(cell)) for size, cell in zip(SIZES[1:], cells, strict=False)]
    cells = FLASH_25.split()
    found += [(ratio, "1K", *pixels(cell)) for ratio, cell in zip(cells[::2], cells[1::2], strict=True)]
    return found


class TestDocumentedPixels:
    def test_are_all_here(self) -> None:
        assert len(rows()) == 14 * 4 + 3 * 3 + 10

    @pytest.mark.parametrize(("ratio", "size", "width", "height"), rows())
    def test_are_of_their_tier(self, ratio: str, size: str, width: int, height: int) -> None:
        assert tier_of(width, height) == size
        assert tier_of(height, width) == size

    @pytest.mark.parametrize(("ratio", "size", "width", "height"), rows())
    def test_are_of_their_ratio_and_at_most_its_neighbour(self, ratio: str, size: str, width: int, height: int) -> None:
        ratios = {row[0] for row in rows()}
        matching = {other for other in ratios if ratio_matches(width, height, other)}
        assert {ratio} <= matching <= {ratio, NEIGHBOURS.get(ratio, ratio)}

    def test_of_21_to_9_at_512_are_printed_with_half_the_height(self) -> None:
        assert tier_of(792, 168) == "512"
        assert not ratio_matches(792, 168, "21:9")

    @pytest.mark.parametrize(
        ("width", "height", "size"),
        [(1024, 1536, "1K"), (1536, 1024, "1K"), (1792, 1024, "1K"), (3840, 2160, "4K"), (2880, 2880, "4K")],
    )
    def test_of_gpt_image_models_are_of_a_tier_too(self, width: int, height: int, size: str) -> None:
        assert tier_of(width, height) == size


class TestTiers:
    @pytest.mark.parametrize("size", SIZES)
    def test_begin_at_the_share_that_they_must_cover(self, size: str) -> None:
        area = TIER_COVERAGE * EDGE[size] ** 2
        assert tier_of(int(area) + 1, 1) == size
        assert tier_of(int(area), 1) == smaller(size)

    def test_have_nothing_below_the_smallest(self) -> None:
        assert tier_of(256, 256) is None
        assert tier_of(0, 0) is None
        assert smaller("512") is None

    def test_have_nothing_above_the_largest(self) -> None:
        assert tier_of(16_384, 16_384) == "4K"

    def test_are_in_order(self) -> None:
        assert [rank(size) for size in SIZES] == [0, 1, 2, 3]
        assert [smaller(size) for size in SIZES] == [None, "512", "1K", "2K"]
        assert [tier_of(EDGE[size], EDGE[size]) for size in SIZES] == list(SIZES)

    @pytest.mark.parametrize(("text", "size"), [("4k", "4K"), (" 2K ", "2K"), ("512", "512"), ("1k", "1K")])
    def test_are_read_in_either_case(self, text: str, size: str) -> None:
        assert parse_size(text) == size

    @pytest.mark.parametrize("text", ["", "4", "K", "8K", "1024", "0.5K", "4K4K", "４K", "512K", "1 K"])
    def test_are_not_read_from_anything_else(self, text: str) -> None:
        assert parse_size(text) is None


class TestRatios:
    @pytest.mark.parametrize(
        ("text", "ratio"), [("16:9", (16, 9)), (" 1:1 ", (1, 1)), ("21:9", (21, 9)), ("1024:1536", (1024, 1536))]
    )
    def test_are_read(self, text: str, ratio: tuple[int, int]) -> None:
        assert parse_ratio(text) == ratio

    @pytest.mark.parametrize(
        "text", ["", ":", "16", "16:", ":9", "0:1", "1:0", "-1:1", "1.5:1", "16x9", "16:9:1", "१:१", "12345:1", "a:b",
                 "1_0:1", "+1:1", "1 :1", "²:1"]
    )  # fmt: skip
    def test_are_not_read_from_anything_else(self, text: str) -> None:
        assert parse_ratio(text) is None
        assert not ratio_matches(100, 100, text)

    def test_may_be_off_by_the_tolerance(self) -> None:
        assert ratio_matches(1050, 1000, "1:1")
        assert ratio_matches(950, 1000, "1:1")
        assert not ratio_matches(1051, 1000, "1:1")
        assert not ratio_matches(949, 1000, "1:1")
        assert RATIO_TOLERANCE == 0.05

    def test_do_not_match_without_height(self) -> None:
        assert not ratio_matches(100, 0, "1:1")

    @given(st.integers(1, 20_000), st.integers(1, 20_000))
    def test_of_pixels_match_themselves_and_not_twice_themselves(self, width: int, height: int) -> None:
        if max(width, height) <= 9999:
            assert ratio_matches(width, height, f"{width}:{height}")
            assert not ratio_matches(width * 2, height, f"{width}:{height}")
