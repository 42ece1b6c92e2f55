"""Why a grant has just this address: what its pool's policy gives on the state it was decided on.

Every commit says at which position it was decided (`decided_at`). Whoever folds the stream that far
has the state that its writer had, and can choose again. For what was drawn by chance that is a
proof, since the seed is in the event. For the other policies it is an explanation: a writer also
passes over what its own batch proposes already, and one that is far away over some more (ADR 0008).
"""

from __future__ import annotations

from typing import NamedTuple

from engine.addresses import Address, from_int
from engine.choosing import Asking, choose, drawn
from engine.entry import Record
from engine.errors import InvalidInput, MissingEntries
from engine.events import LeaseGranted
from engine.facts import Pool
from engine.granting import TAKES_OVER_LEVEL
from engine.model import Policy
from engine.placement import Placement
from engine.reading import entry_from
from engine.spans import is_single, last_of
from engine.stream import PAGE_ENTRIES, RESTORE_HINT, Stream
from engine.wire import decode_entry
from projections.state import LedgerState
from replay.rebuild import rebuild


class Pick(NamedTuple):
    """What was granted, and what the pool's policy gives on the state at `decided_at`.

    ``given`` is what the seed draws, if the grant has one. Else it is what the policy chooses when
    it passes over what was granted between `decided_at` and this grant; None if it gives nothing.
    What is asked for by address, reserved for its owner, kept for a new incarnation, or made free
    by time is no choice of the policy, so there the two may differ.
    """

    lease_id: int
    pool: str
    policy: Policy
    decided_at: int
    seed: int | None
    granted: Address
    given: Address | None

    @property
    def is_as_given(self) -> bool:
        """Whether the policy gives the very address that was granted."""
        return self.granted == self.given


def explain_pick(stream: Stream, lease_id: int) -> Pick:
    """Choose again for the grant that made a lease.

    The stream is folded from its beginning to the grant's `decided_at`.

    Raises:
        InvalidInput: no lease was granted at that position, or it is a block.
        IntegrityError: the stream is not what it must be.
        Unavailable: it cannot be read.
    """
    raw = entry_from(stream, lease_id)
    record = None if raw is None or raw.position != lease_id else decode_entry(raw)
    if record is None or not isinstance(record.event, LeaseGranted):
        message = f"no lease was granted at position {lease_id}"
        raise InvalidInput(message, "a lease's id is the position of its grant")
    event = record.event
    if not is_single(event.address, event.prefix_length):
        message = f"lease {lease_id} is a block: no policy chose it"
        raise InvalidInput(message, "a block is the smallest free one that fits")
    decided_at = record.commit.decided_at
    state = rebuild(stream, to_position=decided_at).state
    pool = state.pool_of(event.pool_id)
    if pool is None:
        message = f"position {lease_id} grants from pool {event.pool_id}, which was not there"
        raise MissingEntries(message, RESTORE_HINT, lease_id)
    if event.seed is not None:
        value = drawn(state, pool, event.seed)
    else:
        value = _chosen(stream, state, pool, record)
    given = None if value is None else from_int(value, pool.spec.family)
    return Pick(
        lease_id, pool.name, pool.spec.policy, decided_at, event.seed, Address(event.address), given
    )


def pass_over(placement: Placement, pool: Pool, event: LeaseGranted) -> None:
    """Let what is chosen next lie beside all that an event grants from this very pool."""
    last = last_of(event.address, event.prefix_length)
    # A single address is claimed as one: as a block it would slow every later claim.
    if is_single(event.address, event.prefix_length):
        placement.claim(pool, last)
    else:
        placement.claim_block(pool, int.from_bytes(event.address), last)


def _chosen(stream: Stream, state: LedgerState, pool: Pool, record: Record) -> int | None:
    """What the policy chooses beside what was granted since the state, before this record."""
    placement = Placement()
    ms, position = state.ms, state.position
    while page := stream.read(ms, position, PAGE_ENTRIES):
        for raw in page:
            if raw.position >= record.position:
                break
            event = decode_entry(raw).event
            if isinstance(event, LeaseGranted) and event.pool_id == pool.pool_id:
                pass_over(placement, pool, event)
        ms, position = page[-1].ms, page[-1].position
        if position >= record.position:
            break
    assert isinstance(record.event, LeaseGranted), "it was looked at"
    may_take_over = state.level >= TAKES_OVER_LEVEL
    asking = Asking(record.sealed.owner or "", record.event.interface, record.ms, may_take_over)
    choice = choose(state, pool, asking, placement)
    return None if choice is None else choice.value
