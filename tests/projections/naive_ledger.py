"""A ledger as plainly as it can be said: sets and dictionaries of numbers, and no cleverness.

It is told the same commands as the real one and says what the answer must be. Addresses are
numbers; those of the two families that the tests use do not meet. Its time is the caller's: what
has rested is free with the next thing that happens, as in the real one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from engine.addresses import RangeSet, Subnet, to_int
from engine.commands import (
    Allocate,
    Apply,
    Delete,
    PutBack,
    PutPool,
    PutReservation,
    Release,
    Renew,
    SetAside,
)
from engine.facts import Counts
from engine.model import PoolSpec, ReservationSpec


def members(ranges: RangeSet) -> set[int]:
    """Every address of a set of ranges, one by one."""
    return {value for first, last in ranges.ranges for value in range(first, last + 1)}


def block(subnet: Subnet) -> set[int]:
    """Every address of a subnet, one by one; the tests keep them small."""
    return set(range(subnet.first, subnet.last + 1))


class Answer(NamedTuple):
    """What must become of a command: why it is refused, or what it changes."""

    refused: str | None = None
    granted: frozenset[int] = frozenset()
    ended: frozenset[int] = frozenset()
    held: frozenset[int] = frozenset()
    changed: int = 0


class Refused(Exception):
    """The answer is no, of this kind."""


@dataclass(frozen=True)
class NaivePool:
    """A pool by its name."""

    spec: PoolSpec
    terminating: bool = False

    @property
    def mine(self) -> set[int]:
        """Its addresses."""
        return members(self.spec.ips) - members(self.spec.exclude_ips)

    @property
    def blocked(self) -> bool:
        """Whether it gives out nothing new."""
        return self.terminating or self.spec.disabled


@dataclass(frozen=True)
class NaiveLease:
    """A lease by its id."""

    pool: str
    value: int
    owner: str
    interface: str
    uid: str | None
    ttl_s: int | None
    expires_at_ms: int | None

    def is_due(self, now_ms: int) -> bool:
        """Whether it may be expired."""
        return self.expires_at_ms is not None and self.expires_at_ms <= now_ms


@dataclass
class NaiveQuarantine:
    """What was set aside at once and has not been put back."""

    values: set[int]
    ends_at_ms: int | None


@dataclass
class NaiveLedger:
    """Pools and reservations by name, leases by id, quarantines in a list."""

    now_ms: int
    pools: dict[str, NaivePool] = field(default_factory=dict)
    reservations: dict[str, ReservationSpec] = field(default_factory=dict)
    leases: dict[int, NaiveLease] = field(default_factory=dict)
    was_lease: set[int] = field(default_factory=set)
    reserved_at_ms: dict[str, int] = field(default_factory=dict)
    ready_ms: dict[int, int] = field(default_factory=dict)  # of what rests
    quarantines: list[NaiveQuarantine] = field(default_factory=list)
    reports: dict[int, int | None] = field(default_factory=dict)  # by lease: for how many seconds

    # -------------------------------------------------------------------------- what there is

    def leased(self) -> set[int]:
        """Every address that somebody holds."""
        return {lease.value for lease in self.leases.values()}

    def reserved(self, but_for: str | None = None) -> set[int]:
        """Every address that is kept, whoever for; or from this owner."""
        kept: set[int] = set()
        for spec in self.reservations.values():
            if but_for is None or spec.owner != but_for:
                kept |= members(spec.ips)
        return kept

    def own(self, owner: str) -> set[int]:
        """What reservations keep for an owner and for nobody else."""
        mine: set[int] = set()
        for spec in self.reservations.values():
            if spec.owner == owner:
                mine |= members(spec.ips)
        return mine - self.reserved(but_for=owner)

    def quarantined(self) -> set[int]:
        """Every address that is set aside."""
        return {value for aside in self.quarantines for value in aside.values}

    def free(self, name: str) -> set[int]:
        """What a pool may give to anybody."""
        taken = self.leased() | self.reserved() | self.quarantined() | self.ready_ms.keys()
        return self.pools[name].mine - taken

    def counts(self, name: str) -> Counts:
        """Each address put into the first bucket that applies."""
        left = mine = self.pools[name].mine
        sizes = []
        for bucket in (self.leased(), self.quarantined(), set(self.ready_ms), self.reserved()):
            sizes.append(len(left & bucket))
            left = left - bucket
        leased, quarantined, cooling, reserved = sizes
        return Counts(len(mine), leased, quarantined, cooling, reserved, len(left))

    def end_of(self, seconds: int | None) -> int | None:
        """When something ends that lasts so long from now."""
        return None if seconds is None else self.now_ms + seconds * 1_000

    def something_happened(self) -> None:
        """What has rested by now is free."""
        rest = {value: at for value, at in self.ready_ms.items() if at > self.now_ms}
        self.ready_ms = rest

    def holding(self, owner: str, interface: str | None) -> list[int]:
        """The leases of an owner by id."""
        return sorted(
            lease_id for lease_id, lease in self.leases.items()
            if lease.owner == owner and interface in {None, lease.interface}
        )  # fmt: skip

    def forget_the_gone(self) -> None:
        """A terminating pool without leases is no more."""
        used = {lease.pool for lease in self.leases.values()}
        for name in [n for n, pool in self.pools.items() if pool.terminating and n not in used]:
            del self.pools[name]

    # ------------------------------------------------------------------------------ definitions

    def apply(self, command: Apply) -> Answer:
        """Everything that the file says, or nothing."""
        before = (dict(self.pools), dict(self.reservations), dict(self.reserved_at_ms))
        try:
            return Answer(changed=self._apply(command))
        except Refused as refused:
            self.pools, self.reservations, self.reserved_at_ms = before
            return Answer(refused=str(refused))

    def _apply(self, command: Apply) -> int:
        names = [(type(wanted), wanted.name) for wanted in command.objects]
        changed = 0
        for at, wanted in enumerate(command.objects):
            if names[at] in names[:at]:
                raise Refused("invalid")
            if isinstance(wanted, PutPool):
                changed += self._put_pool(wanted, create_only=command.create_only)
            else:
                changed += self._put_reservation(wanted, create_only=command.create_only)
        return changed

    def _put_pool(self, wanted: PutPool, *, create_only: bool) -> bool:
        name, spec = wanted
        present = self.pools.get(name)
        if present is not None:
            if create_only:
                raise Refused("exists")
            if present.spec == spec and not present.terminating:
                return False
            if present.terminating or present.spec.subnet != spec.subnet:
                raise Refused("forbidden")
            removed = present.mine - NaivePool(spec).mine
            if removed & {x.value for x in self.leases.values() if x.pool == name}:
                raise Refused("conflict")
        for other_name, other in self.pools.items():
            same = other.spec.subnet == spec.subnet
            if other_name != name and (
                (not same and block(other.spec.subnet) & block(spec.subnet))
                or (same and other.mine & NaivePool(spec).mine)
            ):
                raise Refused("conflict")
        self.pools[name] = NaivePool(spec)
        return True

    def _put_reservation(self, wanted: PutReservation, *, create_only: bool) -> bool:
        name, spec = wanted
        present = self.reservations.get(name)
        if present is not None:
            if create_only:
                raise Refused("exists")
            if present == spec:
                return False
            if present.ips.family != spec.ips.family:
                raise Refused("forbidden")
        self.reservations[name] = spec
        self.reserved_at_ms[name] = self.now_ms
        return True

    def delete(self, command: Delete) -> Answer:
        """Everything that the list names, or nothing."""
        found = {
            target for target in command.targets
            if target.name in (self.pools if target.kind == "pool" else self.reservations)
        }  # fmt: skip
        if found != set(command.targets) and not command.ignore_not_found:
            return Answer(refused="not_found")
        changed = 0
        ended: set[int] = set()
        for kind, name in found:
            if kind == "pool" and command.cascade:
                ended |= {i for i, lease in self.leases.items() if lease.pool == name}
            if kind == "reservation":
                del self.reservations[name]
            elif self.pools[name].terminating:
                continue
            else:
                self.pools[name] = replace(self.pools[name], terminating=True)
            changed += 1
        changed += self.end(ended)
        return Answer(ended=frozenset(ended), changed=changed)

    # ---------------------------------------------------------------------------------- leases

    def release(self, command: Release) -> Answer:
        """End what is named and active."""
        if command.leases and (command.owner or command.address or command.labels):
            return Answer(refused="invalid")
        if any(i not in self.leases and i not in self.was_lease for i in command.leases):
            return Answer(refused="not_found")
        ending = {lease_id for lease_id in command.leases if lease_id in self.leases}
        if command.address is not None:
            if command.owner is None:
                return Answer(refused="invalid")
            value = to_int(command.address)
            for lease_id, lease in self.leases.items():
                if lease.value != value:
                    continue
                if lease_id not in self.holding(command.owner, command.interface):
                    return Answer(refused="conflict")
                ending.add(lease_id)
        elif command.owner is not None:
            ending |= set(self.holding(command.owner, command.interface))
        elif not command.leases:
            return Answer(refused="invalid")
        return Answer(ended=frozenset(ending), changed=self.end(ending))

    def end(self, ending: Iterable[int]) -> int:
        """These leases are no more: their addresses rest, or are set aside. How much is written."""
        changed = 0
        for lease_id in ending:
            lease = self.leases.pop(lease_id)
            changed += 1
            rest_s = self.pools[lease.pool].spec.cooldown_s
            if rest_s:
                self.ready_ms[lease.value] = self.now_ms + rest_s * 1_000
            if lease_id in self.reports:
                ends_at_ms = self.end_of(self.reports.pop(lease_id))
                self.quarantines.append(NaiveQuarantine({lease.value}, ends_at_ms))
                changed += 1
        self.forget_the_gone()
        return changed

    def renew(self, command: Renew) -> Answer:
        """It lasts as long from now as is said, or as it did before."""
        lease = self.leases.get(command.lease)
        if lease is None:
            return Answer(refused="conflict" if command.lease in self.was_lease else "not_found")
        ttl_s = lease.ttl_s if command.ttl_s is None else command.ttl_s
        if ttl_s is None:
            return Answer(held=frozenset({command.lease}))
        ends_ms, lasts = self.now_ms + ttl_s * 1_000, lease.expires_at_ms
        if not command.may_shorten and (lasts is None or ends_ms < lasts):
            return Answer(refused="conflict")
        self.leases[command.lease] = replace(lease, ttl_s=ttl_s, expires_at_ms=ends_ms)
        return Answer(changed=1)

    # --------------------------------------------------------------------------- time and trouble

    def sweep(self) -> Answer:
        """Everything past its time ends."""
        ended = {i for i, lease in self.leases.items() if lease.is_due(self.now_ms)}
        late = [q for q in self.quarantines if (q.ends_at_ms or self.now_ms + 1) <= self.now_ms]
        self.quarantines = [q for q in self.quarantines if q not in late]
        gone = [
            name for name, spec in self.reservations.items()
            if spec.for_s and self.reserved_at_ms[name] + spec.for_s * 1_000 <= self.now_ms
        ]  # fmt: skip
        for name in gone:
            del self.reservations[name]
        changed = self.end(ended) + len(late) + len(gone)
        return Answer(ended=frozenset(ended), changed=changed)

    def set_aside(self, command: SetAside) -> Answer:
        """What is free at once, what is leased when its lease ends; nothing twice."""
        values = members(command.ips)
        leases = {i: lease.value for i, lease in self.leases.items() if lease.value in values}
        if values & self.quarantined() or leases.keys() & self.reports.keys():
            return Answer(refused="conflict")
        self.reports |= dict.fromkeys(leases, command.for_s)
        rest = values - set(leases.values())
        if rest:
            self.quarantines.append(NaiveQuarantine(rest, self.end_of(command.for_s)))
        return Answer(changed=len(leases) + bool(rest))

    def put_back(self, command: PutBack) -> Answer:
        """All of these, out of whatever quarantines they are in."""
        values = members(command.ips)
        if values - self.quarantined():
            return Answer(refused="not_found")
        touched = [aside for aside in self.quarantines if aside.values & values]
        for aside in touched:
            aside.values -= values
        self.quarantines = [aside for aside in self.quarantines if aside.values]
        return Answer(changed=len(touched))

    # ---------------------------------------------------------------------------------- granting

    def allocate(self, command: Allocate) -> Answer:
        """What the owner is given; the leases are entered by `enter`, once they have their ids."""
        try:
            return _Allocation(self, command).answer()
        except Refused as refused:
            return Answer(refused=str(refused))

    def enter(self, lease_id: int, value: int, command: Allocate) -> None:
        """A lease that was granted."""
        names = {name for group in command.groups for name in group} & self.pools.keys()
        (name,) = (name for name in names if value in self.pools[name].mine)
        ttl_s = command.ttl_s if command.ttl_s is not None else self.pools[name].spec.ttl_s
        self.leases[lease_id] = NaiveLease(
            name, value, command.owner, command.interface, command.uid, ttl_s, self.end_of(ttl_s)
        )
        self.ready_ms.pop(value, None)  # it rested, or its owner has a new incarnation
        self.was_lease.add(lease_id)


class _Allocation:
    """One command that asks for addresses."""

    def __init__(self, ledger: NaiveLedger, command: Allocate) -> None:
        self.ledger = ledger
        self.command = command
        self.granted: set[int] = set()
        self.ended: set[int] = set()
        self.held: set[int] = set()
        self.kept: set[int] = set()  # addresses of leases that the command speaks of

    def answer(self) -> Answer:
        command = self.command
        names = [name for group in command.groups for name in group]
        if any(name not in self.ledger.pools for name in names):
            raise Refused("not_found")
        asked = {to_int(address) for address in command.addresses}
        most = command.number * len(command.groups)
        if len(set(names)) < len(names) or not len(asked) == len(command.addresses) <= most:
            raise Refused("invalid")
        for group in command.groups:
            self.serve(group, asked)
        if asked - set().union(*(self.ledger.pools[name].mine for name in names)):
            raise Refused("invalid")
        changed = len(self.granted) + len(self.ended)
        changed += len(self.ended & self.ledger.reports.keys())
        granted, ended, held = map(frozenset, (self.granted, self.ended, self.held))
        return Answer(None, granted, ended, held, changed)

    def serve(self, group: tuple[str, ...], asked: set[int]) -> None:
        """One group of pools: what is asked for, what is held, and what is missing."""
        ledger, command = self.ledger, self.command
        mine = set().union(*(ledger.pools[name].mine for name in group))
        holding = [
            lease_id for lease_id in ledger.holding(command.owner, command.interface)
            if ledger.leases[lease_id].pool in group
        ]  # fmt: skip
        holding.sort(key=lambda lease_id: ledger.leases[lease_id].value not in asked)
        del holding[command.number :]
        held_values = {ledger.leases[lease_id].value for lease_id in holding}
        self.kept |= held_values
        wanted = (asked & mine) - held_values
        missing = command.number - len(holding)
        if len(wanted) > missing:
            raise Refused("conflict" if holding else "invalid")
        for value in sorted(wanted, key=list(map(to_int, command.addresses)).index):
            self.grant_this(value, group)
        for lease_id in holding:
            self.keep(lease_id, group, asked)
        for _more in range(missing - len(wanted)):
            self.grant_any(group)

    def grant_this(self, value: int, group: tuple[str, ...]) -> None:
        """Exactly this address."""
        (pool,) = (p for p in (self.ledger.pools[name] for name in group) if value in p.mine)
        if pool.blocked:
            raise Refused("forbidden")
        ledger = self.ledger
        if value in ledger.leased() and not self.expire(value):
            raise Refused("conflict")
        if value in ledger.quarantined():
            raise Refused("forbidden")
        if ledger.ready_ms.get(value, 0) > ledger.now_ms:
            raise Refused("conflict")
        if value in ledger.reserved(but_for=self.command.owner):
            raise Refused("forbidden")
        self.granted.add(value)

    def expire(self, value: int) -> bool:
        """End an overdue lease, if its address can be granted in the same commit."""
        ledger = self.ledger
        ((lease_id, lease),) = (it for it in ledger.leases.items() if it[1].value == value)
        if (
            not lease.is_due(ledger.now_ms)
            or ledger.pools[lease.pool].spec.cooldown_s
            or lease_id in ledger.reports
            or lease_id in self.ended
            or value in ledger.reserved(but_for=self.command.owner) | self.kept
        ):
            return False
        self.ended.add(lease_id)
        return True

    def keep(self, lease_id: int, group: tuple[str, ...], asked: set[int]) -> None:
        """What is held stays, or begins anew for a new incarnation."""
        lease, command = self.ledger.leases[lease_id], self.command
        if command.uid is None or command.uid == lease.uid:
            if command.ttl_s not in {None, lease.ttl_s}:
                raise Refused("conflict")
            self.held.add(lease_id)
            return
        self.ended.add(lease_id)
        closed = lease.value in self.ledger.reserved(but_for=command.owner)
        closed |= lease_id in self.ledger.reports
        if not closed and not self.ledger.pools[lease.pool].blocked:
            self.granted.add(lease.value)
        elif lease.value in asked:
            raise Refused("forbidden")
        else:
            self.grant_any(group)

    def grant_any(self, group: tuple[str, ...]) -> None:
        """The owner's own address, else the lowest, else what time has freed; pool after pool."""
        ledger = self.ledger
        for name in group:
            if ledger.pools[name].blocked:
                continue
            mine = ledger.pools[name].mine
            resting = {v for v, at in ledger.ready_ms.items() if at > ledger.now_ms}
            own = ledger.own(self.command.owner) & mine
            own -= ledger.leased() | ledger.quarantined() | resting
            for choice in (own - self.granted, ledger.free(name) - self.granted):
                if choice:
                    self.granted.add(min(choice))
                    return
            closed = ledger.reserved() | ledger.quarantined() | resting | self.granted
            rested = (ledger.ready_ms.keys() & mine) - closed
            if rested:
                self.granted.add(min(rested, key=lambda value: (ledger.ready_ms[value], value)))
                return
            due = [(x.expires_at_ms, i, x) for i, x in ledger.leases.items()
                   if x.pool == name and x.is_due(ledger.now_ms)]  # fmt: skip
            for _at, _id, lease in sorted(due, key=lambda entry: entry[:2]):
                if self.expire(lease.value):
                    self.granted.add(lease.value)
                    return
        blocked = all(ledger.pools[name].blocked for name in group)
        raise Refused("forbidden" if blocked else "exhausted")
