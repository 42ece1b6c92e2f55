"""Explaining an address: every reason has its scenario, and the verdict is what a decision answers.

The first part makes each reason come true. The second compares explanations with decisions: over
random states, an address would be given to an owner just if `decide` gives it, and what decides is
what the refusal says. The third finds every refusal in the source of the decisions, so that none
can be added without a reason that explains it.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from itertools import product
from types import ModuleType
from typing import Any, Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine import decide_leases, granting
from engine.addresses import Address, RangeSet, from_int
from engine.commands import Allocate, Apply, Claim, PutBack, SetAside, Sweep
from engine.decide import decide
from engine.draft import Decision, Draft, Nothing
from engine.errors import Refusal
from engine.events import LeaseGranted
from engine.explaining import POOL_REASONS, Explanation, Outlook, explain, outlook
from engine.facts import Counts, Pool
from engine.model import Selector, Selectors
from engine.placement import Placement
from engine.reasons import FINDERS, Reason
from tests.builders import (
    TestLedger,
    address,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)
from tests.leaks import reconcile, seen

IPS: Final = ["10.0.0.1-10.0.0.4"]
SELECTED: Final = Selectors(pod_affinity=Selector(match_labels=(("app", "web"),)))


def aside(*entries: str, for_s: int | None = None) -> SetAside:
    """Set addresses aside."""
    return SetAside(RangeSet.parse(entries), "answers ARP", for_s)


def ask(ledger: TestLedger, text: str, owner: str | None = None) -> Explanation:
    """What is told about an address now."""
    return explain(
        ledger.state, address(text), now_ms=ledger.clock.now_ms,
        position=ledger.state.position, owner=owner,
    )  # fmt: skip


def make() -> TestLedger:
    """A space with a pool `a` of four addresses, one of which it excludes."""
    ledger = TestLedger()
    ledger.apply(
        make_pool("a", ips=["10.0.0.1-10.0.0.5"], exclude_ips=["10.0.0.5"], gateway="10.0.0.254")
    )
    return ledger


# ------------------------------------------------------------------------ a scenario a reason


class Scenario(NamedTuple):
    """What makes a reason true of an address, for whom; what is told, and what is decided."""

    prepare: Callable[[TestLedger], object]
    verdict: str  # yes, no, or told beside what decides
    owner: str | None = None
    told: str = ""
    address: str = "10.0.0.1"


def _terminating(ledger: TestLedger) -> None:
    ledger.grant("a", owner="other", ips=["10.0.0.2"])
    ledger.done(make_delete("a"))


def _overdue(ledger: TestLedger) -> None:
    ledger.grant("a", owner="other", ttl_s=5)
    ledger.clock.now_ms += 5_000


def _reported(ledger: TestLedger) -> None:
    ledger.grant("a", owner="other")
    ledger.done(aside("10.0.0.1"))


def _missing(ledger: TestLedger) -> None:
    ledger.grant("a", owner="other")
    ledger.grant("a", owner="another")
    for _ in range(2):
        ledger.clock.now_ms += 1_000
        reconcile(ledger, seen(ledger.clock.now_ms, ("10.0.0.2", "another")))


def _cooling(ledger: TestLedger) -> None:
    ledger.apply(make_pool("a", ips=IPS, cooldown_s=10))
    ledger.grant("a", owner="other")
    ledger.done(make_release(owner="other"))
    ledger.clock.now_ms += 4_000


SCENARIOS: Final[dict[Reason, Scenario]] = {
    Reason.EXCLUDED: Scenario(
        lambda _: None, "no", None, "pool a excludes 10.0.0.5", "10.0.0.5"
    ),
    Reason.OUTSIDE_IPS: Scenario(
        lambda _: None, "no", None,
        "in the subnet 10.0.0.0/24 of pool a, but not among its ips", "10.0.0.9",
    ),
    Reason.IN_NO_POOL: Scenario(lambda _: None, "no", None, "in no pool", "192.0.2.1"),
    Reason.IN_POOL: Scenario(
        lambda _: None, "told", None, "one of pool a: 10.0.0.1-10.0.0.5 of its ips"
    ),
    Reason.GATEWAY: Scenario(
        lambda _: None, "told", None, "the gateway of pool a", "10.0.0.254"
    ),
    Reason.HELD_BY_OWNER: Scenario(
        lambda ledger: ledger.grant("a", owner="x"), "yes", "x", "x holds it on eth0 (lease 3)"
    ),
    Reason.OWNER_HOLDS_ANOTHER: Scenario(
        lambda ledger: ledger.grant("a", owner="x", ips=["10.0.0.2"]), "no", "x",
        "x holds 10.0.0.2 from pool a on eth0 (lease 3), and would have to release it first",
    ),
    Reason.POOL_TERMINATING: Scenario(_terminating, "no", "x", "pool a is terminating"),
    Reason.POOL_DISABLED: Scenario(
        lambda ledger: ledger.apply(make_pool("a", ips=IPS, disabled=True)), "no", None,
        "pool a is disabled: it gives out nothing new",
    ),
    Reason.POOL_SELECTORS: Scenario(
        lambda ledger: ledger.apply(make_pool("a", ips=IPS, selectors=SELECTED)), "no", "x",
        "pool a is not for this request: podAffinity",
    ),
    Reason.LEASED: Scenario(
        lambda ledger: ledger.grant("a", owner="other"), "no", "x",
        "leased to other on eth0 (lease 3)",
    ),
    Reason.LEASE_OVERDUE: Scenario(
        _overdue, "yes", "x", "lease 3 is past its time: who asks for it ends it"
    ),
    Reason.CONFLICT_REPORTED: Scenario(
        _reported, "told", "x", "something else answers on it: quarantined when lease 3 ends"
    ),
    Reason.MISSING: Scenario(_missing, "told", "x", "not found in use in 2 observations"),
    Reason.QUARANTINED: Scenario(
        lambda ledger: ledger.done(aside("10.0.0.1", for_s=60)), "no", "x", "quarantined"
    ),
    Reason.COOLING: Scenario(_cooling, "no", "x", "rests for 6 s more after lease 4"),
    Reason.RESERVED: Scenario(
        lambda ledger: ledger.apply(make_reservation("r", "10.0.0.1", reason="printers")), "no",
        "x", "reserved by r for nobody",
    ),
    Reason.RESERVED_FOR_OWNER: Scenario(
        lambda ledger: ledger.apply(make_reservation("r", "10.0.0.1", owner="x")), "yes", "x",
        "kept for x by r",
    ),
    Reason.FREE: Scenario(lambda _: None, "yes", "x", "free in pool a"),
}  # fmt: skip


@pytest.mark.parametrize("reason", list(FINDERS), ids=lambda reason: reason.value)
def test_a_reason_is_told_where_it_is_true(reason: Reason) -> None:
    """In its scenario it is told in its words, and decides if it is one that does."""
    scenario = SCENARIOS[reason]
    ledger = make()
    before = {found.reason for found in ask(ledger, scenario.address, scenario.owner).reasons}
    scenario.prepare(ledger)
    told = ask(ledger, scenario.address, scenario.owner)
    (found,) = [found for found in told.reasons if found.reason is reason]
    assert scenario.told in found.text
    if ledger.stream.head().position > 2:
        assert reason not in before, "it was not true before the scenario made it so"
    if scenario.verdict == "told":
        assert told.verdict.decides.reason is not reason
    else:
        assert told.verdict.decides == found
        assert told.verdict.given == (scenario.verdict == "yes")
        assert (found.refuses is None) == told.verdict.given


def test_every_reason_has_a_way_to_be_found() -> None:
    """Of an address by its finder, of a pool by `outlook`; and the order is the enum's."""
    of_pools = {Reason.EXHAUSTED, Reason.WOULD_GIVE}
    assert list(FINDERS) == [reason for reason in Reason if reason not in of_pools]
    assert set(SCENARIOS) == set(FINDERS)


