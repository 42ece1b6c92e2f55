"""Applying and deleting definitions: a file at a time, all of it or nothing."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import events as ev
from engine import tags
from engine.addresses import RangeSet
from engine.commands import Apply, Claim, Command, Delete, PutPool, PutReservation, Target
from engine.decide_config import pack_ranges, pool_event, reservation_event
from engine.draft import UNSALTED, Draft, Nothing
from engine.model import Expression, PoolSpec, Selector, Selectors
from engine.pool_spec import RANGES_MAX
from ipledger.writing import Done
from projections.unpack import unpack_pool, unpack_ranges
from tests.builders import (
    TestLedger,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)


@pytest.fixture
def ledger() -> TestLedger:
    """An empty space."""
    return TestLedger()


def kinds(done: Done) -> list[str]:
    """What sort of events a commit is made of."""
    return [type(record.event).__name__ for record in done.records]


# ------------------------------------------------------------------------------------- apply


def test_a_file_is_one_commit(ledger: TestLedger) -> None:
    """Pools and reservations of one apply stand together, in the file's order."""
    done = ledger.apply(make_pool("a"), make_reservation("r", "10.0.0.1"), make_pool("b", ips=[]))
    assert kinds(done) == ["PoolCreated", "ReservationCreated", "PoolCreated"]
    assert [record.commit.part for record in done.records] == [0, 1, 2]
    assert {record.commit.parts for record in done.records} == {3}
    assert [pool.name for pool in ledger.state.pools()] == ["a", "b"]


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (make_pool("a"), make_pool("b"), "conflict"),
        (make_pool("a", "10.0.0.0/24"), make_pool("b", "10.0.0.0/16", ips=[]), "conflict"),
        (make_pool("a"), make_pool("a"), "invalid"),
        (make_pool("a"), make_pool("a", disabled=True), "invalid"),
        (make_reservation("r", "10.0.0.1"), make_reservation("r", "10.0.0.2"), "invalid"),
    ],
    ids=["V11", "V7", "twice", "twice, differing", "reservation twice"],
)
def test_objects_of_one_file_conflict_with_each_other(
    ledger: TestLedger,
    first: PutPool | PutReservation,
    second: PutPool | PutReservation,
    kind: str,
) -> None:
    """The second is decided beside the first, and neither is stored."""
    good = make_pool("good", "10.1.0.0/24")
    refusal = ledger.refused(Apply((good, first, second)))
    assert refusal.kind == kind
    assert first.name in refusal.message
    assert list(ledger.state.pools()) == []


def test_a_pool_and_a_reservation_may_share_a_name(ledger: TestLedger) -> None:
    """They are different kinds of things."""
    ledger.apply(make_pool("x"), make_reservation("x", "10.0.0.1"))


def test_a_file_can_move_addresses_between_pools_in_order(ledger: TestLedger) -> None:
    """What an earlier object of the file gives up, a later one may have; not the reverse."""
    ledger.apply(make_pool("a", ips=["10.0.0.1-10.0.0.9"]))
    smaller = make_pool("a", ips=["10.0.0.1-10.0.0.5"])
    other = make_pool("b", ips=["10.0.0.6-10.0.0.9"])
    assert ledger.refused(Apply((other, smaller))).kind == "conflict"
    assert kinds(ledger.apply(smaller, other)) == ["PoolUpdated", "PoolCreated"]


def test_what_stands_already_is_not_written_again(ledger: TestLedger) -> None:
    """An unchanged file writes nothing; one changed object writes one event."""
    pool, reservation = make_pool("a"), make_reservation("r", "10.0.0.1", owner="x", reason="y")
    ledger.apply(pool, reservation)
    before = ledger.stream.head()
    assert ledger.held(Apply((pool, reservation))) == ()
    assert ledger.stream.head() == before
    changed = make_reservation("r", "10.0.0.1", owner="x", reason="z")
    assert kinds(ledger.apply(pool, changed)) == ["ReservationUpdated"]


def test_an_equal_definition_in_other_words_is_unchanged(ledger: TestLedger) -> None:
    """Order, overlap and spelling of the entries are not part of a definition."""
    ledger.apply(make_pool("six", "fd00::/64", ips=["fd00::1-fd00::9"]))
    again = make_pool("six", "fd00::/64", ips=["FD00::5-fd00:0::9", "fd00::1-fd00::5"])
    ledger.held(Apply((again,)))


