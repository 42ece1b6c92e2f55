"""A record that cannot follow what is before it stops the fold, always with the same named error.

Nobody of ours writes such records: they are what a bug, another program or a hand in the stream
would look like. Each is well-formed by itself.
"""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import events as ev
from engine.decide_config import pack_ranges, pool_event, reservation_event
from engine.entry import Record
from engine.errors import ContradictoryEvent
from engine.events import Event
from projections.state import LedgerState
from tests.builders import (
    TestLedger,
    address,
    make_delete,
    make_pool,
    make_record,
    make_release,
    make_reservation,
)

POOL, OTHER, GONE, RESERVATION, LEASE, ENDED, LEAVING = range(2, 9)


def begun() -> TestLedger:
    """Two pools, one that is gone, a reservation, an active and an ended lease, one terminating."""
    ledger = TestLedger()
    ledger.apply(
        make_pool("a", ips=["10.0.0.1-10.0.0.9"], exclude_ips=["10.0.0.5"]),
        make_pool("six", "fd00::/64"),
        make_pool("gone", "10.1.0.0/24"),
        make_reservation("r", "10.0.0.8"),
    )
    lease, ended = ledger.grant("a", number=2)
    ledger.apply(make_pool("leaving", "10.2.0.0/24"))
    ledger.grant("leaving")
    ledger.run(make_delete("gone", "leaving"))
    ledger.run(make_release(ended.lease_id))
    assert (lease.lease_id, ended.lease_id) == (LEASE, ENDED)
    return ledger


def grant(pool_id: int, text: str, prefix_length: int | None = None) -> ev.LeaseGranted:
    """A grant that nobody decided."""
    raw = address(text)
    return ev.LeaseGranted(
        pool_id, raw, len(raw) * 8 if prefix_length is None else prefix_length, "eth0",
        ttl_s=None, cluster=None, supersedes=None, beside=(), seed=None, source=None,
    )  # fmt: skip


def end(lease: int, pool_id: int = POOL, text: str = "10.0.0.1") -> ev.LeaseEnded:
    """An end that nobody decided."""
    raw = address(text)
    return ev.LeaseEnded(lease, pool_id, raw, len(raw) * 8, "eth0", 0)


def pool(name: str, subnet: str = "10.0.0.0/24", **fields: object) -> ev.PoolCreated:
    """A definition as an event."""
    return pool_event(name, make_pool(name, subnet, **fields).spec)


def reservation(name: str, ip: str) -> ev.ReservationCreated:
    """A reservation as an event."""
    return reservation_event(name, make_reservation(name, ip).spec)


OUTSIDE = pack_ranges(make_pool("x", "10.9.0.0/24").spec.ips)
BELOW = pack_ranges(make_pool("x", "9.0.0.0/8").spec.ips | make_pool("x", "10.0.0.0/24").spec.ips)