def test_what_is_known_is_told_with_a_reason() -> None:
    """Who, since when, until when, why and where it was said: not only words."""
    ledger = make()
    began_ms = ledger.clock.now_ms
    ledger.apply(make_reservation("r", "10.0.0.3", owner="redis", reason="fixed", for_s=60))
    ledger.done(aside("10.0.0.2", for_s=30))
    (lease,) = ledger.grant("a", owner="x", ttl_s=9)

    def first(text: str, reason: Reason) -> dict[str, object]:
        told = ask(ledger, text)
        return next(found for found in told.reasons if found.reason is reason)._asdict()

    kept = first("10.0.0.3", Reason.RESERVED)
    assert kept | {"owner": "redis", "name": "r", "why": "fixed", "position": 3} == kept
    assert kept | {"since_ms": began_ms, "until_ms": began_ms + 60_000} == kept
    quarantined = first("10.0.0.2", Reason.QUARANTINED)
    assert quarantined | {"name": "4", "why": "answers ARP", "lease": None} == quarantined
    assert quarantined | {"until_ms": began_ms + 30_000, "position": 4} == quarantined
    leased = first("10.0.0.1", Reason.LEASED)
    assert leased | {"owner": "x", "lease": lease.lease_id, "pool": "a"} == leased
    assert leased | {"since_ms": began_ms, "until_ms": began_ms + 9_000} == leased
    assert ask(ledger, "10.0.0.1").lease == lease


