"""What decisions ask of the state of a space: `engine.facts.Facts`, answered from its tables."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from engine import events as ev
from engine.addresses import Address, Family, RangeSet
from engine.facts import Counts, LastHeld, Lease, Pool, Quarantine, Report, Reservation
from engine.model import Durability
from engine.observation import Absence
from projections.leases import Leases
from projections.pools import Pools
from projections.preferences import Preferences
from projections.quarantines import Quarantines
from projections.reservations import Reservations

_OVERDUE_MAX: Final = 512  # no decision needs more of one pool at once


class Answers:
    """The questions of decisions, each handed to the table that knows."""

    space: ev.SpaceCreated | None
    durability: Durability
    pool_table: Pools
    reservation_table: Reservations
    quarantine_table: Quarantines
    lease_table: Leases
    preferences: Preferences

    @property
    def level(self) -> int:
        """The format level of the space; that of this release while there is no space yet."""
        return ev.LEVEL if self.space is None else self.space.level

    def pool(self, name: str) -> Pool | None:
        """The pool of that name, also while it is terminating."""
        return self.pool_table.get(name)

    def pool_of(self, pool_id: int) -> Pool | None:
        """The pool with that id."""
        return self.pool_table.of_id(pool_id)

    def pools(self) -> Iterable[Pool]:
        """All pools, by name."""
        return self.pool_table

    def reservation(self, name: str) -> Reservation | None:
        """The reservation of that name."""
        return self.reservation_table.get(name)

    def reservations(self) -> Iterable[Reservation]:
        """All reservations, by name."""
        return self.reservation_table

    def reserved_by(self, address: Address) -> Sequence[Reservation]:
        """The reservations that cover an address, by name."""
        return self.reservation_table.covering(address)

    def reserved_for(self, owner: str, family: Family) -> RangeSet:
        """The addresses that reservations keep for this owner and nobody else."""
        return self.reservation_table.kept_for(owner, family)

    def lease(self, lease_id: int) -> Lease | None:
        """The active lease with that id."""
        return self.lease_table.get(lease_id)

    def leases(self) -> Iterable[Lease]:
        """All active leases, by id."""
        return self.lease_table

    def has_ended(self, lease_id: int) -> bool:
        """Whether a lease with that id was granted once and is no more."""
        return self.lease_table.has_ended(lease_id)

    def lease_at(self, address: Address) -> Lease | None:
        """The active lease that holds an address."""
        return self.lease_table.at(address)

    def leases_of(self, owner: str, interface: str | None = None) -> Sequence[Lease]:
        """The active leases of an owner, on one interface or on all, by lease id."""
        return self.lease_table.of(owner, interface)

    def leases_within(self, pool_id: int, ranges: RangeSet) -> Iterable[Lease]:
        """The active leases of a pool whose addresses lie in `ranges`, by address."""
        taken = RangeSet(ranges.family, self.pool_table.free(pool_id).canonical()) & ranges

        def rests_to(value: int) -> int | None:
            resting = self.pool_table.resting_block(pool_id, value)
            return None if resting is None else resting.last

        return self.lease_table.within(pool_id, taken, rests_to)

    def counts(self, pool_id: int) -> Counts:
        """The buckets of a pool."""
        return self.pool_table.counts(pool_id)

    def is_free(self, pool_id: int, value: int) -> bool:
        """Whether an address of a pool is neither leased nor set aside."""
        return self.pool_table.free(pool_id).is_free(value)

    def lowest_free(self, pool_id: int, start: int | None = None) -> int | None:
        """The lowest free address of a pool that is not below `start`."""
        return self.pool_table.free(pool_id).lowest(start)

    def free_run(self, pool_id: int, start: int) -> tuple[int, int] | None:
        """The lowest free address from `start` on, and one up to which all is free from there."""
        return self.pool_table.free(pool_id).run(start)

    def nth_free(self, pool_id: int, n: int) -> int | None:
        """The free address with exactly `n` free ones below it."""
        return self.pool_table.free(pool_id).nth(n)

    def taken_in(self, pool_id: int, first: int, last: int) -> int:
        """How many addresses of a range are leased or rest."""
        return self.pool_table.free(pool_id).taken_in(first, last)

    def free_blocks(self, pool_id: int, prefix_length: int) -> Iterator[tuple[int, int]]:
        """The maximal free blocks that have room for one of a length, the best fit first."""
        return self.pool_table.free_blocks(pool_id, prefix_length)

    def free_lengths(self, pool_id: int) -> dict[int, int]:
        """How many maximal free blocks of each prefix length a pool has."""
        return self.pool_table.free_lengths(pool_id)

    def rested_ranges(self, pool_id: int, now_ms: int) -> Iterable[tuple[int, int, int]]:
        """As `rested`, in ranges: first, last, and the time that they had."""
        return self.pool_table.rested_ranges(pool_id, now_ms)

    def free_count(self, pool_id: int) -> int:
        """How many addresses of a pool are free."""
        return self.pool_table.free(pool_id).counts.free

    def open_ranges(self, pool_id: int) -> RangeSet:
        """What of a pool is neither reserved nor quarantined, taken or not."""
        return self.pool_table.free(pool_id).open

    def longest_idle(self, pool_id: int) -> Iterable[int]:
        """The free addresses of a pool: the never held, lowest first; then the longest idle."""
        return self.preferences.longest_idle(pool_id)

    def remembered(self, owner: str, interface: str) -> Sequence[LastHeld]:
        """What sticky pools remember for a holder, what it held last first."""
        return self.preferences.remembered(owner, interface)

    def resting(self, pool_id: int, value: int) -> int | None:
        """Until when an address of a pool rests after its release, or None if it does not."""
        return self.pool_table.resting(pool_id, value)

    def rested(self, pool_id: int, now_ms: int) -> Iterable[tuple[int, int]]:
        """What has rested by `now_ms` and no event has freed yet, longest idle first."""
        return self.pool_table.rested(pool_id, now_ms)

    def quarantined(self, family: Family) -> RangeSet:
        """Everything of a family that is quarantined."""
        return self.quarantine_table.closed(family)

    def quarantines(self) -> Iterable[Quarantine]:
        """All quarantines, by id."""
        return self.quarantine_table

    def conflict_on(self, lease_id: int) -> Report | None:
        """The conflict that was reported on an active lease."""
        return self.lease_table.report_on(lease_id)

    def absence_of(self, lease_id: int) -> Absence | None:
        """What observations say of an active lease; None if it was missing in none."""
        return self.lease_table.absence_of(lease_id)

    def last_tenure(
        self, address: Address, prefix_length: int | None = None
    ) -> tuple[int, int] | None:
        """Of what nobody holds: when its last tenure ended in effect, and its lease."""
        return self.lease_table.last_tenure(address, prefix_length)

    def overdue_in(self, pool_id: int, now_ms: int) -> Iterable[Lease]:
        """The active leases of a pool that are past their time, the longest overdue first."""
        return self.lease_table.due_in(pool_id, now_ms, _OVERDUE_MAX)

    def leases_due(self, now_ms: int, limit: int) -> Sequence[Lease]:
        """The active leases past their time, the longest overdue first."""
        return self.lease_table.due(now_ms, limit)

    def reservations_due(self, now_ms: int, limit: int) -> Sequence[Reservation]:
        """The reservations past their time, the longest overdue first."""
        return self.reservation_table.due(now_ms, limit)

    def quarantines_due(self, now_ms: int, limit: int) -> Sequence[Quarantine]:
        """The quarantines past their time, the longest overdue first."""
        return self.quarantine_table.due(now_ms, limit)
