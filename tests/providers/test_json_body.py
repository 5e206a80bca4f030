"""JSON from strangers becomes a document or is missing; nothing else happens."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.json_body import MISSING, parse

HOPELESS = {
    "a depth of 100,000 lists": b"[" * 100_000 + b"]" * 100_000,
    "a depth of 100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "an endless depth": b"[" * 100_000,
    "an integer of 5,000 digits": b'{"n": ' + b"9" * 5000 + b"}",
    "a negative integer of 5,000 digits": b"-" + b"9" * 5000,
    "trailing garbage": b'{"a": 1}\n<!-- served by cache -->',
    "a second document": b'{"a": 1}{"a": 2}',
    "a second document on its line": b"[1]\n[2]\n",
    "nothing": b"",
    "blanks": b" \r\n\t ",
    "invalid UTF-8": b'["\xff\xfe"]',
    "UTF-16": "[1]".encode("utf-16"),
    "two byte-order marks": b"\xef\xbb\xbf\xef\xbb\xbf[]",
    "a byte-order mark alone": b"\xef\xbb\xbf",
    "NUL": b"\0",
    "a cut document": b'{"a": [1, 2',
    "a cut escape": b'["\\u00',
    "single quotes": b"{'a': 1}",
    "a trailing comma": b"[1,]",
    "a comment": b"[1] // one",
    "HTML": b"<!DOCTYPE html><html></html>",
    "server-sent events": b'data: {"a": 1}\n\n',
    "a leading zero": b"[01]",
    "nan in lower case": b"[nan]",
}


class TestADocument:
    @pytest.mark.parametrize("body", HOPELESS.values(), ids=HOPELESS.keys())
    def test_is_missing_where_there_is_none(self, body: bytes) -> None:
        assert parse(body) is MISSING

    @pytest.mark.parametrize("body", [b"null", b"false", b"0", b'""', b"[]", b"{}"])
    def test_that_is_empty_is_not_missing(self, body: bytes) -> None:
        document = parse(body)
        assert document is not MISSING
        assert document == json.loads(body)
        assert type(document) is type(json.loads(body))

    def test_may_have_a_byte_order_mark(self) -> None:
        assert parse(b'\xef\xbb\xbf{"a": "\xc3\xa9"}') == {"a": "é"}

    def test_may_hold_numbers_that_are_none(self) -> None:
        first, *rest = parse(b"[NaN, Infinity, -Infinity, 1e999]")
        assert math.isnan(first)
        assert rest == [math.inf, -math.inf, math.inf]

    def test_may_be_as_deep_as_answers_are(self) -> None:
        assert parse(b"[" * 100 + b"]" * 100) == json.loads("[" * 100 + "]" * 100)

    def test_may_hold_integers_beyond_64_bits(self) -> None:
        assert parse(b"[%d]" % 10**100) == [10**100]

    def test_that_names_a_key_twice_has_its_last_value(self) -> None:
        assert parse(b'{"a": 1, "a": 2}') == {"a": 2}


documents = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
)


class TestAnyBytes:
    @given(st.binary() | st.text(alphabet='{}[]",:0\\u9eEdn.- \n').map(str.encode))
    def test_are_a_document_that_json_loads_reads_alike_or_missing(self, body: bytes) -> None:
        document = parse(body)
        if document is not MISSING:
            assert repr(document) == repr(json.loads(body.decode("utf-8-sig")))

    @given(documents, st.booleans())
    def test_written_by_json_dumps_come_back(self, document: Any, ascii_only: bool) -> None:
        assert parse(json.dumps(document, ensure_ascii=ascii_only).encode()) == document