def test_past_its_time_but_not_ended_is_told() -> None:
    """A reservation or quarantine counts until its end is an event; a cooldown ends by itself."""
    ledger = make()
    ledger.apply(make_reservation("r", "10.0.0.3", for_s=5))
    ledger.done(aside("10.0.0.2", for_s=5))
    _cooling(ledger)
    ledger.clock.now_ms += 6_000
    for text in ("10.0.0.3", "10.0.0.2"):
        assert "past its time" in ask(ledger, text).verdict.decides.text
    assert ask(ledger, "10.0.0.1").verdict.decides.reason is Reason.FREE
    ledger.done(Sweep())
    assert ask(ledger, "10.0.0.3").verdict.given


def test_a_reservation_of_nobody_keeps_out_anybody() -> None:
    """Who asks as nobody in particular is no reservation's owner."""
    ledger = make()
    ledger.apply(make_reservation("r", "10.0.0.1"), make_reservation("s", "10.0.0.2", owner="x"))
    for text in ("10.0.0.1", "10.0.0.2"):
        assert ask(ledger, text).verdict.decides.reason is Reason.RESERVED


# -------------------------------------------------------------------------------- what of pools


@pytest.mark.parametrize("reason", POOL_REASONS, ids=lambda reason: reason.value)
def test_a_pool_that_gives_out_nothing_says_why(reason: Reason) -> None:
    """In the words of the refusal that an owner would get."""
    ledger = make()
    SCENARIOS[reason].prepare(ledger)
    found = looked(ledger, "x").found
    refusal = ledger.refused(make_allocate("a", owner="x"))
    assert (found.reason, found.text, found.refuses) == (reason, refusal.message, refusal.kind)


def test_an_exhausted_pool_says_where_its_addresses_are() -> None:
    """As the refusal does."""
    ledger = make()
    ledger.grant("a", owner="other", number=4)
    found = looked(ledger, "x").found
    assert (found.reason, found.refuses) == (Reason.EXHAUSTED, "exhausted")
    assert "4 leased" in found.text
    assert found.text == ledger.refused(make_allocate("a", owner="x")).message


def test_a_pool_that_would_give_says_which() -> None:
    """The very address that is then given; afterwards, that it is held."""
    ledger = make()
    ledger.apply(make_reservation("r", "10.0.0.3", owner="x"))
    seen = looked(ledger, "x")
    assert (seen.found.reason, seen.address) == (Reason.WOULD_GIVE, address("10.0.0.3"))
    assert ledger.take("a", owner="x") == ["10.0.0.3"]
    assert looked(ledger, "x").found.reason is Reason.HELD_BY_OWNER


def test_a_block_is_not_what_a_single_address_is_asked_as() -> None:
    """Blocks are counted apart: to its holder, too, an address inside is leased, not held."""
    ledger = make()
    (block,) = ledger.grant("a", owner="x", prefix_length=31)
    told = ask(ledger, "10.0.0.3", "x")
    refusal = ledger.refused(make_allocate("a", owner="x", ips=["10.0.0.3"]))
    decides = told.verdict.decides
    assert (decides.reason, told.verdict.given) == (Reason.LEASED, False)
    assert (decides.refuses, decides.position) == (refusal.kind, block.position)
    assert Reason.HELD_BY_OWNER not in {found.reason for found in told.reasons}
    seen = looked(ledger, "x")
    assert (seen.found.reason, seen.address) == (Reason.WOULD_GIVE, address("10.0.0.1"))
    assert ledger.take("a", owner="x") == ["10.0.0.1"]
    assert looked(ledger, "x").found.lease != block.lease_id


