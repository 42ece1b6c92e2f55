"""What a decision needs to know, and nothing more.

`Facts` is the border between deciding and projecting: decisions are written against it, a
projection satisfies it, and a test can satisfy it with a few dictionaries. Everything that it
returns is an immutable value as of one position of the stream.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from engine.addresses import Address, Family, RangeSet
from engine.model import Durability, PoolSpec, ReservationSpec
from engine.names import Labels
from engine.observation import Absence
from engine.spans import is_single, last_of, span_text


class Pool(NamedTuple):
    """A pool as it is: its definition, and whether it is on its way out."""

    pool_id: int
    name: str
    spec: PoolSpec
    effective: RangeSet
    terminating: bool = False


class Reservation(NamedTuple):
    """A reservation as it is."""

    reservation_id: int
    name: str
    spec: ReservationSpec
    created_at_ms: int
    defined_at_ms: int

    @property
    def ends_at_ms(self) -> int | None:
        """When it may end by itself, or None if somebody must delete it.

        Counted from its latest definition: whoever changes a reservation means it from then on.
        """
        return None if self.spec.for_s is None else self.defined_at_ms + self.spec.for_s * 1_000


class Lease(NamedTuple):
    """An active lease. ``position`` is that of the last event about it.

    ``effective_at_ms`` is when it became true, if that was earlier than it was recorded, else when
    it was granted; ``expires_at_ms`` is when it may be expired, or None if never.
    """

    lease_id: int
    pool_id: int
    address: Address
    prefix_length: int
    owner: str
    interface: str
    uid: str | None
    labels: Labels
    cluster: str | None
    granted_at_ms: int
    effective_at_ms: int
    ttl_s: int | None
    expires_at_ms: int | None
    position: int

    @property
    def last(self) -> int:
        """The last address of it, as a number."""
        return last_of(self.address, self.prefix_length)

    @property
    def is_block(self) -> bool:
        """Whether it holds more than one address."""
        return not is_single(self.address, self.prefix_length)

    @property
    def text(self) -> str:
        """The address, and its prefix length when it is a block."""
        return span_text(self.address, self.prefix_length)


class Quarantine(NamedTuple):
    """Addresses set aside: since when, why, for how long; and the lease that led here."""

    quarantine_id: int
    ips: RangeSet
    reason: str | None
    for_s: int | None
    lease: int | None
    created_at_ms: int

    @property
    def ends_at_ms(self) -> int | None:
        """When it may end by itself, or None if somebody must end it."""
        return None if self.for_s is None else self.created_at_ms + self.for_s * 1_000


class Report(NamedTuple):
    """A conflict reported on a lease: its address is quarantined when the lease ends."""

    position: int
    quarantine_s: int | None
    reason: str | None


class LastHeld(NamedTuple):
    """An address that is remembered for whoever held it last, by which lease, and until when.

    ``until_ms`` is None if it is as long as nobody else is given it.
    """

    address: Address
    lease_id: int
    ended_at_ms: int
    until_ms: int | None


class Counts(NamedTuple):
    """The buckets of a pool. Each address is in exactly one; they sum to ``total``."""

    total: int
    leased: int
    quarantined: int
    cooling: int
    reserved: int
    free: int


class Facts(Protocol):
    """The committed state at one position, as decisions see it."""

    @property
    def level(self) -> int:
        """The format level of the space: what may be written to it."""

    @property
    def durability(self) -> Durability:
        """What the space promises of an answer."""

    def pool(self, name: str) -> Pool | None:
        """The pool of that name, also while it is terminating."""

    def pool_of(self, pool_id: int) -> Pool | None:
        """The pool with that id."""

    def pools(self) -> Iterable[Pool]:
        """All pools, by name."""

    def reservation(self, name: str) -> Reservation | None:
        """The reservation of that name."""

    def reservations(self) -> Iterable[Reservation]:
        """All reservations, by name."""

    def reserved_by(self, address: Address) -> Sequence[Reservation]:
        """The reservations that cover an address, by name."""

    def reserved_for(self, owner: str, family: Family) -> RangeSet:
        """The addresses that reservations keep for this owner and nobody else."""

    def lease(self, lease_id: int) -> Lease | None:
        """The active lease with that id."""

    def leases(self) -> Iterable[Lease]:
        """All active leases, by id."""

    def has_ended(self, lease_id: int) -> bool:
        """Whether a lease with that id was granted once and is no more."""

    def lease_at(self, address: Address) -> Lease | None:
        """The active lease that holds an address, or the block that it lies in."""

    def leases_of(self, owner: str, interface: str | None = None) -> Sequence[Lease]:
        """The active leases of an owner, on one interface or on all, by lease id."""

    def leases_within(self, pool_id: int, ranges: RangeSet) -> Iterable[Lease]:
        """The active leases of a pool whose addresses lie in `ranges`."""

    def counts(self, pool_id: int) -> Counts:
        """The buckets of a pool."""

    def is_free(self, pool_id: int, value: int) -> bool:
        """Whether an address of a pool is neither leased nor set aside."""

    def lowest_free(self, pool_id: int, start: int | None = None) -> int | None:
        """The lowest free address of a pool that is not below `start`."""

    def free_run(self, pool_id: int, start: int) -> tuple[int, int] | None:
        """The lowest free address from `start` on, and one up to which all is free from there."""

    def nth_free(self, pool_id: int, n: int) -> int | None:
        """The free address with exactly `n` free ones below it."""

    def free_count(self, pool_id: int) -> int:
        """How many addresses of a pool are free."""

    def open_ranges(self, pool_id: int) -> RangeSet:
        """What of a pool is neither reserved nor quarantined, taken or not."""

    def longest_idle(self, pool_id: int) -> Iterable[int]:
        """The free addresses of a pool: the never held, lowest first; then the longest idle.

        By when the last tenure ended in effect, then by address. Found one by one, while nothing
        is folded; meant for pools whose policy asks for it, which keep what it takes.
        """

    def remembered(self, owner: str, interface: str) -> Sequence[LastHeld]:
        """The addresses that sticky pools remember for a holder, what it held last first.

        Nobody has held one of them since. Their time may be over.
        """

    def resting(self, pool_id: int, value: int) -> int | None:
        """Until when an address of a pool rests after its release, or None if it does not."""

    def rested(self, pool_id: int, now_ms: int) -> Iterable[tuple[int, int]]:
        """The addresses that have rested by `now_ms`, longest idle first, with the time each had.

        Only those that no event has returned to the free ones yet.
        """

    def taken_in(self, pool_id: int, first: int, last: int) -> int:
        """How many addresses of a range are leased from a pool, or rest in it."""

    def free_blocks(self, pool_id: int, prefix_length: int) -> Iterator[tuple[int, int]]:
        """The maximal free aligned blocks of a pool that have room for one of a prefix length.

        Each as its first address and its prefix length: the smallest first, then the lowest.
        """

    def free_lengths(self, pool_id: int) -> dict[int, int]:
        """How many maximal free blocks there are, by their prefix lengths."""

    def rested_ranges(self, pool_id: int, now_ms: int) -> Iterable[tuple[int, int, int]]:
        """As `rested`, in ranges: first and last address, and the time that they had."""

    def quarantined(self, family: Family) -> RangeSet:
        """Everything of a family that is quarantined."""

    def quarantines(self) -> Iterable[Quarantine]:
        """All quarantines, by id."""

    def conflict_on(self, lease_id: int) -> Report | None:
        """The conflict that was reported on an active lease."""

    def absence_of(self, lease_id: int) -> Absence | None:
        """What observations say of an active lease; None if it was missing in none."""

    def last_tenure(
        self, address: Address, prefix_length: int | None = None
    ) -> tuple[int, int] | None:
        """Of an address that nobody holds: when its last tenure ended in effect, and its lease.

        None if nobody ever held it. Of a block, it is the last tenure of any address in it.
        """

    def overdue_in(self, pool_id: int, now_ms: int) -> Iterable[Lease]:
        """The active leases of a pool that are past their time, the longest overdue first."""

    def leases_due(self, now_ms: int, limit: int) -> Sequence[Lease]:
        """The active leases past their time, the longest overdue first."""

    def reservations_due(self, now_ms: int, limit: int) -> Sequence[Reservation]:
        """The reservations past their time, the longest overdue first."""

    def quarantines_due(self, now_ms: int, limit: int) -> Sequence[Quarantine]:
        """The quarantines past their time, the longest overdue first."""