FORGED: dict[str, Event] = {
    "an address granted twice": grant(POOL, "10.0.0.1"),
    "an address granted twice, from another pool": grant(OTHER, "10.0.0.1"),
    "an address outside the pool": grant(POOL, "10.0.0.10"),
    "an address outside the subnet": grant(POOL, "10.0.1.1"),
    "an excluded address": grant(POOL, "10.0.0.5"),
    "an address of the other family": grant(POOL, "fd00::1"),
    "the same number in the other family": grant(POOL, "::a00:3"),
    "a block with a leased address": grant(POOL, "10.0.0.0", 30),
    "a block that is partly outside": grant(POOL, "10.0.0.8", 30),
    "a block with an excluded address": grant(POOL, "10.0.0.4", 31),
    "a grant from an unknown pool": grant(999, "10.0.0.3"),
    "a grant from a pool that is gone": grant(GONE, "10.1.0.1"),
    "a grant from what is no pool": grant(RESERVATION, "10.0.0.3"),
    "the end of an unknown lease": end(999),
    "the end of what is no lease": end(POOL),
    "the end of an ended lease": end(ENDED, text="10.0.0.2"),
    "the end of a lease at another address": end(LEASE, text="10.0.0.3"),
    "the end of a lease of another pool": end(LEASE, OTHER),
    "a second pool of a name": pool("a"),
    "a pool with addresses outside its subnet": pool("new")._replace(ips=OUTSIDE),
    "a pool with addresses below its subnet": pool("new", "10.0.0.0/24")._replace(ips=BELOW),
    "a pool that excludes what is outside": pool("new")._replace(exclude_ips=OUTSIDE),
    "a change of an unknown pool": ev.PoolUpdated(999, pool("a")),
    "a change of a pool that is gone": ev.PoolUpdated(GONE, pool("gone", "10.1.0.0/24")),
    "a change of a terminating pool": ev.PoolUpdated(LEAVING, pool("leaving", "10.2.0.0/24")),
    "a change of a pool's name": ev.PoolUpdated(POOL, pool("b")),
    "a change of a pool's subnet": ev.PoolUpdated(POOL, pool("a", "10.0.0.0/25")),
    "a change of a pool's family": ev.PoolUpdated(POOL, pool("a", "fd00::/64")),
    "a change that leads outside": ev.PoolUpdated(POOL, pool("a")._replace(ips=OUTSIDE)),
    "the deletion of an unknown pool": ev.PoolDeleted(999, "a"),
    "the deletion of a pool by another name": ev.PoolDeleted(POOL, "six"),
    "the deletion of a pool that is gone": ev.PoolDeleted(GONE, "gone"),
    "the second deletion of a pool": ev.PoolDeleted(LEAVING, "leaving"),
    "a second reservation of a name": reservation("r", "10.0.0.9"),
    "a change of an unknown reservation": ev.ReservationUpdated(999, reservation("r", "10.0.0.9")),
    "a change of a reservation's name": ev.ReservationUpdated(
        RESERVATION, reservation("s", "10.0.0.9")
    ),
    "a change of a reservation's family": ev.ReservationUpdated(
        RESERVATION, reservation("r", "fd00::1")
    ),
    "the end of an unknown reservation": ev.ReservationDeleted(999, "r", expired=False),
    "the end of a reservation by another name": ev.ReservationDeleted(
        RESERVATION, "s", expired=True
    ),
    "a second space": ev.SpaceCreated(bytes(16), "other", 1),
}


@pytest.mark.parametrize("event", FORGED.values(), ids=FORGED.keys())
def test_a_forged_record_is_a_contradiction(event: Event) -> None:
    """It is well-formed, so that only what is before it can tell; the error names its position."""
    assert event.well_formed()
    state = begun().state
    position = state.position + 1
    with pytest.raises(ContradictoryEvent) as caught:
        state.apply(make_record(position, event, owner="pod-1"))
    assert caught.value.kind == "integrity"
    assert caught.value.position == position
    assert f"position {position} contradicts" in caught.value.message
    assert caught.value.hint


@pytest.mark.parametrize(
    "event",
    [
        grant(POOL, "10.0.0.8"),
        grant(POOL, "10.0.0.2"),
        end(LEASE),
        ev.PoolUpdated(POOL, pool("a")),
        ev.Informational(200, 7, ("what later releases say",)),
    ],
    ids=["grant", "grant after release", "end", "change", "informational"],
)
def test_what_may_follow_is_folded(event: Event) -> None:
    """The same kinds of records, in their place, are no contradiction: also a reserved address."""
    state = begun().state
    state.apply(make_record(state.position + 1, event, owner="pod-1"))


# ------------------------------------------------------------------------- any record at all

NAMES = st.sampled_from(("a", "six", "gone", "leaving", "new"))
IDS = st.integers(1, 12)
ENDS = (0, 9, 0x09FFFFFF, 0x0A000000, 0x0A000001, 0x0A000008, 0x0A0000FF, 0x0A000100, 0xFFFFFFFF)


