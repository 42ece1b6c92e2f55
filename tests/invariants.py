"""What must be true of every history, said as plainly as it can be: sets and dictionaries.

The checker folds records by itself and shares nothing with `projections`, which it is there to
doubt: an address is a number, a pool is a set of them. It is for the small pools of tests.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from engine import events as ev
from engine.entry import Record
from engine.facts import Counts
from engine.model import ENDINGS
from engine.reading import Continuity, read_commits
from engine.stream import Stream
from projections.digest import state_digest
from projections.state import LedgerState

COMMANDS_WINDOW: Final = 100_000
_EXPIRED: Final = ENDINGS.index("expired")
_SUPERSEDED: Final = ENDINGS.index("superseded")


def check_stream(stream: Stream, *digests: str) -> list[Record]:
    """Check everything that a stream has ever held; return its records.

    Raises:
        AssertionError: an invariant is broken at a commit end, or a live state's digest among
            `digests` is not that of the history.
    """
    records = [record for page in read_commits(stream, Continuity()) for record in page]
    check_history(records, *digests)
    return records


def check_history(records: Sequence[Record], *digests: str) -> None:
    """As `check_stream`, for records that have been read."""
    checker, state = Checker(), LedgerState()
    commit: list[Record] = []
    for record in records:
        commit.append(record)
        if record.commit.ends_here:
            checker.fold(commit)
            state.apply_all(commit)
            checker.compare(state)
            commit = []
    assert not commit, "the history ends inside a commit"
    replayed = state_digest(state)
    for digest in digests:
        assert digest == replayed, "a live state differs from the replayed one"


def number(raw: bytes) -> int:
    """An address as a number that no address of the other family has."""
    return int.from_bytes(bytes([len(raw)]) + raw)


def members(packed: bytes, width: int) -> set[int]:
    """Every address of packed first-last pairs, one by one."""
    ends = [packed[at : at + width] for at in range(0, len(packed), width)]
    return {
        value
        for first, last in zip(ends[::2], ends[1::2], strict=True)
        for value in range(number(first), number(last) + 1)
    }


@dataclass
class _Pool:
    name: str
    mine: set[int]
    cooldown_s: int
    disabled: bool
    terminating: bool = False


@dataclass
class _Reservation:
    mine: set[int]
    owner: str | None
    began_ms: int
    for_s: int | None


@dataclass
class _Lease:
    pool_id: int
    value: int
    holder: tuple[str | None, str]
    began_ms: int
    expires_ms: int | None
    reported: bool = False


@dataclass
class _Quarantine:
    mine: set[int]
    ends_ms: int | None


@dataclass
class Checker:
    """Everything that is, as of the last commit, and whether that may be."""

    position: int = 0
    ms: int = 0
    pools: dict[int, _Pool] = field(default_factory=dict)
    reservations: dict[int, _Reservation] = field(default_factory=dict)
    leases: dict[int, _Lease] = field(default_factory=dict)
    held: set[int] = field(default_factory=set)
    quarantines: dict[int, _Quarantine] = field(default_factory=dict)
    rests_until_ms: dict[int, int] = field(default_factory=dict)
    ended_ms: dict[int, int] = field(default_factory=dict)
    commands: dict[tuple[bytes, int], int] = field(default_factory=dict)
    # Of the commit that is being folded.
    superseded: dict[int, _Lease] = field(default_factory=dict)
    must_be_aside: dict[int, int] = field(default_factory=dict)

    def require(self, holds: object, message: str) -> None:
        """Raise, naming the position, unless something holds."""
        assert holds, f"position {self.position}: {message}"

    def fold(self, commit: Sequence[Record]) -> None:
        """Take in one whole commit, and check what must be true at its end."""
        first = commit[0]
        self.require(first.ms >= self.ms, "time runs backwards")
        self.superseded, self.must_be_aside = {}, {}
        for part, record in enumerate(commit):
            self.require(record.position == self.position + 1, "the position after it is missing")
            self.position, self.ms = record.position, record.ms
            self.require(record.ms == first.ms, "a commit has two times")
            self.require(record.commit.part == part, "a part of the commit is missing")
            self.require(record.commit.parts == len(commit), "the commit is not whole")
            self.require(record.commit.nonce == first.commit.nonce, "two commits are mixed")
            self.require(record.header[:2] == first.header[:2], "a commit has two commands")
            _FOLDS[type(record.event)](self, record, record.event)
        self._command_is_new(first)
        self._commit_ends()

    def _command_is_new(self, record: Record) -> None:
        key = record.header.command, record.header.step
        before = self.commands.get(key)
        repeated = before is not None and record.position - before < COMMANDS_WINDOW
        self.require(not repeated, f"the command of position {before} lands a second time")
        self.commands[key] = record.position

    def _commit_ends(self) -> None:
        self.require(not self.must_be_aside, "a reported address is not quarantined with its end")
        held = [lease.value for lease in self.leases.values()]
        self.require(len(held) == len(set(held)), "an address has two holders")
        aside = [value for q in self.quarantines.values() for value in q.mine]
        self.require(len(aside) == len(set(aside)), "an address is quarantined twice")
        self.require(set(held).isdisjoint(aside), "a quarantined address is held")
        given_out = [value for pool in self.pools.values() for value in pool.mine]
        self.require(len(given_out) == len(set(given_out)), "an address is in two pools")
        for lease_id, lease in self.leases.items():
            inside = lease.value in self.pools[lease.pool_id].mine
            self.require(inside, f"lease {lease_id} is outside its pool")
        in_use = {lease.pool_id for lease in self.leases.values()}
        for pool_id in [i for i, p in self.pools.items() if p.terminating and i not in in_use]:
            del self.pools[pool_id]

    def counts(self, pool_id: int) -> Counts:
        """The buckets of a pool, counted one address after the other."""
        found = dict.fromkeys(Counts._fields, 0)
        held = {lease.value for lease in self.leases.values()}
        aside = {value for q in self.quarantines.values() for value in q.mine}
        reserved = {value for r in self.reservations.values() for value in r.mine}
        for value in self.pools[pool_id].mine:
            found["total"] += 1
            if value in held:
                found["leased"] += 1
            elif value in aside:
                found["quarantined"] += 1
            elif self.rests_until_ms.get(value, 0) > self.ms:
                found["cooling"] += 1
            elif value in reserved:
                found["reserved"] += 1
            else:
                found["free"] += 1
        return Counts(**found)

    def compare(self, state: LedgerState) -> None:
        """Hold the projection's pools and counts against those that are counted here."""
        theirs = {pool.pool_id: state.counts(pool.pool_id) for pool in state.pools()}
        self.require(theirs.keys() == self.pools.keys(), "the pools differ")
        for pool_id, counts in theirs.items():
            self.require(sum(counts[1:]) == counts.total, f"{counts} do not sum up")
            mine = self.counts(pool_id)
            self.require(counts == mine, f"pool {pool_id} has {mine}, the projection says {counts}")


