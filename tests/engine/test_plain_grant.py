"""The plain request: decided the short way and by all the rules, it gets the same answer."""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given, settings
from hypothesis import strategies as st

from engine.affinity import ANYBODY
from engine.commands import Allocate, Claim, Requester, SetAside
from engine.decide_leases import decide_allocate, decide_in_full
from engine.draft import Draft
from engine.placement import Placement
from engine.plain_grant import decide_plainly
from tests.builders import TestLedger, make_allocate, make_pool, make_reservation

_CLAIM: Final = Claim("someone", "for some reason", None)
_SELECTING: Final = ANYBODY._replace(node_names=("n1",))

# One thing at a time is unusual of a pool or a request: what is odd twice would hide a mistake.
_POOLS: Final = st.sampled_from(
    [
        {}, {}, {},
        {"ips": ["10.0.0.1-10.0.0.3", "10.0.0.6", "10.0.0.9-10.0.0.20"], "ttl_s": 60},
        {"disabled": True},
        {"selectors": _SELECTING},
        {"policy": "random"},
        {"policy": "least-recently-used"},
    ]
)  # fmt: skip
_OWNERS: Final = st.sampled_from(["a", "b", "c", "d", "e", "f", "kept", "kept"])
_ODD: Final = st.sampled_from(
    [
        {"number": 2}, {"number": 0}, {"number": 40}, {"ips": ["10.0.0.3"]}, {"prefix_length": 32},
        {"effective_at_ms": 0}, {"prefix_length": 30}, {"families": (4,)}, {"uid": "u1"},
        {"families": (6,)}, {"requester": Requester(node="n1")}, {"interface": "net1"},
        {"ttl_s": 5, "cluster": "c1"}, {"labels": (("app", "x"),)},
    ]
)  # fmt: skip
_GROUPS: Final = st.sampled_from([("six",), ("p,six",), ("six", "p"), ("none",), ("p*",), ()])


def _requests(least: int, most: int) -> st.SearchStrategy[list[Allocate]]:
    plain = st.builds(lambda owner: make_allocate("p", owner=owner), _OWNERS)
    odd = st.builds(lambda owner, rest: make_allocate("p", owner=owner, **rest), _OWNERS, _ODD)
    elsewhere = st.builds(lambda owner, names: make_allocate(*names, owner=owner), _OWNERS, _GROUPS)
    return st.lists(st.one_of(plain, plain, odd, elsewhere), min_size=least, max_size=most)


@settings(max_examples=200)
@given(
    fields=_POOLS,
    before=_requests(0, 6),
    batch=_requests(6, 16),
    reserved=st.booleans(),
    aside=st.booleans(),
    skip=st.sampled_from([0, 0, 3]),
)
def test_both_ways_give_the_same_answer(
    fields: dict[str, Any],
    before: list[Allocate],
    batch: list[Allocate],
    skip: int,
    *,
    reserved: bool,
    aside: bool,
) -> None:
    """Whatever pools, holders and reservations there are, and whatever else the batch asks for."""
    ledger = TestLedger()
    ledger.apply(make_pool("p", "10.0.0.0/27", **fields), make_pool("six", "fd00::/64"))
    for command in before:
        ledger.run(command)
    if reserved:
        ledger.apply(
            make_reservation("r", "10.0.0.2"), make_reservation("k", "10.0.0.9", owner="kept")
        )
    if aside:
        ledger.run(SetAside(make_pool("x", "10.0.0.0/30").spec.ips, "arp", None))
    pool = ledger.state.pool("p")
    assert pool is not None
    skips = {pool.pool_id: skip}
    short, full = Placement(skips, 7), Placement(skips, 7)
    now_ms = ledger.clock.now_ms
    for command in batch:
        quick = decide_allocate(ledger.state, command, _CLAIM, short, now_ms)
        assert quick == decide_in_full(ledger.state, command, _CLAIM, full, now_ms)


def test_almost_every_request_is_plain() -> None:
    """A batch of first requests from one pool is decided the short way, each its own address."""
    ledger = TestLedger()
    ledger.apply(make_pool("p", "10.0.0.0/24"))
    placement = Placement()
    given_out = [
        decide_plainly(ledger.state, make_allocate("p", owner=f"o{at}"), _CLAIM, placement)
        for at in range(100)
    ]
    assert all(isinstance(draft, Draft) for draft in given_out)
    assert len({draft.changes[0].event for draft in given_out if draft}) == 100
