"""Tenures drawn in the terminal: a line for each holder or address, never wider than it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ipledger.cli.show import plain, width_of
from ipledger.times import format_ms

if TYPE_CHECKING:
    from replay.history.tenure import Tenure

_HELD: Final = "#"
_LASTS: Final = ">"
_UNHELD: Final = "."
_WIDTH_LEAST: Final = 20
_LINES_MAX: Final = 1_000


def draw(
    tenures: Sequence[Tenure],
    drawn_by: Sequence[str],
    between_ms: tuple[int | None, int],
    columns: int | None = None,
) -> str:
    """A bar for each tenure, those of one name on one line; below, the ends of the time axis.

    Args:
        tenures: at least one, in order of their beginning.
        drawn_by: what a line is named by: ``address``, ``owner`` or both.
        between_ms: from when (None: from the first beginning) to when.
        columns: how wide it may be; the terminal's width by default.
    """
    columns = shutil.get_terminal_size().columns if columns is None else columns
    columns = max(columns, _WIDTH_LEAST)
    begin_ms, end_ms = between_ms
    if begin_ms is None:
        begin_ms = min(tenure.from_ms for tenure in tenures)
    end_ms = max(end_ms, begin_ms + 1)
    lines: dict[str, list[Tenure]] = {}
    for tenure in tenures:
        lines.setdefault(_name(tenure, drawn_by), []).append(tenure)
    name_width = min(max(map(width_of, lines)), columns // 3)
    width = columns - name_width - 2
    drawn = [
        f"{_fitted(name, name_width)}  {_bar(held, begin_ms, end_ms, width)}".rstrip()
        for name, held in list(lines.items())[:_LINES_MAX]
    ]
    if len(lines) > _LINES_MAX:
        drawn.append(f"… {len(lines) - _LINES_MAX} more lines")
    return "\n".join([*drawn, *_axis(begin_ms, end_ms, name_width, width)])


def _name(tenure: Tenure, drawn_by: Sequence[str]) -> str:
    from engine.addresses import format_address

    parts = {"address": format_address(tenure.address), "owner": plain(tenure.owner)}
    return " ".join(parts[part] for part in drawn_by)


def _fitted(text: str, width: int) -> str:
    """Text in exactly so many columns; what is too long ends in an ellipsis."""
    if width_of(text) > width:
        kept = ""
        for character in text:
            if width_of(kept + character) > width - 1:
                break
            kept += character
        text = f"{kept}…"
    return text + " " * (width - width_of(text))


def _bar(tenures: Sequence[Tenure], begin_ms: int, end_ms: int, width: int) -> str:
    """One cell for each slice of time: held if it was for any part of the slice."""
    cells = [_UNHELD] * width
    for tenure in tenures:
        to_ms = end_ms if tenure.to_ms is None else tenure.to_ms
        first = _cell(tenure.from_ms, begin_ms, end_ms, width)
        last = _cell(max(to_ms - 1, tenure.from_ms), begin_ms, end_ms, width)
        cells[first : last + 1] = [_HELD] * (last + 1 - first)
        if tenure.to_ms is None:
            cells[last] = _LASTS
    return "".join(cells)


def _cell(ms: int, begin_ms: int, end_ms: int, width: int) -> int:
    inside_ms = min(max(ms, begin_ms), end_ms - 1)
    return (inside_ms - begin_ms) * width // (end_ms - begin_ms)


def _axis(begin_ms: int, end_ms: int, name_width: int, width: int) -> list[str]:
    """When the bars begin and end: side by side below them, one below the other if need be."""
    left, right = format_ms(begin_ms), format_ms(end_ms)
    room = width - len(left) - len(right)
    if room >= 1:
        return [f"{' ' * (name_width + 2)}{left}{' ' * room}{right}"]
    total = name_width + 2 + width
    return [text[:total].rjust(total) for text in (left, right)]