@st.composite
def any_ranges(draw: st.DrawFn, width: int, least: int = 0) -> bytes:
    """Packed ranges in canonical order, anywhere."""
    values = sorted(draw(st.sets(st.sampled_from(ENDS), min_size=2 * least, max_size=6)))
    pairs: Iterable[tuple[int, int]] = zip(values[::2], values[1::2], strict=False)
    kept: list[int] = []
    for first, last in pairs:
        if not kept or first > kept[-1] + 1:
            kept += (first, last)
    shift = 8 * (width - 4) if draw(st.booleans()) else 0
    return b"".join((value << shift).to_bytes(width) for value in kept)


@st.composite
def any_pool(draw: st.DrawFn) -> ev.PoolCreated:
    """A pool of any subnet with ranges anywhere."""
    width = draw(st.sampled_from((4, 16)))
    length = draw(st.sampled_from((0, 8, 24, 32, width * 8)))
    first = 0x0A000000 << 8 * (width - 4) >> (width * 8 - length) << (width * 8 - length)
    plain = pool("x")
    return plain._replace(
        name=draw(NAMES),
        subnet=(first.to_bytes(width), length),
        ips=draw(any_ranges(width)),
        exclude_ips=draw(any_ranges(width)),
    )


@st.composite
def any_reservation(draw: st.DrawFn) -> ev.ReservationCreated:
    """A reservation of anything."""
    width = draw(st.sampled_from((4, 16)))
    ips = draw(any_ranges(width, least=1))
    name = draw(st.sampled_from(("r", "s")))
    return ev.ReservationCreated(name, 4 if width == 4 else 6, ips, None, draw(st.booleans()))


ADDRESSES = st.sampled_from(
    ("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.255", "0.0.0.1", "255.255.255.255", "::",
     "::a00:1", "a00:1::", "fd00::1", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")
)  # fmt: skip
EVENTS: st.SearchStrategy[Event] = st.one_of(
    any_pool(),
    st.builds(ev.PoolUpdated, IDS, any_pool()),
    st.builds(ev.PoolDeleted, IDS, NAMES),
    any_reservation(),
    st.builds(ev.ReservationUpdated, IDS, any_reservation()),
    st.builds(ev.ReservationDeleted, IDS, st.sampled_from(("r", "s")), st.booleans()),
    st.builds(grant, IDS, ADDRESSES),
    st.builds(grant, IDS, ADDRESSES),
    st.builds(end, IDS, IDS, ADDRESSES),
    st.builds(ev.SpaceCreated, st.just(bytes(16)), NAMES, st.integers(1, 3)),
    st.builds(ev.HistoryRestored, IDS, IDS.map(lambda n: n + 12), IDS),
    st.builds(ev.LevelRaised, st.integers(2, 3)),
    st.builds(ev.DurabilitySet, st.integers(0, 2), st.booleans(), st.integers(0, 2_000)),
)


@settings(max_examples=150)
@given(st.lists(st.tuples(EVENTS, st.sampled_from(("pod-1", "pod-2"))), min_size=1, max_size=8))
def test_no_record_makes_a_fold_fail_otherwise(events: list[tuple[Event, str]]) -> None:
    """Any well-formed record is folded, and the state still adds up, or it is a contradiction."""
    ledger = begun()
    state = ledger.state
    folded: list[Record] = []
    for event, owner in events:
        if not event.well_formed():
            continue
        record = make_record(state.position + 1, event, owner=owner)
        try:
            state.apply(record)
        except ContradictoryEvent:
            state = ledger.replayed()  # what stopped half way is not looked at any more
            state.apply_all(folded)
        else:
            folded.append(record)
        check(state)


def check(state: LedgerState) -> None:
    """Buckets sum to the total, and what is leased is what the leases say."""
    for found in state.pools():
        counts = state.counts(found.pool_id)
        assert sum(counts[1:]) == counts.total == found.effective.size
        lowest = state.lowest_free(found.pool_id)
        assert (lowest is None) == (counts.free == 0)
        assert lowest is None or lowest in found.effective
