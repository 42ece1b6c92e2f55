"""[format] Tags: what an event touched, in a form that a server-side script can compare.

A tag is a kind letter and fixed-width lower-case hex, or an address range of two such points
joined by a dash. Names are hashed, so nothing that a user types can forge a tag. A proposal says
which tags it *read*; it is committed if nobody *wrote* one of them since. Ranges match by overlap.

::

    s  0…                 the space itself          p  0… | H(name)   all pools | one pool
    r  0…                 all reservations          n  pool id        a pool's leases
    4  address            6  address                o  H(owner, interface)
    l  lease id           c  command and step       h  kept-through   a restoration

A reader recomputes an entry's tags from its event and compares them: they are not hashed.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from engine import events as ev
from engine.addresses import Family, RangeSet
from engine.entry import Header
from engine.events import Event, Sealed

SPACE: Final = "s" + "0" * 32
POOLS: Final = "p" + "0" * 32
RESERVATIONS: Final = "r" + "0" * 32


@lru_cache(maxsize=1_024)  # a batch of allocations asks for the same few pools again and again
def hash_name(name: str) -> str:
    """128 bits of SHA-256 of a name, in hex."""
    return sha256(name.encode()).hexdigest()[:32]


def pool(name: str) -> str:
    """The configuration of the pool of that name, whatever its id."""
    return "p" + hash_name(name)


@lru_cache(maxsize=1_024)  # as hash_name
def pool_leases(pool_id: int) -> str:
    """The leases of a pool."""
    return f"n{pool_id:016x}"


@lru_cache(maxsize=1_024)  # once for what a grant reads, and once more for what it writes
def owner(owner_name: str, interface: str) -> str:
    """What one owner holds on one interface. The NUL cannot occur in either."""
    return "o" + sha256(f"{owner_name}\0{interface}".encode()).hexdigest()[:32]


def lease(lease_id: int) -> str:
    """One lease."""
    return f"l{lease_id:016x}"


def command(key: bytes, step: int) -> str:
    """One step of one command: written by every commit, read by every proposal."""
    return f"c{key.hex()}{step:08x}"


def address(raw: bytes) -> str:
    """One address."""
    return ("4" if len(raw) == 4 else "6") + raw.hex()


def address_range(family: Family, first: int, last: int) -> str:
    """The addresses from `first` to `last`, both included."""
    if family == 4:
        return f"4{first:08x}" if first == last else f"4{first:08x}-4{last:08x}"
    return f"6{first:032x}" if first == last else f"6{first:032x}-6{last:032x}"


def ranges(which: RangeSet) -> list[str]:
    """One tag for each range of the set."""
    return [address_range(which.family, first, last) for first, last in which.ranges]


def block(raw: bytes, prefix_length: int) -> str:
    """An address or, with a prefix shorter than the address, the block it begins."""
    if prefix_length == 32 and len(raw) == 4:
        return "4" + raw.hex()
    bits = len(raw) * 8
    if prefix_length == bits:
        return "6" + raw.hex()
    first = int.from_bytes(raw)
    return address_range(4 if bits == 32 else 6, first, first + (1 << (bits - prefix_length)) - 1)


def restoration(kept: int, void_through: int) -> str:
    """A restoration: both ends, for a script that must count what is void."""
    return f"h{kept:016x}-{void_through:016x}"


def _space(_event: ev.SpaceCreated | ev.LevelRaised | ev.DurabilitySet, _sealed: Sealed) -> str:
    return SPACE


def _restored(event: ev.HistoryRestored, _sealed: Sealed) -> str:
    return f"{SPACE} {restoration(event.kept, event.void_through)}"


def _pool(event: ev.PoolCreated | ev.PoolDeleted, _sealed: Sealed) -> str:
    return f"{POOLS} {pool(event.name)}"


def _pool_updated(event: ev.PoolUpdated, sealed: Sealed) -> str:
    return _pool(event.pool, sealed)


def _reservation(_event: object, _sealed: Sealed) -> str:
    return RESERVATIONS


def _granted(event: ev.LeaseGranted, sealed: Sealed) -> str:
    pool_id, address, prefix_length, interface = event[:4]
    held = owner(sealed[1] or "", interface)
    return f"{block(address, prefix_length)} {held} {pool_leases(pool_id)}"


def _of_lease(
    event: ev.LeaseRenewed | ev.LeaseEnded | ev.ConflictReported | ev.LeaseObserved, sealed: Sealed
) -> str:
    lease_id, pool_id, address, prefix_length, interface = event[:5]
    where = block(address, prefix_length)
    held = owner(sealed[1] or "", interface)
    return f"l{lease_id:016x} {where} {held} {pool_leases(pool_id)}"


def _quarantine(event: ev.Quarantined | ev.QuarantineEnded, _sealed: Sealed) -> str:
    width = 4 if event.family == 4 else 16
    family: Family = 4 if width == 4 else 6
    ends = [int.from_bytes(event.ips[at : at + width]) for at in range(0, len(event.ips), width)]
    pairs = zip(ends[::2], ends[1::2], strict=True)
    return " ".join(address_range(family, first, last) for first, last in pairs)


def _nothing(_event: object, _sealed: Sealed) -> str:
    return ""


# What each kind of event writes, beside its command. One row an event type. The functions take
# their own event type; the table's key is what guarantees that they are given it.
_WRITES: Final[dict[type[Any], Callable[[Any, Sealed], str]]] = {
    ev.SpaceCreated: _space,
    ev.HistoryRestored: _restored,
    ev.LevelRaised: _space,
    ev.DurabilitySet: _space,
    ev.PoolCreated: _pool,
    ev.PoolUpdated: _pool_updated,
    ev.PoolDeleted: _pool,
    ev.ReservationCreated: _reservation,
    ev.ReservationUpdated: _reservation,
    ev.ReservationDeleted: _reservation,
    ev.LeaseGranted: _granted,
    ev.LeaseRenewed: _of_lease,
    ev.LeaseEnded: _of_lease,
    ev.ConflictReported: _of_lease,
    ev.LeaseObserved: _of_lease,
    ev.Quarantined: _quarantine,
    ev.QuarantineEnded: _quarantine,
    ev.Informational: _nothing,
}


def written_by(event: Event, sealed: Sealed, header: Header) -> str:
    """All the tags that an entry writes, joined by single spaces in their canonical order."""
    touched = _WRITES[type(event)](event, sealed)
    return f"{touched} c{header[0].hex()}{header[1]:08x}".lstrip()
