"""What Spiderpool's cases about its subnets ask of a ledger, by their ids.

A SpiderSubnet is a stock of addresses that pools are cut out of, by hand or by a controller. A
ledger has neither the kind nor the controller: whoever needs a pool takes a part of the subnet that
no other pool has, and a commit that was decided beside another one's part is decided again (V11).
What is kept from all pools is a reservation.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import pytest

from engine.addresses import RangeSet, parse_subnet
from engine.commands import Apply, Delete, PutPool, Target
from engine.errors import Refusal
from engine.events import PoolCreated
from engine.model import PoolSpec, Route
from ipledger.manifests import Source, parse
from ipledger.writing import Call, Done
from tests.builders import (
    TestLedger,
    address,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)
from tests.invariants import check_stream
from tests.scenarios.cluster import SEEDS, USED_OUT, Cluster, ips

SUBNET: Final = "10.0.0.0/24"
STOCK: Final = RangeSet.parse(["10.0.0.1-10.0.0.60"])

SHARED: Final = """\
apiVersion: v1
kind: List
items:
- apiVersion: spiderpool.spidernet.io/v2beta1
  kind: SpiderIPPool
  metadata: {name: one}
  spec:
    subnet: 10.0.0.0/24
    ips: [10.0.0.1]
    gateway: &gateway 10.0.0.254
    routes: &routes [{dst: 10.9.0.0/16, gw: 10.0.0.254}]
- apiVersion: spiderpool.spidernet.io/v2beta1
  kind: SpiderIPPool
  metadata: {name: two}
  spec: {subnet: 10.0.0.0/24, ips: [10.0.0.2], gateway: *gateway, routes: *routes}
- apiVersion: spiderpool.spidernet.io/v2beta1
  kind: SpiderIPPool
  metadata: {name: three}
  spec: {subnet: 10.0.0.0/24, ips: [10.0.0.3], gateway: 10.0.0.253}
"""
ROUTES: Final = (Route(parse_subnet("10.9.0.0/16"), address("10.0.0.254")),)


@pytest.fixture
def ledger() -> Iterator[TestLedger]:
    """A space; whatever a test has done to it, every invariant held at every commit."""
    ledger = TestLedger()
    yield ledger
    check_stream(ledger.stream, ledger.digest())


def spec_of(ledger: TestLedger, pool: str) -> PoolSpec:
    """How a pool is defined now."""
    found = ledger.state.pool(pool)
    assert found is not None, pool
    return found.spec


def unclaimed(ledger: TestLedger) -> RangeSet:
    """The subnet's addresses that no pool has, as far as a writer knows: what is left of it."""
    left = STOCK
    for pool in ledger.state.pools():
        left -= pool.spec.effective()
    return left


def part_of(available: RangeSet, number: int) -> list[str]:
    """The lowest `number` addresses of a set."""
    chosen = RangeSet(available.family)
    for first, last in available:
        taken = min(last, first + number - chosen.size - 1)
        chosen |= RangeSet(available.family, [(first, taken)])
        if chosen.size == number:
            return chosen.texts()
    raise AssertionError(f"{available} has no {number} addresses")


# --------------------------------------------------------------------------------------- one by one


def test_i00001_addresses_are_added_and_taken_away(ledger: TestLedger) -> None:
    """I00001: a definition is made, looked at, changed and deleted.

    Adapted: theirs is a subnet, ours is a pool.
    """
    ledger.apply(make_pool(ips=ips(1, 2)))
    ledger.apply(make_pool(ips=ips(1, 5)))
    assert ledger.counts().total == 5
    ledger.take(number=3)
    refusal = ledger.refused(Apply((make_pool(ips=ips(1, 2)),)))
    assert "in use" in refusal.message
    ledger.apply(make_pool(ips=ips(1, 3)))
    assert ledger.counts() == (3, 3, 0, 0, 0, 0)
    ledger.done(make_release(owner="pod-1"))
    ledger.done(make_delete("pool"))
    assert ledger.state.pool("pool") is None


def test_i00002_addresses_move_between_the_parts_of_a_subnet(ledger: TestLedger) -> None:
    """I00002: addresses are added to what may be cut out and removed from it, not under pools.

    Adapted: a pool for each part. What one gives up another may have in the same commit, unless
    somebody holds it.
    """
    ledger.apply(make_pool("a", ips=ips(1, 6)), make_pool("b", ips=ips(7, 9)))
    ledger.grant("a", number=2)
    moved = (make_pool("a", ips=ips(1, 2)), make_pool("b", ips=ips(3, 9)))
    ledger.apply(*moved)
    assert (ledger.counts("a").total, ledger.counts("b").total) == (2, 7)
    too_much = (make_pool("a", ips=ips(1, 1)), make_pool("b", ips=ips(2, 9)))
    refusal = ledger.refused(Apply(too_much))
    assert refusal.kind == "conflict"
    assert "10.0.0.2 " in refusal.message
    assert "pod-1" in refusal.message
    assert [spec_of(ledger, name) for name in "ab"] == [pool.spec for pool in moved]


