"""Results cut out of what arrives, wherever its pieces end."""

from __future__ import annotations

import gc
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.batch_results import LineSplitter, ListSplitter, Result, Splitter
from providers.extraction import ExtractionError
from tests.providers.bodies import encoded
from tests.providers.wire import PICTURE

NAME = b"inlinedResponses"

texts = st.text(alphabet=st.sampled_from('ab"\\{}[],: \n\u00e9'), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
items = st.lists(st.fixed_dictionaries({"response": values, "metadata": values}), max_size=4)


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


def cut(splitter: Splitter, body: bytes, size: int) -> list[Result]:
    found = [result for piece in pieces(body, size) for result in splitter.feed(piece)]
    return [*found, *splitter.close()]


def operation(results: list[Any], around: Any = None) -> dict[str, Any]:
    """Google's nesting, results told twice."""
    output = {"inlinedResponses": {"inlinedResponses": results}}
    return {"name": "batches/b", "metadata": {"a": around, "output": output}, "done": True, "response": output}


class TestInlineResults:
    @given(results=items, around=values, size=st.integers(1, 40))
    def test_come_once_and_leave_the_document_around_them(self, results: list[Any], around: Any, size: int) -> None:
        splitter = ListSplitter(NAME)
        found = cut(splitter, json.dumps(operation(results, around)).encode(), size)
        assert [result.document for result in found] == results
        assert json.loads(bytes(splitter.frame)) == operation([], around)

    def test_are_found_in_the_second_list_where_the_first_is_empty(self) -> None:
        body = {"metadata": {"inlinedResponses": []}, "response": {"inlinedResponses": [{"response": 1}]}}
        assert [result.document for result in cut(ListSplitter(NAME), json.dumps(body).encode(), 9)] == [
            {"response": 1}
        ]

    def test_are_passed_over_by_who_does_not_keep_them(self) -> None:
        splitter = ListSplitter(NAME, keep=False)
        assert cut(splitter, json.dumps(operation([{"response": 1}])).encode(), 7) == []
        assert json.loads(bytes(splitter.frame)) == operation([])

    def test_are_told_from_what_has_nearly_the_name_of_their_list(self) -> None:
        body = {
            "text": "inlinedResponses",
            "list": ["inlinedResponses", [{"response": 1}]],
            "inlinedResponsesToo": [{"response": 2}],
            "inlinedResponses": [{"response": 3}],
        }
        found = cut(ListSplitter(NAME), json.dumps(body).encode(), 5)
        assert [result.document for result in found] == [{"response": 3}]

    @pytest.mark.parametrize("size", [1, 1000, 10**6])
    def test_have_their_images_decoded(self, size: int) -> None:
        results = [{"response": {"data": encoded(PICTURE)}, "metadata": {"key": str(number)}} for number in range(3)]
        for result in cut(ListSplitter(NAME), json.dumps(operation(results)).encode(), size):
            assert list(result.images.values()) == [PICTURE]
            assert result.document["response"]["data"] in result.images


class TestLines:
    @given(results=items, size=st.integers(1, 40), last=st.sampled_from(["", "\n", "\r\n\r\n"]))
    def test_are_results_each(self, results: list[Any], size: int, last: str) -> None:
        body = "\n".join(map(json.dumps, results)) + last
        assert [result.document for result in cut(LineSplitter(), body.encode(), size)] == results

    def test_leave_nothing_of_their_images_behind(self) -> None:
        """Without a collector of garbage, which comes when it likes: sixteen images of a megabyte take the room of two."""
        image = PICTURE + bytes(1_000_000)
        body = json.dumps({"key": "k", "data": encoded(image)}).encode() + b"\n"
        splitter = LineSplitter()
        gc.collect()
        gc.disable()
        tracemalloc.start()
        try:
            for _ in range(16):
                assert [list(result.images.values()) for result in splitter.feed(body)] == [[image]]
            held, _peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gc.enable()
        assert held < 2 * len(image)

    def test_that_are_no_json_are_passed_over(self) -> None:
        body = b'{"key": "a"}\nnot JSON\n{"broken": "\n[1]\n{"key": "b"}\n'
        assert [result.document for result in cut(LineSplitter(), body, 3)] == [{"key": "a"}, {"key": "b"}]

    @pytest.mark.parametrize("rest", [b'{"key": "b', b'{"key": "b"', b'{"data": "' + encoded(PICTURE).encode()[:400]])
    def test_that_end_in_the_middle_are_not_taken_for_the_end(self, rest: bytes) -> None:
        splitter = LineSplitter()
        assert [result.document for result in splitter.feed(b'{"key": "a"}\n' + rest)] == [{"key": "a"}]
        with pytest.raises(ExtractionError, match="middle"):
            splitter.close()
