"""Each key of a TOML file is found on its line, whatever the file looks like."""

import tomllib
from collections.abc import Iterator
from textwrap import dedent
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.toml_lines import MAX_DEPTH, Place, places


def lines(text: str) -> dict[Place, int]:
    found: dict[Place, int] = {}
    for place, line in places(dedent(text)):
        found.setdefault(place, line)
    return found


def test_tables_keys_and_the_items_of_arrays_have_their_lines() -> None:
    text = """\
        a = 1
        # b = 2

        [table]
        b.c = [
          "x",        # [not] = a table
          { d = 1.5, "e f" = "}" }, [2],
        ]
        """
    assert lines(text) == {
        ("a",): 1,
        ("table",): 4,
        ("table", "b", "c"): 5,
        ("table", "b", "c", 0): 6,
        ("table", "b", "c", 1): 7,
        ("table", "b", "c", 1, "d"): 7,
        ("table", "b", "c", 1, "e f"): 7,
        ("table", "b", "c", 2): 7,
        ("table", "b", "c", 2, 0): 7,
    }


def test_arrays_of_tables_are_counted() -> None:
    text = """\
        [[p.lanes]]
        model = "a"
        [p.lanes.price]
        1K = 1
        [[p.lanes]]
        model = "b"
        [p.lanes.price]
        1K = 2
        [[p.lanes.deeper]]
        """
    found = lines(text)
    assert (found["p", "lanes", 0, "model"], found["p", "lanes", 1, "model"]) == (2, 6)
    assert (found["p", "lanes", 0, "price", "1K"], found["p", "lanes", 1, "price", "1K"]) == (4, 8)
    assert found["p", "lanes", 1, "deeper", 0] == 9


@pytest.mark.parametrize(
    "text",
    [
        'a = """\nb = 1\n[c]\n"""\nz = 1',
        'a = """x\\""" y\n\n"""""\n\nz = 1',
        "a = '''\n\"\"\"\n'''\n\nz = 1",
        'a = "\\"" # "\n\n\n\nz = 1',
        "a = '\\'\n\n\n\nz = 1",
        'a = "#"\r\n\r\n\r\n\r\nz = 1',
        'a = 2026-01-01 10:00:00\n\n\n\n"\\u007a" = 1',
    ],
)
def test_texts_and_comments_hold_no_keys(text: str) -> None:
    assert {place: line for place, line in lines(text).items() if place != ("a",)} == {("z",): 5}


def test_what_is_deeper_than_any_key_is_passed_over() -> None:
    deep = "[" * 200 + "{ x = 1 }" + "]" * 200
    found = lines(f"a = {deep}\nb = 1")
    assert found["b",] == 2
    assert max(map(len, found)) == MAX_DEPTH


STATEMENTS = st.sampled_from(
    [
        "k{n} = {n}",
        'k{n}.a."b c" = 1.5e3',
        "\"k{n}\" = [1, [2, '[3]'], {{ a = [], b = {{}} }}]",
        'k{n} = [ # [\n  1,\n\n  {{ x.y = \'=\', z = """\n""" }}, # ]\n]',
        "k{n} = '''\n[k]\n'''",
        "  k{n}\t= 1979-05-27T07:32:00.999-07:00",
        "'{n}' = inf",
        "[t{n}]",
        "[t{n}.'a.b'] # x",
        "[[rows]]",
        '[[u."]"]]',
        "# k{n} = 1",
        "",
    ]
)


@given(st.lists(STATEMENTS, max_size=12))
def test_every_value_that_the_parser_reads_is_found(statements: list[str]) -> None:
    text = "\n".join(statement.format(n=number) for number, statement in enumerate(statements))
    found = dict(places(text))
    assert set(values(tomllib.loads(text))) <= set(found)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


def values(data: Any, place: Place = ()) -> Iterator[Place]:
    """The places of everything in *data* that holds nothing else."""
    items = list(data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ())
    if place and not items:
        yield place
    for key, item in items:
        yield from values(item, (*place, key))
