"""Patterns of pool names: as file names are matched, where case matters; and none that is odd."""

from __future__ import annotations

import pytest

from engine.errors import InvalidInput
from engine.patterns import check_pool, is_pattern, matches


@pytest.mark.parametrize(
    ("pattern", "fits", "not_so"),
    [
        ("*", ["a", "a.b-c_d"], []),
        ("web-*", ["web-", "web-1", "web-a-b"], ["web", "Web-1", "xweb-1"]),
        ("web-?", ["web-1", "web-."], ["web-", "web-10"]),
        ("web-[12]", ["web-1", "web-2"], ["web-3", "web-12"]),
        ("web-[a-c]x", ["web-bx"], ["web-Bx", "web-dx"]),
        ("web-[!a]", ["web-b"], ["web-a"]),
        ("web-[^a]", ["web-b", "web-z"], ["web-a"]),
        ("*.*", ["a.b"], ["ab"]),
    ],
)
def test_a_pattern_stands_for_names(pattern: str, fits: list[str], not_so: list[str]) -> None:
    """Each wildcard, and both ways to negate a class."""
    assert is_pattern(pattern)
    assert check_pool(pattern) == pattern
    assert [name for name in fits + not_so if matches(pattern, name)] == fits


@pytest.mark.parametrize(
    "text",
    ["[", "a[", "a[]", "a[!]", "[a]]", "a*/b", "a* b", "*\n", "é*", "*" * 254, "a\\*", "[*]"],
)
def test_what_is_no_pattern_is_refused(text: str) -> None:
    """A class that is not closed, or characters that no name has; the message stays short."""
    with pytest.raises(InvalidInput, match="is not a pattern of names") as caught:
        check_pool(text)
    assert len(caught.value.message) < 120
    assert "'[a-c]'" in caught.value.hint


@pytest.mark.parametrize("text", ["", "a/b", "a b", None, 5])
def test_what_has_no_wildcard_is_a_name(text: object) -> None:
    """And is refused as one."""
    with pytest.raises(InvalidInput, match="is not a name"):
        check_pool(text)


def test_a_pattern_of_many_wildcards_is_matched_at_once() -> None:
    """No text that somebody sends makes matching slow."""
    assert not matches("*a" * 60 + "*b", "a" * 253)
