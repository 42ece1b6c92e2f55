"""From which pools a request draws, and in which order: named, by pattern, or by default.

Every answer is held against a naive model that tries all pools by hand. What was looked up in the
list of pools is read as a whole, so that a pool made meanwhile is not missed.
"""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase
from itertools import product
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine import tags
from engine.candidates import NO_RULES, pool_reads, resolve
from engine.commands import Allocate, AllocateTogether, PutPool, Requester
from engine.draft import Draft
from engine.errors import Refusal
from engine.model import Selector, Selectors
from ipledger.writing import Done, Held
from tests.builders import (
    TestLedger,
    granted,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
)
from tests.invariants import check_stream


def pools(*names: str, **fields: object) -> list[PutPool]:
    """Pools of two addresses each; those whose names begin with ``six`` have IPv6 addresses."""
    made = []
    for number, name in enumerate(names):
        if name.startswith("six"):
            made.append(make_pool(name, f"fd00:{number}::/64", ips=[f"fd00:{number}::1"], **fields))
        else:
            ips = [f"10.0.{number}.1-10.0.{number}.2"]
            made.append(make_pool(name, f"10.0.{number}.0/24", ips=ips, **fields))
    return made


def names_of(ledger: TestLedger, found: Iterable[Any]) -> list[str]:
    """The names of the pools of leases."""
    names = {pool.pool_id: pool.name for pool in ledger.state.pools()}
    return [names[lease.pool_id] for lease in found]


@pytest.fixture
def ledger() -> TestLedger:
    """A space with pools whose names have something in common, none of them a default."""
    ledger = TestLedger()
    ledger.apply(*pools("web-1", "web-2", "web-30", "db", "six-web", "six-db"))
    return ledger


# ------------------------------------------------------------------------------------- patterns


@pytest.mark.parametrize(
    ("groups", "families", "resolved"),
    [
        (["web-*"], (), [["web-1", "web-2", "web-30"]]),
        (["web-?"], (), [["web-1", "web-2"]]),
        (["*web*"], (4,), [["web-1", "web-2", "web-30"]]),
        (["*web*"], (6,), [["six-web"]]),
        (["*web*", "*web*"], (4, 6), [["web-1", "web-2", "web-30"], ["six-web"]]),
        (["db,web-*"], (), [["db", "web-1", "web-2", "web-30"]]),
        (["web-*,web-2"], (), [["web-1", "web-2", "web-30"]]),
        (["web-2,web-*"], (), [["web-2", "web-1", "web-30"]]),
        (["web-[23]*,web-*"], (), [["web-2", "web-30", "web-1"]]),
        (["web-*", "web-2"], (), [["web-1", "web-30"], ["web-2"]]),
        (["web-?", "web-*"], (), [["web-1", "web-2"], ["web-30"]]),
    ],
)
def test_a_pattern_is_the_pools_of_such_names(
    ledger: TestLedger, groups: list[str], families: tuple[int, ...], resolved: list[list[str]]
) -> None:
    """In the order of their names, each once: where it is named, else where it first matches."""
    found = resolve(ledger.state, make_allocate(*groups, families=families))
    assert found == tuple(map(tuple, resolved))


@pytest.mark.parametrize(
    ("groups", "families", "kind", "message"),
    [
        (["nope-*"], (), "not_found", "no pool is named like nope-*"),
        (["web-*,nope-*"], (), "not_found", "no pool is named like nope-*"),
        (["web-*"], (6,), "not_found", "no pool of IPv6 is named like web-*"),
        (["WEB-*"], (), "not_found", "no pool is named like WEB-*"),
        (["web-*,nope"], (), "not_found", "pool nope does not exist"),
        (["web-1", "web-?", "web-[12]"], (), "invalid", "every pool named like web-[12] is asked"),
        (["web-1,web-*,web-1"], (), "invalid", "a pool is named twice"),
        (["db"], (6,), "invalid", "pool db is of IPv4, but IPv6 is asked for"),
        (["db,web-*"], (6,), "invalid", "pool db is of IPv4, but IPv6 is asked for"),
        (["db"], (4, 6), "invalid", "2 IP versions for 1 groups of pools"),
    ],
)
def test_names_that_lead_nowhere(
    ledger: TestLedger, groups: list[str], families: tuple[int, ...], kind: str, message: str
) -> None:
    """What matches nothing, or only what is asked for elsewhere, or another family."""
    refusal = ledger.refused(make_allocate(*groups, families=families))
    assert refusal.kind == kind
    assert refusal.message.startswith(message)
    assert refusal.hint


