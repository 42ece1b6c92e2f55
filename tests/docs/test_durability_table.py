"""The table of what is kept names, in each cell, tests that there are, or promises nothing."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.docs.test_spiderpool_page import written

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "guides" / "operations.md").read_text(
    encoding="utf-8"
)
SETTINGS: Final = (
    "`always`", "`everysec`", "`no`", "snapshots", "embedded", "`replicated`",
    "`replicated --fsync`",
)  # fmt: skip
EVENTS: Final = (
    "a client process is killed",
    "the server process is killed",
    "the server is stopped and started in order",
    "its host loses power",
    "the end of the append-only file is gone",
    "failover to a replica that has everything",
    "failover to a replica that lags",
    "`maxmemory` is reached",
    "the disk is full",
    "an older backup is restored",
    "`SCRIPT FLUSH`",
    "connections are killed",
    "the URL leads to a read-only replica",
)
_HELD: Final = re.compile(r"(kept|noticed|refused)((?: \[\w\])+)")


def cells_of(line: str) -> list[str]:
    """What stands between the bars of a row."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


LINES: Final = PAGE.partition("## What is kept")[2].partition("\n## ")[0].splitlines()
HEAD: Final = next(cells_of(line) for line in LINES if line.startswith("| event |"))
ROWS: Final = {row[0]: row[1:] for row in map(cells_of, LINES) if row[0] in EVENTS}
TESTS: Final = dict(re.findall(r"^\| (\w) \| `(test_\w+)` \|$", "\n".join(LINES), re.MULTILINE))


def test_the_table_has_every_setting_and_every_event() -> None:
    """Nothing is left out because it would have to say something unpleasant."""
    assert tuple(HEAD[1:]) == SETTINGS
    assert tuple(ROWS) == EVENTS
    assert {len(row) for row in ROWS.values()} == {len(SETTINGS)}


@pytest.mark.parametrize("event", EVENTS)
def test_a_cell_is_held_by_tests_or_promises_nothing(event: str) -> None:
    """Its letters are those of tests that are listed, and there."""
    for cell in ROWS[event]:
        if cell == "not promised":
            continue
        found = _HELD.fullmatch(cell)
        assert found, cell
        for letter in re.findall(r"\w", found[2]):
            assert letter in TESTS, cell
            assert TESTS[letter] in written(), TESTS[letter]


def test_every_listed_test_holds_a_cell() -> None:
    """No letter is left over from a cell that changed."""
    used = {
        letter for row in ROWS.values() for cell in row for letter in re.findall(r"\[(\w)\]", cell)
    }
    assert used == set(TESTS)
