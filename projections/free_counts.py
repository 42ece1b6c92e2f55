"""How the addresses of a pool divide, as its free set counts them."""

from __future__ import annotations

from typing import NamedTuple


class FreeSetCounts(NamedTuple):
    """How the addresses of a pool divide: ``total == taken + reserved + free``, always."""

    total: int
    taken: int
    taken_in_closed: int
    reserved: int
    free: int
