"""The reference is what the code says: docs/reference/ is made, not written."""

from __future__ import annotations

import pytest

from docs.make_reference import COMMAND, HERE, PAGES


@pytest.mark.parametrize("name", PAGES)
def test_the_reference_is_up_to_date(name: str) -> None:
    """Each page is, to the letter, what the code makes of it."""
    page = HERE / name
    written = page.read_text("utf-8") if page.exists() else ""
    # Compared before the assertion: a diff of whole pages would hide the one line that helps.
    same = written == PAGES[name]()
    assert same, f"docs/reference/{name} is not what the code says: run `{COMMAND}`"


def test_nothing_else_is_there() -> None:
    """A page that is no longer made is removed."""
    assert {path.name for path in HERE.iterdir()} == set(PAGES)
