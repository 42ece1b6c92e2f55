"""What a file of another system says, in our terms; changes with what can be imported at all."""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.addresses import RangeSet
from engine.commands import Adopted, PutPool, PutReservation
from engine.errors import InvalidInput
from engine.shapes import SECONDS_MAX

# The clock there may be ahead of ours by as much as a server's may be: what has just begun there
# is not of a time to come.
CLOCKS_APART_MS: Final = 300_000


class FoundLease(NamedTuple):
    """A lease, and where in the files it stands."""

    where: str
    lease: Adopted


class FoundAside(NamedTuple):
    """Addresses that were set aside there: until when, or for how long, or without an end."""

    where: str
    ips: RangeSet
    reason: str
    until_ms: int | None = None
    for_s: int | None = None


class Found(NamedTuple):
    """All that some files say. ``gone`` counts entries that speak of no lease any more."""

    objects: tuple[PutPool | PutReservation, ...] = ()
    leases: tuple[FoundLease, ...] = ()
    quarantines: tuple[FoundAside, ...] = ()
    warnings: tuple[str, ...] = ()
    gone: int = 0


class Term(NamedTuple):
    """Since when a lease's time counts, and for how long: together its very end."""

    since_ms: int
    ttl_s: int


def term_until(until_ms: int, since_ms: int | None, now_ms: int) -> Term:
    """The time of a lease that ends at `until_ms`, in whole seconds.

    Its end is kept to the millisecond; its beginning may come out up to a second later. Without a
    beginning it is as of now: what was before that is not known.

    Raises:
        InvalidInput: it ends less than a second after it began, or lasts longer than a century.
    """
    if since_ms is None:
        ttl_s = max(1, -((now_ms - until_ms) // 1_000))
    else:
        ttl_s = (until_ms - since_ms) // 1_000
    if not 1 <= ttl_s <= SECONDS_MAX:
        message = f"it would last {ttl_s} s"
        raise InvalidInput(message, "a lease lasts from a second to a century")
    return Term(until_ms - ttl_s * 1_000, ttl_s)


class Once:
    """Refuses what holds the same addresses a second time."""

    def __init__(self) -> None:
        self._seen: dict[tuple[bytes, int], str] = {}

    def check(self, where: str, lease: Adopted) -> None:
        """Note a lease.

        Raises:
            InvalidInput: the same is held by an earlier one, which is named.
        """
        first = self._seen.setdefault((lease.address, lease.prefix_length), where)
        if first is not where:
            message = f"{where}: its address is there already: {first}"
            raise InvalidInput(message, "an address has one holder: keep one of them")