def test_a_pattern_rests_on_which_pools_there_are(ledger: TestLedger) -> None:
    """And names on these pools alone: who adds a pool meanwhile does not disturb them."""
    named = make_allocate("web-1,web-2", "six-db")
    groups = resolve(ledger.state, named)
    assert not isinstance(groups, Refusal)
    assert groups is named.groups
    reads = [tags.pool("web-1"), tags.pool("web-2"), tags.pool("six-db")]
    assert pool_reads(named, groups) == reads
    for command, read in ((named, False), (make_allocate("web-*"), True)):
        draft = ledger.decide(command)
        assert isinstance(draft, Draft)
        assert (tags.POOLS in draft.reads) == read
        assert (tags.pool("web-1") in draft.reads) != read


@pytest.mark.parametrize("asked", [("web-*",), ()])
def test_a_pool_that_is_made_meanwhile_is_not_missed(asked: tuple[str, ...]) -> None:
    """The grant is decided again on what stands: the pool that goes first has gone first."""
    late = TestLedger()
    late.apply(*pools("web-2", default=True))
    early = TestLedger(seed=1, beside=late)
    call = late.call(Allocate(tuple((name,) for name in asked), "pod-1"))
    batch = late.plan(call)
    more = make_pool("web-1", "10.9.0.0/24", ips=["10.9.0.1"], default=True)
    early.apply(more)
    assert late.append(batch) == (call,), "the list of pools that it rested on has changed"
    assert late.step([call])
    assert isinstance(call.outcome, Done)
    assert [lease.text for lease in granted(call.outcome)] == ["10.9.0.1"]
    check_stream(late.stream, late.digest())


# ------------------------------------------------------------------------------------- defaults


def test_who_names_no_pool_gets_of_the_defaults(ledger: TestLedger) -> None:
    """One address of each family that has a default pool, by name; used up, the next."""
    ledger.apply(*pools("web-1", "web-2", default=True)[:2])
    everything = Allocate((), "pod-1")
    assert names_of(ledger, granted(ledger.done(everything))) == ["web-1"]
    assert [lease.text for lease in ledger.held(everything)] == ["10.0.0.1"]
    six = make_pool("six-db", "fd00:5::/64", ips=["fd00:5::1"], default=True)
    ledger.apply(six)
    both = granted(ledger.done(everything._replace(owner="pod-2")))
    assert names_of(ledger, both) == ["web-1", "six-db"]
    four = everything._replace(families=(4,))
    for owner, pool in (("pod-3", "web-2"), ("pod-4", "web-2")):
        found = granted(ledger.done(four._replace(owner=owner)))
        assert names_of(ledger, found) == [pool]
    refusal = ledger.refused(everything._replace(owner="pod-5"))
    assert refusal.kind == "exhausted"
    assert "pool web-1 has 2 addresses: 2 leased; pool web-2" in refusal.message


def test_without_defaults_there_is_no_rule(ledger: TestLedger) -> None:
    """In Spiderpool's words; with the family that lacks one, if another has one."""
    refusal = ledger.refused(Allocate((), "pod-1"))
    assert (refusal.kind, refusal.about) == ("not_found", "pool")
    assert refusal.message == f"{NO_RULES}: none is named, and none is a default"
    assert NO_RULES == "no pool selection rules of any type are specified"
    assert refusal.hint == "name a --pool, or make one a default"
    ledger.apply(*pools("web-1", default=True))
    refusal = ledger.refused(Allocate((), "pod-1", families=(4, 6)))
    assert refusal.message.startswith(f"{NO_RULES} for IPv6")
    assert ledger.refused(Allocate((), "pod-1", families=(4, 4))).kind == "invalid"


def test_what_an_owner_holds_will_do_for_who_names_no_pool(ledger: TestLedger) -> None:
    """Also when its pool is no default any more; a second address is of the defaults only."""
    ledger.apply(*pools("web-1", "web-2", default=True))
    everything = Allocate((), "pod-1")
    (lease,) = granted(ledger.done(everything))
    ledger.apply(*pools("web-1"))
    assert ledger.held(everything) == (lease,)
    (second,) = granted(ledger.done(everything._replace(number=2)))
    assert names_of(ledger, [second]) == ["web-2"]
    ledger.apply(make_pool("web-2", "10.0.1.0/24", ips=["10.0.1.1-10.0.1.2"]))
    assert set(ledger.held(everything._replace(number=2))) == {lease, second}
    refusal = ledger.refused(everything._replace(number=3))
    assert refusal.kind == "forbidden"
    assert "pool web-1 is no default pool" in refusal.message
    assert ledger.refused(everything._replace(owner="new")).kind == "not_found"


