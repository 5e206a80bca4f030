"""Text from upstreams comes out as one line, bounded, without keys."""

from __future__ import annotations

import logging
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.sanitise import MAX_DETAIL, sanitise, without_quotes
from providers.secret import Secret

KEY = "canary/key+0123=45"
SECRETS = (Secret(KEY),)


class TestALine:
    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("one\ntwo\r\nthree\ttabs", "one two three tabs"),
            ("  much \n\n  blank  ", "much blank"),
            ("\x1b[31mred\x1b[0m and \x1b]8;;http://x\x07link", "[31mred[0m and ]8;;http://xlink"),
            ("bell\x07 backspace\x08 null\0", "bell backspace null"),
            ("left\u202eright\u2066 isolated\u2069 mark\u200f", "leftright isolated mark"),
            ("zero\u200bwidth\ufeff soft\xadhyphen", "zerowidth softhyphen"),
            ("line\u2028paragraph\u2029next\x85end\x0bvertical\x0cform", "line paragraph next end vertical form"),
            ("lone \ud800 surrogate", "lone surrogate"),
            ("%s %d %(name)s %%", "%s %d %(name)s %%"),
            ("{0} {name} $x", "{0} {name} $x"),
            ("猫 🦊 ñ é", "猫 🦊 ñ é"),
            ("", ""),
        ],
    )
    def test_says_what_was_said(self, text: str, line: str) -> None:
        assert sanitise(text) == line

    def test_of_percent_signs_can_be_logged(self, caplog: pytest.LogCaptureFixture) -> None:
        logging.getLogger("test").warning(sanitise("100%s %n \n forged: entry"))
        assert [record.getMessage() for record in caplog.records] == ["100%s %n forged: entry"]

    def test_is_bounded_and_shows_that_it_was_cut(self) -> None:
        assert sanitise("word " * 100) == ("word " * 100)[: MAX_DETAIL - 1] + "…"
        assert sanitise("x" * 20 + " y", limit=10) == "x" * 9 + "…"
        assert len(sanitise("ab " * 10**6)) == MAX_DETAIL

    @pytest.mark.parametrize("length", [MAX_DETAIL - 1, MAX_DETAIL])
    def test_that_fits_is_not_cut(self, length: int) -> None:
        text = ("word " * 100)[: length - 1] + "."
        assert sanitise(text) == text

    def test_can_be_made_of_anything(self) -> None:
        assert sanitise(ValueError("no\nway")) == "no way"
        assert sanitise(None) == "None"

    def test_holds_no_long_base64(self) -> None:
        assert sanitise(f"bad image {'QUJD' * 300}== in part 1") == "bad image [base64] in part 1"