def looked(ledger: TestLedger, owner: str) -> Outlook:
    """What pool `a` would give."""
    pool = ledger.state.pool("a")
    assert pool is not None
    return outlook(ledger.state, pool, owner, "eth0", ledger.clock.now_ms)


# ------------------------------------------------------------------- as decisions, always

OWNERS: Final = ("x", "y", "z")
# What a refusal says when this is what decides.
MESSAGES: Final = {
    Reason.EXCLUDED: "is not an address of the pools asked for",
    Reason.OUTSIDE_IPS: "is not an address of the pools asked for",
    Reason.IN_NO_POOL: "is not an address of the pools asked for",
    Reason.OWNER_HOLDS_ANOTHER: "already holds",
    Reason.POOL_TERMINATING: "is terminating",
    Reason.POOL_DISABLED: "is disabled",
    Reason.POOL_SELECTORS: "is not for this request",
    Reason.LEASED: "is leased to",
    Reason.QUARANTINED: "is quarantined",
    Reason.COOLING: "rests for",
    Reason.RESERVED: "is reserved by",
}


def specs() -> st.SearchStrategy[dict[str, Any]]:
    """What a pool is defined to be, beside its addresses."""
    return st.fixed_dictionaries({
        "cooldown_s": st.sampled_from([0, 0, 10]),
        "disabled": st.sampled_from([False] * 4 + [True]),
        "policy": st.sampled_from(["lowest", "random", "sticky", "least-recently-used"]),
        "selectors": st.sampled_from([None] * 6 + [SELECTED]),
        "exclude_ips": st.sampled_from([[], ["10.0.0.4"]]),
    })  # fmt: skip


