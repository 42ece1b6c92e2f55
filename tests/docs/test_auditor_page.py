"""The auditor's guide lists the rules of the audit, all of them and in its own words."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path
from typing import Final

from replay.audit import RULES

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs/guides/auditor.md").read_text("utf-8")


def test_the_table_is_that_of_the_code() -> None:
    """Every rule once, under its heading, in order, saying what the audit says."""
    expected: list[tuple[str, str | None]] = []
    for about, rules in groupby(RULES.values(), key=lambda rule: rule.about):
        expected.append((f"{about[0].upper()}{about[1:]}", None))
        expected += [(rule.name, rule.says) for rule in rules]
    listed = PAGE.partition("\n## The rules\n")[2].partition("\n## ")[0]
    found = re.findall(r"^(?:### (.+)|\| `(.+)` \| (.+) \|)$", listed, re.MULTILINE)
    assert [(head, None) if head else (name, says) for head, name, says in found] == expected
