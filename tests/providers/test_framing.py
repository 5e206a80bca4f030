"""Where an HTTP/1.1 body ends."""

from __future__ import annotations

from itertools import pairwise

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.framing import MAX_LINE, MAX_TRAILERS, Chunks, Framing, FramingError, Length, UntilClose, framing_of


def fed(framing: Framing, *pieces: bytes) -> tuple[bytes, int]:
    """The body that came out, and how many bytes were counted as the answer's."""
    body, used = bytearray(), 0
    for piece in pieces:
        used += framing.feed(memoryview(piece), body.extend)
    return bytes(body), used


def response(*headers: tuple[str, str], status: int = 200) -> h11.Response:
    return h11.Response(status_code=status, headers=headers)


@pytest.mark.parametrize(
    ("method", "answer", "kind"),
    [
        (b"POST", response(("Content-Length", "3")), Length),
        (b"POST", response(("Transfer-Encoding", "chunked")), Chunks),
        (b"POST", response(), UntilClose),
    ],
)
def test_the_headers_say_how_a_body_ends(method: bytes, answer: h11.Response, kind: type) -> None:
    assert type(framing_of(method, answer)) is kind


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        (b"HEAD", response(("Content-Length", "3"))),
        (b"POST", response(status=204)),
        (b"POST", response(("Transfer-Encoding", "chunked"), status=304)),
        (b"POST", response(("Content-Length", "0"))),
    ],
)
def test_some_answers_have_no_body(method: bytes, answer: h11.Response) -> None:
    assert framing_of(method, answer).ended


class TestALength:
    def test_ends_after_its_bytes_and_leaves_the_rest(self) -> None:
        framing = Length(5)
        assert fed(framing, b"abc", b"defg") == (b"abcde", 5)
        assert framing.ended
        framing.close()

    def test_that_is_not_reached_is_an_error(self) -> None:
        framing = Length(5)
        fed(framing, b"abc")
        assert not framing.ended
        with pytest.raises(FramingError, match="after 3 of the body's 5 bytes"):
            framing.close()


def test_a_body_without_a_length_ends_with_the_connection() -> None:
    framing = UntilClose()
    assert fed(framing, b"abc", b"def") == (b"abcdef", 6)
    assert not framing.ended
    framing.close()
    assert framing.ended


CHUNKED = b"5\r\nabcde\r\n1a;why=this \r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nX-Sum: 1\r\n\r\n"
PLAIN = b"abcdeabcdefghijklmnopqrstuvwxyz"


class TestChunks:
    @given(st.lists(st.integers(0, len(CHUNKED)), max_size=12))
    def test_may_be_cut_anywhere(self, cuts: list[int]) -> None:
        places = [0, *sorted(cuts), len(CHUNKED)]
        pieces = [CHUNKED[start:end] for start, end in pairwise(places)]
        framing = Chunks()
        assert fed(framing, *pieces) == (PLAIN, len(CHUNKED))
        assert framing.ended

    def test_leave_what_comes_after_them(self) -> None:
        assert fed(Chunks(), CHUNKED + b"HTTP/1.1 200 OK") == (PLAIN, len(CHUNKED))

    @pytest.mark.parametrize("end", range(len(CHUNKED)))
    def test_that_stop_early_are_an_error(self, end: int) -> None:
        framing = Chunks()
        fed(framing, CHUNKED[:end])
        with pytest.raises(FramingError, match="before the body's last chunk"):
            framing.close()

    @pytest.mark.parametrize(
        "line", [b"zz\r\n", b"\r\n", b"-1\r\n", b"+1\r\n", b"0x1\r\n", b"1_0\r\n", b"f" * 16 + b"\n"]
    )
    def test_of_no_readable_length_are_an_error(self, line: bytes) -> None:
        with pytest.raises(FramingError, match="length of a chunk cannot be read"):
            fed(Chunks(), line)

    def test_longer_than_they_say_are_an_error(self) -> None:
        with pytest.raises(FramingError, match="longer than it says"):
            fed(Chunks(), b"3\r\nabcde\r\n")

    def test_behind_endless_lines_are_an_error(self) -> None:
        with pytest.raises(FramingError, match="too long"):
            fed(Chunks(), b"1;" + b"x" * MAX_LINE, b"x")

    def test_with_endless_trailers_are_an_error(self) -> None:
        with pytest.raises(FramingError, match="too many trailers"):
            fed(Chunks(), b"0\r\n" + b"X: 1\r\n" * (MAX_TRAILERS + 1))
