"""When a record says that it was: RFC 3339 or a count since the epoch, as milliseconds.

A flow file has one reader of times for millions of records, so each is one plain function. What
could be read in two ways is refused: a time without a zone, and a number too small to tell its
unit. A fraction of a millisecond is cut off, as the ledger's own times have none.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

ReadTime = Callable[[str], int]

# How many units of each make a second.
_UNITS: Final = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}

TIME_FORMATS: Final = ("auto", "rfc3339", *_UNITS)

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_MS_MAX: Final = 253_402_300_799_999  # the end of the year 9999

# By its size a number tells its unit: each unit owns the numbers that stand in it for March 1973 to
# November 5138, and there no two units meet.
_AUTO_LEAST: Final = 10**8
_AUTO_BELOW: Final = tuple((10 ** (11 + 3 * place), unit) for place, unit in enumerate(_UNITS))

# The characters at 4, 7 and 10 of an RFC 3339 time. `fromisoformat` alone would also read
# calendar weeks, and numbers without any sign between their parts.
_SHAPES: Final = frozenset({"--T", "--t", "-- "})
_SHOWN_LENGTH: Final = 40


def time_reader(form: str, *, assume_utc: bool = False) -> ReadTime:
    """The function that reads times of a form.

    Args:
        form: one of `TIME_FORMATS`.
        assume_utc: whether a time without a zone is meant in UTC, else it is refused.

    Returns:
        A function from text to milliseconds since the epoch; it raises ValueError with a sentence.
    """
    assert form in TIME_FORMATS, f"{form} is no form of times"
    if form in _UNITS:
        return partial(_read_number, form)
    numbers = form == "auto"

    def read(text: str) -> int:
        if text[4:11:3] not in _SHAPES:
            return _read_unusual(text, read, numbers=numbers)
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            return _read_unusual(text, read, numbers=numbers)
        if moment.tzinfo is None:
            if not assume_utc:
                raise ValueError(f"the time {_shown(text)} has no zone")
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // _MILLISECOND

    return read


def _read_unusual(text: str, read: ReadTime, *, numbers: bool) -> int:
    """A time with white space around it, with a small z (Python does not read it), or a number."""
    trimmed = text.strip()
    if trimmed.endswith("z") and trimmed[4:11:3] in _SHAPES:
        trimmed = trimmed.upper()
    if trimmed != text:
        return read(trimmed)
    if numbers and _is_number(text):
        return _counted(text, _unit_of(text))
    raise ValueError(f"{_shown(text)} is not a time")


def _read_number(unit: str, text: str) -> int:
    trimmed = text.strip()
    if not _is_number(trimmed):
        raise ValueError(f"{_shown(text)} is not a number of {unit}")
    return _counted(trimmed, unit)


def _is_number(text: str) -> bool:
    whole, _, fraction = text.partition(".")
    digits = whole + fraction
    return text.isascii() and bool(whole) and digits.isdigit() and len(digits) <= _SHOWN_LENGTH


def _unit_of(text: str) -> str:
    value = int(text.partition(".")[0])
    if value >= _AUTO_LEAST:
        for below, unit in _AUTO_BELOW:
            if value < below:
                return unit
    raise ValueError(f"the number {text} does not tell its unit")


def _counted(text: str, unit: str) -> int:
    """Milliseconds of a decimal number, in whole numbers: a float would move some by one."""
    whole, _, fraction = text.partition(".")
    ms: int = int(f"{whole}{fraction}") * 1_000 // (_UNITS[unit] * 10 ** len(fraction))
    if ms > _MS_MAX:
        raise ValueError(f"{text} {unit} is after the year 9999")
    return ms


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_LENGTH else f"{text[: _SHOWN_LENGTH - 3]}...")
