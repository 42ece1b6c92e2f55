"""Who holds what: the active leases, by id, by address and by owner."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any, Final
from zlib import crc32

from pyroaring import BitMap64

from engine.addresses import Address, RangeSet, format_address, from_int
from engine.entry import Record
from engine.errors import ContradictoryEvent
from engine.events import ConflictReported, LeaseObserved
from engine.facts import Lease, Report
from engine.observation import Absence, missed
from projections.due import Due, Entry
from projections.lease_fields import Fields, packed, packed_grant, unpacked
from projections.leased_blocks import BlockTable
from projections.pages import Paged, PagedBits, PageSink, PageSource, keep_table, masks_of
from projections.tenures import last_tenure

SCHEMA_VERSION = 4

_EXPIRES_AT_MS: Final = Lease._fields.index("expires_at_ms")
_DUE_SPARE = 1_024
_DUE_PARTS_MAX = 64


class Leases:
    """The active leases, and the ids of those that have ended."""

    def __init__(self) -> None:
        # What a lease is made of besides its id, as msgpack: in a tuple it would take four times
        # the memory, and the garbage collector would visit it. Looking at one takes 1 µs more.
        self._by_id: MutableMapping[int, bytes] = {}
        self._by_address: MutableMapping[Address, int] = {}
        # By a hash of the owner, since the names are in the leases: most hashes are of one owner
        # with one lease, and a tuple is made only where there are more.
        self._by_owner: MutableMapping[int, int | tuple[int, ...]] = {}
        self._blocks = BlockTable[int]()
        self._last_of_blocks = BlockTable[tuple[int, int]]()
        self._in_pool: dict[int, int] = {}
        self._ended: BitMap64 | PagedBits = BitMap64()
        self._due: dict[int, Due] = {}  # by pool
        self._due_parts: dict[int, int] = {}  # by pool: in how many parts it was kept
        self._reports: dict[int, Report] = {}
        self._absences: dict[int, Absence] = {}
        # Of addresses that nobody holds now: until when in effect they were held last, and by
        # which lease. A late report must not begin before it; that lease may be taken over from.
        self._last_tenure: MutableMapping[Address, tuple[int, int]] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Lease]:
        """All active leases, by id."""
        if isinstance(self._by_id, Paged):
            return map(self._at_id, sorted(self._by_id))
        return (unpacked(lease_id, row) for lease_id, row in self._by_id.items())

    @property
    def single(self) -> Mapping[Address, int]:
        """The addresses that are leased by themselves, with their leases."""
        return self._by_address

    @property
    def idle(self) -> Mapping[Address, tuple[int, int]]:
        """The addresses that were leased by themselves and are not: until when, by which lease."""
        return self._last_tenure

    def get(self, lease_id: int) -> Lease | None:
        """The active lease with that id."""
        found = self._by_id.get(lease_id)
        return None if found is None else unpacked(lease_id, found)

    def _at_id(self, lease_id: int) -> Lease:
        return unpacked(lease_id, self._by_id[lease_id])

    def has_ended(self, lease_id: int) -> bool:
        """Whether a lease of that id is no more."""
        return lease_id in self._ended

    def at(self, address: Address) -> Lease | None:
        """The active lease that holds an address, or the block that it lies in."""
        lease_id = self._by_address.get(address)
        if lease_id is None and self._blocks.used:
            lease_id = next(self._blocks.covering(address), None)
        return None if lease_id is None else self._at_id(lease_id)

    def of(self, owner: str, interface: str | None) -> Sequence[Lease]:
        """The active leases of an owner, by id."""
        found = self._by_owner.get(crc32(owner.encode()))
        if found is None:
            return ()
        leases = map(self._at_id, (found,) if isinstance(found, int) else found)
        return [
            held for held in leases
            if held.owner == owner and (interface is None or held.interface == interface)
        ]  # fmt: skip

    def in_pool(self, pool_id: int) -> int:
        """How many active leases a pool has."""
        return self._in_pool.get(pool_id, 0)

    def due(self, now_ms: int, limit: int) -> list[Lease]:
        """The active leases past their time, the longest overdue first."""
        found = [
            lease for pool_id in list(self._due) for lease in self.due_in(pool_id, now_ms, limit)
        ]  # fmt: skip
        found.sort(key=_expiry)
        return found[:limit]

    def due_in(self, pool_id: int, now_ms: int, limit: int) -> list[Lease]:
        """The active leases of a pool past their time, the longest overdue first."""
        due = self._due.get(pool_id)
        ids = () if due is None else due.until(now_ms, limit, self._expires_at)
        return [self._at_id(lease_id) for lease_id in ids]

    def _expires_at(self, at_ms: int, lease_id: int) -> bool:
        lease = self.get(lease_id)
        return lease is not None and lease.expires_at_ms == at_ms

    def report_on(self, lease_id: int) -> Report | None:
        """The conflict that was reported on an active lease."""
        return self._reports.get(lease_id)

    def absence_of(self, lease_id: int) -> Absence | None:
        """What observations say of an active lease; None if it was missing in none."""
        return self._absences.get(lease_id)

    def last_tenure(
        self, address: Address, prefix_length: int | None = None
    ) -> tuple[int, int] | None:
        """Of what nobody holds: when its last tenure ended in effect, and its lease.

        Of a block it is the last one of any address in it.
        """
        return last_tenure(self._last_tenure, self._last_of_blocks, address, prefix_length)

    def reported(self) -> Iterator[tuple[Lease, Report]]:
        """The active leases on which a conflict was reported, with the report."""
        return ((self._at_id(lease), report) for lease, report in self._reports.items())

    def within(
        self, pool_id: int, taken: RangeSet, rests_to: Callable[[int], int | None]
    ) -> Iterator[Lease]:
        """The active leases of a pool on what of it is taken, by address.

        `rests_to` tells of an address where what rests there ends, if anything does.
        """
        for first, last in taken:
            value = first
            while value <= last:
                lease = self.at(from_int(value, taken.family))
                if lease is None:
                    end = rests_to(value)
                    value = (value if end is None else end) + 1
                    continue
                if lease.pool_id == pool_id:
                    yield lease
                value = lease.last + 1

    def grant(
        self, position: int, ms: int, effective_at_ms: int | None, event: Fields, sealed: Fields
    ) -> None:
        """Fold a grant: the members of a `LeaseGranted` and of its sealed part."""
        pool_id, address, prefix_length, *_ = event
        owner = sealed[1] or ""
        single = prefix_length == len(address) * 8
        if address in self._by_address or (
            self._blocks.used and any(self._blocks.covering(address))
        ):  # fmt: skip
            text = format_address(address)
            raise ContradictoryEvent(f"{text} is leased twice", "", position)
        row, expires_at_ms = packed_grant(position, ms, effective_at_ms, event, sealed)
        self._by_id[position] = row
        if single:
            self._by_address[address] = position
            self._last_tenure.pop(address, None)
        else:
            self._blocks.put(address, prefix_length, position)
            self._last_of_blocks.pop(address, prefix_length)
        key = crc32(owner.encode())
        present = self._by_owner.get(key)
        if present is None:
            self._by_owner[key] = position
        elif isinstance(present, int):
            self._by_owner[key] = (present, position)
        else:
            self._by_owner[key] = (*present, position)
        self._in_pool[pool_id] = self._in_pool.get(pool_id, 0) + 1
        if expires_at_ms is not None:
            self._await_end(pool_id, position, expires_at_ms)

    def renew(self, position: int, ms: int, event: Fields) -> None:
        """Fold a renewal: the lease may be expired so much later than this event."""
        lease = self._of_event(event)
        ttl_s = event[5]
        ends_ms = None if ttl_s is None else ms + ttl_s * 1_000
        self._by_id[event[0]] = packed((*lease[: _EXPIRES_AT_MS - 1], ttl_s, ends_ms, position))
        if event[0] in self._absences:  # somebody who holds it says that it is in use
            self._absences[event[0]] = self._absences[event[0]].seen(ms)
        if ends_ms is not None:
            self._await_end(event[1], event[0], ends_ms)

    def report(self, record: Record, event: ConflictReported) -> None:
        """Fold a report: something else answers on the lease's address."""
        self._of_event(event)
        if event.lease in self._reports:
            raise ContradictoryEvent(f"a conflict on lease {event.lease} is reported twice")
        self._reports[event.lease] = Report(record.position, event.quarantine_s, record.sealed.text)

    def observe(self, record: Record, event: LeaseObserved) -> None:
        """Fold an observation that a lease is missing in, or present again."""
        self._of_event(event)
        effective_at_ms = record.header.effective_at_ms
        at_ms = record.ms if effective_at_ms is None else effective_at_ms
        before = self._absences.get(event.lease)
        if event.present:
            if before is None:
                raise ContradictoryEvent(f"lease {event.lease} is back and was never missing")
            self._absences[event.lease] = before.seen(at_ms)
            return
        if before is not None and at_ms <= before.last_ms:
            raise ContradictoryEvent(f"lease {event.lease} is missed before it was last seen")
        after = missed(before, event.observation, at_ms, record.position)
        self._absences[event.lease] = after

    def _await_end(self, pool_id: int, lease_id: int, ends_ms: int) -> None:
        due = self._due.get(pool_id)
        if due is None:
            due = self._due[pool_id] = Due()
        due.add(ends_ms, lease_id)
        # Each renewal leaves one that is void behind.
        if len(due) > _DUE_SPARE and len(due) > 4 * self.in_pool(pool_id):
            due.drop_void(self._expires_at)

    def _of_event(self, event: Fields) -> Fields:
        """The active lease that an event speaks of: its id, pool and address come first."""
        lease = self._at_id(event[0])
        if lease[1] != event[1] or lease[2] != event[2] or lease[3] != event[3]:
            raise ContradictoryEvent(f"lease {event[0]} is of another address or pool")
        return lease

    def end(self, event: Fields, ended_at_ms: int) -> int:
        """Fold an end, in effect at `ended_at_ms`; return how many leases its pool has left."""
        lease_id, pool_id, address, prefix_length, owner, *_ = self._of_event(event)
        del self._by_id[lease_id]
        if self._reports:
            self._reports.pop(lease_id, None)
        if self._absences:
            self._absences.pop(lease_id, None)
        if prefix_length == len(address) * 8:
            del self._by_address[address]
            self._last_tenure[address] = (ended_at_ms, lease_id)
        else:
            self._blocks.pop(address, prefix_length)
            self._last_of_blocks.put(address, prefix_length, (ended_at_ms, lease_id))
        key = crc32(owner.encode())
        present = self._by_owner[key]
        if isinstance(present, int):
            del self._by_owner[key]
        else:
            left = tuple(other for other in present if other != lease_id)
            self._by_owner[key] = left if len(left) > 1 else left[0]
        self._ended.add(lease_id)
        remaining = self._in_pool[pool_id] - 1
        if remaining:
            self._in_pool[pool_id] = remaining
        else:
            del self._in_pool[pool_id]
        return remaining

    # --- being kept in pages ---

    def keep(self, sink: PageSink) -> dict[str, Any]:
        """Write the tables; return what is small, and what it takes to show them again."""
        ended = self._ended
        masks = ended.masks if isinstance(ended, PagedBits) else masks_of(ended)
        for pool_id, due in self._due.items():
            self._keep_due(sink, pool_id, due)
        return {
            "by_id": keep_table(sink, "lease", self._by_id),
            "by_address": keep_table(sink, "address", self._by_address),
            "by_owner": keep_table(sink, "owner", self._by_owner),
            "blocks": self._blocks.keep(sink, "block"),
            "last_of_blocks": self._last_of_blocks.keep(sink, "last_of_block"),
            "last_tenure": keep_table(sink, "last_tenure", self._last_tenure),
            "ended": keep_table(sink, "ended", masks),
            "in_pool": tuple(self._in_pool.items()),
            "due": tuple(self._due_parts.items()),
            "reports": tuple((lease, *report) for lease, report in self._reports.items()),
            "absences": tuple((lease, *absence) for lease, absence in self._absences.items()),
        }

    def _keep_due(self, sink: PageSink, pool_id: int, due: Due) -> None:
        """Write what falls due in a pool; what was not looked at stays as it was kept."""
        parts = self._due_parts.get(pool_id, 0)
        if parts >= _DUE_PARTS_MAX:
            due.until(0, 1, self._expires_at)  # looks at everything
        entries, complete = due.added()
        if complete:
            for part in range(parts):
                sink.drop("due", pool_id * _DUE_PARTS_MAX + part)
            parts = 0
        elif not entries:
            return
        sink.put("due", pool_id * _DUE_PARTS_MAX + parts, tuple(entries))
        self._due_parts[pool_id] = parts + 1

    def read_all(self) -> None:
        """Hold everything in memory."""
        if not isinstance(self._by_id, Paged):
            return
        self._by_id = dict(sorted(self._by_id.items()))
        self._by_address = dict(self._by_address)
        self._by_owner = dict(self._by_owner)
        self._last_tenure = dict(self._last_tenure)
        self._blocks.read_all()
        self._last_of_blocks.read_all()
        assert isinstance(self._ended, PagedBits), "all tables are kept alike"
        self._ended = BitMap64(self._ended)
        for due in self._due.values():
            due.until(0, 1, self._expires_at)

    @classmethod
    def kept(cls, source: PageSource, told: dict[str, Any]) -> Leases:
        """Show the tables that `keep` wrote."""

        def due_of(pool_id: int, parts: int) -> Due:
            def rest() -> list[Entry]:
                numbers = range(pool_id * _DUE_PARTS_MAX, pool_id * _DUE_PARTS_MAX + parts)
                return [entry for number in numbers for entry in source.read("due", number)]

            return Due(rest)

        leases = cls()
        leases._by_id = Paged(source, "lease", *told["by_id"])
        leases._by_address = Paged(source, "address", *told["by_address"])
        leases._by_owner = Paged(source, "owner", *told["by_owner"])
        leases._blocks = BlockTable.kept(source, "block", told["blocks"])
        leases._last_of_blocks = BlockTable.kept(source, "last_of_block", told["last_of_blocks"])
        leases._last_tenure = Paged(source, "last_tenure", *told["last_tenure"])
        leases._ended = PagedBits(Paged(source, "ended", *told["ended"]))
        leases._in_pool = dict(told["in_pool"])
        leases._due_parts = dict(told["due"])
        leases._due = {pool_id: due_of(pool_id, parts) for pool_id, parts in told["due"]}
        leases._reports = {lease: Report(*report) for lease, *report in told["reports"]}
        leases._absences = {lease: Absence(*absence) for lease, *absence in told["absences"]}
        return leases


def _expiry(lease: Lease) -> tuple[int, int]:
    assert lease.expires_at_ms is not None, "what is due has a time"
    return lease.expires_at_ms, lease.lease_id