class Wild:
    """A ledger that anything happens to; what cannot happen is refused, and no matter."""

    def __init__(self, draw: Callable[..., Any]) -> None:
        self.ledger = TestLedger()
        self.draw = draw
        self.ledger.apply(
            make_pool("a", ips=IPS, cooldown_s=draw(st.sampled_from([0, 10]))),
            make_pool("b", ips=["10.0.0.6-10.0.0.7"]),
        )

    def step(self) -> None:
        """One thing happens."""
        text = f"10.0.0.{self.draw(st.integers(1, 8))}"
        owner = self.draw(st.sampled_from(OWNERS))
        change = self.draw(st.sampled_from((self._lease, self._lease, self._time, self._define)))
        change(text, owner)

    def _lease(self, text: str, owner: str) -> None:
        interface = self.draw(st.sampled_from(["eth0", "eth0", "eth1"]))
        command = self.draw(st.sampled_from([
            make_allocate(self.draw(st.sampled_from(["a", "b", "a,b"])), owner=owner,
                          interface=interface, ttl_s=self.draw(st.sampled_from([None, 5]))),
            make_allocate("a,b", owner=owner, interface=interface, ips=[text]),
            make_allocate("a,b", owner=owner, interface=interface, prefix_length=31,
                          ttl_s=self.draw(st.sampled_from([None, 5]))),
            make_release(owner=owner),
        ]))  # fmt: skip
        self.ledger.run(command)

    def _time(self, text: str, _owner: str) -> None:
        self.ledger.clock.now_ms += self.draw(st.sampled_from([0, 3_000, 5_000, 10_000]))
        ips = RangeSet.parse([text])
        command = self.draw(st.sampled_from([None, Sweep(), aside(text, for_s=8), PutBack(ips)]))
        if command is not None:
            self.ledger.run(command)

    def _define(self, text: str, owner: str) -> None:
        name = f"r-{text[-1]}"
        spec = self.draw(specs())
        command = self.draw(st.sampled_from([
            Apply((make_reservation(name, text, for_s=8),)),
            Apply((make_reservation(name, text, owner=owner),)),
            make_delete(reservations=[name]),
            Apply((make_pool("a", ips=IPS, **spec),)),
            make_delete("a"),
            make_delete("b"),
        ]))  # fmt: skip
        self.ledger.run(command)

    def check(self) -> None:
        """Every address, for every owner and for anybody; every pool; every bucket."""
        for value in range(0x0A000000, 0x0A00000A):
            where = from_int(value, 4)
            self._check_address(where, None)
            for owner in OWNERS:
                self._check_address(where, owner)
        for pool in self.ledger.state.pools():
            for owner in (*OWNERS, "new"):
                self._check_pool(pool, owner)
        self._check_buckets()

    def _decide(self, command: Allocate) -> Decision:
        now_ms = self.ledger.clock.now_ms
        return decide(self.ledger.state, command, Claim(), Placement(), now_ms)

    def _check_address(self, where: Address, owner: str | None) -> None:
        state = self.ledger.state
        told = explain(
            state, where, now_ms=self.ledger.clock.now_ms, position=state.position, owner=owner
        )
        giving = [found.pool for found in told.reasons if found.reason is Reason.IN_POOL]
        pools = tuple(str(name) for name in giving or (pool.name for pool in state.pools()))
        command = Allocate((pools,), owner or "new", addresses=(where,))
        if not pools:  # then there is nothing to ask
            assert told.verdict.decides.reason is Reason.IN_NO_POOL
            return
        decision = self._decide(command)
        decides = told.verdict.decides
        if isinstance(decision, Refusal):
            assert not told.verdict.given
            assert decides.refuses == decision.kind
            assert MESSAGES[decides.reason] in decision.message
            if decision.position is not None:
                assert decides.position == decision.position
            return
        assert told.verdict.given, (decides, decision)
        held = isinstance(decision, Nothing)
        assert held == (decides.reason is Reason.HELD_BY_OWNER)
        assert held or where in given_by(decision)
        assert Reason.OWNER_HOLDS_ANOTHER not in {found.reason for found in told.reasons}

    def _check_pool(self, pool: Pool, owner: str) -> None:
        seen = outlook(self.ledger.state, pool, owner, "eth0", self.ledger.clock.now_ms)
        decision = self._decide(make_allocate(pool.name, owner=owner))
        if isinstance(decision, Refusal):
            assert (seen.found.refuses, seen.found.text) == (decision.kind, decision.message)
        elif isinstance(decision, Nothing):
            assert seen.found.reason is Reason.HELD_BY_OWNER
        else:
            drawn = pool.spec.policy == "random"  # what is drawn here is not what will be
            assert ([None] if drawn else given_by(decision)) == [seen.address]

    def _check_buckets(self) -> None:
        state = self.ledger.replayed()
        state.advance(self.ledger.clock.now_ms)
        for pool in state.pools():
            buckets = dict.fromkeys(Counts._fields[1:], 0)
            for first, last in pool.effective.ranges:
                for value in range(first, last + 1):
                    told = explain(
                        self.ledger.state, from_int(value, 4), now_ms=self.ledger.clock.now_ms,
                        position=0,
                    )  # fmt: skip
                    assert told.verdict.bucket is not None
                    buckets[told.verdict.bucket] += 1
            assert state.counts(pool.pool_id) == Counts(pool.effective.size, **buckets)


def given_by(decision: Decision) -> list[Address]:
    """The addresses that a decision grants."""
    assert isinstance(decision, Draft)
    return [
        Address(change.event.address)
        for change in decision.changes
        if isinstance(change.event, LeaseGranted)
    ]


@pytest.mark.timeout(400)  # not needed to pass: to make a failure small takes up to five minutes
@settings(max_examples=300)
@given(data=st.data())
def test_what_is_explained_is_what_is_decided(data: st.DataObject) -> None:
    """Whatever has happened: given or the kind and words of the refusal, for whoever asks."""
    wild = Wild(data.draw)
    for _step in range(data.draw(st.integers(1, 16))):
        wild.step()
    wild.check()


_TAKEN: Final = ("free", "leased", "overdue", "cooling", "mine")
_KEPT: Final = (None, "nobody", "x", "y")
_POOL: Final[tuple[dict[str, Any], ...]] = (
    {}, {"disabled": True}, {"selectors": SELECTED}, {"disabled": True, "selectors": SELECTED},
)  # fmt: skip


