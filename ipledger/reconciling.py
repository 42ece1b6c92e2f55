"""Leak collection: what an observation of the network changes, and taking back what was wrong."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, NamedTuple, TypedDict, Unpack

from engine import events as ev
from engine import tags
from engine.commands import EndedLease, Reconcile, Undo
from engine.facts import Lease
from engine.model import ENDINGS
from engine.names import Labels, check_name, check_text
from engine.observation import Observation
from engine.pool_spec import check_seconds
from engine.reading import find_entry
from engine.stream import PAGE_ENTRIES, Stream
from engine.wire import decode_entry
from ipledger.held_texts import check_lease
from ipledger.operation import Operation, make_claim
from ipledger.writing import Done, Held
from projections.leases import granted_lease
from projections.state import LedgerState

if TYPE_CHECKING:
    from ipledger.ledger import Ledger

GRACE_S: Final = 600


class Claims(TypedDict, total=False):
    """What every operation may be told about who asks, why, and how long to wait."""

    command_id: str | None
    actor: str | None
    reason: str | None
    timeout_s: float | None


class Reconciled(NamedTuple):
    """What an observation changed, leases by id: what was told of them, and which have ended."""

    missing: tuple[int, ...]
    back: tuple[int, ...]
    released: tuple[int, ...]


class Undone(NamedTuple):
    """The lease that the owner holds again; ``already`` if it did before."""

    lease: Lease
    already: bool


def reconcile(
    observed: Observation,
    *,
    evidence: str,
    release_after: int | None = None,
    grace_s: int = GRACE_S,
    pools: Sequence[str] = (),
    clusters: Sequence[str] = (),
    labels: Labels = (),
    accept_many_missing: bool = False,
    command_id: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    timeout_s: float | None = None,
) -> Operation[Reconciled]:
    """Tell which leases are missing in what is really in use; end those that were often enough.

    Args:
        observed: who was seen where, and when: see `ipledger.observation`.
        evidence: what it is and where it is from, in words; kept with every event.
        release_after: end a lease that was missing in so many observations without being seen or
            renewed, this one the last; without it, nothing ends.
        grace_s: and only if so many seconds lie between the first of these observations and this
            one, and between its grant and this one.
        pools: the observation knows of leases of these pools only.
        clusters: or of these clusters.
        labels: or with all of these labels.
        accept_many_missing: believe an observation that is empty, or lacks more than half.
        command_id: makes a repetition of this very command safe.
        actor: who asks, as claimed.
        reason: why.
        timeout_s: how long to wait for an answer.

    Raises:
        InvalidInput: an argument cannot be understood.
    """
    command = Reconcile(
        observation=observed.id,
        evidence=check_text(evidence, "evidence"),
        release_after=release_after,
        grace_s=check_seconds(grace_s, "grace") if grace_s else 0,
        pools=tuple(sorted({check_name(name, "pool") for name in pools})),
        clusters=tuple(sorted({check_text(name, "cluster") for name in clusters})),
        labels=labels,
        accept_many_missing=accept_many_missing,
        observed=observed,
    )

    def read(outcome: Done | Held) -> Reconciled:
        records = outcome.records if isinstance(outcome, Done) else ()
        events = [record.event for record in records]
        told = [event for event in events if isinstance(event, ev.LeaseObserved)]
        return Reconciled(
            tuple(event.lease for event in told if not event.present),
            tuple(event.lease for event in told if event.present),
            tuple(event.lease for event in events if isinstance(event, ev.LeaseEnded)),
        )

    key, claim = make_claim(command_id, actor, reason)
    return Operation(command, claim, key, timeout_s, read, series=True)


def reconcile_command(operation: Operation[Reconciled]) -> Reconcile:
    """The command of an operation that `reconcile` made."""
    assert isinstance(operation.command, Reconcile), "that is what it consists of"
    return operation.command


def undo(
    lease: int,
    ended: EndedLease | None,
    *,
    command_id: str | None = None,
    actor: str | None = None,
    reason: str | None = None,
    timeout_s: float | None = None,
) -> Operation[Undone]:
    """Give the address of a lease that has ended back to its owner, as a new lease.

    It takes over where the old one ended, for as long as that was granted for. Nobody may have had
    the address since: while it rests, nobody can have.
    """

    def read(outcome: Done | Held) -> Undone:
        if isinstance(outcome, Held):
            return Undone(outcome.leases[0], already=True)
        (record,) = outcome.records
        assert isinstance(record.event, ev.LeaseGranted), "that is what undoing writes"
        return Undone(granted_lease(record, record.event), outcome.repeated)

    key, claim = make_claim(command_id, actor, reason)
    return Operation(Undo(lease, ended), claim, key, timeout_s, read)


def undo_end(ledger: Ledger, lease: int, **claims: Unpack[Claims]) -> Undone:
    """Give the address of a lease that has ended back to its owner; see `undo`.

    Raises:
        Refused: it cannot be undone.
        LedgerError: it could not be carried out, or its outcome is unknown.
    """
    return ledger.run(undo(lease, look_up(ledger, lease), **claims))


def look_up(ledger: Ledger, lease_id: int) -> EndedLease | None:
    """As `find_ended`, on what the ledger is now.

    Raises:
        InvalidInput: it cannot be a lease.
        LedgerError: the stream cannot be read.
    """
    checked = check_lease(lease_id)
    ledger.refresh()
    return find_ended(ledger.writer.stream, ledger.state, checked)


def find_ended(stream: Stream, state: LedgerState, lease_id: int) -> EndedLease | None:
    """A lease that has ended, as the stream tells of it; None if there is none or it lasts."""
    raw = find_entry(stream, lease_id) if state.has_ended(lease_id) else None
    if raw is None:
        return None
    record = decode_entry(raw)
    assert isinstance(record.event, ev.LeaseGranted), "what has ended was granted"
    was = granted_lease(record, record.event)
    last = state.last_tenure(was.address)
    # What is true from some time on is never recorded before it.
    since_ms = last[0] if last is not None and last[1] == lease_id else was.granted_at_ms
    return _as_ended(stream, was, since_ms)


def _as_ended(stream: Stream, was: Lease, since_ms: int) -> EndedLease | None:
    """A lease with its end, which stands at `since_ms` or later; looked for by its tag."""
    tag = tags.lease(was.lease_id).encode()
    page = stream.read_from(since_ms, PAGE_ENTRIES)
    while page:
        for raw in page:
            if tag not in raw.t:
                continue
            record = decode_entry(raw)
            event = record.event
            if isinstance(event, ev.LeaseEnded) and event.lease == was.lease_id:
                return EndedLease(
                    was.pool_id, was.address, was.prefix_length, was.owner, was.interface,
                    was.uid, was.labels, was.cluster, was.ttl_s, record.position,
                    ENDINGS[event.ended_by],
                )  # fmt: skip
        page = stream.read(page[-1].ms, page[-1].position, PAGE_ENTRIES)
    return None
