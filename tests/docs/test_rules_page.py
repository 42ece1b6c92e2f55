"""The page of rules says what the code does: every number, where it is held, and by which test."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Final, NamedTuple, get_args

import pytest

from engine.errors import EXIT_CODES, Kind
from tests.engine import test_affinity, test_candidates, test_pool_rules
from tests.scenarios import test_spiderpool_selection

ROOT: Final = Path(__file__).resolve().parents[2]
PAGE: Final = (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")
ROOMS: Final = ("engine", "projections", "replay", "ipledger")

# "V20", "(V4, V5)", "V12-V18"; not the V4 of a constant's name.
_NUMBER: Final = re.compile(r"(?<![A-Za-z0-9_])V(\d+)(?:[–-]V(\d+))?(?![A-Za-z0-9_])")


class Choice(NamedTuple):
    """A rule about from which pools an address comes, as the page lists it."""

    rule: str
    what: str
    where: str
    test: str


class Row(NamedTuple):
    """A rule as the page lists it."""

    rule: str
    when: str
    what: str
    refused: str
    where: str
    test: str

    @property
    def applies(self) -> bool:
        """Whether there is anything to hold."""
        return "does not apply" not in self.what


def rows(letters: str) -> list[list[str]]:
    """The cells of the rows whose rules begin with one of these letters."""
    found = [
        line.strip("|").split(" | ")
        for line in PAGE.splitlines()
        if re.match(rf"\| [{letters}]\d", line)
    ]
    return [[cell.strip(" `") for cell in row] for row in found]


ROWS: Final = [Row(*row) for row in rows("VR")]
CHOICES: Final = [Choice(*row) for row in rows("C")]
HELD: Final = [row for row in ROWS if row.applies]


def numbers_in(text: str) -> set[int]:
    """The rules that a text speaks of; ``V12–V18`` speaks of seven."""
    found: set[int] = set()
    for first, last in _NUMBER.findall(text):
        found.update(range(int(first), int(last or first) + 1))
    return found


def numbers_in_the_code() -> set[int]:
    """The rules that any module of the library speaks of."""
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    return set().union(*(numbers_in(path.read_text(encoding="utf-8")) for path in files))


def test_the_page_lists_every_rule_once() -> None:
    """V1 to V24 and R1 to R6, in order."""
    expected = [f"V{n}" for n in range(1, 25)] + [f"R{n}" for n in range(1, 7)]
    assert [row.rule for row in ROWS] == expected


def test_the_code_and_the_page_speak_of_the_same_rules() -> None:
    """A number in the code has a row that applies, and a row that applies is in the code."""
    assert numbers_in_the_code() == {int(row.rule[1:]) for row in HELD if row.rule[0] == "V"}


def test_what_does_not_apply_is_explained() -> None:
    """A rule that has nothing to hold has no code and no test, and the text says why."""
    prose = "\n".join(line for line in PAGE.splitlines() if not line.startswith("|"))
    for row in ROWS:
        if not row.applies:
            assert row[3:] == ("–", "–", "–"), row
            assert row.rule[0] == "R" or int(row.rule[1:]) in numbers_in(prose), row


@pytest.mark.parametrize("row", HELD, ids=lambda row: row.rule)
def test_a_rule_is_where_the_page_says(row: Row) -> None:
    """The function exists, and its source has the rule's number."""
    module, _, function = row.where.partition(":")
    source = inspect.getsource(getattr(importlib.import_module(module), function))
    if row.rule[0] == "V":
        assert int(row.rule[1:]) in numbers_in(source)


@pytest.mark.parametrize("row", HELD, ids=lambda row: row.rule)
def test_a_kind_has_its_exit_code(row: Row) -> None:
    """The exit code beside a kind is the one that the command line ends with."""
    if row.refused == "not refused":
        return
    found = re.fullmatch(r"(\w+)` \((\d+)\)", row.refused)
    assert found is not None, row.refused
    kinds = {kind: EXIT_CODES[kind] for kind in get_args(Kind)}
    assert kinds[found[1]] == int(found[2])


def test_the_tests_and_the_page_name_each_other() -> None:
    """Every rule and hole has the test that the page names, and no numbered test lacks its row."""
    named = set(re.findall(r"`(test_[vrh]\d+_\w+)`", PAGE))
    written = {name for name in vars(test_pool_rules) if re.match(r"test_[vrh]\d+_", name)}
    assert named <= written
    assert {name.split("_")[1] for name in named} == {name.split("_")[1] for name in written}
    for row in HELD:
        assert row.test.startswith(f"test_{row.rule.lower()}_"), row


def test_the_rules_of_choosing_are_numbered() -> None:
    """C1 and on, in order; a number in the text has its row."""
    listed = [row.rule for row in CHOICES]
    assert listed == [f"C{number}" for number in range(1, len(listed) + 1)]
    assert set(re.findall(r"(?<![A-Za-z0-9_])C\d+", PAGE)) == set(listed)


@pytest.mark.parametrize("row", CHOICES, ids=lambda row: row.rule)
def test_a_rule_of_choosing_is_where_the_page_says(row: Choice) -> None:
    """The function exists, and so does the test."""
    module, _, function = row.where.partition(":")
    assert inspect.isfunction(getattr(importlib.import_module(module), function))
    modules = (test_affinity, test_candidates, test_spiderpool_selection)
    assert any(inspect.isfunction(vars(module).get(row.test)) for module in modules), row.test