def test_i00005_another_gateway_changes_no_other_pool(ledger: TestLedger) -> None:
    """I00005: routes and gateway of a subnet change: what becomes of pools that were made by hand.

    Adapted: they are each pool's own, so that a change is one pool's alone, and no lease ends.
    """
    old: dict[str, Any] = {"gateway": "10.0.0.254", "routes": [("10.9.0.0/16", "10.0.0.254")]}
    new: dict[str, Any] = {"gateway": "10.0.0.253", "routes": [("10.8.0.0/16", "10.0.0.253")]}
    one, two = (make_pool(n, ips=ips(at, at), **old) for n, at in (("one", 1), ("two", 2)))
    ledger.apply(one, two)
    leases = ledger.grant("one", "two")
    changed = make_pool("one", ips=ips(1, 1), **new)
    ledger.apply(changed)
    assert spec_of(ledger, "one") == changed.spec
    assert spec_of(ledger, "two") == two.spec
    assert tuple(ledger.state.leases()) == leases


def test_d00008_pools_of_one_subnet_share_a_gateway_and_routes(ledger: TestLedger) -> None:
    """D00008: pools made by hand have the gateway and the routes of their subnet.

    Adapted: there is nothing to inherit from. What several pools shall have is written once in
    their manifest, as an anchor of YAML, and each may still say something else.
    """
    ledger.apply(*parse([Source("pools.yaml", SHARED)]).objects)
    one, two, three = (spec_of(ledger, name) for name in ("one", "two", "three"))
    assert (two.gateway, two.routes) == (one.gateway, one.routes) == (address("10.0.0.254"), ROUTES)
    assert (three.gateway, three.routes) == (address("10.0.0.253"), ())


def test_s00004_parts_beside_what_a_subnet_excludes(ledger: TestLedger) -> None:
    """S00004: with a pool for each part, what the subnet excludes is excluded in each of them.

    An address that is excluded in one pool may be another's, so a part alone keeps it from
    nobody else; the reservation of the other test does.
    """
    excluded = ips(4, 6)
    ledger.apply(make_pool("low", ips=ips(1, 5), exclude_ips=excluded))
    ledger.apply(make_pool("high", ips=ips(5, 8), exclude_ips=excluded))
    assert ledger.take("low", number=3) == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
    assert ledger.take("high", number=2) == ["10.0.0.7", "10.0.0.8"]
    for pool in ("low", "high"):
        assert ledger.refused(make_allocate(pool, owner="b")).message.startswith(USED_OUT)
        assert ledger.refused(make_allocate(pool, owner="b", ips=["10.0.0.5"])).kind == "invalid"


def test_i00011_a_part_is_cut_around_what_is_reserved(ledger: TestLedger) -> None:
    """I00011: a pool that is made for an application considers what is reserved.

    Adapted: who cuts it subtracts pools and reservations, and has room for each replica. Cut
    without looking it is smaller than it seems, but gives out nothing that is reserved.
    """
    ledger.apply(make_pool("other", ips=ips(1, 2)), make_reservation("r", "10.0.0.4-10.0.0.5"))
    free = unclaimed(ledger) - ledger.state.reservation_table.closed(4)
    ledger.apply(make_pool("app", ips=part_of(free, 3)))
    assert ledger.take("app", number=3) == ["10.0.0.3", "10.0.0.6", "10.0.0.7"]
    ledger.apply(make_pool("app-2", ips=ips(8, 10)), make_reservation("late", "10.0.0.8-10.0.0.9"))
    assert ledger.counts("app-2").free == 1
    assert ledger.take("app-2", owner="b") == ["10.0.0.10"]
    assert ledger.refused(make_allocate("app-2", owner="c")).message.startswith(USED_OUT)


# ------------------------------------------------------------------------------------ many at once


@pytest.mark.parametrize("same_name", [True, False], ids=["i00009", "i00010"])
def test_i00009_i00010_of_many_creators_one_succeeds(
    ledger: TestLedger, *, same_name: bool
) -> None:
    """I00009, I00010: N creators of one spec, under one name or each its own: one succeeds.

    All plan before any appends. Theirs are subnets in one case, pools in the other.
    """
    writers = [TestLedger(seed=n, beside=ledger) for n in range(1, 101)]
    calls: list[tuple[TestLedger, Call]] = []
    for n, writer in enumerate(writers):
        pool = make_pool("pool" if same_name else f"pool-{n}", ips=ips(1, 9))
        calls.append((writer, writer.call(Apply((pool,), create_only=True))))
    planned = [(writer, writer.plan(call)) for writer, call in calls]
    for writer, batch in planned:
        again = writer.append(batch)
        while again:
            again = writer.append(writer.plan(*again))
    won = [call for _, call in calls if isinstance(call.outcome, Done)]
    lost = [call.outcome for _, call in calls if isinstance(call.outcome, Refusal)]
    assert (len(won), len(lost)) == (1, 99)
    assert {refusal.kind for refusal in lost} == {"exists" if same_name else "conflict"}
    ledger.refresh()
    events = [record.event for record in check_stream(ledger.stream, ledger.digest())]
    assert sum(isinstance(event, PoolCreated) for event in events) == 1