@pytest.mark.parametrize(
    "fields",
    [
        {"disabled": True},
        {"default": True},
        {"gateway": "10.0.0.255"},
        {"routes": [("10.9.0.0/16", "10.0.0.1")]},
        {"ttl_s": 60},
        {"cooldown_s": 60},
        {"sticky_s": 60},
        {"policy": "sticky"},
        {"labels": {"a": "b"}},
        {"exclude_ips": ["10.0.0.9"]},
        {"selectors": Selectors(node_names=("n",))},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_every_field_of_a_pool_is_kept(ledger: TestLedger, fields: dict[str, Any]) -> None:
    """A change of any field is a change, and the fold of its event is the definition."""
    ledger.apply(make_pool("a"))
    changed = make_pool("a", **fields)
    ledger.apply(changed)
    pool = ledger.replayed().pool("a")
    assert pool is not None
    assert pool.spec == changed.spec
    ledger.held(Apply((changed,)))


@pytest.mark.parametrize("pool", [make_pool("x"), make_pool("x", disabled=True)])
def test_creating_refuses_what_exists(ledger: TestLedger, pool: PutPool) -> None:
    """With `create_only` an existing object is refused as such, the same or not."""
    ledger.apply(make_pool("x"), make_reservation("x", "10.0.0.1"))
    new = make_pool("new", "10.1.0.0/24")
    refusal = ledger.refused(Apply((new, pool), create_only=True))
    assert (refusal.kind, refusal.about) == ("exists", "x")
    held = make_reservation("x", "10.0.0.1")
    assert ledger.refused(Apply((new, held), create_only=True)).kind == "exists"
    ledger.done(Apply((new,), create_only=True))


def test_an_update_keeps_the_identity(ledger: TestLedger) -> None:
    """The pool id and the reservation's id and age are those of the creation."""
    made = ledger.apply(make_pool("a"), make_reservation("r", "10.0.0.1"))
    ledger.clock.now_ms += 5_000
    ledger.apply(make_pool("a", disabled=True), make_reservation("r", "10.0.0.2"))
    pool, held = ledger.state.pool("a"), ledger.state.reservation("r")
    assert pool is not None
    assert held is not None
    assert (pool.pool_id, held.reservation_id) == tuple(r.position for r in made.records)
    assert held.created_at_ms == made.records[1].ms


def test_a_definition_too_large_for_an_event_is_refused(ledger: TestLedger) -> None:
    """Two full lists of ranges do not fit one event; that is said and not a crash."""

    def scattered(odd: int) -> list[str]:
        return [f"fd00::{n:x}:{odd}" for n in range(RANGES_MAX)]

    pool = make_pool("six", "fd00::/64", ips=scattered(1), exclude_ips=scattered(3))
    refusal = ledger.refused(Apply((pool,)))
    assert refusal.kind == "invalid"
    assert "too large" in refusal.message
    ledger.apply(make_pool("six", "fd00::/64", ips=scattered(1)))


def test_the_claim_is_sealed_with_every_event(ledger: TestLedger) -> None:
    """Who asked and why stands beside each event; so do a pool's labels and a reservation's own."""
    objects = (
        make_pool("a", labels={"team": "net"}),
        make_reservation("r", "10.0.0.1", owner="redis", reason="outside", labels={"k": "v"}),
    )
    outcome = ledger.run(Apply(objects), claim=Claim("ann", "a ticket", "my-id"))
    assert isinstance(outcome, Done)
    pool, held = (record.sealed._replace(salt=UNSALTED) for record in outcome.records)
    assert pool == ev.Sealed(
        UNSALTED, None, None, (("team", "net"),), "ann", "a ticket", "my-id", None
    )
    assert held == ev.Sealed(
        UNSALTED, "redis", None, (("k", "v"),), "ann", "a ticket", "my-id", "outside"
    )
    assert len({record.sealed.salt for record in outcome.records}) == 2


# ------------------------------------------------------------------------------------ delete


def test_an_empty_pool_is_gone_at_once(ledger: TestLedger) -> None:
    """Without leases there is nothing to wait for, and its addresses are free for another."""
    ledger.apply(make_pool("a"))
    assert kinds(ledger.done(make_delete("a"))) == ["PoolDeleted"]
    assert ledger.state.pool("a") is None
    ledger.apply(make_pool("b"))


def test_deleting_is_all_or_nothing(ledger: TestLedger) -> None:
    """One name that does not exist refuses the whole list and is named."""
    ledger.apply(make_pool("a"), make_reservation("r", "10.0.0.1"))
    refusal = ledger.refused(make_delete("a", "b", reservations=["r"]))
    assert (refusal.kind, refusal.about) == ("not_found", "b")
    assert "pool b" in refusal.message
    refusal = ledger.refused(make_delete("a", reservations=["s"]))
    assert "reservation s" in refusal.message
    done = ledger.done(make_delete("a", reservations=["r"]))
    assert kinds(done) == ["PoolDeleted", "ReservationDeleted"]


def test_what_is_not_there_may_be_ignored(ledger: TestLedger) -> None:
    """With `ignore_not_found` the rest is deleted, and nothing at all is no error either."""
    ledger.apply(make_pool("a"))
    done = ledger.done(make_delete("a", "b", reservations=["r"], ignore_not_found=True))
    assert kinds(done) == ["PoolDeleted"]
    ledger.held(make_delete("a", "b", reservations=["r"], ignore_not_found=True))


def test_a_name_given_twice_is_deleted_once(ledger: TestLedger) -> None:
    """A list of manifests may name a pool twice."""
    ledger.apply(make_pool("a"), make_reservation("r", "10.0.0.1"))
    ledger.done(make_delete("a", "a", reservations=["r", "r"]))
    assert list(ledger.state.pools()) == []
    assert list(ledger.state.reservations()) == []


def test_a_terminating_pool_is_deleted_already(ledger: TestLedger) -> None:
    """Deleting it again changes nothing and is no error."""
    ledger.apply(make_pool("a"))
    ledger.grant("a")
    ledger.done(make_delete("a"))
    ledger.held(make_delete("a"))
    assert ledger.state.pool("a") is not None


def test_a_recreated_name_is_another_pool(ledger: TestLedger) -> None:
    """While terminating the name is taken; afterwards it is a new pool with a new id."""
    (made,) = ledger.apply(make_pool("a")).records
    (lease,) = ledger.grant("a")
    ledger.done(make_delete("a"))
    assert ledger.refused(Apply((make_pool("a"),))).kind == "forbidden"
    assert ledger.refused(Apply((make_pool("a"),), create_only=True)).kind == "exists"
    ledger.done(make_release(lease.lease_id))
    (again,) = ledger.apply(make_pool("a")).records
    pool = ledger.state.pool("a")
    assert pool is not None
    assert pool.pool_id == again.position != made.position
    assert not pool.terminating
    assert ledger.state.pool_of(made.position) is None
    assert ledger.take("a") == ["10.0.0.1"]


def test_a_drained_pool_keeps_its_leases(ledger: TestLedger) -> None:
    """`disable` stops what is new and nothing else; enabling it goes on where it was."""
    ledger.apply(make_pool("a"))
    (lease,) = ledger.grant("a")
    ledger.apply(make_pool("a", disabled=True))
    assert ledger.refused(make_allocate("a", owner="other")).kind == "forbidden"
    assert ledger.held(make_allocate("a")) == (lease,)
    ledger.apply(make_pool("a"))
    assert ledger.take("a", owner="other") == ["10.0.0.2"]


# ----------------------------------------------------------- what a draft reads, what it writes


def reads(ledger: TestLedger, command: Command) -> set[str]:
    """The tags that a command's draft reads."""
    decision = ledger.decide(command)
    assert isinstance(decision, Draft), decision
    return set(decision.reads)


def writes(ledger: TestLedger, command: Command) -> list[set[str]]:
    """The tags that the entries of a command write, without the command's own."""
    before = ledger.state.position
    ledger.done(command)
    return ledger.written(before)


def test_creating_and_growing_read_all_pools_and_write_one(ledger: TestLedger) -> None:
    """Overlap is a matter of all pool configuration; the change is to this one's."""
    for command in (
        Apply((make_pool("a", ips=["10.0.0.1"]),)),
        Apply((make_pool("a", ips=["10.0.0.1-10.0.0.9"]),)),
    ):
        assert reads(ledger, command) == {tags.POOLS}
        assert writes(ledger, command) == [{tags.POOLS, tags.pool("a")}]


def test_shrinking_and_excluding_read_the_removed_ranges(ledger: TestLedger) -> None:
    """A grant of one of them that is on its way must lose, or win, but not slip in beside."""
    ledger.apply(make_pool("a", ips=["10.0.0.1-10.0.0.20"]))
    command = Apply((make_pool("a", ips=["10.0.0.3-10.0.0.20"], exclude_ips=["10.0.0.9"]),))
    assert reads(ledger, command) == {tags.POOLS, "40a000001-40a000002", "40a000009"}
    assert writes(ledger, command) == [{tags.POOLS, tags.pool("a")}]


def test_a_change_of_reservations_reads_and_writes_reservations(ledger: TestLedger) -> None:
    """One tag for all of them: which overlap is nobody's business."""
    for command in (
        Apply((make_reservation("r", "10.0.0.1"),)),
        Apply((make_reservation("r", "10.0.0.2"),)),
        make_delete(reservations=["r"]),
    ):
        assert reads(ledger, command) == {tags.RESERVATIONS}
        assert writes(ledger, command) == [{tags.RESERVATIONS}]


def test_deleting_a_pool_reads_its_configuration(ledger: TestLedger) -> None:
    """Its leases are not read: a grant beside it is the pool's last or comes too late."""
    ledger.apply(make_pool("a"))
    assert reads(ledger, make_delete("a")) == {tags.pool("a")}
    assert writes(ledger, make_delete("a")) == [{tags.POOLS, tags.pool("a")}]


def test_what_is_found_missing_is_read_too(ledger: TestLedger) -> None:
    """A name that was ignored as missing must still be missing when the rest is deleted."""
    ledger.apply(make_pool("a"))
    command = make_delete("a", "b", reservations=["r"], ignore_not_found=True)
    assert reads(ledger, command) == {tags.pool("a"), tags.pool("b"), tags.RESERVATIONS}


def test_an_unchanged_object_is_read_too(ledger: TestLedger) -> None:
    """Unchanged is an answer about the state: it must hold when the others are committed."""
    ledger.apply(make_pool("a"))
    command = Apply((make_pool("a"), make_reservation("r", "10.0.0.1")))
    assert reads(ledger, command) == {tags.POOLS, tags.RESERVATIONS}


# --------------------------------------------------------------- definitions as events and back


@given(
    st.sampled_from([4, 6]),
    st.lists(st.tuples(st.integers(0, 1 << 32), st.integers(0, 1 << 16)), max_size=6),
)
def test_ranges_survive_packing(family: int, pairs: list[tuple[int, int]]) -> None:
    """What is packed into an event is unpacked from it, in both families."""
    last = (1 << 32) - 1
    ends = [(min(first, last), min(first + more, last)) for first, more in pairs]
    ranges = RangeSet(4 if family == 4 else 6, ends)
    assert unpack_ranges(pack_ranges(ranges), ranges.family) == ranges


def test_a_full_definition_survives_its_event() -> None:
    """Every field of a pool is in its event, or sealed beside it."""
    selector = Selector((("a", "b"),), (Expression("k", "In", ("x", "y")),))
    spec = make_pool(
        "a", "fd00::/64", exclude_ips=["fd00::5"], gateway="fd00::", disabled=True, default=True,
        routes=[("fd01::/64", "fd00::9")], policy="random", cooldown_s=1, ttl_s=2, sticky_s=3,
        labels={"x": "y"},
        selectors=Selectors(selector, None, selector, ("ns",), ("node",), ("multus",)),
    ).spec  # fmt: skip
    event = pool_event("a", spec)
    assert event.well_formed()
    assert unpack_pool(event, spec.labels) == spec
    assert all(
        value != default
        for value, default in zip(spec, PoolSpec(spec.subnet, spec.ips, spec.ips), strict=True)
        if value not in {spec.subnet, spec.ips}
    ), "the test gives every field a value of its own"


def test_a_reservations_event_says_whether_it_is_owned_not_by_whom() -> None:
    """Owners are sealed apart, so that they can be erased one day."""
    owned = make_reservation("r", "10.0.0.1", owner="somebody", for_s=60).spec
    event = reservation_event("r", owned)
    assert event == ev.ReservationCreated("r", 4, bytes([10, 0, 0, 1] * 2), 60, owned=True)
    assert not reservation_event("r", owned._replace(owner=None)).owned


def test_an_empty_file_and_an_empty_list_change_nothing(ledger: TestLedger) -> None:
    """There is nothing to do, and that is not an error of a decision."""
    assert ledger.decide(Apply(())) == Nothing()
    assert ledger.decide(Delete(())) == Nothing()
    assert isinstance(ledger.decide(Delete((Target("pool", "a"),), ignore_not_found=True)), Nothing)
