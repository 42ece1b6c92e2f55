"""Which events a consumer wants: by type, pool, prefix, cluster, label, and share of the work.

An event is wanted if it passes every filter that is given; of several values of one filter, one
must fit, but of labels all. What an event does not carry itself is looked up in the stream at the
position that is its id: the name of a lease's pool, the cluster that a lease was granted to. So
a consumer that starts in the middle chooses as one that has read everything.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Final, NamedTuple, get_args

from engine import events as ev
from engine.addresses import Address, RangeSet, Subnet, parse_subnet
from engine.entry import Record
from engine.errors import InvalidInput
from engine.events import Event
from engine.names import check_name
from engine.reading import find_entry
from engine.spans import span_of
from engine.stream import Stream
from engine.wire import REGISTRY, decode_entry
from projections.unpack import unpack_ranges

# What is known of leases without looking it up: some 20 MB at most, whatever is followed.
LEASES_KNOWN_MAX: Final = 100_000
SHARDS_MAX: Final = 65_536
_SHARD: Final = re.compile(r"([1-9][0-9]{0,5})/([1-9][0-9]{0,5})")

# What a change or the end of these was before is not in its event.
_REDEFINED: Final = (
    ev.PoolUpdated, ev.PoolDeleted, ev.ReservationUpdated, ev.ReservationDeleted,
)  # fmt: skip
LeaseEvent = (
    ev.LeaseGranted | ev.LeaseRenewed | ev.LeaseEnded | ev.ConflictReported | ev.LeaseObserved
)
_OF_A_LEASE: Final = get_args(LeaseEvent)


class Shard(NamedTuple):
    """One of several shares of the work: ``number`` ``of`` so many, from 1."""

    number: int
    of: int

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def has(self, address: bytes) -> bool:
        """Whether an address is of this share: the same on every machine, and for ever."""
        return shard_number(address, self.of) == self.number


def shard_number(address: bytes, count: int) -> int:
    """Which of `count` shares an address is of, from 1: by the SHA-256 of its bytes."""
    return int.from_bytes(sha256(address).digest()[:8]) % count + 1


def parse_shard(text: str) -> Shard:
    """A share as ``2/5``.

    Raises:
        InvalidInput: it is none.
    """
    match = _SHARD.fullmatch(text)
    shard = Shard(int(match[1]), int(match[2])) if match else Shard(1, 0)
    if not 1 <= shard.number <= shard.of <= SHARDS_MAX:
        message = f"{text[:60]!r} is not a share of the work"
        raise InvalidInput(message, "for example 2/5: the second of five, from 1/5 to 5/5")
    return shard


def event_types(names: Sequence[str]) -> frozenset[str]:
    """The types of those names, however they are capitalised.

    Raises:
        InvalidInput: there is no such type.
    """
    known = {cls.__name__.lower(): cls.__name__ for cls in REGISTRY.classes}
    known["informational"] = "Informational"
    for name in names:
        if name.lower() not in known:
            message = f"{name[:60]!r} is not a type of event"
            raise InvalidInput(message, f"one of {', '.join(known.values())}")
    return frozenset(known[name.lower()] for name in names)


class Selection(NamedTuple):
    """What a consumer wants; empty is everything."""

    types: frozenset[str] = frozenset()
    pools: frozenset[str] = frozenset()
    prefixes: tuple[Subnet, ...] = ()
    clusters: frozenset[str] = frozenset()
    labels: tuple[tuple[str, str], ...] = ()
    shard: Shard | None = None

    @classmethod
    def read(
        cls,
        *,
        types: Sequence[str] = (),
        pools: Sequence[str] = (),
        prefixes: Sequence[str] = (),
        clusters: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        shard: str | None = None,
    ) -> Selection:
        """A selection from words.

        Raises:
            InvalidInput: a word cannot be understood.
        """
        return cls(
            event_types(types),
            frozenset(check_name(pool, "pool") for pool in pools),
            tuple(parse_subnet(prefix) for prefix in prefixes),
            frozenset(clusters),
            tuple(sorted((labels or {}).items())),
            None if shard is None else parse_shard(shard),
        )

    def words(self) -> list[str]:
        """The selection in words, for people."""
        told = [f"type={name}" for name in sorted(self.types)]
        told += [f"pool={name}" for name in sorted(self.pools)]
        told += [f"prefix={prefix}" for prefix in self.prefixes]
        told += [f"cluster={name}" for name in sorted(self.clusters)]
        told += [f"label={key}={value}" for key, value in self.labels]
        return [*told, *([f"shard={self.shard}"] if self.shard else [])]

    def wants(self, record: Record, known: Known) -> bool:
        """Whether an event passes every filter.

        Raises:
            Unavailable: what must be looked up cannot be read.
        """
        event = record.event
        return (
            (not self.types or type(event).__name__ in self.types)
            and (self.shard is None or self._in_shard(event, self.shard))
            and (not self.prefixes or self._in_prefixes(event))
            and (not self.labels or self._has_labels(record))
            and (not self.pools or known.pool_of(record) in self.pools)
            and (not self.clusters or known.cluster_of(record) in self.clusters)
        )

    @staticmethod
    def _in_shard(event: Event, shard: Shard) -> bool:
        return not isinstance(event, _OF_A_LEASE) or shard.has(event.address)

    def _in_prefixes(self, event: Event) -> bool:
        """Whether any of its addresses is in a prefix; see `_REDEFINED` for those that pass."""
        if isinstance(event, _REDEFINED):
            return True
        held = _addresses_of(event)
        return any(
            held.family == prefix.family and bool(held & _ranges(prefix))
            for prefix in self.prefixes
            if held is not None
        )

    def _has_labels(self, record: Record) -> bool:
        if isinstance(record.event, _REDEFINED):
            return True
        held = record.sealed.labels
        return all(label in held for label in self.labels)


def _ranges(prefix: Subnet) -> RangeSet:
    return RangeSet.of_sorted(prefix.family, ((prefix.first, prefix.last),))


def _addresses_of(event: Event) -> RangeSet | None:
    """The addresses that an event speaks of; None if it speaks of none."""
    if isinstance(event, _OF_A_LEASE):
        return span_of(Address(event.address), event.prefix_length)
    if isinstance(event, ev.PoolCreated):
        return unpack_ranges(event.ips, 4 if len(event.subnet[0]) == 4 else 6)
    if isinstance(event, ev.ReservationCreated | ev.Quarantined | ev.QuarantineEnded):
        return unpack_ranges(event.ips, 4 if event.family == 4 else 6)
    return None


class Known:
    """What the events do not say themselves: kept of those that went by, else looked up."""

    def __init__(
        self, stream: Stream, *, clusters: bool = True, leases_max: int = LEASES_KNOWN_MAX
    ) -> None:
        """Look up in `stream`; if `clusters` are asked for, keep those of so many leases."""
        self._notes_clusters = clusters
        self._stream = stream
        self._leases_max = leases_max
        self._pools: dict[int, str] = {}
        self._clusters: OrderedDict[int, str | None] = OrderedDict()

    def note(self, record: Record) -> None:
        """Keep what an event says that a later one will not say again."""
        event = record.event
        if isinstance(event, ev.PoolCreated):
            self._pools[record.position] = event.name
        elif self._notes_clusters and isinstance(event, ev.LeaseGranted):
            self._keep(record.position, event.cluster)

    def pool_of(self, record: Record) -> str | None:
        """The name of the pool that an event is about; None if it is about none."""
        event = record.event
        if isinstance(event, ev.PoolUpdated):
            return event.pool.name
        if isinstance(event, ev.PoolCreated | ev.PoolDeleted):
            return event.name
        if not isinstance(event, _OF_A_LEASE):
            return None
        pool_id = event.pool_id
        if pool_id not in self._pools:
            made = self._event_at(pool_id)
            self._pools[pool_id] = made.name if isinstance(made, ev.PoolCreated) else ""
        return self._pools[pool_id]

    def cluster_of(self, record: Record) -> str | None:
        """The cluster that an event's lease was granted to; None if it is about none."""
        event = record.event
        if isinstance(event, ev.LeaseGranted):
            return event.cluster
        if not isinstance(event, _OF_A_LEASE):
            return None
        if event.lease not in self._clusters:
            granted = self._event_at(event.lease)
            cluster = granted.cluster if isinstance(granted, ev.LeaseGranted) else None
            self._keep(event.lease, cluster)
        return self._clusters[event.lease]

    def _keep(self, lease: int, cluster: str | None) -> None:
        self._clusters[lease] = cluster
        if len(self._clusters) > self._leases_max:
            self._clusters.popitem(last=False)

    def _event_at(self, position: int) -> Event | None:
        raw = find_entry(self._stream, position)
        return None if raw is None else decode_entry(raw).event