def _cut_for(cluster: Cluster, apps: dict[str, int]) -> None:
    """Let any writers make a pool for each app, each cut out of what its writer knows is left."""
    waiting = dict(apps)
    for _round in range(100):
        if not waiting:
            return
        calls: dict[str, tuple[TestLedger, Call]] = {}
        for app, size in waiting.items():
            writer = cluster.random.choice(cluster.writers)
            pool = make_pool(app, SUBNET, ips=part_of(unclaimed(writer), size))
            calls[app] = writer, writer.call(Apply((pool,), create_only=True))
        cluster.carry(calls.values())
        for app, (_, call) in calls.items():
            if isinstance(call.outcome, Refusal):  # somebody else was given that part
                assert (call.outcome.kind, "(V11)" in call.outcome.message) == ("conflict", True)
            else:
                assert isinstance(call.outcome, Done), f"seed {cluster.seed}: {call.outcome}"
                waiting.pop(app)
    raise AssertionError(f"seed {cluster.seed}: {waiting} got no pool in 100 rounds")


def _drop(cluster: Cluster, pools: list[str], *, cascade: bool = False) -> None:
    """Delete pools, from any writers."""
    chosen = [(cluster.random.choice(cluster.writers), name) for name in pools]
    targets = [(writer, (Target("pool", name),)) for writer, name in chosen]
    cluster.carry([(w, w.call(Delete(named, cascade=cascade))) for w, named in targets])


def _nothing_is_missing(cluster: Cluster) -> None:
    """All of the subnet is unclaimed again, and can be one pool with every address free."""
    cluster.check((), 0)
    assert unclaimed(cluster.first) == STOCK, f"seed {cluster.seed}"
    cluster.first.apply(make_pool("all", SUBNET, ips=STOCK.texts()))
    assert cluster.first.counts("all") == (60, 0, 0, 0, 0, 60)
    check_stream(cluster.first.stream, cluster.first.digest())


@pytest.mark.parametrize("seed", SEEDS)
def test_i00006_pools_made_for_applications_leave_nothing_behind(seed: int) -> None:
    """I00006: pools are made for apps and recycled, again and again: all is free at the end.

    Adapted: what a controller does there, any of three clients does here: it cuts a pool of the
    app's size out of what it knows is left, and takes the next part when that one is gone.
    """
    cluster = Cluster(seed)
    apps: dict[str, int] = {}
    for phase in range(4):
        made = {f"app-{phase}-{n}": cluster.random.randint(1, 5) for n in range(5)}
        _cut_for(cluster, made)
        apps |= made
        for app, size in made.items():
            pods = [(f"{app}/{n}", f"u{n}") for n in range(size)]
            assert cluster.start(pods, app).keys() == set(pods), f"seed {seed}"
        alive = [(f"{app}/{n}", f"u{n}") for app, size in apps.items() for n in range(size)]
        cluster.check(alive, sum(apps.values()))
        gone = [app for app in apps if cluster.random.random() < 0.6]
        _drop(cluster, gone, cascade=True)
        apps = {app: size for app, size in apps.items() if app not in gone}
        for writer in cluster.writers:
            assert sum(apps.values()) + unclaimed(writer).size <= 60, f"seed {seed}"
    _drop(cluster, list(apps), cascade=True)
    _nothing_is_missing(cluster)


@pytest.mark.parametrize("seed", SEEDS)
def test_i00007_pools_made_by_hand_leave_nothing_behind(seed: int) -> None:
    """I00007: the same with fixed pools, deleted before or after their last lease has ended."""
    cluster = Cluster(seed)
    parts: dict[str, PutPool] = {
        f"p{n}": make_pool(f"p{n}", SUBNET, ips=ips(12 * n + 1, 12 * n + 12)) for n in range(5)
    }
    for phase in range(4):
        writers = [(cluster.random.choice(cluster.writers), pool) for pool in parts.values()]
        cluster.carry([(w, w.call(Apply((pool,), create_only=True))) for w, pool in writers])
        pods = {
            name: [(f"{name}/{n}", f"{phase}") for n in range(cluster.random.randint(0, 12))]
            for name in parts
        }
        for name, several in pods.items():
            assert cluster.start(several, name).keys() == set(several), f"seed {seed}"
        everyone = [pod for several in pods.values() for pod in several]
        cluster.check(everyone, len(everyone))
        early = [name for name in parts if cluster.random.random() < 0.5]
        _drop(cluster, early)
        cluster.stop(owner for owner, _ in everyone)
        _drop(cluster, [name for name in parts if name not in early])
        cluster.check((), 0)
        assert list(cluster.first.state.pools()) == [], f"seed {seed}, phase {phase}"
    _nothing_is_missing(cluster)
