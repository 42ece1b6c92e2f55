"""What a run has been through, counted: every fault, and the situations worth being in.

A promise that was never put to the test is none. So each of these has to be seen again and again,
or the simulation itself has a defect.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from engine import events as ev
from engine.commands import Delete, Undo
from engine.entry import RawEntry
from engine.errors import IntegrityError, UnknownOutcome
from engine.model import ENDINGS
from ipledger.writing import Done
from tests.simulation.clients import Attempt
from tests.simulation.cluster import Cluster
from tests.simulation.followers import ConsumerProcess
from tests.simulation.log import decoded
from tests.simulation.network import LIKELY

SITUATIONS: Final = (
    # the protocol of a writer
    "answer Done", "answer Held", "answer Refusal", "answer ClockSkew", "answer HistoryDiverged",
    "answer MissingEntries", "conflict", "expiry raced with a renewal", "proposal is too early",
    "decided behind a batch",
    "reordered between clients", "skipped ahead in its lane", "told again", "unknown, and it stood",
    "unknown, and it did not", "writer is behind", "granted far away",
    # what the domain does
    "cascade", "ended by expired", "ended by released", "ended by revoked",
    "ended by superseded", "later step of a series", "quarantine ended", "true since earlier",
    "undone",
    # who follows
    "delivered again", "loss was noticed by a consumer",
    "loss was noticed by a writer", "lost its name", "page ends inside a commit",
    "rollback accepted", "checked at a checkpoint",
)  # fmt: skip
_EVENTS: Final = (
    ev.SpaceCreated, ev.LevelRaised, ev.HistoryRestored, ev.PoolCreated, ev.PoolUpdated,
    ev.PoolDeleted, ev.ReservationCreated, ev.ReservationUpdated, ev.ReservationDeleted,
    ev.LeaseGranted, ev.LeaseRenewed, ev.LeaseEnded, ev.LeaseObserved, ev.ConflictReported,
    ev.Quarantined, ev.QuarantineEnded,
)  # fmt: skip
SELDOM: Final = frozenset(
    ("cursor was lost", "loss was noticed by the mirror", "mirror followed a rollback")
)
# In a hundred runs each of these is seen, and in a thousand those of the others.
OFTEN: Final = frozenset(
    (*LIKELY, *SITUATIONS, *(f"event {event.__name__}" for event in _EVENTS))
)  # fmt: skip


def count(cluster: Cluster, checks: int) -> Counter[str]:
    """What happened in a run that is over, in which everything was checked so often."""
    happened = Counter(cluster.world.happened)
    happened["checked at a checkpoint"] += checks - 1  # and once at its end
    happened["rollback accepted"] += cluster.accepted_at is not None
    _count_attempts(cluster, happened)
    _count_events(cluster.world.server.entries, happened)
    _count_followers(cluster, happened)
    return happened


def _count_attempts(cluster: Cluster, happened: Counter[str]) -> None:
    for attempt in cluster.attempts:
        outcome = attempt.outcome
        happened[f"answer {type(outcome).__name__}"] += 1
        if isinstance(outcome, Done):
            happened["told again"] += outcome.repeated
            happened["later step of a series"] += attempt.step > 0
            happened["undone"] += isinstance(attempt.command, Undo)
            happened["granted far away"] += attempt.process == "far"
            happened["cascade"] += isinstance(attempt.command, Delete) and any(
                isinstance(record.event, ev.LeaseEnded) for record in outcome.records
            )
        elif isinstance(outcome, IntegrityError) and cluster.loss is not None:
            happened["loss was noticed by a writer"] += 1
    ends = {
        (record.header.command, record.header.step): record.position
        for record in map(decoded, cluster.world.server.entries)
    }
    for attempt in cluster.attempts:
        if isinstance(attempt.outcome, UnknownOutcome):
            stood = _stood(attempt, ends)
            happened["unknown, and it stood" if stood else "unknown, and it did not"] += 1


def _stood(attempt: Attempt, ends: dict[tuple[bytes, int], int]) -> bool:
    """Whether a command had landed by the time that its caller was told "unknown"."""
    end = ends.get((attempt.key, attempt.step))
    return end is not None and end <= attempt.ended.position


def _count_events(entries: Iterable[RawEntry], happened: Counter[str]) -> None:
    for record in map(decoded, entries):
        event = record.event
        happened[f"event {type(event).__name__}"] += 1
        happened["true since earlier"] += record.header.effective_at_ms is not None
        happened["quarantine ended"] += isinstance(event, ev.QuarantineEnded)
        if isinstance(event, ev.LeaseEnded):
            happened[f"ended by {ENDINGS[event.ended_by]}"] += 1


def _count_followers(cluster: Cluster, happened: Counter[str]) -> None:
    for process in cluster.consumers:
        happened["lost its name"] += process.refused is not None
        happened["cursor was lost"] += _lost_its_cursor(process)
        if cluster.loss is not None:
            happened["loss was noticed by a consumer"] += process.stopped is not None
    for journal in cluster.journals.values():
        given = [raw for delivered in journal for raw in delivered.entries]
        happened["delivered again"] += len(given) - len(set(given))
    if cluster.loss is not None:
        happened["loss was noticed by the mirror"] += cluster.mirror.stopped is not None


def _lost_its_cursor(process: ConsumerProcess) -> bool:
    """Whether the server had forgotten how far it had come: a loss takes cursors, too."""
    return any(
        saved is not None and (resumed is None or resumed.position < saved.position)
        for resumed, saved in process.resumed
    )
