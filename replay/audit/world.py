"""What is, as the auditor sees it: plain numbers in plain tables, folded by the auditor itself.

Nothing here is shared with `projections`, which an audit is there to doubt. An address is its raw
bytes where it is a key and a number where it lies in a range; large pools are never listed out.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from pyroaring import BitMap64

from engine import ranges as arithmetic
from engine.addresses import Address, format_address
from engine.events import PoolCreated
from engine.ranges import Ranges
from replay.audit.block_books import BlockBooks
from replay.audit.findings import Findings
from replay.audit.intervals import Intervals

Family = int  # how many bytes an address has: 4 or 16
_CHUNK_BITS: Final = 64
_PRUNE_LEAST: Final = 1_024


def unpack(packed: bytes, width: Family) -> Ranges:
    """First-last pairs, as numbers."""
    ends = [int.from_bytes(packed[at : at + width]) for at in range(0, len(packed), width)]
    return tuple(zip(ends[::2], ends[1::2], strict=True))


def text_of(raw: bytes) -> str:
    """An address in words, for messages."""
    return format_address(Address(raw))


def number_text(value: int, width: Family) -> str:
    """An address that is given as a number, in words."""
    return text_of(value.to_bytes(width))


class Numbers:
    """Which numbers from 0 up are in a set, whatever their size: is there one in a range?"""

    __slots__ = ("_chunks",)

    def __init__(self) -> None:
        self._chunks: dict[int, BitMap64] = {}

    def add(self, value: int) -> None:
        """Add one."""
        chunk = self._chunks.get(value >> _CHUNK_BITS)
        if chunk is None:
            chunk = self._chunks[value >> _CHUNK_BITS] = BitMap64()
        chunk.add(value & ((1 << _CHUNK_BITS) - 1))

    def discard(self, value: int) -> None:
        """Take one out, if it is there."""
        chunk = self._chunks.get(value >> _CHUNK_BITS)
        if chunk is not None:
            chunk.discard(value & ((1 << _CHUNK_BITS) - 1))

    def first_in(self, low: int, high: int) -> int | None:
        """The lowest member from `low` to `high`, or None."""
        for index in sorted(self._chunks):
            base = index << _CHUNK_BITS
            if base > high or base + (1 << _CHUNK_BITS) <= low:
                continue
            try:
                found = base + self._chunks[index].next_set_bit(max(low - base, 0))
            except ValueError:  # there is none
                continue
            if found <= high:
                return found
        return None


@dataclass(slots=True)
class Pool:
    """A pool as defined last. ``position`` is that of the definition."""

    pool_id: int
    position: int
    event: PoolCreated
    width: Family
    ips: Ranges
    excluded: Ranges
    effective: Ranges
    terminating: bool = False
    leases: int = 0
    held: Numbers = field(default_factory=Numbers)

    @property
    def subnet(self) -> tuple[int, int]:
        """Its lowest and highest address."""
        return block(*self.event.subnet)


def block(raw: bytes, prefix_length: int) -> tuple[int, int]:
    """The lowest and the highest address of a block."""
    first = int.from_bytes(raw)
    return first, first + (1 << (len(raw) * 8 - prefix_length)) - 1


class Subnets:
    """The subnets of the pools that stand: each of them once, however many pools share it."""

    def __init__(self) -> None:
        self._pools: dict[tuple[bytes, int], list[int]] = {}
        self._numbers: dict[tuple[bytes, int], int] = {}
        self._named: dict[int, tuple[bytes, int]] = {}
        self._ranges: dict[Family, Intervals] = {4: Intervals(), 16: Intervals()}

    def add(self, pool: Pool) -> list[int]:
        """Add a pool's; return a pool of each other subnet that overlaps it."""
        subnet = pool.event.subnet
        self._pools.setdefault(subnet, []).append(pool.pool_id)
        number = self._numbers.setdefault(subnet, len(self._numbers))
        self._named[number] = subnet
        met = {whose for _, _, whose in self._ranges[pool.width].add((pool.subnet,), number)}
        return [self._pools[self._named[other]][0] for other in sorted(met) if other != number]

    def remove(self, pool: Pool) -> None:
        """Take a pool's away."""
        subnet = pool.event.subnet
        self._pools[subnet].remove(pool.pool_id)
        if not self._pools[subnet]:
            del self._pools[subnet]
            number = self._numbers[subnet]
            self._ranges[pool.width].remove((pool.subnet,), number)


class Reservation(NamedTuple):
    """A reservation as defined last, at ``position``."""

    reservation_id: int
    position: int
    name: str
    width: Family
    ips: Ranges
    owner: str | None
    ends_ms: int | None


class Lease(NamedTuple):
    """A lease that is held. ``position`` is that of the last event about it."""

    lease_id: int
    pool_id: int
    address: bytes
    prefix_length: int
    owner: str | None
    interface: str
    uid: str | None
    labels: tuple[tuple[str, str], ...]
    began_ms: int
    expires_ms: int | None
    position: int

    @property
    def range(self) -> tuple[int, int]:
        """Its lowest and its highest address."""
        return block(self.address, self.prefix_length)