def test_two_interfaces_get_two_addresses_of_a_default_pool(ledger: TestLedger) -> None:
    """All or none, and the refusal says on which."""
    ledger.apply(*pools("web-1", default=True))
    both = AllocateTogether((Allocate((), "a"), Allocate((), "a", interface="net1")))
    assert [lease.text for lease in granted(ledger.done(both))] == ["10.0.0.1", "10.0.0.2"]
    refusal = ledger.refused(AllocateTogether((*both.requests, Allocate((), "a", "net2"))))
    assert refusal.message.endswith("(interface net2)")
    check_stream(ledger.stream, ledger.digest())


# ---------------------------------------------------------------------------- selectors and order


def test_a_lease_is_kept_when_its_pool_is_no_more_for_its_holder(ledger: TestLedger) -> None:
    """It is held, renewed and released; only what is new is not given: a new incarnation's, say."""
    (lease,) = ledger.grant("db", uid="u1")
    closed = make_pool("db", "10.0.3.0/24", ips=["10.0.3.1-10.0.3.2"],
                       selectors=Selectors(node_names=("n1",)))  # fmt: skip
    ledger.apply(closed)
    assert ledger.held(make_allocate("db", uid="u1")) == (lease,)
    assert ledger.refused(make_allocate("db", uid="u2")).kind == "forbidden"
    assert ledger.state.lease(lease.lease_id) == lease
    moved = ledger.done(make_allocate("db,web-1", uid="u2"))
    assert names_of(ledger, granted(moved)) == ["web-1"]
    back = make_allocate("db", uid="u3", requester=Requester(node="n1"))
    assert names_of(ledger, granted(ledger.done(back))) == ["db"]
    check_stream(ledger.stream, ledger.digest())


def test_an_address_by_name_is_given_to_whom_the_pool_is_for(ledger: TestLedger) -> None:
    """Asking for a specific address opens no pool."""
    closed = make_pool("db", "10.0.3.0/24", ips=["10.0.3.1-10.0.3.2"],
                       selectors=Selectors(namespace_names=("shop",)))  # fmt: skip
    ledger.apply(closed)
    asked = make_allocate("db", ips=["10.0.3.2"])
    assert ledger.refused(asked).message == (
        "pool db is not for this request: namespaceName: it is for shop, and the request does not "
        "say its namespace"
    )
    ledger.done(asked._replace(requester=Requester(namespace="shop")))


def test_every_candidate_says_why_not(ledger: TestLedger) -> None:
    """One reason alone as it is; of several pools all, and exhaustion is named first."""
    ledger.apply(
        make_pool("a", "10.8.0.0/24", selectors=Selectors(node_names=("n1",))),
        make_pool("b", "10.8.1.0/24", selectors=Selectors(multus_names=("m",))),
        make_pool("c", "10.8.2.0/24", disabled=True),
    )
    refusal = ledger.refused(make_allocate("a,b,c", requester=Requester(node="n2")))
    assert refusal.kind == "forbidden"
    for why in (
        "pool a is not for this request: nodeName: node n2 is not one of n1",
        "pool b is not for this request: multusName: it is for m",
        "pool c is disabled",
    ):
        assert why in refusal.message
    ledger.take("db", number=2, owner="other")
    refusal = ledger.refused(make_allocate("a,db,b"))
    assert refusal.kind == "exhausted"
    assert refusal.message.startswith("all IP addresses used out: pool db has 2 addresses")
    assert "nodeName" in refusal.message
    assert "multusName" in refusal.message


def test_pools_of_equal_rank_keep_the_order_in_which_they_are_written() -> None:
    """In 6,000 of 6,000 seeded runs: three pools, named in any order, all alike in rank.

    Spiderpool keeps it in three of four.
    """
    ledger = TestLedger()
    fits = Selectors(pod_affinity=Selector((("app", "web"),)))
    plain = ["p1", "p2", "p3", "p4"]
    ledger.apply(*pools(*plain))
    picky = [f"s{number}" for number in range(4)]
    ledger.apply(*(
        make_pool(name, f"10.1.{number}.0/24", ips=[f"10.1.{number}.1"], selectors=fits)
        for number, name in enumerate(picky)
    ))  # fmt: skip
    kept = 0
    for seed in range(6_000):
        named = Random(seed).sample(plain + picky, 3)  # noqa: S311 - the same on every run
        draft = ledger.decide(make_allocate(",".join(named), labels=(("app", "web"),)))
        assert isinstance(draft, Draft)
        first = next((name for name in named if name in picky), named[0])
        pool = ledger.state.pool(first)
        assert pool is not None
        kept += draft.changes[0].event.pool_id == pool.pool_id  # type: ignore[union-attr]
    assert kept == 6_000


