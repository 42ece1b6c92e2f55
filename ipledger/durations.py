"""Durations as people write them, read into whole seconds; changes with that notation."""

from __future__ import annotations

import re
from typing import Final

from engine.errors import InvalidInput
from engine.shapes import SECONDS_MAX

_HINT: Final = "give a duration such as 90s, 30m, 12h, 7d or 1h30m"
_UNIT_SECONDS: Final = (86_400, 3_600, 60, 1)
# Ten digits hold a century in seconds with room; more would only cost time to read.
_DURATION: Final = re.compile(
    r"(?=.)(?:([0-9]{1,10})d)?(?:([0-9]{1,10})h)?(?:([0-9]{1,10})m)?(?:([0-9]{1,10})s)?"
)
_MILLISECONDS: Final = re.compile(r"([0-9]{1,10})ms")
_SHOWN_LENGTH: Final = 60


def parse_duration(value: object, *, least: int = 1) -> int:
    """Return the seconds that a duration stands for.

    Args:
        value: A text of whole numbers with units from the longest to the shortest, each at most
            once (``1h30m``); or a plain integer, which means seconds. A text without a unit is
            refused: what it counts would be a guess.
        least: The shortest duration that is acceptable.

    Raises:
        InvalidInput: It is no duration, is shorter than `least`, or longer than a century.
    """
    if type(value) is int:
        seconds = value
        # Python will not write out an integer of more than some thousand digits.
        shown = f"{value} seconds" if abs(value) <= SECONDS_MAX else "a number that long"
    elif isinstance(value, str):
        shown = repr(value[:_SHOWN_LENGTH])
        seconds = _read(value, shown)
    else:
        raise InvalidInput(f"a duration is wanted, not {type(value).__name__}", _HINT)
    if seconds > SECONDS_MAX:
        raise InvalidInput(f"{shown} is longer than 100 years", _HINT)
    if seconds < least:
        raise InvalidInput(f"{shown} is shorter than {least} s", _HINT)
    return seconds


def parse_short(text: str) -> float:
    """Return the seconds of a duration that may also be given in milliseconds: ``200ms``.

    Raises:
        InvalidInput: It is no duration.
    """
    match = _MILLISECONDS.fullmatch(text)
    return int(match[1]) / 1_000 if match else float(parse_duration(text))


def _read(text: str, shown: str) -> int:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InvalidInput(f"{shown} is not a duration", _HINT)
    counts = (int(count or 0) for count in match.groups())
    return sum(count * unit for count, unit in zip(counts, _UNIT_SECONDS, strict=True))


def format_duration(seconds: int) -> str:
    """Return the text that `parse_duration` reads as so many seconds, in its largest units."""
    parts, left = [], seconds
    for unit_s, unit in zip(_UNIT_SECONDS, "dhms", strict=True):
        count, left = divmod(left, unit_s)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
