"""How the address of a lease was chosen: asked of the very state that the grant was decided on.

A grant does not say whether it was asked for by address: who asks is asked for again. The hash of
the request tells, where the request can be put together from what was granted; else the state at
`decided_at` tells what the decision would have chosen there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import Enum
from typing import Final, NamedTuple

from engine.addresses import Address, to_int
from engine.bulk import read_rows
from engine.choosing import drawn
from engine.commands import Allocate, request_hash
from engine.entry import Record
from engine.events import LeaseGranted
from engine.facts import Facts, Pool
from engine.obstacles import reservation_against
from engine.placement import Placement
from engine.reading import Continuity, entry_from, find_entry
from engine.spans import is_single
from engine.stream import Stream
from engine.wire import decode_entry
from projections.collector import seldom_collecting
from projections.state import LedgerState
from replay.picks import pass_over
from replay.walk import walk


class How(Enum):
    """How an address was chosen. The value is its name in JSON, and stable."""

    IMPORTED = "imported"
    UNDONE = "undone"
    SUPERSEDED = "superseded"
    ASKED_FOR = "asked_for"
    OWN_RESERVATION = "own_reservation"
    BEST_FIT = "best_fit"
    STICKY = "sticky"
    RANDOM = "random"
    OVERDUE = "overdue"
    RESTED_LONGEST = "rested_longest"
    LOWEST_FREE = "lowest_free"
    LONGEST_IDLE = "longest_idle"
    NOT_FIRST = "not_first"


class Choice(NamedTuple):
    """How an address was chosen, in words, and the position of the state it was chosen on."""

    how: How
    text: str
    decided_at: int


class Grant(NamedTuple):
    """A grant as it stands in the stream."""

    record: Record
    event: LeaseGranted


def find_grant(stream: Stream, lease_id: int) -> Grant | None:
    """The grant of a lease; None if there is none at that position.

    Raises:
        DamagedEntry: the entry there does not decode.
        Unavailable: the stream cannot be read.
    """
    raw = find_entry(stream, lease_id)
    record = None if raw is None else decode_entry(raw)
    if record is None or not isinstance(record.event, LeaseGranted):
        return None
    return Grant(record, record.event)


@seldom_collecting()
def choices(
    stream: Stream, grants: Iterable[Grant], on_progress: Callable[[int], None] | None = None
) -> dict[int, Choice]:
    """How the addresses of grants were chosen, by lease: the stream is folded once.

    Raises:
        IntegrityError: the stream is not what it must be.
        Unavailable: it cannot be read.
    """
    found: dict[int, Choice] = {}
    waiting: list[tuple[int, Grant]] = []
    for grant in grants:
        said = _said_itself(grant)
        if said is not None:
            found[grant.record.position] = said
            continue
        commit = grant.record.commit
        # On the state that was decided on, and, where others were decided beside it, on the one
        # that the commit met.
        waiting.append((commit.decided_at, grant))
        waiting.append((grant.record.position - commit.part - 1, grant))
    waiting.sort(key=_stop)
    state = LedgerState()
    stops = sorted({stop for stop, _ in waiting})
    for items, arrived in walk(stream, Continuity(), stops, None, read_rows):
        state.apply_rows(items)
        if on_progress is not None:
            on_progress(state.position)
        while arrived and waiting and waiting[0][0] <= state.position:
            _, grant = waiting.pop(0)
            lease_id = grant.record.position
            first = found.get(lease_id)
            if first is None or first.how is How.NOT_FIRST:
                before = () if first is None else _before_in_commit(stream, grant)
                found[lease_id] = how_chosen(state, grant, before)
    return found


def _stop(entry: tuple[int, Grant]) -> tuple[int, int]:
    return entry[0], entry[1].record.position


def _said_itself(grant: Grant) -> Choice | None:
    """What the event itself says."""
    decided_at = grant.record.commit.decided_at
    if grant.event.source is not None:
        return Choice(How.IMPORTED, f"imported from {grant.event.source}", decided_at)
    supersedes, cause = grant.event.supersedes, grant.record.header.cause
    if supersedes is not None and cause is not None:  # only an undo names both
        text = f"given back: the end of lease {supersedes} was undone"
        return Choice(How.UNDONE, text, decided_at)
    return None


class _Then(NamedTuple):
    """A grant on the facts that its address was chosen on; `placement` passes over what was given.

    What is chosen from it is claimed in it, so only one of the ways to choose may ask it.
    """

    facts: Facts
    grant: Grant
    pool: Pool
    placement: Placement

    @property
    def address(self) -> Address:
        """The address that was chosen."""
        return Address(self.grant.event.address)

    @property
    def is_block(self) -> bool:
        """Whether it is a block and not a single address."""
        event = self.grant.event
        return not is_single(event.address, event.prefix_length)

    @property
    def owner(self) -> str:
        """Who was given it."""
        return self.grant.record.sealed.owner or ""


def how_chosen(facts: Facts, grant: Grant, before: Iterable[LeaseGranted] = ()) -> Choice:
    """How the address of a grant was chosen on these facts, and beside what `before` granted."""
    pool = facts.pool_of(grant.event.pool_id)
    assert pool is not None, "what an address is granted from was there when it was decided"
    placement = Placement()
    for event in before:
        if event.pool_id == pool.pool_id:
            pass_over(placement, pool, event)
    then = _Then(facts, grant, pool, placement)
    decided_at = grant.record.commit.decided_at
    for how, find in _FINDERS.items():
        text = find(then)
        if text is not None:
            return Choice(how, text, decided_at)
    text = "free, not the first: asked for by address, or others were chosen at the same moment"
    return Choice(How.NOT_FIRST, text, decided_at)


def _superseded(then: _Then) -> str | None:
    supersedes = then.grant.event.supersedes
    old = None if supersedes is None else then.facts.lease(supersedes)
    if old is None or old.address != then.address:
        return None
    return f"the address of the owner's earlier incarnation (lease {old.lease_id})"


def _asked_for(then: _Then) -> str | None:
    """Whether the request was for this address: its hash is that of the plain command for it."""
    record, event = then.grant
    length = None if is_single(event.address, event.prefix_length) else event.prefix_length
    ttls = {event.ttl_s, None} if event.ttl_s == then.pool.spec.ttl_s else {event.ttl_s}
    commands = (
        Allocate(
            ((then.pool.name,),), then.owner, event.interface, record.sealed.uid,
            (then.address,), 1, ttl_s, record.sealed.labels, event.cluster,
            record.header.effective_at_ms, length,
        )
        for ttl_s in ttls
    )  # fmt: skip
    asked = any(request_hash(command) == record.commit.request_hash for command in commands)
    return "asked for by address" if asked else None


def _own_reservation(then: _Then) -> str | None:
    facts, address = then.facts, then.address
    own = facts.reserved_for(then.owner, then.pool.spec.family)
    if to_int(address) not in own or reservation_against(facts, then.owner, address) is not None:
        return None
    names = [held.name for held in facts.reserved_by(address)]
    return f"kept for the owner by reservation {', '.join(names)}"


def _random(then: _Then) -> str | None:
    seed = then.grant.event.seed
    if seed is None:
        return None
    again = drawn(then.facts, then.pool, seed) == to_int(then.address)
    draws = "draws it again" if again else "draws another address"
    return f"drawn at random with seed {seed}, which {draws} on that state"


def _sticky(then: _Then) -> str | None:
    if then.pool.spec.policy != "sticky":
        return None
    for held in then.facts.remembered(then.owner, then.grant.event.interface):
        if held.address == then.address:
            return f"what the owner held last (lease {held.lease_id})"
    return None


def _best_fit(then: _Then) -> str | None:
    event = then.grant.event
    if not then.is_block:
        return None
    first = then.placement.propose_block(then.facts, then.pool, event.prefix_length)
    fits = "the lowest of the smallest free blocks that it fits in"
    return f"{fits}, of pool {then.pool.name}" if first == to_int(then.address) else None


def _overdue(then: _Then) -> str | None:
    holder = then.facts.lease_at(then.address)
    if holder is None:
        return None
    return f"nothing else was left: lease {holder.lease_id} on it was past its time"


def _rested_longest(then: _Then) -> str | None:
    if then.facts.resting(then.pool.pool_id, to_int(then.address)) is None:
        return None
    return "nothing that never rested was left: of the rest, the longest idle"


def _lowest_free(then: _Then) -> str | None:
    if then.is_block or then.pool.spec.policy != "lowest":
        return None
    if then.placement.propose(then.facts, then.pool) != to_int(then.address):
        return None
    return f"the lowest free address of pool {then.pool.name}"


def _longest_idle(then: _Then) -> str | None:
    if then.is_block or then.pool.spec.policy not in {"least-recently-used", "sticky"}:
        return None
    if then.placement.propose_idle(then.facts, then.pool) != to_int(then.address):
        return None
    return f"never held, or the longest idle of pool {then.pool.name}"


# In the order in which they are asked; what none of them tells is `How.NOT_FIRST`.
_FINDERS: Final[dict[How, Callable[[_Then], str | None]]] = {
    How.SUPERSEDED: _superseded,
    How.ASKED_FOR: _asked_for,
    How.RANDOM: _random,
    How.OWN_RESERVATION: _own_reservation,
    How.BEST_FIT: _best_fit,
    How.STICKY: _sticky,
    How.OVERDUE: _overdue,
    How.RESTED_LONGEST: _rested_longest,
    How.LOWEST_FREE: _lowest_free,
    How.LONGEST_IDLE: _longest_idle,
}


def _before_in_commit(stream: Stream, grant: Grant) -> list[LeaseGranted]:
    """What the same commit granted before."""
    record = grant.record
    part = record.commit.part
    first = entry_from(stream, record.position - part) if part else None
    if first is None:
        return []
    entries = stream.read(first.ms, first.position - 1, part)
    events = (decode_entry(raw).event for raw in entries)
    return [event for event in events if isinstance(event, LeaseGranted)]
