"""The walk along the whole history: every entry once, every rule wherever it applies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from engine import events as ev
from engine.entry import RawEntry, Record
from engine.errors import IntegrityError, InvalidInput
from engine.reading import HighWater, find_entry
from engine.stream import Head, Stream
from projections.collector import seldom_collecting
from replay.audit import definitions, leases, trouble
from replay.audit.beside import FoldBeside
from replay.audit.chain import Chain, Restoration
from replay.audit.entries import Foreign, all_entries, take_apart
from replay.audit.findings import BREACHES_MAX, Breach, Findings
from replay.audit.world import InCommit, World


class Options(NamedTuple):
    """How an audit is made.

    ``to_position`` and ``to_ms`` are where it ends, at most one of them; ``count_every`` is after
    how many positions the state folded beside it is compared, 0 for at the end only. ``remembered``
    is what this machine has seen of the stream. ``fold`` and ``muted`` are for tests: whether the
    state is folded beside it at all, and rules whose breaches are passed over.
    """

    to_position: int | None = None
    to_ms: int | None = None
    count_every: int = 0
    breaches_max: int = BREACHES_MAX
    remembered: HighWater | None = None
    fold: bool = True
    muted: frozenset[str] = frozenset()


class Audited(NamedTuple):
    """What an audit has seen, and what it has found.

    ``breaches`` are the first of ``by_rule.total()`` ones. ``digest`` is that of the state folded
    beside it, None if that was not possible.
    """

    position: int
    ms: int
    first_ms: int
    events: int
    commits: int
    generation: int
    space: ev.SpaceCreated | None
    restorations: tuple[Restoration, ...]
    digest: str | None
    breaches: tuple[Breach, ...]
    by_rule: dict[str, int]

    @property
    def total(self) -> int:
        """How many breaches there are."""
        return sum(self.by_rule.values())


def _nothing(_world: World, _record: Record, _event: object) -> None:
    """It touches no address; what it says of the stream, the chain has checked."""


# The table's key guarantees that each handler is given its own type of event.
_HANDLERS: Final[dict[type[Any], Callable[[World, Record, Any], None]]] = {
    ev.SpaceCreated: _nothing,
    ev.HistoryRestored: _nothing,
    ev.LevelRaised: _nothing,
    ev.DurabilitySet: _nothing,
    ev.Informational: _nothing,
    ev.PoolCreated: definitions.created,
    ev.PoolUpdated: definitions.updated,
    ev.PoolDeleted: definitions.deleted,
    ev.ReservationCreated: trouble.reservation_created,
    ev.ReservationUpdated: trouble.reservation_updated,
    ev.ReservationDeleted: trouble.reservation_deleted,
    ev.LeaseGranted: leases.granted,
    ev.LeaseRenewed: leases.renewed,
    ev.LeaseEnded: leases.ended,
    ev.ConflictReported: leases.reported,
    ev.LeaseObserved: leases.observed,
    ev.Quarantined: trouble.quarantined,
    ev.QuarantineEnded: trouble.put_back,
}


class _Auditor:
    """One audit while it is made."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.findings = Findings(options.breaches_max, options.muted)
        self.world = World(self.findings)
        self.chain = Chain(self.world, options.remembered)
        self.beside = FoldBeside(self.world) if options.fold else None
        self.events = 0
        self.first_ms = 0
        self._commit: list[Record] = []
        self._breaches_before = 0
        self._counted_at = 0

    def take(self, raw: RawEntry | Foreign) -> None:
        """Check one entry, and all that its commit must have been if it ends one."""
        self.events += 1
        self.first_ms = self.first_ms or raw.ms
        if isinstance(raw, Foreign):
            record = None
            says = "it does not have the fields e, s, t, c: another program wrote it"
            self.findings.breach("fields", raw.position, says)
        else:
            record = take_apart(raw, self.findings)
        stands = self.chain.admit(raw, record)
        if record is None or not stands:
            return
        self.world.ms, self.world.position = record.ms, record.position
        _HANDLERS[type(record.event)](self.world, record, record.event)
        self._commit.append(record)
        if not self.chain.inside_commit:
            self._commit_ends(record)

    def _commit_ends(self, last: Record) -> None:
        """Check what must be true of a whole commit, and fold it beside."""
        world, commit = self.world, self.world.commit
        if not self.chain.torn:
            for lease_id in commit.superseded.keys() - commit.successors:
                says = f"lease {lease_id} ends as superseded, and no grant of the commit follows"
                world.breach("supersede", last.position, says, lease_id)
            for at, (lease, report) in commit.must_be_aside.items():
                says = f"lease {lease.lease_id} ends, and what was reported on it is not set aside"
                world.breach("set-aside", at, says, report.position)
            for at, lease_id in commit.beside:
                if world.lease(lease_id) is None and not world.is_unseen(lease_id):
                    says = f"lease {lease_id}, which is named beside the grant, is not held"
                    world.breach("beside", at, says, lease_id)
        if commit.used:
            world.commit = InCommit()
        self.chain.torn = False
        if self.beside is not None:
            sound = self.findings.total == self._breaches_before and self.findings.doubt is None
            self.beside.apply_all(self._commit, sound=sound)
            every = self.options.count_every
            if every and last.position - self._counted_at >= every:
                self._counted_at = last.position
                self.beside.compare()
        self._breaches_before = self.findings.total
        self._commit = []

    def finish(self, *, whole: bool) -> Audited:
        """Check what must be true of the end."""
        self.chain.end(whole=whole)
        digest = None
        if self.beside is not None:
            if self.world.position > self._counted_at and not self._commit:
                self.beside.compare()
            digest = self.beside.digest
        chain, findings = self.chain, self.findings
        return Audited(
            chain.position, chain.ms, self.first_ms, self.events, chain.commits, chain.generation,
            chain.space, tuple(chain.restorations), digest, tuple(findings.kept),
            dict(findings.by_rule),
        )  # fmt: skip


