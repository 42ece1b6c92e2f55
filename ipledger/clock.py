"""What a writer takes from the machine it runs on: time, sleep and randomness.

In one place, so that a simulation can run the writer as it is on a clock of its own.
"""

from __future__ import annotations

import os
import time
from typing import Final, Protocol


class Clock(Protocol):
    """The time as a process sees it, and what it can do about it."""

    def monotonic_s(self) -> float:
        """Seconds that only ever go forward, for deadlines."""

    def now_ms(self) -> int:
        """The time of day as this machine has it, in milliseconds since 1970 (UTC)."""

    def sleep_s(self, seconds: float) -> None:
        """Wait."""

    def random_bytes(self, number: int) -> bytes:
        """So many bytes that nobody else draws."""


class _SystemClock:
    """The machine itself."""

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return time.monotonic()

    def now_ms(self) -> int:
        """See `Clock`."""
        return time.time_ns() // 1_000_000

    def sleep_s(self, seconds: float) -> None:
        """See `Clock`."""
        time.sleep(seconds)

    def random_bytes(self, number: int) -> bytes:
        """See `Clock`."""
        return os.urandom(number)


SYSTEM_CLOCK: Final[Clock] = _SystemClock()
