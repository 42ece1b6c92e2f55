"""[format] Every kind of event, as an immutable value with its fixed type code and shape.

An event carries facts, no personal data: owners, labels, actors and reasons travel in the entry's
sealed part (`Sealed`), so that they can one day be erased without breaking a proof. The position
of an event is the id of what it made: a pool's id, a lease's id.

Events are named tuples and not dataclasses because replay makes millions of them: making one
costs 0.2 µs against 0.8 µs for a frozen, slotted dataclass (ADR 0004). Each says with
`well_formed` what the decoder may let through, so that a fold never meets a surprise.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from engine.model import ENDINGS
from engine.shapes import (
    are_addresses,
    are_labels,
    is_block,
    is_bool,
    is_durability,
    is_held,
    is_id,
    is_pool,
    is_position,
    is_seconds,
    is_u64,
)

INFORMATIONAL_FROM: Final = 128  # types from here on may be unknown to a reader
LEVEL: Final = 3  # the highest that this release writes
BLOCKS_LEVEL: Final = 2  # from which on blocks are granted; it brought observations, too
DURABILITY_LEVEL: Final = 3  # from which on a space says how durable its answers are

_ENDED_BY: Final = range(len(ENDINGS))


class SpaceCreated(NamedTuple):
    """Position 1 of every stream: which space this is."""

    space_id: bytes
    name: str
    level: int

    def well_formed(self) -> bool:
        """A random 128-bit id, a name, a level from 1."""
        return is_id(self.space_id) and type(self.name) is str and is_position(self.level)


class HistoryRestored(NamedTuple):
    """An operator accepted a restored backup: positions `kept + 1` to `void_through` are void.

    It stands at `void_through + 1`: the only jump that positions ever make.
    """

    kept: int
    void_through: int
    generation: int

    def well_formed(self) -> bool:
        """Something is kept, and voiding nothing is allowed."""
        return (
            is_position(self.kept)
            and is_position(self.void_through)
            and self.void_through >= self.kept
            and is_position(self.generation)
        )


class LevelRaised(NamedTuple):
    """From here on writers may use what this format level brought."""

    level: int

    def well_formed(self) -> bool:
        """A level above the first."""
        return is_position(self.level) and self.level > 1


class DurabilitySet(NamedTuple):
    """From here on an answer waits until so many replicas have what it rests on; 0: for none.

    With ``fsync`` they have it on disk, and so has the server that was written to.
    """

    replicas: int
    fsync: bool
    ack_timeout_ms: int

    def well_formed(self) -> bool:
        """Without replicas nothing else is said; with them, how long is waited."""
        return is_durability(*self)


class PoolCreated(NamedTuple):
    """A pool, whole. Its position is the pool's id. Ranges are packed first-last pairs."""

    name: str
    subnet: tuple[bytes, int]
    ips: bytes
    exclude_ips: bytes
    gateway: bytes | None
    routes: tuple[tuple[bytes, int, bytes], ...]
    disabled: bool
    default: bool
    # (pod, namespace, node affinity, namespace, node, multus names): `model.Selectors`
    selectors: tuple[object, ...]
    policy: int
    cooldown_s: int
    ttl_s: int | None
    sticky_s: int | None

    def well_formed(self) -> bool:
        """Every address is of the subnet's family; ranges are in canonical order."""
        return is_pool(self)


class PoolUpdated(NamedTuple):
    """The whole new definition of pool `pool_id`."""

    pool_id: int
    pool: PoolCreated

    def well_formed(self) -> bool:
        """A pool id, and a pool that is itself well-formed."""
        return is_position(self.pool_id) and self.pool.well_formed()


class PoolDeleted(NamedTuple):
    """The pool is terminating; it is gone when its last lease ends, at once if it has none."""

    pool_id: int
    name: str

    def well_formed(self) -> bool:
        """A pool id and its name."""
        return is_position(self.pool_id) and type(self.name) is str


class ReservationCreated(NamedTuple):
    """Addresses kept from every pool. Owner, the reservation's own reason and labels are sealed."""

    name: str
    family: int
    ips: bytes
    for_s: int | None
    owned: bool

    def well_formed(self) -> bool:
        """One family; ranges in canonical order, at least one."""
        return (
            type(self.name) is str
            and are_addresses(self.family, self.ips)
            and is_seconds(self.for_s)
            and type(self.owned) is bool
        )


class ReservationUpdated(NamedTuple):
    """The whole new definition of the reservation of that name."""

    reservation_id: int
    reservation: ReservationCreated

    def well_formed(self) -> bool:
        """A reservation id, and a reservation that is itself well-formed."""
        return is_position(self.reservation_id) and self.reservation.well_formed()


class ReservationDeleted(NamedTuple):
    """The reservation no longer holds anything; `expired` tells who ended it: time or a hand."""

    reservation_id: int
    name: str
    expired: bool

    def well_formed(self) -> bool:
        """A reservation id, its name, and how it ended."""
        return is_position(self.reservation_id) and type(self.name) is str and is_bool(self.expired)


def _are_positions(value: object) -> bool:
    return type(value) is tuple and all(is_position(each) for each in value)


