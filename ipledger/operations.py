"""What can be done to a ledger, once for both faces: the plain API and the asyncio one.

An operation is a command with the way to read its answer. `Ledger` runs one and waits; an
`AsyncLedger` runs the same one and awaits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Unpack

from engine import events as ev
from engine.addresses import RangeSet
from engine.commands import (
    Allocate,
    AllocateTogether,
    Apply,
    Command,
    Delete,
    PutBack,
    PutPool,
    PutReservation,
    Raise,
    Release,
    Renew,
    SetAside,
    Sweep,
    Target,
)
from engine.errors import InvalidInput
from engine.facts import Lease
from engine.model import DEFAULT_INTERFACE
from engine.names import check_interface, check_labels, check_name, check_text
from engine.pool_spec import check_seconds
from ipledger.asking import (
    Around,
    Pools,
    lease_labels,
    read_families,
    read_groups,
    read_requester,
    read_whole,
)
from ipledger.held_texts import check_lease, read_released, read_wanted
from ipledger.operation import (
    Allocated,
    Applied,
    Aside,
    Operation,
    Released,
    Swept,
    make_claim,
)
from ipledger.writing import Done, Held
from projections.lease_fields import granted_lease


def apply(
    *objects: PutPool | PutReservation,
    create_only: bool = False,
    command_id: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    timeout_s: float | None = None,
) -> Operation[tuple[Applied, ...]]:
    """Define pools and reservations: all of them in one commit, or none."""
    if not objects:
        message = "there is nothing to apply"
        raise InvalidInput(message, "name at least one object")

    def read(outcome: Done | Held) -> tuple[Applied, ...]:
        did: dict[tuple[str, str], str] = {}
        for record in outcome.records if isinstance(outcome, Done) else ():
            match record.event:
                case ev.PoolCreated(name=name):
                    did["pool", name] = "created"
                case ev.PoolUpdated(pool=pool):
                    did["pool", pool.name] = "configured"
                case ev.ReservationCreated(name=name):
                    did["reservation", name] = "created"
                case ev.ReservationUpdated(reservation=reservation):
                    did["reservation", reservation.name] = "configured"
        kinds = [("pool" if isinstance(o, PutPool) else "reservation", o.name) for o in objects]
        return tuple(Applied(*kind, did.get(kind, "unchanged")) for kind in kinds)

    key, claim = make_claim(command_id, actor, reason)
    return Operation(Apply(objects, create_only), claim, key, timeout_s, read)


def delete(
    *targets: Target,
    ignore_not_found: bool = False,
    cascade: bool = False,
    command_id: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    timeout_s: float | None = None,
) -> Operation[tuple[Applied, ...]]:
    """Delete pools and reservations in one commit. A pool with leases is then terminating.

    With `cascade` the pools' leases are revoked, in as many commits as that takes.
    """
    for target in targets:
        check_name(target.name, target.kind)

    def read(outcome: Done | Held) -> tuple[Applied, ...]:
        gone = {
            ("pool" if isinstance(record.event, ev.PoolDeleted) else "reservation",
             record.event.name)
            for record in (outcome.records if isinstance(outcome, Done) else ())
            if isinstance(record.event, ev.PoolDeleted | ev.ReservationDeleted)
        }  # fmt: skip
        return tuple(
            Applied(*target, "deleted" if tuple(target) in gone else "unchanged")
            for target in dict.fromkeys(targets)
        )

    key, claim = make_claim(command_id, actor, reason)
    command = Delete(targets, ignore_not_found, cascade)
    return Operation(command, claim, key, timeout_s, read, series=cascade)


def raise_level(
    level: int = ev.LEVEL,
    *,
    command_id: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    timeout_s: float | None = None,
) -> Operation[bool]:
    """Raise the space's format level; False if it has that level already.

    Releases that do not know the level stop reading the stream there: see that every reader, each
    consumer and mirror included, has a release that does. A level is never lowered.

    Raises:
        InvalidInput: `level` is no level.
    """
    if type(level) is not int or not 1 <= level < 1 << 63:
        raise InvalidInput("that is no format level", f"levels are numbers from 1 to {ev.LEVEL}")

    def read(outcome: Done | Held) -> bool:
        return isinstance(outcome, Done)

    key, claim = make_claim(command_id, actor, reason)
    return Operation(Raise(level), claim, key, timeout_s, read)


def _maybe_whole(value: int | None, what: str) -> int | None:
    return None if value is None else read_whole(value, what)


def allocate(
    pools: Pools,
    owner: str,
    *,
    interface: str | Sequence[str] = DEFAULT_INTERFACE,
    uid: str | None = None,
    addresses: Sequence[str] = (),
    count: int = 1,
    ttl_s: int | None = None,
    labels: Mapping[str, str] | None = None,
    cluster: str | None = None,
    effective_at_ms: int | None = None,
    prefix_length: int | None = None,
    families: Sequence[int] = (),
    command_id: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    timeout_s: float | None = None,
    **around: Unpack[Around],
) -> Operation[Allocated]:
    """Bring an owner to `count` addresses from each group of pools, all or nothing.

    Args:
        pools: a pool; ``"a,b"`` for b if a is exhausted; a list for one from each at once. A name
            may be a pattern, such as ``"web-*"``; None stands for the default pools.
        owner: who holds the address: for a pod, ``cluster/namespace/name``.
        interface: together with the owner, the identity of the holder; several are granted
            together or not at all.
        uid: the owner's incarnation; another one supersedes the lease of the one before.
        addresses: specific addresses, in words.
        count: how many the owner shall hold from each group.
        ttl_s: how long the lease lasts, in whole seconds; the pool's default otherwise.
        labels: free pairs to find the lease by; of a pod, its labels.
        cluster: which cluster asks.
        effective_at_ms: since when it has been so, if that is earlier than now.
        prefix_length: aligned blocks of this length instead of addresses.
        families: IP versions: of the default pools, or of each group of pools.
        command_id: makes a repetition of this very command safe.
        actor: who asks, as claimed.
        reason: why.
        timeout_s: how long to wait for an answer.
        around: where the pod runs, for pools that select by it.

    Raises:
        InvalidInput: an argument cannot be understood.
    """
    interfaces = [interface] if isinstance(interface, str) else list(interface)
    requester = read_requester(around)
    first = Allocate(
        read_groups(pools),
        check_text(owner, "owner"),
        check_interface(interfaces[0]),
        uid=None if uid is None else check_text(uid, "uid"),
        addresses=tuple([read_wanted(text, prefix_length) for text in addresses]),
        number=read_whole(count, "count"),
        ttl_s=None if ttl_s is None else check_seconds(ttl_s, "ttl"),
        labels=lease_labels(labels, requester),
        cluster=None if cluster is None else check_text(cluster, "cluster"),
        effective_at_ms=_maybe_whole(effective_at_ms, "effective_at_ms"),
        prefix_length=_maybe_whole(prefix_length, "prefix_length"),
        requester=requester,
        families=read_families(families) if families else (),
    )
    command: Command = first
    if len(interfaces) > 1:
        others = (first._replace(interface=check_interface(name)) for name in interfaces[1:])
        command = AllocateTogether((first, *others))
    key, claim = make_claim(command_id, actor, reason)
    return Operation(command, claim, key, timeout_s, _read_allocated)


def _read_allocated(outcome: Done | Held) -> Allocated:
    if isinstance(outcome, Held):
        return Allocated((), tuple(lease.lease_id for lease in outcome.leases), repeated=False)
    granted: list[Lease] = []
    held: list[int] = []
    for record in outcome.records:
        if isinstance(record.event, ev.LeaseGranted):
            granted.append(granted_lease(record, record.event))
            held += record.event.beside
    return Allocated(tuple(granted), tuple(held), outcome.repeated)


def together(first: Operation[Allocated], *others: Operation[Allocated]) -> Operation[Allocated]:
    """All of these allocations in one commit, or none; who asks and why is as of the first."""
    requests: list[Allocate] = []
    for command in (first.command, *(other.command for other in others)):
        if isinstance(command, AllocateTogether):
            requests += command.requests
        else:
            assert isinstance(command, Allocate), "nothing else answers with what was allocated"
            requests.append(command)
    return first._replace(command=AllocateTogether(tuple(requests))) if others else first


def release(
    *leases: int,
    owner: str | None = None,
    interface: str | None = None,
    address: str | None = None,
    labels: Mapping[str, str] | None = None,
    effective_at_ms: int | None = None,
    command_id: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    timeout_s: float | None = None,
) -> Operation[Released]:
    """End leases: by id, all of an owner's (on an interface), one address, or all with labels.

    `effective_at_ms` is since when they have ended, if that is earlier than now.

    Raises:
        InvalidInput: an argument cannot be understood.
    """
    command = Release(
        leases=tuple(sorted(set(map(check_lease, leases)))),
        owner=None if owner is None else check_text(owner, "owner"),
        interface=None if interface is None else check_interface(interface),
        address=None if address is None else read_released(address),
        labels=check_labels(labels or {}),
        effective_at_ms=_maybe_whole(effective_at_ms, "effective_at_ms"),
    )

    def read(outcome: Done | Held) -> Released:
        records = outcome.records if isinstance(outcome, Done) else ()
        ended = tuple(r.event.lease for r in records if isinstance(r.event, ev.LeaseEnded))
        return Released(ended, records)

    key, claim = make_claim(command_id, actor, reason)
    return Operation(command, claim, key, timeout_s, read, series=True)


def renew(
    lease: int,
    *,
    ttl_s: int | None = None,
    may_shorten: bool = False,
    command_id: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    timeout_s: float | None = None,
) -> Operation[int | None]:
    """Let a lease go on; answers until when (milliseconds), or None for one without an end.

    Raises:
        InvalidInput: an argument cannot be understood.
    """
    check_lease(lease)
    checked = None if ttl_s is None else check_seconds(ttl_s, "ttl")

    def read(outcome: Done | Held) -> int | None:
        if isinstance(outcome, Held):
            return outcome.leases[0].expires_at_ms
        (record,) = outcome.records
        assert isinstance(record.event, ev.LeaseRenewed), "that is what renewing writes"
        ttl = record.event.ttl_s
        return None if ttl is None else record.ms + ttl * 1_000

    key, claim = make_claim(command_id, actor, reason)
    return Operation(Renew(lease, checked, may_shorten), claim, key, timeout_s, read)


def sweep(
    *,
    command_id: str | None = None,
    actor: str | None = None,
    timeout_s: float | None = None,
) -> Operation[Swept]:
    """End what is past its time: leases, reservations, quarantines."""

    def read(outcome: Done | Held) -> Swept:
        records = outcome.records if isinstance(outcome, Done) else ()
        events = [record.event for record in records]
        return Swept(
            tuple(event.lease for event in events if isinstance(event, ev.LeaseEnded)),
            tuple(event.name for event in events if isinstance(event, ev.ReservationDeleted)),
            tuple(event.quarantine for event in events if isinstance(event, ev.QuarantineEnded)),
        )

    key, claim = make_claim(command_id, actor, None)
    return Operation(Sweep(), claim, key, timeout_s, read, series=True)


def quarantine(
    *entries: str,
    reason: str,
    for_s: int | None = None,
    command_id: str | None = None,
    actor: str | None = None,
    timeout_s: float | None = None,
) -> Operation[Aside]:
    """Set addresses aside because something else answers on them; leased ones at their release."""
    ips = RangeSet.parse(entries, allow_cidr=True)
    duration_s = None if for_s is None else check_seconds(for_s, "for")
    command = SetAside(ips, check_text(reason, "reason"), duration_s)

    def read(outcome: Done | Held) -> Aside:
        records = outcome.records if isinstance(outcome, Done) else ()
        return Aside(
            tuple(r.position for r in records if isinstance(r.event, ev.Quarantined)),
            tuple(r.event.lease for r in records if isinstance(r.event, ev.ConflictReported)),
        )

    key, claim = make_claim(command_id, actor, None)
    return Operation(command, claim, key, timeout_s, read)


def unquarantine(
    *entries: str,
    command_id: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    timeout_s: float | None = None,
) -> Operation[tuple[int, ...]]:
    """Let addresses be given out again; answers which quarantines ended, at least in part."""
    command = PutBack(RangeSet.parse(entries, allow_cidr=True))

    def read(outcome: Done | Held) -> tuple[int, ...]:
        records = outcome.records if isinstance(outcome, Done) else ()
        return tuple(r.event.quarantine for r in records if isinstance(r.event, ev.QuarantineEnded))

    key, claim = make_claim(command_id, actor, reason)
    return Operation(command, claim, key, timeout_s, read)
