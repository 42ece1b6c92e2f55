"""Points in time as text: what is printed can be typed again, and means the same."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import IntegrityError, InvalidInput
from ipledger.times import Point, format_ms, parse_point, parse_time

NOW_MS = 1_700_000_000_000
END_OF_TIME_MS = 253_402_300_799_999


@given(st.integers(0, END_OF_TIME_MS))
def test_what_is_printed_is_read_back(ms: int) -> None:
    """To the millisecond, in every year that has four digits."""
    assert parse_time(format_ms(ms), NOW_MS) == ms
    assert len(format_ms(ms)) == len("2026-11-03T04:05:06.789Z")


@pytest.mark.parametrize("ms", [-1, END_OF_TIME_MS + 1, 2**64 - 1])
def test_an_impossible_time_is_an_integrity_error(ms: int) -> None:
    """Nobody's clock said so: the entry was not written by a writer of ours."""
    with pytest.raises(IntegrityError):
        format_ms(ms)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("now", NOW_MS), ("-2h", NOW_MS - 7_200_000), ("-1h30m", NOW_MS - 5_400_000),
        ("1970-01-01T00:00:00Z", 0), ("1970-01-01T02:00:00+02:00", 0),
        ("1969-12-31T23:59:59.9999Z", -1), ("1970-01-01T00:00:00.0019Z", 1),
    ],
)  # fmt: skip
def test_every_spelling(text: str, ms: int) -> None:
    """Relative ones count from now; parts of a millisecond are cut off towards the past."""
    assert parse_time(text, NOW_MS) == ms


@pytest.mark.parametrize(
    "text", ["", "-", "yesterday", "-2", "2h", "2026-01-01", "2026-01-01T00:00:00", "x" * 9_999]
)
def test_no_time(text: str) -> None:
    """Without a zone, or without a unit, it would be a guess; the message stays short."""
    with pytest.raises(InvalidInput) as refused:
        parse_time(text, NOW_MS)
    assert len(refused.value.message) < 120


def test_a_point_is_a_position_or_a_time() -> None:
    """Digits are a position, however many there may be; anything else is a time."""
    assert parse_point("17", NOW_MS) == Point(17, None)
    assert parse_point("-2h", NOW_MS) == Point(None, NOW_MS - 7_200_000)
    with pytest.raises(InvalidInput):
        parse_point("9" * 5_000, NOW_MS)
    with pytest.raises(InvalidInput):
        parse_point("١٢", NOW_MS)