class Report(NamedTuple):
    """A conflict that was reported on a lease, and for how long its address is set aside."""

    position: int
    for_s: int | None


class Quarantine(NamedTuple):
    """What a quarantine still holds."""

    width: Family
    ips: Ranges
    ends_ms: int | None


class LastTenure(NamedTuple):
    """How the last tenure of an address ended: when in effect, at which position, and whose."""

    ended_ms: int
    position: int
    lease_id: int
    owner: str | None
    interface: str
    prefix_length: int


class InCommit:
    """What matters only until the commit that is being read is whole."""

    def __init__(self) -> None:
        self.superseded: dict[int, Lease] = {}
        self.successors: set[int] = set()
        self.must_be_aside: dict[int, tuple[Lease, Report]] = {}
        self.beside: list[tuple[int, int]] = []

    @property
    def used(self) -> bool:
        """Whether anything is in it; most commits leave it empty."""
        return bool(self.superseded or self.must_be_aside or self.beside)


class World:
    """Everything that is, as of the last event; and where to say what must not be."""

    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.breach = findings.breach
        self.ms = 0
        self.position = 0
        self.level = 0
        self.unseen: list[tuple[int, int]] = []  # positions whose events nobody knows
        self.pools: dict[int, Pool] = {}
        self.pool_names: dict[str, int] = {}
        self.subnets = Subnets()
        self.given_out: dict[Family, Intervals] = {4: Intervals(), 16: Intervals()}
        self.reservations: dict[int, Reservation] = {}
        self.reservation_names: dict[str, int] = {}
        self._reserved: dict[Family, Ranges | None] = {4: (), 16: ()}
        # Plain tuples, with the fields of a `Lease`: the garbage collector lets go of these, but
        # would visit named tuples again and again.
        self._leases: dict[int, tuple[Any, ...]] = {}
        self.holders: dict[bytes, int] = {}
        self.ended = BitMap64()
        # Who held an address last, and until when in effect.
        self.last_tenure: dict[bytes, LastTenure] = {}
        self.blocks = BlockBooks()
        self.rests_until_ms: dict[bytes, int] = {}
        self._rests_pruned = _PRUNE_LEAST
        self.reports: dict[int, Report] = {}
        self.quarantines: dict[int, Quarantine] = {}
        self.aside: dict[Family, Intervals] = {4: Intervals(), 16: Intervals()}
        self.commit = InCommit()

    def lease(self, lease_id: int) -> Lease | None:
        """The lease of that id, if it is held."""
        found = self._leases.get(lease_id)
        return None if found is None else Lease._make(found)

    def leases(self) -> Iterator[Lease]:
        """Everything that is held."""
        return map(Lease._make, self._leases.values())

    def hold(self, lease: Lease) -> None:
        """A lease is held from now on, or goes on otherwise."""
        self._leases[lease.lease_id] = tuple(lease)

    def let_go(self, lease: Lease) -> None:
        """A lease is held no more."""
        del self._leases[lease.lease_id]
        self.ended.add(lease.lease_id)

    def is_unseen(self, position: int) -> bool:
        """Whether what stood at a position is not known, so that nothing can be said of it."""
        return any(first <= position <= last for first, last in self.unseen)

    def reserved(self, width: Family) -> Ranges:
        """Everything that is reserved, whoever for: made anew after a change."""
        found = self._reserved[width]
        if found is None:
            found = self._reserved[width] = arithmetic.normalise(
                part for kept in self.reservations.values() if kept.width == width
                for part in kept.ips
            )  # fmt: skip
        return found

    def reservations_changed(self, width: Family) -> None:
        """What was reserved is to be worked out again."""
        self._reserved[width] = None

    def rest(self, address: bytes, until_ms: int) -> None:
        """Let an address rest; those that have rested are forgotten now and then."""
        if until_ms <= self.ms:
            self.rests_until_ms.pop(address, None)
            return
        self.rests_until_ms[address] = until_ms
        if len(self.rests_until_ms) > 2 * self._rests_pruned:
            left = {at: ms for at, ms in self.rests_until_ms.items() if ms > self.ms}
            self.rests_until_ms = left
            self._rests_pruned = max(len(left), _PRUNE_LEAST)

    def forget_if_gone(self, pool: Pool) -> None:
        """V24: a terminating pool is gone when its last lease ends."""
        if pool.terminating and pool.leases <= 0:
            del self.pools[pool.pool_id]
            if self.pool_names.get(pool.event.name) == pool.pool_id:
                del self.pool_names[pool.event.name]
            self.withdraw(pool)

    def withdraw(self, pool: Pool) -> None:
        """The pool's addresses and its subnet are no longer its own."""
        self.given_out[pool.width].remove(pool.effective, pool.pool_id)
        self.subnets.remove(pool)