@pytest.mark.parametrize("pool", _POOL, ids=lambda pool: "-".join(pool) or "open")
@pytest.mark.parametrize("taken", _TAKEN)
def test_rules_that_meet_on_one_address(taken: str, pool: dict[str, Any]) -> None:
    """Whatever is true of it together, the same rule decides as in a decision."""
    for kept, is_aside, cooldown_s, is_going in product(
        _KEPT, (False, True), (0, 10), (False, True)
    ):
        wild = Wild(lambda _strategy: cooldown_s)  # noqa: B023 - asked for at once
        ledger = wild.ledger
        if taken != "free":
            owner = "x" if taken == "mine" else "z"
            ledger.grant("a", owner=owner, ttl_s=5 if taken == "overdue" else None)
        if taken == "cooling":
            ledger.done(make_release(owner="z"))
        if is_aside:
            ledger.done(aside("10.0.0.1"))
        if kept is not None:
            whose = None if kept == "nobody" else kept
            ledger.apply(make_reservation("r", "10.0.0.1", owner=whose))
        ledger.run(Apply((make_pool("a", ips=IPS, cooldown_s=cooldown_s, **pool),)))
        if is_going:
            ledger.grant("b", owner="y")
            ledger.run(make_delete("a"))
        ledger.clock.now_ms += 5_000
        wild.check()


# ------------------------------------------------------------------------- no refusal is forgotten

# What is wrong with a request, and not with an address or a pool: there is nothing to explain.
REQUEST: Final[frozenset[Reason]] = frozenset()

REFUSALS: Final[dict[tuple[str, str, str], frozenset[Reason]]] = {
    ("granting", "is_closed", "forbidden"): frozenset(
        {Reason.POOL_TERMINATING, Reason.POOL_DISABLED}
    ),
    ("granting", "cannot_give_out", "forbidden"): frozenset(POOL_REASONS),
    ("granting", "grant_specific", "conflict"): frozenset({Reason.LEASED, Reason.COOLING}),
    ("granting", "reserved", "forbidden"): frozenset({Reason.RESERVED}),
    ("granting", "set_aside", "forbidden"): frozenset({Reason.QUARANTINED}),
    ("granting", "_exhausted", "exhausted"): frozenset({Reason.EXHAUSTED}),
    # The reasons of several pools together: each is one that `cannot_give_out` gives.
    ("granting", "grant_any", "forbidden"): frozenset(POOL_REASONS),
    ("decide_leases", "_not_theirs", "invalid"): frozenset(
        {Reason.EXCLUDED, Reason.OUTSIDE_IPS, Reason.IN_NO_POOL}
    ),
    ("decide_leases", "_differs", "conflict"): frozenset({Reason.OWNER_HOLDS_ANOTHER}),
    ("granting", "too_early", "invalid"): REQUEST,
    ("decide_leases", "in_the_future", "invalid"): REQUEST,
    ("decide_leases", "_check_request", "invalid"): REQUEST,
    ("decide_leases", "_serve_group", "invalid"): REQUEST,
    ("decide_leases", "_given_twice", "conflict"): REQUEST,
    ("decide_leases", "decide_together", "invalid"): REQUEST,
}


def refusals_in(module: ModuleType) -> set[tuple[str, str, str]]:
    """Where a module refuses: itself, the function, and the kind."""
    name = module.__name__.rpartition(".")[2]
    found = set()
    for function in ast.walk(ast.parse(inspect.getsource(module))):
        if isinstance(function, ast.FunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Refusal":
                    kind = node.args[0]
                    assert isinstance(kind, ast.Constant), "a refusal names its kind where it is"
                    found.add((name, function.name, str(kind.value)))
    return found


def test_every_refusal_has_its_reason() -> None:
    """A refusal that is added to the decisions is missing here, until a reason explains it."""
    written = refusals_in(granting) | refusals_in(decide_leases)
    assert written == set(REFUSALS)
    refusing = set(MESSAGES) | {Reason.EXHAUSTED}
    assert set().union(*REFUSALS.values()) == refusing, "each reason that refuses is a refusal's"


def test_who_holds_a_block_may_have_an_address_beside_it() -> None:
    """Blocks and single addresses are counted apart, here as when it is decided."""
    ledger = TestLedger()
    ledger.apply(make_pool("a"))
    ledger.grant("a", owner="x", ips=["10.0.0.16"], prefix_length=28)
    told = explain(
        ledger.state, address("10.0.0.77"), now_ms=ledger.clock.now_ms, position=0, owner="x"
    )
    assert told.verdict.given
    assert ledger.take("a", owner="x", ips=["10.0.0.77"]) == ["10.0.0.77"]