class TestKeys:
    @pytest.mark.parametrize(
        "text",
        [
            f"invalid key {KEY}.",
            f"{KEY}{KEY}",
            f"https://host/?key={KEY}&x=1",
            f"{KEY[:5]}\0{KEY[5:]}",
            f"{KEY[:5]}\n{KEY[5:]}",
            f"{KEY[:5]}\r\n\t{KEY[5:]}",
            f"{KEY[:5]}\u200b{KEY[5:9]}\u202e{KEY[9:]}",
            f"{KEY[:5]}\x1b{KEY[5:]}",
            f"{KEY[:5]}\u2028{KEY[5:9]}\u2029{KEY[9:]}",
            "\0".join(KEY),
            "\n".join(KEY),
            "x " * 90 + KEY,
        ],
    )
    def test_that_are_known_are_taken_out_though_they_are_split(self, text: str) -> None:
        line = sanitise(text, SECRETS)
        assert KEY not in line.replace(" ", "")
        assert "[key]" in line
        assert KEY[5:12] not in line

    @pytest.mark.parametrize("place", [*range(3960, 4010), 199, 200])
    def test_at_the_end_of_what_is_looked_at_do_not_show_a_part(self, place: int) -> None:
        line = sanitise("A" * (place - 1) + " " + KEY, SECRETS)
        assert line.startswith("[base64]")
        assert KEY[:1] not in line.removeprefix("[base64]").replace("[key]", "")

    @pytest.mark.parametrize(
        "key",
        [
            "sk-proj-abcdef0123456789", "sk-or-v1-0123456789abcdef", "gw-0123456789", "AIzaSyA0123456789_-abcdefghij",
            "ya29.a0AfH6SMBx-0123456789", "Bearer abcdef0123456789", "bearer abc.def-ghi~jkl+mno/=",
            "sk-abc***************6789", "sk-abc\u200bdef0123", "s\0k-abcdef0123", "AIza\x1bSyA0123456789",
        ],
    )  # fmt: skip
    def test_of_known_shapes_are_taken_out(self, key: str) -> None:
        assert sanitise(f"Incorrect API key provided: {key} (see the docs)") == (
            "Incorrect API key provided: [key] (see the docs)"
        )

    @pytest.mark.parametrize(
        "text", ["task-list and risk-averse", "the bearer of news", "disk-pressure", "desk-1", "sk-1", "AIza"]
    )
    def test_are_not_seen_in_ordinary_words(self, text: str) -> None:
        assert sanitise(text) == text

    def test_that_are_empty_take_nothing_out(self) -> None:
        assert sanitise("a b c", [Secret(""), Secret("\0")]) == "a b c"

    def test_of_several_providers_are_all_taken_out(self) -> None:
        assert sanitise("first.x second.y", [Secret("first.x"), Secret("second.y")]) == "[key] [key]"

    def test_that_look_like_patterns_are_taken_literally(self) -> None:
        assert sanitise("a+b (a.b) aab", [Secret("a+b"), Secret("(a.b)")]) == "[key] [key] aab"


class TestAnyText:
    @given(st.text(), st.integers(1, 300))
    def test_becomes_one_printable_line_within_the_limit(self, text: str, limit: int) -> None:
        line = sanitise(text, SECRETS, limit)
        assert len(line) <= limit
        assert not {unicodedata.category(character) for character in line} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}

    @given(st.text(max_size=40), st.text(alphabet="\0\n\u200b\u202e\x1b\r", max_size=4), st.integers(1, 17))
    def test_around_a_split_key_does_not_show_it(self, text: str, between: str, place: int) -> None:
        line = sanitise(f"{text}{KEY[:place]}{between}{KEY[place:]}{text}", SECRETS)
        assert "[key]" in line
        assert KEY not in line

    @pytest.mark.parametrize("unit", ["x", " ", "\0", "sk-", "Bearer ", "A" * 119 + " ", "\ud800", "猫", KEY[:-1]])
    def test_of_many_megabytes_is_looked_at_only_in_part(self, unit: str) -> None:
        text = unit * (20 * 2**20 // len(unit))
        assert sanitise(text, SECRETS) == sanitise(text[:10_000], SECRETS)


PROMPT = "A launch poster that says HELLO to the world"


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (f'HTTP 400: the prompt "{PROMPT}" was refused', 'HTTP 400: the prompt "[prompt]" was refused'),
        (f"HTTP 400: {PROMPT[:25]}…", "HTTP 400: [prompt]…"),
        (f"{PROMPT}; {PROMPT}", "[prompt]; [prompt]"),
        ("HTTP 503: the poster server is overloaded", "HTTP 503: the poster server is overloaded"),
    ],
)
def test_what_an_upstream_quotes_of_a_prompt_is_taken_out(text: str, left: str) -> None:
    assert without_quotes(text, PROMPT) == left


def test_a_prompt_over_several_lines_is_known_again_in_one() -> None:
    assert (
        without_quotes("refused: A launch poster that says HELLO", "A launch\nposter  that\tsays HELLO")
        == "refused: [prompt]"
    )


def test_a_short_prompt_is_taken_out_as_a_whole_only() -> None:
    assert (
        without_quotes("a fox is not allowed, nor is a foxhound", "a fox")
        == "[prompt] is not allowed, nor is [prompt]hound"
    )
    assert without_quotes("it is overloaded", "it") == "it is overloaded"