# ------------------------------------------------------------------------ against a naive model

_NAMES = ("a1", "a2", "b1", "b2")
_PLACES = st.sampled_from([None, "x", "y"])
_POOLS = st.fixed_dictionaries({
    "default": st.booleans(),
    "disabled": st.booleans(),
    "full": st.booleans(),
    "nodes": st.sampled_from([(), (), ("x",), ("x", "y")]),
    "namespaces": st.sampled_from([(), (), ("x",), ("y",)]),
    "app": st.sampled_from([None, None, "x", "y"]),
    "there": st.booleans(),
})  # fmt: skip
_ASKED = st.lists(
    st.sampled_from([*_NAMES, "a*", "?1", "*", "[b]*", "c*"]), max_size=3, unique=True
)


Made = dict[str, dict[str, Any]]


def naive_tried(made: Made, asked: list[str]) -> list[str] | None:
    """The pools that are meant, in their order; None if something is meant that is not there."""
    tried: list[str] = []
    for entry in asked or ["*"]:
        found = [name for name in sorted(made) if fnmatchcase(name, entry)]
        if not asked:
            found = [name for name in found if made[name]["default"]]
        if not found:
            return None
        tried += [name for name in found if name not in tried]
    return tried


def naive_first(made: Made, asked: list[str], **around: str | None) -> str:
    """The pool that gives an address, or the kind of the refusal: by trying all by hand."""
    tried = naive_tried(made, asked)
    if tried is None:
        return "not_found"
    open_ = [
        name for name in tried
        if not made[name]["disabled"]
        and (not made[name]["nodes"] or around["node"] in made[name]["nodes"])
        and (not made[name]["namespaces"] or around["namespace"] in made[name]["namespaces"])
        and made[name]["app"] in {None, around["app"]}
    ]  # fmt: skip
    for wanted in product((True, False), repeat=3):
        for name in open_:
            kind = tuple(bool(made[name][key]) for key in ("app", "nodes", "namespaces"))
            if kind == wanted and not made[name]["full"]:
                return name
    return "exhausted" if open_ else "forbidden"


@given(st.lists(_POOLS, min_size=4, max_size=4), _ASKED, _PLACES, _PLACES, _PLACES)
def test_candidates_are_those_of_a_naive_model(
    drawn: list[dict[str, Any]],
    asked: list[str],
    node: str | None,
    namespace: str | None,
    app: str | None,
) -> None:
    """Named, by pattern or by default; selected, ranked, and past what is used up."""
    ledger = TestLedger()
    made = {name: fields for name, fields in zip(_NAMES, drawn, strict=True) if fields["there"]}
    for number, (name, fields) in enumerate(made.items()):
        app_is = fields["app"]
        selectors = Selectors(
            pod_affinity=Selector((("app", app_is),)) if app_is else None,
            node_names=fields["nodes"],
            namespace_names=fields["namespaces"],
        )
        ips = [] if fields["full"] else [f"10.0.{number}.1"]
        ledger.apply(make_pool(name, f"10.0.{number}.0/24", ips=ips, selectors=selectors,
                               default=fields["default"], disabled=fields["disabled"]))  # fmt: skip
    command = Allocate(
        (tuple(asked),) if asked else (), "pod-1",
        labels=(("app", app),) if app else (),
        requester=Requester(namespace=namespace, node=node),
    )  # fmt: skip
    outcome = ledger.run(command)
    assert not isinstance(outcome, Held)
    got: str
    if isinstance(outcome, Refusal):
        got = outcome.kind
    else:
        assert isinstance(outcome, Done)
        (got,) = names_of(ledger, granted(outcome))
    assert got == naive_first(made, asked, node=node, namespace=namespace, app=app)
    if isinstance(outcome, Done):
        assert ledger.held(command) == granted(outcome), "in the same words the same lease"
        ledger.done(make_release(owner="pod-1"))
    for name in made:
        ledger.done(make_delete(name))