# ------------------------------------------------------------------------------- one event each


def _nothing(_checker: Checker, _record: Record, _event: object) -> None:
    """It touches no address."""


def _space(checker: Checker, record: Record, _event: ev.SpaceCreated) -> None:
    checker.require(record.position == 1, "a space is created twice")


def _pool(event: ev.PoolCreated) -> _Pool:
    width = len(event.subnet[0])
    mine = members(event.ips, width) - members(event.exclude_ips, width)
    return _Pool(event.name, mine, event.cooldown_s, event.disabled)


def _pool_created(checker: Checker, record: Record, event: ev.PoolCreated) -> None:
    taken = event.name in {pool.name for pool in checker.pools.values()}
    checker.require(not taken, "two pools of one name")
    checker.pools[record.position] = _pool(event)


def _pool_updated(checker: Checker, _record: Record, event: ev.PoolUpdated) -> None:
    before = checker.pools[event.pool_id]
    checker.require(not before.terminating, "a terminating pool is changed")
    checker.require(before.name == event.pool.name, "a pool is renamed")
    checker.pools[event.pool_id] = _pool(event.pool)


def _pool_deleted(checker: Checker, _record: Record, event: ev.PoolDeleted) -> None:
    checker.require(not checker.pools[event.pool_id].terminating, "a pool is deleted twice")
    checker.pools[event.pool_id].terminating = True


def _reserve(record: Record, event: ev.ReservationCreated) -> _Reservation:
    mine = members(event.ips, 4 if event.family == 4 else 16)
    return _Reservation(mine, record.sealed.owner, record.ms, event.for_s)


def _reservation_created(checker: Checker, record: Record, event: ev.ReservationCreated) -> None:
    checker.reservations[record.position] = _reserve(record, event)


def _reservation_updated(checker: Checker, record: Record, event: ev.ReservationUpdated) -> None:
    checker.require(event.reservation_id in checker.reservations, "no such reservation is kept")
    # Its time counts from the change.
    checker.reservations[event.reservation_id] = _reserve(record, event.reservation)


def _reservation_deleted(checker: Checker, record: Record, event: ev.ReservationDeleted) -> None:
    held = checker.reservations.pop(event.reservation_id)
    if event.expired:
        due = held.for_s is not None and held.began_ms + held.for_s * 1_000 <= record.ms
        checker.require(due, "a reservation expires early")


