"""How often the garbage collector passes while many events are folded, or many calls carried."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

# Of 700, 10 and 10 (Python's own), a replay of 200,000 events took half as long again: the
# collector went over each page of records several times, although a fold makes no cycles. Turning
# it off gains nothing more, and what other threads leave behind is still collected.
# A writer with 256 callers has some 10,000 objects under way; at that threshold the collector still
# took a tenth of its time.
_THRESHOLDS: Final = (50_000, 20, 100)


@contextmanager
def seldom_collecting() -> Iterator[None]:
    """Let the collector pass less often for a while, unless it does already."""
    before = gc.get_threshold()
    if not 0 < before[0] < _THRESHOLDS[0]:
        yield
        return
    gc.set_threshold(*_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)
