"""Times of flow records: what is understood, exactly, and what is refused instead of guessed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replay.attribution import time_reader

NOON_MS = 1_762_142_400_000  # 2025-11-03T04:00:00Z


@given(
    st.datetimes(datetime(1973, 4, 1), datetime(5000, 1, 1)),  # noqa: DTZ001 - the zone is added
    st.integers(-840, 840),
    st.sampled_from(["T", " ", "t"]),
    st.integers(0, 9),
)
def test_rfc_3339_in_any_zone_to_the_millisecond(
    moment: datetime, minutes: int, between: str, digits: int
) -> None:
    """What is finer is cut off, so that a border stays where it is."""
    zoned = moment.replace(tzinfo=timezone(timedelta(minutes=minutes)))
    text = zoned.isoformat(between, "microseconds")
    second, rest = text[:19], text[26:]
    fraction = f".{moment.microsecond:06d}000"[: digits + 1] if digits else ""
    used = moment.microsecond // 10 ** max(6 - digits, 0) * 10 ** max(6 - digits, 0)
    exact = zoned.replace(microsecond=used) - datetime(1970, 1, 1, tzinfo=UTC)
    expected = exact // timedelta(milliseconds=1)
    assert time_reader("auto")(f"{second}{fraction}{rest}") == expected
    assert time_reader("rfc3339")(f" {second}{fraction}{rest} ") == expected


@given(st.integers(10**8, 10**11 - 1), st.integers(0, 999_999_999))
def test_numbers_tell_their_unit_by_their_size(seconds: int, nanos: int) -> None:
    """Seconds, milli-, micro- and nanoseconds from 1973 to 5138, without a float's error."""
    auto = time_reader("auto")
    expected = seconds * 1_000 + nanos // 1_000_000
    assert auto(f"{seconds}.{nanos:09d}") == time_reader("s")(f"{seconds}.{nanos:09d}") == expected
    assert auto(f"{expected}") == time_reader("ms")(f"{expected}") == expected
    assert auto(f"{expected}.9") == expected
    micros = seconds * 1_000_000 + nanos // 1_000
    assert auto(f"{micros}") == time_reader("us")(f"{micros}") == expected
    total = seconds * 1_000_000_000 + nanos
    assert auto(f"{total}") == time_reader("ns")(f"{total}") == expected


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "x", "2025-11-03", "2025-11-03T04:00:00", "2025-11-03T04:00:60Z", "20251103",
        "20251103T040000Z", "2025-W45-1T04:00:00Z", "2025-02-29T00:00:00Z", "04:00", "1e9",
        "-1762142400", "0x1", "1_762_142_400", "١٧٦٢١٤٢٤٠٠", "1762142400,5", ".5", "nan", "inf",
        "9" * 21, "1762142400.1.2", "9" * 5_000, "-2h", "now", "99999999",
    ],
)  # fmt: skip
def test_what_is_no_time_or_two_is_refused(text: str) -> None:
    """With a sentence that is not endless."""
    with pytest.raises(ValueError, match=r".") as caught:
        time_reader("auto")(text)
    assert len(str(caught.value)) < 200


def test_a_zone_may_be_assumed() -> None:
    """Only if somebody says so; a zone that is there still counts."""
    with pytest.raises(ValueError, match="has no zone"):
        time_reader("auto")("2025-11-03T04:00:00")
    read = time_reader("auto", assume_utc=True)
    assert read("2025-11-03T04:00:00") == NOON_MS
    assert read("2025-11-03T05:00:00+01:00") == NOON_MS
    assert time_reader("auto")("2025-11-03t04:00:00z") == NOON_MS


def test_a_form_that_is_named_is_the_only_one() -> None:
    """A small number of seconds is understood if seconds were said; nothing else is."""
    assert time_reader("s")("60") == 60_000
    assert time_reader("ms")(" 60.9 ") == 60
    for form in ("s", "ms", "us", "ns"):
        with pytest.raises(ValueError, match="is not a number"):
            time_reader(form)("2025-11-03T04:00:00Z")
    with pytest.raises(ValueError, match="is not a time"):
        time_reader("rfc3339")("1762142400")
    with pytest.raises(ValueError, match="after the year 9999"):
        time_reader("s")("9" * 14)
