"""What must be true when a run is over, whatever struck it.

The log is the truth that everything else is held to: what was acknowledged stands in it exactly
once, what was refused does not, every refusal was true of some state between call and answer, and
every view that is left is the fold of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from engine.draft import Nothing
from engine.entry import Anchor, RawEntry, Record
from engine.errors import IntegrityError, Refusal, Unavailable
from engine.reading import Continuity, read_commits
from engine.wire import decode_entry
from ipledger.writing import Done, Held
from projections.digest import state_digest
from projections.state import LedgerState
from replay.audit import Options, audit
from tests.answers import decisions
from tests.simulation.clients import Attempt
from tests.simulation.cluster import Cluster

_DECIDED: Final = (Done, Held, Refusal)


class Broken(AssertionError):
    """A promise was broken."""


def check(cluster: Cluster) -> None:
    """Hold a run that is over to every promise.

    Raises:
        Broken: one was broken.
    """
    _nobody_went_on_blindly(cluster)
    if cluster.deleted_at is not None:
        _deletion_was_noticed(cluster)
        return
    _audit_is_clean(cluster)
    entries = cluster.world.server.entries
    _acknowledged_once(cluster, entries)
    _views_are_folds(cluster)
    if cluster.lost_since is None:
        _copies_are_equal(cluster, entries)
        _answers_were_true(cluster)


def _expect(kept: object, says: str) -> None:
    if not kept:
        raise Broken(says)


def _audit_is_clean(cluster: Cluster) -> None:
    found = audit(cluster.world.server, Options())
    _expect(not found.total, f"the audit found {found.breaches[:3]}")


def _commits(entries: list[RawEntry]) -> Iterator[tuple[bytes, list[Record]]]:
    """Each commit with the key of its command."""
    commit: list[Record] = []
    for raw in entries:
        commit.append(decode_entry(raw))
        if commit[-1].commit.ends_here:
            yield commit[0].header.command, commit
            commit = []


def _acknowledged_once(cluster: Cluster, entries: list[RawEntry]) -> None:
    """What was acknowledged stands once, as it was told; what was refused stands nowhere."""
    standing: dict[bytes, list[list[Record]]] = {}
    for key, records in _commits(entries):
        standing.setdefault(key, []).append(records)
    for key, commits in standing.items():
        _expect(len(commits) == 1, f"command {key.hex()} was committed {len(commits)} times")
    by_key: dict[bytes, list[Attempt]] = {}
    for attempt in cluster.attempts:
        by_key.setdefault(attempt.key, []).append(attempt)
    seen = {process.name: process for process in cluster.writers}
    for key, attempts in by_key.items():
        stands = standing.get(key)
        told = [attempt for attempt in attempts if isinstance(attempt.outcome, Done)]
        for attempt in told:
            assert isinstance(attempt.outcome, Done), "only those were taken"
            positions = [record.position for record in attempt.outcome.records]
            if stands and [record.position for record in stands[0]] == positions:
                continue
            _expect(_was_lost(cluster, attempt), f"{attempt} is not in the stream")
            remembered = seen[attempt.process].remembered
            _expect(
                remembered is not None and remembered.position >= positions[-1],
                f"{attempt.process} answered before it had noted what it saw",
            )
        certain = key not in cluster.world.early and all(
            isinstance(attempt.outcome, (Held, Refusal, Unavailable))
            and not _was_lost(cluster, attempt)
            for attempt in attempts
        )
        _expect(not (certain and stands), f"{attempts} wrote nothing, and stands in the stream")


def _was_lost(cluster: Cluster, attempt: Attempt) -> bool:
    return cluster.lost_since is not None and attempt.began.turn <= cluster.lost_since


def _nobody_went_on_blindly(cluster: Cluster) -> None:
    """Who had seen what a failover lost is told nothing but that, until it is accepted."""
    if cluster.lost_since is None:
        return
    # A request that was told twice may bring back just what was lost, to the byte.
    there = {Anchor(raw.ms, raw.position, raw.c) for raw in cluster.world.server.entries}
    missed = {name for name, anchor in cluster.lost_by.items() if anchor not in there}
    for attempt in cluster.attempts:
        if attempt.process not in missed or attempt.began.turn < cluster.lost_since:
            continue
        accepted = cluster.accepted_at
        if accepted is not None and attempt.ended.turn >= accepted:
            continue
        _expect(not _decided_anew(attempt), f"{attempt} rests on a history that lost entries")


def _decided_anew(attempt: Attempt) -> bool:
    """Whether an answer rests on the state: one that is told again is as true as ever."""
    outcome = attempt.outcome
    told_again = isinstance(outcome, Done) and outcome.repeated
    return isinstance(outcome, _DECIDED) and not told_again


def _deletion_was_noticed(cluster: Cluster) -> None:
    """After an entry was deleted nothing is answered any more, by anybody who asks the server."""
    assert cluster.deleted_at is not None, "who calls has looked"
    for attempt in cluster.attempts:
        if attempt.began.turn > cluster.deleted_at:
            _expect(not _decided_anew(attempt), f"{attempt} rests on a stream with a hole")
    try:
        list(read_commits(cluster.world.server, Continuity()))
    except IntegrityError:
        return
    raise Broken("a reader passed over a hole")


def _views_are_folds(cluster: Cluster) -> None:
    """The state of every process that is left is what a replay gives."""
    for process in cluster.writers:
        if process.stopped is not None or process.writer is None:
            continue
        writer = process.writer
        try:
            for records in read_commits(cluster.world.server, writer.continuity):
                writer.state.apply_all(records)
        except IntegrityError as error:
            _expect(cluster.lost_since is not None, f"{process.name} cannot read on: {error}")
            continue
        replayed = LedgerState()
        for records in read_commits(cluster.world.server, Continuity()):
            replayed.apply_all(records)
        same = state_digest(writer.state) == state_digest(replayed)
        _expect(same, f"{process.name} knows another state than a replay")


def _copies_are_equal(cluster: Cluster, entries: list[RawEntry]) -> None:
    """The consumer has read every commit once, and the mirror has the same bytes."""
    consumer, mirror = cluster.consumer, cluster.mirror
    _expect(consumer.stopped is None, f"the consumer stopped: {consumer.stopped}")
    _expect(mirror.stopped is None, f"the mirror stopped: {mirror.stopped}")
    read = [(raw.position, decode_entry(raw).commit.check) for raw in entries]
    _expect(consumer.read == read[: len(consumer.read)], "the consumer read something else")
    _expect(mirror.entries == entries[: len(mirror.entries)], "the mirror has other bytes")


def _answers_were_true(cluster: Cluster) -> None:
    """A refusal, or "you hold it already", was true of a state between the call and the answer."""
    open_ = [a for a in cluster.attempts if isinstance(a.outcome, (Held, Refusal))]
    state = LedgerState()
    for records in read_commits(cluster.world.server, Continuity(), entries_max=1):
        # Before and after each commit: `open_` is what may still be explained by a later one.
        state.apply_all(records)
        position = records[-1].position
        open_ = [a for a in open_ if not _explained(a, state, position)]
        late = [a for a in open_ if a.ended.position <= position]
        for attempt in late:
            raise Broken(f"{attempt} was true of no state between call and answer")


def _explained(attempt: Attempt, state: LedgerState, position: int) -> bool:
    """Whether the state at a position gives the answer that was given."""
    began, ended = attempt.began, attempt.ended
    if not began.position <= position <= ended.position:
        return False
    times = {began.server_ms, ended.server_ms, (began.server_ms + ended.server_ms) // 2}
    for decision in decisions(state, attempt.command, attempt.key, sorted({*times, state.ms})):
        if isinstance(attempt.outcome, Refusal):
            if decision == attempt.outcome:
                return True
        elif isinstance(decision, Nothing):
            assert isinstance(attempt.outcome, Held), "there are no others"
            same = [lease.lease_id for lease in decision.leases]
            if same == [lease.lease_id for lease in attempt.outcome.leases]:
                return True
    return False