@seldom_collecting()
def audit(
    stream: Stream,
    options: Options = Options(),  # noqa: B008 - a named tuple does not change
    on_progress: Callable[[int], None] | None = None,
) -> Audited:
    """Walk the history once, from its beginning, and check every rule.

    What is damaged or cannot be is noted, and the walk goes on. Memory is that of what is held at
    a time, and of the addresses that ever were. `on_progress` is told, page by page, to which
    position the walk has come.

    Raises:
        InvalidInput: the end that is asked for lies inside a commit (the nearest ends are named),
            is void, before the beginning or beyond the end.
        IntegrityError: the key holds something that is not a stream.
        Unavailable: the stream cannot be read.
    """
    head = stream.head()
    to_position, to_ms = options.to_position, options.to_ms
    if to_position is not None:
        _check_end(stream, head, to_position)
    auditor = _Auditor(options)
    chain = auditor.chain
    goal = head.position if to_position is None else to_position
    for page in all_entries(stream, head):
        for raw in page:
            if to_ms is not None and raw.ms > to_ms and not chain.inside_commit:
                return _stopped(auditor, to_ms)
            if to_position is not None and raw.position > to_position:
                _miss(auditor, raw, to_position)
                return auditor.finish(whole=False)
            auditor.take(raw)
        if on_progress is not None:
            on_progress(chain.position)
    if to_ms is not None and not auditor.events:
        return _stopped(auditor, to_ms)
    if chain.position < goal:
        chain.miss(goal)
    return auditor.finish(whole=to_position is None)


def _stopped(auditor: _Auditor, to_ms: int) -> Audited:
    if not auditor.events:
        message = f"there is no event by that time ({to_ms} ms since 1970)"
        raise InvalidInput(message, "give a later time, or leave it out to audit everything")
    return auditor.finish(whole=False)


def _miss(auditor: _Auditor, raw: RawEntry | Foreign, to_position: int) -> None:
    """What is missing before the end that was asked for, if the next entry stands behind it."""
    if auditor.chain.position >= to_position:
        return
    record = None if isinstance(raw, Foreign) else take_apart(raw, Findings())
    if record is not None and isinstance(record.event, ev.HistoryRestored):
        kept = record.event.kept
        message = f"position {to_position} is void: {kept + 1} to {record.event.void_through} are"
        raise InvalidInput(message, f"the nearest commit ends are {kept} and {record.position}")
    auditor.chain.miss(to_position)


def _check_end(stream: Stream, head: Head, to_position: int) -> None:
    """Refuse an end that is none, before anything is read; what cannot be read is seen later."""
    if to_position < 1:
        message = f"position {to_position} is before the first event"
        raise InvalidInput(message, "leave it out to audit everything")
    if to_position > head.position:
        message = f"position {to_position} is beyond the end of the stream ({head.position})"
        raise InvalidInput(message, "leave it out to audit everything")
    try:
        found = find_entry(stream, to_position)
    except IntegrityError:
        return
    record = None if found is None else take_apart(found, Findings())
    if record is not None and not record.commit.ends_here:
        commit = record.commit
        before = to_position - commit.part - 1
        message = f"position {to_position} lies inside a commit"
        hint = f"the nearest commit ends are {before} and {before + commit.parts}"
        raise InvalidInput(message, hint)
