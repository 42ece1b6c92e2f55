"""Durations are read exactly as written, and everything ambiguous is refused by name."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidInput
from engine.shapes import SECONDS_MAX
from ipledger.durations import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("90s", 90),
        ("30m", 1_800),
        ("12h", 43_200),
        ("7d", 604_800),
        ("1h30m", 5_400),
        ("1d2h3m4s", 93_784),
        ("0h5m", 300),
        ("007s", 7),
        (f"{SECONDS_MAX}s", SECONDS_MAX),
        (120, 120),
        (SECONDS_MAX, SECONDS_MAX),
    ],
)
def test_a_duration_is_read(text: object, seconds: int) -> None:
    """Units add up; an integer is seconds; a century is the longest."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "90",
        "h",
        "1.5h",
        "1,5h",
        "-1h",
        "+1h",
        "1 h",
        " 1h",
        "1h\n",
        "1H",
        "1w",
        "1ms",
        "1m1h",
        "1h1h",
        "1_000s",
        "٣s",
        "1e3s",
        "99999999999s",
    ],
)
def test_what_is_no_duration_is_refused(text: str) -> None:
    """Anything but whole numbers with ordered units is refused, with the text and an example."""
    with pytest.raises(InvalidInput) as caught:
        parse_duration(text)
    assert f"{text!r} is not a duration" in caught.value.message
    assert "90s" in caught.value.hint


@pytest.mark.parametrize("value", [1.5, 90.0, True, None, ["90s"], b"90s"])
def test_what_is_neither_text_nor_integer_is_refused(value: object) -> None:
    """A float, a boolean or a container is no duration, however it looks."""
    with pytest.raises(InvalidInput, match="a duration is wanted, not"):
        parse_duration(value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0s", "'0s' is shorter than 1 s"),
        ("0d0h", "'0d0h' is shorter than 1 s"),
        (0, "0 seconds is shorter than 1 s"),
        (-5, "-5 seconds is shorter than 1 s"),
        ("36601d", "'36601d' is longer than 100 years"),
        (SECONDS_MAX + 1, "a number that long is longer than 100 years"),
    ],
)
def test_a_duration_out_of_bounds_is_refused(text: object, message: str) -> None:
    """Nothing, less than nothing and more than a century are named as what they are."""
    with pytest.raises(InvalidInput) as caught:
        parse_duration(text)
    assert caught.value.message == message


def test_zero_is_read_where_it_means_none() -> None:
    """A caller for whom no time is a time says so."""
    assert parse_duration("0s", least=0) == parse_duration(0, least=0) == 0


@pytest.mark.parametrize(
    "value", ["9" * 1_000_000, 10**5_000, -(10**5_000)], ids=["text", "high", "low"]
)
def test_a_message_is_short_whatever_it_is_about(value: object) -> None:
    """An absurdly long text is cut in the message, and an absurd integer is not written out."""
    with pytest.raises(InvalidInput) as caught:
        parse_duration(value)
    assert len(caught.value.message) < 100


@given(st.integers(0, 9_999), st.integers(0, 9_999), st.integers(0, 9_999), st.integers(0, 9_999))
def test_units_add_up(days: int, hours: int, minutes: int, seconds: int) -> None:
    """Any duration reads as the sum of its parts, and leaving out empty parts changes nothing."""
    total = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    written = [(days, "d"), (hours, "h"), (minutes, "m"), (seconds, "s")]
    full = "".join(f"{count}{unit}" for count, unit in written)
    short = "".join(f"{count}{unit}" for count, unit in written if count) or "0s"
    assert parse_duration(full, least=0) == parse_duration(short, least=0) == total


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """Nothing but `InvalidInput` comes out of any text."""
    with suppress(InvalidInput):
        assert parse_duration(text) >= 1
