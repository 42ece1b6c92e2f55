"""`free`: what a pool may still give out, as ranges."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Cli, reservation_yaml


def test_ranges_lowest_first(web: Cli, manifest: Callable[[str], str]) -> None:
    """Without what is leased and what is reserved; they sum to the count."""
    web.ok("apply", "-f", manifest(reservation_yaml("r", "10.0.0.13-10.0.0.14")))
    web.ok("allocate", "--pool", "web", "--owner", "a")
    answer = web.json("free", "web").data
    assert [(r["first"], r["last"], r["size"]) for r in answer["items"]] == [
        ("10.0.0.11", "10.0.0.12", 2), ("10.0.0.15", "10.0.0.19", 5),
    ]  # fmt: skip
    assert (answer["free"], answer["truncated"]) == (7, False)
    assert web.ok("free", "web").endswith("7 free in pool web\n")


def test_a_limit_says_that_there_is_more(web: Cli) -> None:
    """The count is of all, the ranges are the first."""
    web.ok("allocate", "--pool", "web", "--owner", "a", "--ip", "10.0.0.12")
    answer = web.json("free", "web", "--limit", "1").data
    assert (len(answer["items"]), answer["free"], answer["truncated"]) == (1, 9, True)
    assert "more than 1 range" in web.ok("free", "web", "--limit", "1")


def test_a_whole_64_is_one_range(web: Cli) -> None:
    """Exact, and as quick as a /24."""
    (only,) = web.json("free", "six").items
    assert (only["first"], only["size"]) == ("fd00::", 2**64)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["nope"], 3), (["web", "--limit", "0"], 6), (["web", "--limit", "-1"], 6),
        (["web", "--limit", "9" * 30], 6), (["web", "--limit", "x"], 2), ([], 2),
    ],
)  # fmt: skip
def test_misuse(web: Cli, words: list[str], code: int) -> None:
    """An unknown pool is not found; a limit is a number of ranges."""
    assert web("free", *words).code == code