class LeaseGranted(NamedTuple):
    """An address, or a block, is the owner's. Its position is the lease's id.

    ``beside`` are the leases that the owner already held and that the same answer included.
    ``seed`` is what a random policy drew with; ``source`` says where an imported lease is from.
    """

    pool_id: int
    address: bytes
    prefix_length: int
    interface: str
    ttl_s: int | None
    cluster: str | None
    supersedes: int | None
    beside: tuple[int, ...]
    seed: int | None
    source: str | None

    def well_formed(self) -> bool:
        """The block has no host bits, and what it supersedes is a position."""
        pool_id, address, length, interface, ttl_s, cluster, supersedes, beside, seed, source = self
        return (
            is_position(pool_id)
            and is_block(address, length)
            and type(interface) is str
            and (ttl_s is None or is_seconds(ttl_s))
            and (cluster is None or type(cluster) is str)
            and (supersedes is None or is_position(supersedes))
            and (beside == () or _are_positions(beside))
            and (seed is None or is_u64(seed))
            and (source is None or type(source) is str)
        )


class LeaseRenewed(NamedTuple):
    """A lease goes on: it may be expired ``ttl_s`` seconds after this event, or never."""

    lease: int
    pool_id: int
    address: bytes
    prefix_length: int
    interface: str
    ttl_s: int | None

    def well_formed(self) -> bool:
        """A lease, what it holds, and for how long."""
        return is_held(*self[:5]) and is_seconds(self.ttl_s)


class ConflictReported(NamedTuple):
    """Something else answers on a leased address: it is quarantined when the lease ends.

    ``quarantine_s`` is for how long; None is until somebody ends it. The evidence is sealed.
    """

    lease: int
    pool_id: int
    address: bytes
    prefix_length: int
    interface: str
    quarantine_s: int | None

    def well_formed(self) -> bool:
        """A lease, what it holds, and how long it will be set aside."""
        return is_held(*self[:5]) and is_seconds(self.quarantine_s)


class LeaseObserved(NamedTuple):
    """A lease was missing in what was seen in use, or was ``present`` again after that.

    ``observation`` tells one look at the network from another, ``effective_at_ms`` when it was;
    the evidence is sealed. A lease that was never missing has no such event.
    """

    lease: int
    pool_id: int
    address: bytes
    prefix_length: int
    interface: str
    observation: bytes
    present: bool

    def well_formed(self) -> bool:
        """A lease, what it holds, and which observation."""
        return is_held(*self[:5]) and is_id(self.observation) and is_bool(self.present)


class LeaseEnded(NamedTuple):
    """A lease ended; the event repeats whose and what it was, for readers that keep no state."""

    lease: int
    pool_id: int
    address: bytes
    prefix_length: int
    interface: str
    ended_by: int

    def well_formed(self) -> bool:
        """A lease, what it held, and one of the known endings."""
        return is_held(*self[:5]) and type(self.ended_by) is int and self.ended_by in _ENDED_BY


class Quarantined(NamedTuple):
    """Addresses set aside because something else answers on them; why is sealed.

    Its position is the quarantine's id. ``lease`` is the one whose end led here, if one did.
    """

    family: int
    ips: bytes
    for_s: int | None
    lease: int | None

    def well_formed(self) -> bool:
        """One family; ranges in canonical order, at least one."""
        return (
            are_addresses(self.family, self.ips)
            and is_seconds(self.for_s)
            and (self.lease is None or is_position(self.lease))
        )


class QuarantineEnded(NamedTuple):
    """The addresses of a quarantine may be given out again; ``expired`` tells who ended it."""

    quarantine: int
    family: int
    ips: bytes
    expired: bool

    def well_formed(self) -> bool:
        """A quarantine, its addresses, and how it ended."""
        return (
            is_position(self.quarantine)
            and are_addresses(self.family, self.ips)
            and is_bool(self.expired)
        )


class Informational(NamedTuple):
    """An event of a type from 128 up that this release does not know: passed over by folds.

    It writes no tag but its command's, so it can be checked like every other entry.
    """

    code: int
    version: int
    fields: tuple[object, ...]

    def well_formed(self) -> bool:
        """Anything that decoded."""
        return self.code >= INFORMATIONAL_FROM


Event = (
    SpaceCreated
    | HistoryRestored
    | LevelRaised
    | DurabilitySet
    | PoolCreated
    | PoolUpdated
    | PoolDeleted
    | ReservationCreated
    | ReservationUpdated
    | ReservationDeleted
    | LeaseGranted
    | LeaseRenewed
    | LeaseEnded
    | ConflictReported
    | LeaseObserved
    | Quarantined
    | QuarantineEnded
    | Informational
)


class Sealed(NamedTuple):
    """What an entry says about people: hashed apart from the event, so that it can be erased.

    ``owner``, ``uid`` and ``labels`` are of the lease, pool or reservation that the event is
    about; ``text`` is its free text (why a reservation exists). ``actor``, ``reason`` and
    ``command_id`` (when the caller chose it) are of the change itself. The actor is a claim of
    the writer until a service authenticates it.
    """

    salt: bytes
    owner: str | None = None
    uid: str | None = None
    labels: tuple[tuple[str, str], ...] = ()
    actor: str | None = None
    reason: str | None = None
    command_id: str | None = None
    text: str | None = None

    def well_formed(self) -> bool:
        """A 16-byte salt; everything else is text or absent; labels are sorted by key."""
        salt, owner, uid, labels, actor, reason, command_id, text = self
        return (
            type(salt) is bytes
            and len(salt) == 16
            and (owner is None or type(owner) is str)
            and (uid is None or type(uid) is str)
            and (actor is None or type(actor) is str)
            and (reason is None or type(reason) is str)
            and (command_id is None or type(command_id) is str)
            and (text is None or type(text) is str)
            and (labels == () or are_labels(labels))
        )