def _granted(checker: Checker, record: Record, event: ev.LeaseGranted) -> None:
    value, pool = number(event.address), checker.pools[event.pool_id]
    holder = record.sealed.owner, event.interface
    effective_ms = record.header.effective_at_ms
    began_ms = record.ms if effective_ms is None else effective_ms
    checker.require(began_ms <= record.ms, "a grant is effective in the future")
    checker.require(began_ms >= checker.ended_ms.get(value, 0), "two tenures overlap in effect")
    checker.require(value in pool.mine, "granted outside the pool")
    checker.require(not pool.terminating and not pool.disabled, "granted from a closed pool")
    checker.require(value not in checker.held, "granted while it is held")
    checker.held.add(value)
    aside = any(value in q.mine for q in checker.quarantines.values())
    checker.require(not aside, "granted while it is quarantined")
    for kept in checker.reservations.values():
        mine = value not in kept.mine or kept.owner == record.sealed.owner
        checker.require(mine, "granted while it is reserved for somebody else or nobody")
    before = checker.superseded.get(event.supersedes or 0)
    if event.supersedes is not None:
        same = before is not None and before.holder == holder
        checker.require(same, "what it supersedes has not ended in this commit, or was another's")
    if before is None or before.value != value:
        rested = checker.rests_until_ms.get(value, 0) <= record.ms
        checker.require(rested, "granted while it rests")
    checker.rests_until_ms.pop(value, None)
    expires_ms = None if event.ttl_s is None else record.ms + event.ttl_s * 1_000
    checker.leases[record.position] = _Lease(event.pool_id, value, holder, began_ms, expires_ms)


def _active(
    checker: Checker, record: Record, event: ev.LeaseRenewed | ev.LeaseEnded | ev.ConflictReported
) -> _Lease:
    checker.require(event.lease in checker.leases, f"lease {event.lease} is not active")
    lease = checker.leases[event.lease]
    said = event.pool_id, number(event.address), (record.sealed.owner, event.interface)
    checker.require(said == (lease.pool_id, lease.value, lease.holder), "it is of another lease")
    return lease


def _renewed(checker: Checker, record: Record, event: ev.LeaseRenewed) -> None:
    lease = _active(checker, record, event)
    lease.expires_ms = None if event.ttl_s is None else record.ms + event.ttl_s * 1_000


def _reported(checker: Checker, record: Record, event: ev.ConflictReported) -> None:
    lease = _active(checker, record, event)
    checker.require(not lease.reported, "a conflict is reported twice")
    lease.reported = True


def _ended(checker: Checker, record: Record, event: ev.LeaseEnded) -> None:
    lease = _active(checker, record, event)
    del checker.leases[event.lease]
    checker.held.remove(lease.value)
    effective_ms = record.header.effective_at_ms
    ended_ms = record.ms if effective_ms is None else effective_ms
    checker.require(lease.began_ms <= ended_ms <= record.ms, "an end is out of its time")
    if event.ended_by == _EXPIRED:
        due = lease.expires_ms is not None and lease.expires_ms <= record.ms
        checker.require(due, f"lease {event.lease} expires early")
    if event.ended_by == _SUPERSEDED:
        checker.superseded[event.lease] = lease
    if lease.reported:
        checker.must_be_aside[event.lease] = lease.value
    checker.ended_ms[lease.value] = ended_ms
    cooldown_ms = checker.pools[lease.pool_id].cooldown_s * 1_000
    checker.rests_until_ms[lease.value] = ended_ms + cooldown_ms


def _quarantined(checker: Checker, record: Record, event: ev.Quarantined) -> None:
    mine = members(event.ips, 4 if event.family == 4 else 16)
    ends_ms = None if event.for_s is None else record.ms + event.for_s * 1_000
    checker.quarantines[record.position] = _Quarantine(mine, ends_ms)
    if event.lease is not None:
        due = checker.must_be_aside.pop(event.lease, None)
        checker.require({due} == mine, "a quarantine names a lease that does not lead to it")


def _put_back(checker: Checker, record: Record, event: ev.QuarantineEnded) -> None:
    quarantine = checker.quarantines[event.quarantine]
    mine = members(event.ips, 4 if event.family == 4 else 16)
    checker.require(mine <= quarantine.mine, "what is put back was not set aside")
    if event.expired:
        due = quarantine.ends_ms is not None and quarantine.ends_ms <= record.ms
        checker.require(due, "a quarantine expires early")
    quarantine.mine -= mine
    if not quarantine.mine:
        del checker.quarantines[event.quarantine]


# A restoration is missing on purpose: after one, positions are not gapless and ids may be void.
_FOLDS: Final[dict[type[Any], Callable[[Checker, Record, Any], None]]] = {
    ev.SpaceCreated: _space,
    ev.LevelRaised: _nothing,
    ev.Informational: _nothing,
    ev.PoolCreated: _pool_created,
    ev.PoolUpdated: _pool_updated,
    ev.PoolDeleted: _pool_deleted,
    ev.ReservationCreated: _reservation_created,
    ev.ReservationUpdated: _reservation_updated,
    ev.ReservationDeleted: _reservation_deleted,
    ev.LeaseGranted: _granted,
    ev.LeaseRenewed: _renewed,
    ev.LeaseEnded: _ended,
    ev.ConflictReported: _reported,
    ev.Quarantined: _quarantined,
    ev.QuarantineEnded: _put_back,
}
