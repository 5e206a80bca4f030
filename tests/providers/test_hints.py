"""How long an upstream asks to wait: only what is plainly said counts."""

from __future__ import annotations

import math

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.hints import MAX_HINT, retry_after

NOON = "Tue, 06 Oct 2026 12:00:00 GMT"


class TestAHint:
    @pytest.mark.parametrize(
        ("headers", "retry_delay", "seconds"),
        [
            ({"Retry-After": "7"}, None, 7),
            ({"Retry-After": " 7 "}, None, 7),
            ({"Retry-After": "0"}, None, 0),
            ({"Retry-After": "2.5"}, None, 2.5),
            ({"retry-after": "86400"}, None, 86_400),
            ({"retry-after-ms": "1500"}, None, 1.5),
            ({"Retry-After-Ms": "120000"}, None, 120),
            ({}, "7s", 7),
            ({}, "7.811233656s", 7.811233656),
            ({}, "0.5s", 0.5),
            ({"Date": NOON, "Retry-After": "Tue, 06 Oct 2026 12:00:09 GMT"}, None, 9),
            ({"Date": "Tue, 06 Oct 2026 14:00:00 +0200", "Retry-After": "Tue, 06 Oct 2026 12:00:09 GMT"}, None, 9),
            ({"Date": NOON, "Retry-After": NOON}, None, 0),
            ({"Date": NOON, "Retry-After": "Tue, 06 Oct 2026 12:00:09 -0000"}, None, 9),
        ],
    )
    def test_is_understood(self, headers: dict[str, str], retry_delay: str | None, seconds: float) -> None:
        assert retry_after(headers, retry_delay) == pytest.approx(seconds)

    def test_is_found_in_the_headers_of_an_answer(self) -> None:
        assert retry_after(httpx2.Headers({"RETRY-AFTER": "12"})) == 12

    def test_of_google_goes_before_milliseconds_before_seconds(self) -> None:
        headers = {"Retry-After": "30", "retry-after-ms": "2000", "Date": NOON}
        assert retry_after(headers, "4s") == 4
        assert retry_after(headers) == 2
        assert retry_after({"Retry-After": "30"}) == 30

    def test_that_is_nonsense_gives_way_to_the_next(self) -> None:
        headers = {"Retry-After": "30", "retry-after-ms": "nan"}
        assert retry_after(headers, "soon") == 30
        assert retry_after(headers, "99999999s") == 30


class TestNonsense:
    @pytest.mark.parametrize(
        "text",
        ["nan", "inf", "-inf", "-5", "+5", "1e309", "1e3", "0x10", "1_000", "٣", "१२", "７", "", " ", ".", "5.", ".5",
         "5s", "5 s", "5,0", "86400.5", "86401", "999999999999", "1" * 400, "soon", "5\n6", "5;6", "None", "true"],
    )  # fmt: skip
    def test_is_no_hint(self, text: str) -> None:
        assert retry_after({"Retry-After": text}) is None
        assert retry_after({"Retry-After": text, "Date": NOON}) is None

    @pytest.mark.parametrize("text", ["nan", "infs", "-5s", "1e309s", "१२s", "s", "", "7ss", "100000s", "7m"])
    def test_from_google_is_no_hint(self, text: str) -> None:
        assert retry_after({}, text) is None

    @pytest.mark.parametrize("text", ["nan", "-1500", "86400001", "1e9", "१५००"])
    def test_in_milliseconds_is_no_hint(self, text: str) -> None:
        assert retry_after({"retry-after-ms": text}) is None

    @pytest.mark.parametrize(
        "until",
        ["Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -2359", "Tue, 06 Oct 2026 11:59:59 GMT",
         "Wed, 07 Oct 2026 12:00:01 GMT", "Mon, 01 Jan 0001 00:00:00 GMT", "Tue, 99 Oct 2026 12:00:00 GMT",
         "Tue, 06 Oct 99999999999 12:00:00 GMT", "Tue, 06 Oct 2026 12:00:09 +9999999999", "2026-10-06T12:00:09Z",
         "Tue", ",", "06 Oct", "Tue, 06 Oct 2026 25:61:61 GMT"],
    )  # fmt: skip
    def test_for_a_date_is_no_hint(self, until: str) -> None:
        assert retry_after({"Date": NOON, "Retry-After": until}) is None

    def test_for_the_answers_own_date_is_no_hint(self) -> None:
        for date in ("", "yesterday", "Fri, 99 Dec 2026 12:00:00 GMT"):
            assert retry_after({"Date": date, "Retry-After": "Tue, 06 Oct 2026 12:00:09 GMT"}) is None


class TestDates:
    @pytest.mark.parametrize("hour", ["11", "12", "13"])
    def test_are_counted_from_the_answers_own_clock(self, hour: str) -> None:
        headers = {"Date": f"Tue, 06 Oct 2026 {hour}:00:00 GMT", "Retry-After": f"Tue, 06 Oct 2026 {hour}:00:42 GMT"}
        assert retry_after(headers) == 42

    def test_without_the_answers_own_clock_are_no_hint(self) -> None:
        assert retry_after({"Retry-After": "Tue, 06 Oct 2026 12:00:42 GMT"}) is None


fragments = st.sampled_from(["Tue, ", "06 Oct ", "2026 ", "9999 ", "0001 ", "12:00:00 ", "GMT", "+2359", "-9999", "-0000",
                             "1e5", "٣", "99999999999999999999", ",", ":", "\0", "."])  # fmt: skip
values = st.text(max_size=20) | st.lists(fragments, max_size=8).map("".join)


class TestAnyHeaders:
    @given(st.dictionaries(st.sampled_from(["Retry-After", "retry-after-ms", "Date"]), values), st.none() | values)
    def test_give_a_sane_number_of_seconds_or_nothing(self, headers: dict[str, str], retry_delay: str | None) -> None:
        seconds = retry_after(headers, retry_delay)
        assert seconds is None or (math.isfinite(seconds) and 0 <= seconds <= MAX_HINT)
