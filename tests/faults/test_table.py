"""docs/faults.md and the tests say the same: every row of the fault table has its tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "faults.md"


def written() -> dict[int, str]:
    """The last column of each row of the page."""
    rows = re.findall(r"^\| (\d+) \|(?:[^|]*\|){4} ([^|]*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 61))
    return {int(number): cell for number, cell in rows}


def collected() -> dict[int, list[str]]:
    """The tests of each row, as ``module::function``."""
    found: dict[int, list[str]] = {}
    for path in sorted(HERE.glob("test_*.py")):
        for each in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            row = re.match(r"test_row_(\d\d)_", each.name) if isinstance(each, ast.FunctionDef) else None
            if row is not None and isinstance(each, ast.FunctionDef):
                found.setdefault(int(row[1]), []).append(f"{path.stem}::{each.name}")
    return found


def test_every_row_has_a_test() -> None:
    assert sorted(collected()) == list(range(1, 61))


def test_the_page_names_the_tests_of_every_row() -> None:
    named = {number: re.findall(r"`(\w+::\w+)`", cell) for number, cell in written().items()}
    assert named == collected()
