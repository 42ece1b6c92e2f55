"""The page of Spiderpool's scenarios lists each of them, and the tests that it names hold them."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs" / "spiderpool.md").read_text(encoding="utf-8")

# Every case of theirs that can be run against another engine without Kubernetes.
CASES: Final = tuple(
    f"{letter}{number:05}"
    for letter, numbers in (
        ("S", (1, 2, 3, 4)),
        ("D", (1, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16, 17)),
        ("E", (8, 9, 10)),
        ("G", (2, 5, 7, 11, 12)),
        ("A", (3, 4, 5, 6, 7, 13, 14, 15, 16)),
        ("L", (1, 2, 3, 4, 5, 6, 7, 8, 9)),
        ("P", (2,)),
        ("I", (1, 2, 5, 6, 7, 9, 10, 11)),
    )
    for number in numbers
)
_IDS: Final = re.compile(r"(?<=_)[a-z]\d{5}(?=_)")


class Row(NamedTuple):
    """A case as the page lists it."""

    case: str
    what: str
    tests: str

    @property
    def named(self) -> list[str]:
        """The tests that hold it."""
        return re.findall(r"`(test_\w+)`", self.tests)


def rows() -> list[Row]:
    """The rows of the table of scenarios."""
    lines = [line for line in PAGE.splitlines() if re.match(r"\| [A-Z]\d{5} ", line)]
    return [Row(*(cell.strip() for cell in line.strip("| ").split(" | "))) for line in lines]


ROWS: Final = rows()


@cache
def written() -> dict[str, str]:
    """Every test function that there is, by its name: its docstring."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                found[node.name] = f"{found.get(node.name, '')} {ast.get_docstring(node)}"
    return found


def test_the_page_lists_every_case_once() -> None:
    """All of them, in the order of Spiderpool's own lists."""
    assert tuple(row.case for row in ROWS) == CASES


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.case)
def test_a_case_is_held_by_the_tests_named(row: Row) -> None:
    """They exist and say whose case they are; what has none yet, or never will, says so."""
    for name in row.named:
        assert name in written(), name
        assert row.case in written()[name] or row.case.lower() in _IDS.findall(name), name
    if not row.named:
        assert row.tests == "not yet" or "does not apply" in row.tests, row


def test_the_page_names_every_test_of_a_case() -> None:
    """Whatever test has an id in its name is named in the row of that case."""
    named = {row.case.lower(): set(row.named) for row in ROWS}
    for name in written():
        for case in _IDS.findall(name):
            assert case in named, f"{name}: the page has no such case"
            assert name in named[case], f"{name} is not in the row of {case.upper()}"


def test_every_test_that_the_page_names_exists() -> None:
    """Also those of the other tables."""
    assert set(re.findall(r"`(test_\w+)`", PAGE)) <= written().keys()
    for path in re.findall(r"`(tests/[\w/.]+)`", PAGE):
        assert (ROOT / path).is_file(), path
