"""The state after any commands is what a naive ledger of sets says, live and folded anew."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from engine.addresses import Address, Family, RangeSet, Subnet, from_int, parse_subnet, to_int
from engine.commands import (
    Allocate,
    Apply,
    Command,
    Delete,
    PutBack,
    PutPool,
    PutReservation,
    Release,
    Renew,
    Requester,
    SetAside,
    Sweep,
    Target,
)
from engine.errors import Refusal
from engine.model import Policy, PoolSpec, ReservationSpec, Selectors
from ipledger.writing import Done, Held
from projections.digest import state_digest
from tests.builders import START_MS, MemoryPages, TestLedger, ended, granted
from tests.projections.naive_ledger import Answer, NaiveLedger, NaivePool, members

# Sixteen addresses a family, and two blocks within one another, so that every rule is met often.
SUBNETS: Final = tuple(map(parse_subnet, ("10.0.0.0/28", "10.0.0.8/29", "fd00::/124")))
BLOCKS: Final = (SUBNETS[0], SUBNETS[2])


# Where the pools of each name usually lie: `a` and `b` share two addresses to quarrel about.
USUAL: Final = {
    "a": (SUBNETS[0], range(9)),
    "b": (SUBNETS[0], range(7, 16)),
    "c": (SUBNETS[2], range(16)),
}


# Nothing can be said beforehand of what is drawn by chance: see tests/engine/test_policies.py.
PREDICTABLE: Final[tuple[Policy, ...]] = ("lowest", "lowest", "least-recently-used", "sticky")
POLICIES: Final = st.sampled_from(PREDICTABLE)


def seldom(draw: st.DrawFn) -> bool:
    """Now and then."""
    return draw(st.integers(0, 11)) == 11


def draw_ranges(draw: st.DrawFn, subnet: Subnet, offsets: range, ranges_max: int) -> RangeSet:
    """Some ranges of a subnet."""
    offset = st.sampled_from(offsets)
    ranges_min = 0 if seldom(draw) else 1
    pairs = draw(st.lists(st.tuples(offset, offset), min_size=ranges_min, max_size=ranges_max))
    return RangeSet(
        subnet.family, [(subnet.first + min(pair), subnet.first + max(pair)) for pair in pairs]
    )


@st.composite
def pools(draw: st.DrawFn, name: str | None = None) -> PutPool:
    """A pool that can be defined; most are where they were, enabled, and their own."""
    name = name or draw(st.sampled_from("abc"))
    subnet, offsets = USUAL[name]
    if seldom(draw):
        subnet = draw(st.sampled_from(SUBNETS))
        offsets = range(subnet.size)
    spec = PoolSpec(
        subnet,
        draw_ranges(draw, subnet, offsets, 3),
        draw_ranges(draw, subnet, offsets, 1) if seldom(draw) else RangeSet(subnet.family),
        disabled=seldom(draw),
        cooldown_s=draw(st.sampled_from((0, 0, 5))),
        ttl_s=draw(st.sampled_from((None, 8))),
        default=draw(st.booleans()),
        selectors=Selectors(node_names=draw(st.sampled_from(((), (), (), ("n1",))))),
        policy=draw(POLICIES),
        sticky_s=draw(st.sampled_from((None, 6))),
    )
    return PutPool(name, spec)


@st.composite
def reservations(draw: st.DrawFn) -> PutReservation:
    """A reservation of a few addresses, for somebody or for nobody."""
    subnet = draw(st.sampled_from(BLOCKS))
    first = subnet.first + draw(st.integers(0, 15))
    last = min(first + draw(st.integers(0, 4)), subnet.last)
    ips = RangeSet(subnet.family, [(first, last)])
    owner = draw(st.sampled_from((None, None, "x", "y")))
    for_s = draw(st.sampled_from((None, None, 6)))
    spec = ReservationSpec(ips, owner, for_s=for_s)
    return PutReservation(draw(st.sampled_from("rs")), spec)


@st.composite
def few_addresses(draw: st.DrawFn) -> RangeSet:
    """Up to four addresses side by side, of no pool or of any."""
    subnet = draw(st.sampled_from(BLOCKS))
    first = subnet.first + draw(st.integers(0, 12))
    return RangeSet(subnet.family, [(first, first + draw(st.integers(0, 3)))])


@st.composite
def addresses(draw: st.DrawFn) -> Address:
    """An address of one of the blocks."""
    subnet = draw(st.sampled_from(BLOCKS))
    return from_int(subnet.first + draw(st.integers(0, 15)), subnet.family)


GROUPS: Final[tuple[tuple[tuple[str, ...], ...], ...]] = (
    (("a",),), (("b",),), (("c",),), (("a", "b"),), (("b", "a"),), (("b", "c", "a"),),
    (("c",), ("a",)), (("a", "b"), ("c",)), (("b",), ("a",)), (("a",), ("a", "b")),
    (), (), (("[ab]",),), (("c",), ("*",)), (("b", "?"),), (("[bc]",), ("b",)),
)  # fmt: skip
OWNERS: Final = st.sampled_from(("x", "y", "z"))
INTERFACES: Final = st.sampled_from(("eth0", "eth0", "net1"))

# Made by functions: Hypothesis would infer values for the fields that are left out here.
APPLIES: Final = st.builds(
    lambda objects, create_only: Apply(tuple(objects), create_only),
    st.lists(pools() | reservations(), min_size=1, max_size=2),
    st.sampled_from([False] * 9 + [True]),
)
RESERVATION: Final = st.sampled_from("rs").map(lambda name: Target("reservation", name))
TARGETS: Final = RESERVATION | st.sampled_from("abc").map(lambda name: Target("pool", name))
DELETES: Final = st.builds(
    lambda targets, ignore_not_found, cascade: Delete(tuple(targets), ignore_not_found, cascade),
    st.lists(TARGETS, min_size=1, max_size=2),
    st.booleans(),
    st.sampled_from((False, False, True)),
)


@st.composite
def allocates(draw: st.DrawFn) -> Allocate:
    """Any, specific, joint and fallback, by known and new owners."""
    return Allocate(
        groups=draw(st.sampled_from(GROUPS)),
        owner=draw(OWNERS),
        interface=draw(INTERFACES),
        uid=draw(st.sampled_from((None, "u1", "u2"))),
        addresses=draw(st.just(()) | st.lists(addresses(), max_size=2).map(tuple)),
        number=draw(st.integers(1, 3)),
        ttl_s=draw(st.sampled_from((None, None, None, 8))),
        requester=Requester(node=draw(st.sampled_from((None, "n1", "n1", "n2")))),
    )


def family_of_value(value: int) -> Family:
    """The family of an address that is given as a number: of those that occur here."""
    return 4 if value < 1 << 32 else 6


class LedgerMachine(RuleBasedStateMachine):
    """All commands, one after another, each answered as the naive ledger says."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger = TestLedger()
        self.model = NaiveLedger(START_MS)
        self.last: tuple[Command, str, Done] | None = None
        self.count = 0
        self.pages = MemoryPages()

    @initialize(made=st.tuples(pools("a"), pools("b"), pools("c")))
    def begin(self, made: tuple[PutPool, ...]) -> None:
        """Three pools that do not overlap, so that there is something to give out."""
        for pool in made:
            self.apply(Apply((pool,)))

    def carry_out(self, command: Command, expected: Answer) -> None:
        """The answer, what was refused, changed, granted, ended and held, is the expected one."""
        self.count += 1
        before = self.ledger.state.position
        outcome = self.ledger.run(command, f"command {self.count}")
        event(f"{type(command).__name__} {expected.refused or 'accepted'}")
        assert isinstance(outcome, Done | Held | Refusal), outcome
        assert self.ledger.state.position - before == expected.changed
        if isinstance(outcome, Refusal):
            assert outcome.kind == expected.refused, outcome
        elif isinstance(outcome, Held):
            assert expected.refused is None, expected
            assert {lease.lease_id for lease in outcome.leases} == expected.held
        else:
            assert expected.refused is None, (outcome, expected)
            assert set(ended(outcome)) == expected.ended
            assert {to_int(lease.address) for lease in granted(outcome)} == expected.granted
            self.last = (command, f"command {self.count}", outcome)
        if expected.changed:
            self.model.something_happened()

    @rule(seconds=st.integers(1, 9))
    def wait(self, seconds: int) -> None:
        """Time goes on by itself; nothing ends unless somebody says so."""
        self.model.now_ms += seconds * 1_000
        self.ledger.clock.now_ms = self.model.now_ms

    @rule()
    def sweep(self) -> None:
        """What is past its time ends."""
        self.carry_out(Sweep(), self.model.sweep())

    @precondition(lambda self: self.model.was_lease)
    @rule(data=st.data(), ttl_s=st.sampled_from((None, 4, 20)), may_shorten=st.booleans())
    def renew(self, data: st.DataObject, ttl_s: int | None, *, may_shorten: bool) -> None:
        """A lease, mostly an active one, overdue or not; or one that never was."""
        known = [*sorted(self.model.leases) * 4, *sorted(self.model.was_lease), 10**6]
        command = Renew(data.draw(st.sampled_from(known), "lease"), ttl_s, may_shorten)
        self.carry_out(command, self.model.renew(command))

    @rule(ips=few_addresses(), for_s=st.sampled_from((None, 6)))
    def set_aside(self, ips: RangeSet, for_s: int | None) -> None:
        """Free, leased, resting and reserved addresses alike."""
        command = SetAside(ips, "answers ARP", for_s)
        self.carry_out(command, self.model.set_aside(command))

    @precondition(lambda self: self.model.quarantines)
    @rule(data=st.data(), ips=few_addresses())
    def put_back(self, data: st.DataObject, ips: RangeSet) -> None:
        """Mostly one quarantined address, of whatever quarantine."""
        value = data.draw(st.sampled_from(sorted(self.model.quarantined())), "value")
        one = RangeSet(family_of_value(value), [(value, value)])
        command = PutBack(data.draw(st.sampled_from((one, one, ips)), "ips"))
        self.carry_out(command, self.model.put_back(command))

    @rule(wanted=reservations())
    def reserve(self, wanted: PutReservation) -> None:
        """Just a reservation."""
        self.apply(Apply((wanted,)))

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), name=st.sampled_from("rs"), owner=st.sampled_from((None, "x", "y")))
    def reserve_what_is_held(self, data: st.DataObject, name: str, owner: str | None) -> None:
        """A reservation of a leased address, for its holder, for another or for nobody."""
        lease = self.model.leases[data.draw(st.sampled_from(sorted(self.model.leases)), "lease")]
        ips = RangeSet(family_of_value(lease.value), [(lease.value, lease.value)])
        self.apply(Apply((PutReservation(name, ReservationSpec(ips, owner)),)))

    @precondition(lambda self: self.model.pools)
    @rule(data=st.data(), disabled=st.booleans())
    def apply_again(self, data: st.DataObject, *, disabled: bool) -> None:
        """A pool as it stands, or disabled, or enabled again: also one that is terminating."""
        name = data.draw(st.sampled_from(sorted(self.model.pools)), "name")
        spec = self.model.pools[name].spec._replace(disabled=disabled)
        self.apply(Apply((PutPool(name, spec),)))

    @precondition(lambda self: self.model.pools)
    @rule(data=st.data(), policy=POLICIES, sticky_s=st.sampled_from((None, 6)))
    def change_policy(self, data: st.DataObject, policy: Policy, sticky_s: int | None) -> None:
        """A pool prefers other addresses from now on, whatever it did before."""
        name = data.draw(st.sampled_from(sorted(self.model.pools)), "name")
        spec = self.model.pools[name].spec._replace(policy=policy, sticky_s=sticky_s)
        self.apply(Apply((PutPool(name, spec),)))

    @precondition(lambda self: self.model.memories)
    @rule(data=st.data())
    def come_back(self, data: st.DataObject) -> None:
        """Somebody whom a pool may remember asks for something from it again."""
        memories = sorted(self.model.memories.items())
        value, memory = data.draw(st.sampled_from(memories), "memory")
        names = [name for name, pool in self.model.pools.items() if value in pool.mine]
        if names:
            number = data.draw(st.integers(1, 2), "number")
            self.give(Allocate(((names[0],),), memory.owner, memory.interface, number=number))

    @rule(command=APPLIES)
    def apply(self, command: Apply) -> None:
        """Pools and reservations, new or changed."""
        self.carry_out(command, self.model.apply(command))

    @rule(command=DELETES)
    def delete(self, command: Delete) -> None:
        """Pools and reservations, known or not; what is deleted may be made anew."""
        self.carry_out(command, self.model.delete(command))

    @precondition(lambda self: len(self.model.pools) < len(USUAL))
    @rule(data=st.data())
    def make_again(self, data: st.DataObject) -> None:
        """A pool of a name that is not there."""
        missing = sorted(USUAL.keys() - self.model.pools.keys())
        name = data.draw(st.sampled_from(missing), "name")
        self.apply(Apply((data.draw(pools(name), "pool"),)))

    @rule(command=allocates())
    def allocate(self, command: Allocate) -> None:
        """In every form at once."""
        self.give(command)

    @rule(pool=st.sampled_from("abc"), owner=OWNERS, number=st.integers(1, 9))
    def allocate_many(self, pool: str, owner: str, number: int) -> None:
        """Plainly some addresses of a pool, so that pools fill up."""
        self.give(Allocate(((pool,),), owner, number=number))

    @precondition(lambda self: self.model.leases)
    @rule(
        data=st.data(),
        uid=st.sampled_from((None, "u1", "u2")),
        ttl_s=st.sampled_from((None, None, 8)),
    )
    def allocate_again(self, data: st.DataObject, uid: str | None, ttl_s: int | None) -> None:
        """A holder asks again, from where it holds something, also by address."""
        lease = self.model.leases[data.draw(st.sampled_from(sorted(self.model.leases)), "lease")]
        held = from_int(lease.value, family_of_value(lease.value))
        at = data.draw(st.sampled_from(((), (held,))), "addresses")
        number = data.draw(st.integers(1, 2), "number")
        group = data.draw(st.sampled_from(((lease.pool,), (lease.pool, "b"))), "group")
        self.give(Allocate((group,), lease.owner, lease.interface, uid, at, number, ttl_s))

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data(), owner=OWNERS, more=st.integers(1, 2))
    def allocate_late(self, data: st.DataObject, owner: str, more: int) -> None:
        """More than is free in a pool, when something in it may have rested or is overdue."""
        lease = self.model.leases[data.draw(st.sampled_from(sorted(self.model.leases)), "lease")]
        self.wait(9)
        held = [i for i in self.model.holding(owner, "eth0")
                if self.model.leases[i].pool == lease.pool]  # fmt: skip
        number = len(held) + len(self.model.free(lease.pool)) + more
        self.give(Allocate(((lease.pool,),), owner, number=number))

    def give(self, command: Allocate) -> None:
        """Carry out an allocation, and enter into the model what it granted."""
        expected = self.model.allocate(command)
        self.carry_out(command, expected)
        if expected.refused is None:
            self.model.end(expected.ended)
            if expected.changed:
                assert self.last is not None
                for lease in granted(self.last[2]):
                    self.model.enter(lease.lease_id, to_int(lease.address), command)

    @rule(data=st.data(), owner=st.none() | OWNERS, interface=st.none() | INTERFACES)
    def release(self, data: st.DataObject, owner: str | None, interface: str | None) -> None:
        """By lease (active, ended, never granted), by owner, by address."""
        known = [*sorted(self.model.was_lease) * 4, 10**6]
        leases = data.draw(st.lists(st.sampled_from(known), max_size=2), "leases")
        at = data.draw(st.none() | addresses(), "address")
        command = Release(tuple(leases), owner, interface, at)
        self.carry_out(command, self.model.release(command))

    @precondition(lambda self: self.model.leases)
    @rule(data=st.data())
    def release_one(self, data: st.DataObject) -> None:
        """Just one lease, so that pools do not only fill up."""
        lease_id = data.draw(st.sampled_from(sorted(self.model.leases)), "lease")
        command = Release((lease_id,))
        self.carry_out(command, self.model.release(command))

    @precondition(lambda self: self.last is not None)
    @rule()
    def repeat(self) -> None:
        """The same command id: the original answer, and nothing is written."""
        assert self.last is not None
        command, command_id, outcome = self.last
        before = self.ledger.stream.head()
        again = self.ledger.run(command, command_id)
        assert isinstance(again, Done)
        assert again.repeated
        assert again.records == outcome.records
        assert self.ledger.stream.head() == before

    @rule(anew=st.booleans())
    def keep(self, *, anew: bool) -> None:
        """The state is kept, and the next process goes on from what was kept of it."""
        if anew:
            self.ledger.state.read_all()
            self.pages = MemoryPages()
        self.ledger.take_up(self.pages)

    @rule()
    def replay(self) -> None:
        """The state folded anew has the same digest, and answers the same."""
        replayed = self.ledger.replayed()
        assert state_digest(replayed) == self.ledger.digest()
        for pool in self.ledger.state.pools():
            assert replayed.counts(pool.pool_id) == self.ledger.state.counts(pool.pool_id)

    @invariant()
    def the_definitions_are_those_of_the_model(self) -> None:
        """Names, specs, and which pools are terminating."""
        state = self.ledger.state
        found = {pool.name: NaivePool(pool.spec, pool.terminating) for pool in state.pools()}
        assert found == self.model.pools
        assert {held.name: held.spec for held in state.reservations()} == self.model.reservations

    @invariant()
    def the_leases_are_those_of_the_model(self) -> None:
        """By id, by address and by owner; what has ended is known as ended."""
        state = self.ledger.state
        assert {lease.lease_id: to_int(lease.address) for lease in state.leases()} == {
            lease_id: lease.value for lease_id, lease in self.model.leases.items()
        }
        for subnet in BLOCKS:
            for value in range(subnet.first, subnet.last + 1):
                found = state.lease_at(from_int(value, subnet.family))
                assert (found is not None) == (value in self.model.leased())
        for owner in ("x", "y", "z"):
            for interface in (None, "eth0", "net1"):
                ids = [lease.lease_id for lease in state.leases_of(owner, interface)]
                assert ids == self.model.holding(owner, interface)
        for lease_id in self.model.was_lease:
            assert state.has_ended(lease_id) == (lease_id not in self.model.leases)

    @invariant()
    def what_is_set_aside_is_that_of_the_model(self) -> None:
        """The same quarantines until the same times, and every lease with its time."""
        state = self.ledger.state
        found = {(frozenset(members(q.ips)), q.ends_at_ms) for q in state.quarantines()}
        assert found == {(frozenset(q.values), q.ends_at_ms) for q in self.model.quarantines}
        assert len(state.quarantine_table) == len(self.model.quarantines)
        for lease_id, lease in self.model.leases.items():
            held = state.lease(lease_id)
            assert held is not None
            assert (held.ttl_s, held.expires_at_ms) == (lease.ttl_s, lease.expires_at_ms)

    @invariant()
    def each_address_is_in_one_bucket(self) -> None:
        """The buckets are the model's and sum to the total; what is free is just what is free."""
        state = self.ledger.state
        for pool in state.pools():
            counts = state.counts(pool.pool_id)
            assert counts == self.model.counts(pool.name)
            assert counts.total == sum(counts[1:])
            free = sorted(self.model.free(pool.name))
            subnet = pool.spec.subnet
            values = range(subnet.first, subnet.last + 1)
            assert [v for v in values if state.is_free(pool.pool_id, v)] == free
            assert state.lowest_free(pool.pool_id) == (free[0] if free else None)
            order = sorted(free, key=lambda v: (self.model.idle.get(v, (-1, 0))[0], v))
            if pool.spec.policy in {"least-recently-used", "sticky"}:
                assert list(state.longest_idle(pool.pool_id)) == order
            for n, value in enumerate(free):
                assert state.nth_free(pool.pool_id, n) == value
            assert state.nth_free(pool.pool_id, len(free)) is None

    def teardown(self) -> None:
        """Whatever was done, folding it anew gives the same state."""
        self.replay()


@pytest.mark.timeout(400)  # not needed to pass: to make a failure small takes up to five minutes
def test_the_state_is_what_the_naive_ledger_says() -> None:
    """All commands in any order: answers, refusals, buckets, choices and digests agree."""
    run_state_machine_as_test(
        LedgerMachine, settings=settings(max_examples=100, stateful_step_count=40)
    )
