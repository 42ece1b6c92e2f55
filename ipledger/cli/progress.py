"""How far long work has come: told on stderr, with its rate and the time that is left.

On a terminal it is one line, drawn again and again and wiped at the end; elsewhere (a log, a
pipe) it is a line every ten seconds. Work that is done within a second says nothing.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TextIO

_QUIET_S: Final = 1.0
_REDRAW_S: Final = 0.2
_LINE_S: Final = 10.0


class Progress:
    """Tells how far work has come; use it with ``with``, and call it with what is done so far.

    Calling it costs a glance at the clock: once for each page or batch is often enough, and a
    call for each single record would not be.
    """

    def __init__(
        self,
        what: str,
        total: int | None = None,
        *,
        unit: str = "events",
        begin: int = 0,
        out: TextIO | None = None,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Tell of `what` ("replaying"), of `total` units if that is known.

        `begin` is what was done before (a view that goes on from its checkpoint): it counts as
        done and not as work of this run.
        """
        self._what = what
        self._total = total
        self._unit = unit
        self._begin = begin
        self._out: TextIO = sys.stderr if out is None else out
        self._clock_s = clock_s
        self._is_terminal = self._out.isatty()
        self._began_s = clock_s()
        # A log gets its first line after ten seconds as well: it is not watched.
        self._next_s = self._began_s + (_QUIET_S if self._is_terminal else _LINE_S)
        self._drawn = 0  # columns on the terminal's line

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __call__(self, done: int) -> None:
        """So much is done by now, `begin` included."""
        now_s = self._clock_s()
        if now_s < self._next_s:
            return
        self._next_s = now_s + (_REDRAW_S if self._is_terminal else _LINE_S)
        text = self.line(done, now_s)
        if not self._is_terminal:
            self._write(f"ipledger: {text}\n")
            return
        text = text[: max(shutil.get_terminal_size().columns - 1, 1)]
        self._write(f"\r{text.ljust(self._drawn)}")
        self._drawn = len(text)

    def line(self, done: int, now_s: float) -> str:
        """What is told: ``replaying: 400 of 1,000 events (40 %), 200/s, 3 s left``."""
        spent_s = max(now_s - self._began_s, 1e-9)
        rate = (done - self._begin) / spent_s
        if self._total is None:
            return f"{self._what}: {done:,} {self._unit}, {rate:,.0f}/s"
        percent = 100 * done // self._total if self._total else 100
        told = f"{self._what}: {done:,} of {self._total:,} {self._unit} ({min(percent, 100)} %)"
        left = max(self._total - done, 0)
        if rate <= 0:
            return told
        return f"{told}, {rate:,.0f}/s, {_duration(left / rate)} left"

    def close(self) -> None:
        """Wipe the terminal's line: what comes next begins at its margin."""
        if self._drawn:
            self._write(f"\r{' ' * self._drawn}\r")
            self._drawn = 0

    def _write(self, text: str) -> None:
        try:
            self._out.write(text)
            self._out.flush()
        except (OSError, ValueError):
            # Nobody reads it any more: the work goes on all the same.
            self._next_s = float("inf")
            self._drawn = 0


def _duration(seconds: float) -> str:
    """The two units that say most: ``42 s``, ``3 min 5 s``, ``2 h 10 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest_s = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {rest_s} s"
    hours, rest_min = divmod(minutes, 60)
    return f"{hours} h {rest_min} min"
