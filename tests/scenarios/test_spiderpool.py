"""Spiderpool's own end-to-end cases, by their ids, against this engine.

Where a case speaks of pods, an owner stands for a pod's name and a uid for its incarnation. Every
history is held against the invariant checker at its end, the random ones after each phase. What
is about subnets is in `test_spiderpool_subnets`, what needs processes in
`test_spiderpool_processes`; docs/spiderpool.md lists every case and its tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from engine.commands import AllocateTogether, Apply, PutPool
from engine.errors import InvalidInput
from tests.builders import (
    TestLedger,
    ended,
    granted,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)
from tests.invariants import check_stream
from tests.scenarios.cluster import SEEDS, USED_OUT, Cluster, ips


@pytest.fixture
def ledger() -> Iterator[TestLedger]:
    """A space; whatever a test has done to it, every invariant held at every commit."""
    ledger = TestLedger()
    yield ledger
    check_stream(ledger.stream, ledger.digest())


def held_by(ledger: TestLedger, owner: str) -> list[str]:
    """What an owner holds now."""
    return [lease.text for lease in ledger.state.leases_of(owner)]


# ------------------------------------------------------------------------- S: reserved and excluded


def test_s00001_a_reserved_address_is_not_given_out(ledger: TestLedger) -> None:
    """S00001: pool of one, reserved: refused; the reservation deleted: granted."""
    ledger.apply(make_pool(ips=ips(1, 1)), make_reservation("r", "10.0.0.1"))
    refusal = ledger.refused(make_allocate())
    assert refusal.kind == "exhausted"
    assert refusal.message.startswith(USED_OUT)
    assert ledger.refused(make_allocate(ips=["10.0.0.1"])).kind == "forbidden"
    ledger.done(make_delete(reservations=["r"]))
    assert ledger.take() == ["10.0.0.1"]


def test_s00002_an_excluded_address_is_not_given_out(ledger: TestLedger) -> None:
    """S00002: pool of two, one excluded: not granted; the exclusion removed: granted."""
    ledger.apply(make_pool(ips=ips(1, 2), exclude_ips=ips(1, 1)))
    assert ledger.take(owner="a") == ["10.0.0.2"]
    assert ledger.refused(make_allocate(owner="b")).message.startswith(USED_OUT)
    ledger.apply(make_pool(ips=ips(1, 2)))
    assert ledger.take(owner="b") == ["10.0.0.1"]


def test_s00003_a_leased_address_cannot_be_excluded(ledger: TestLedger) -> None:
    """S00003: adding a leased address to excludeIPs is refused, naming lease and owner."""
    ledger.apply(make_pool(ips=ips(1, 2)))
    (lease,) = ledger.grant()
    refusal = ledger.refused(Apply((make_pool(ips=ips(1, 2), exclude_ips=ips(1, 1)),)))
    assert refusal.kind == "conflict"
    assert f"lease {lease.lease_id} of pod-1" in refusal.message
    ledger.apply(make_pool(ips=ips(1, 2), exclude_ips=ips(2, 2)))


def test_s00004_what_is_kept_from_all_pools_lands_in_none(ledger: TestLedger) -> None:
    """S00004: a subnet's excludeIPs never land in a pool.

    Adapted: there are no subnets here. What keeps addresses from every pool, also from those that
    are made later, is a reservation.
    """
    ledger.apply(make_pool("early", ips=ips(1, 4)), make_reservation("r", *ips(3, 6)))
    ledger.apply(make_pool("late", ips=ips(5, 8)))
    assert ledger.take("early", number=2) == ["10.0.0.1", "10.0.0.2"]
    assert ledger.take("late", number=2) == ["10.0.0.7", "10.0.0.8"]
    for pool in ("early", "late"):
        assert ledger.refused(make_allocate(pool, owner="b")).message.startswith(USED_OUT)


# ----------------------------------------------------------------------------------------- D: pools


def test_d00001_an_address_of_another_pool_is_refused(ledger: TestLedger) -> None:
    """D00001: a pool with an address of another pool is refused, naming the other."""
    ledger.apply(make_pool("a", ips=ips(1, 5)))
    refusal = ledger.refused(Apply((make_pool("b", ips=ips(5, 9)),)))
    assert (refusal.kind, refusal.about) == ("conflict", "a")
    ledger.apply(make_pool("b", ips=ips(5, 9), exclude_ips=ips(5, 5)))


def test_d00003_a_wrong_gateway_is_refused() -> None:
    """D00003: a gateway or a route's gateway that cannot be is refused, naming the field."""
    for gateway in ("10.0.1.1", "fd00::1", "gateway", "10.0.0.1"):
        with pytest.raises(InvalidInput, match="gateway"):
            make_pool(ips=ips(1, 5), gateway=gateway)
    for gateway in ("10.0.1.1", "fd00::1", "", "10.0.0"):
        with pytest.raises(InvalidInput, match=r"routes\[0\]\.gw"):
            make_pool(ips=ips(1, 5), routes=[("10.9.0.0/16", gateway)])


def test_d00004_a_pool_with_leases_is_not_deleted_under_them(ledger: TestLedger) -> None:
    """D00004: a pool with leases stays until its last lease ends, and gives out nothing new."""
    ledger.apply(make_pool(ips=ips(1, 2)))
    (lease,) = ledger.grant()
    ledger.done(make_delete("pool"))
    assert ledger.counts().leased == 1
    assert ledger.refused(make_allocate(owner="b")).kind == "forbidden"
    ledger.done(make_release(lease.lease_id))
    assert ledger.state.pool("pool") is None


def test_d00005_a_disabled_pool_drains(ledger: TestLedger) -> None:
    """D00005: disable=true blocks allocation and allows release."""
    ledger.apply(make_pool(ips=ips(1, 2)))
    (lease,) = ledger.grant()
    ledger.apply(make_pool(ips=ips(1, 2), disabled=True))
    refusal = ledger.refused(make_allocate(owner="b"))
    assert refusal.kind == "forbidden"
    assert "disabled" in refusal.message
    assert ended(ledger.done(make_release(lease.lease_id))) == (lease.lease_id,)
    assert ledger.counts().leased == 0


def test_d00006_ten_pools_of_one_address_come_and_go(ledger: TestLedger) -> None:
    """D00006: ten pools of one address are made in a batch, used, and deleted in a batch."""
    pools = [make_pool(f"p{n}", ips=ips(n, n)) for n in range(1, 11)]
    assert len(ledger.apply(*pools).records) == 10
    taken = ledger.take(*(pool.name for pool in pools))
    assert taken == [f"10.0.0.{n}" for n in range(1, 11)]
    ledger.done(make_release(owner="pod-1"))
    assert len(ledger.done(make_delete(*(pool.name for pool in pools))).records) == 10
    assert list(ledger.state.pools()) == []


def test_d00007_pools_of_different_kinds_are_made_changed_and_deleted(ledger: TestLedger) -> None:
    """D00007: pools of different specs in one batch: all are made, changed, deleted."""
    v6 = make_pool("six", "fd00::/64", ips=["fd00::1-fd00::4"], gateway="fd00::ff", cooldown_s=5)
    four = make_pool("four", ips=ips(1, 4), routes=[("10.9.0.0/16", "10.0.0.9")], ttl_s=60)
    empty = make_pool("none", "10.2.0.0/16", ips=[], disabled=True, labels={"zone": "z"})
    ledger.apply(v6, four, empty)
    changed = tuple(PutPool(p.name, p.spec._replace(cooldown_s=9)) for p in (v6, four, empty))
    ledger.apply(*changed)
    for wanted in changed:
        found = ledger.state.pool(wanted.name)
        assert found is not None
        assert found.spec == wanted.spec
    ledger.done(make_delete("six", "four", "none"))
    assert list(ledger.state.pools()) == []


def test_d00017_a_huge_ipv6_pool_counts_exactly() -> None:
    """D00017: a /48's worth of IPv6 minus sixteen: the total is exact, two leases count two.

    Spiderpool says 2^63 - 1, the largest number that it has; the sum is 2^80 - 17. The checker,
    which lists addresses, is not for this one.
    """
    ledger = TestLedger()
    ledger.apply(
        make_pool(
            subnet="fd12:3456:789a::/48",
            ips=["fd12:3456:789a::1-fd12:3456:789a:ffff:ffff:ffff:ffff:ffff"],
            exclude_ips=["fd12:3456:789a::1-fd12:3456:789a::10"],
        )
    )
    assert ledger.take(number=2) == ["fd12:3456:789a::11", "fd12:3456:789a::12"]
    counts = ledger.counts()
    assert counts.total == 2**80 - 17
    assert (counts.leased, counts.free) == (2, 2**80 - 19)


# ------------------------------------------------------------------------------ E: what is answered


def test_e00008_an_exhausted_pool_says_so_in_the_known_words(ledger: TestLedger) -> None:
    """E00008: the pool exhausted: "all IP addresses used out", with the figures behind it."""
    ledger.apply(make_pool(ips=ips(1, 2), exclude_ips=ips(2, 2)))
    ledger.grant(owner="a")
    refusal = ledger.refused(make_allocate(owner="b"))
    assert refusal.kind == "exhausted"
    assert refusal.message == f"{USED_OUT}: pool pool has 1 addresses: 1 leased"


def test_e00009_e00010_only_ipv4_where_there_are_both(ledger: TestLedger) -> None:
    """E00009, E00010: with pools of both families a request for IPv4 gets IPv4 alone.

    E00010 asks by subnet, which we have none of: pools in order of preference take its place.
    """
    ledger.apply(make_pool("v4", ips=ips(1, 1)), make_pool("v4b", ips=ips(2, 2)))
    ledger.apply(make_pool("v6", "fd00::/64", ips=["fd00::1-fd00::9"]))
    assert ledger.take("v4", owner="a") == ["10.0.0.1"]
    assert ledger.take("v4,v4b", owner="b") == ["10.0.0.2"]
    assert ledger.refused(make_allocate("v4,v4b", owner="c")).message.startswith(USED_OUT)
    assert ledger.counts("v6").leased == 0


def test_a00016_an_empty_second_pool_does_not_drain_the_first(ledger: TestLedger) -> None:
    """A00016: the pool of eth1 is empty: over many retries eth0's pool loses nothing."""
    ledger.apply(make_pool("one", ips=ips(1, 3)), make_pool("two", "10.1.0.0/24", ips=[]))
    requests = (make_allocate("one"), make_allocate("two", interface="eth1"))
    for _retry in range(10):
        assert ledger.refused(AllocateTogether(requests)).message.startswith(USED_OUT)
        assert ledger.refused(make_allocate("one", "two")).kind == "exhausted"
        assert ledger.counts("one").free == 3
    ledger.apply(make_pool("two", "10.1.0.0/24", ips=["10.1.0.1"]))
    addresses = [lease.text for lease in granted(ledger.done(AllocateTogether(requests)))]
    assert addresses == ["10.0.0.1", "10.1.0.1"]


# --------------------------------------------------------------------------------- G: late releases


def test_g00002_a_name_in_another_namespace_is_another_owner(ledger: TestLedger) -> None:
    """G00002: pods of one name in two namespaces: deleting one does not free the other."""
    ledger.apply(make_pool(ips=ips(1, 5)))
    ledger.take(owner="c1/blue/web-0")
    green = ledger.take(owner="c1/green/web-0")
    ledger.done(make_release(owner="c1/blue/web-0"))
    assert held_by(ledger, "c1/blue/web-0") == []
    assert held_by(ledger, "c1/green/web-0") == green


def test_g00005_what_an_unknown_pod_left_behind_is_cleaned(ledger: TestLedger) -> None:
    """G00005: a record of a pod that is no more goes, by label or by time; true ones stay."""
    ledger.apply(make_pool(ips=ips(1, 5)))
    kept = ledger.take(owner="c1/default/web-0", labels=(("node", "n1"),))
    ledger.take(owner="c1/default/ghost", labels=(("node", "n7"),))
    ledger.take(owner="c1/default/ghost-2", ttl_s=30)
    ledger.done(make_release(labels={"node": "n7"}))
    ledger.clock.now_ms += 31_000
    ledger.apply(make_pool(ips=ips(1, 3)))  # room for one more only if the dead one's is taken
    assert ledger.take(owner="new", number=2) == ["10.0.0.2", "10.0.0.3"]
    assert [lease.text for lease in ledger.state.leases_of("c1/default/web-0")] == kept
    assert held_by(ledger, "c1/default/ghost-2") == []


def test_g00007_a_record_with_the_wrong_uid_gives_way(ledger: TestLedger) -> None:
    """G00007: the known pod under an old uid is superseded; its late release frees nothing."""
    ledger.apply(make_pool(ips=ips(1, 5)))
    (old,) = ledger.grant(uid="old")
    (new,) = ledger.grant(uid="new")
    assert (new.text, new.uid) == (old.text, "new")
    assert ledger.held(make_release(old.lease_id)) == ()
    assert held_by(ledger, "pod-1") == [new.text]


# -------------------------------------------------------------------------------------- random runs


@pytest.mark.parametrize("seed", SEEDS)
def test_g00011_two_groups_of_five_in_a_pool_of_five(seed: int) -> None:
    """G00011: one group scales 5, 0, 5 while the other starts: never a duplicate, 5 are ready."""
    cluster = Cluster(seed, make_pool(ips=ips(1, 5), cooldown_s=0))
    groups = {name: [(f"{name}-{n}", f"{name}-{n}-u0") for n in range(5)] for name in "ab"}
    assert len(cluster.start(groups["a"])) == 5, f"seed {seed}"
    cluster.check(groups["a"], 5)
    waiting = set(groups["b"])
    ready: set[tuple[str, str]] = set(groups["a"])
    for phase in range(1, 7):
        leaving = [pod for pod in ready if pod[0].startswith("a")]
        going, staying = leaving[: cluster.random.randint(0, 5)], ready - set(leaving)
        cluster.stop(owner for owner, _ in going)
        ready = staying | (set(leaving) - set(going))
        cluster.check(ready, len(ready))
        back = {(owner, f"{owner}-u{phase}") for owner, _ in going}
        waiting |= back
        asking = sorted(waiting)
        got = cluster.start(asking)
        ready |= got.keys()
        waiting -= got.keys()
        assert len(ready) == 5, f"seed {seed}: {sorted(ready)}"
        cluster.check(ready, 5)


@pytest.mark.parametrize("seed", SEEDS)
def test_g00012_six_groups_in_a_pool_of_eighteen(seed: int) -> None:
    """G00012: chaos on 18 addresses; after each phase no duplicates, live uids, exact counts."""
    cluster = Cluster(seed, make_pool(ips=ips(1, 18)))
    random, sizes = cluster.random, dict.fromkeys("abcdef", 3)
    alive = {(f"{name}-{n}", f"{name}-{n}-u0") for name in sizes for n in range(3)}
    assert cluster.start(sorted(alive)).keys() == alive, f"seed {seed}"
    cluster.check(alive, 18)
    for phase in range(1, 7):
        what = random.choice(("scale", "restart pods", "kill a writer", "delete and create"))
        if what == "scale":
            one, other = random.sample(sorted(sizes), 2)
            moved = random.randint(0, sizes[one])
            sizes[one], sizes[other] = sizes[one] - moved, sizes[other] + moved
        elif what == "kill a writer":
            cluster.restart_a_writer()
        names = random.sample(sorted(sizes), 2) if what != "scale" else []
        wanted = {f"{name}-{n}" for name, size in sizes.items() for n in range(size)}
        gone = {owner for owner, _ in alive} - wanted
        if what == "delete and create":
            gone |= {owner for owner, _ in alive if owner[0] in names}
        cluster.stop(sorted(gone))
        alive = {pod for pod in alive if pod[0] not in gone}
        cluster.check(alive, len(alive))
        # What restarts asks under a new uid while its old record still stands.
        again = {o for o, _ in alive if what == "restart pods" and o[0] in names}
        alive = {pod for pod in alive if pod[0] not in again}
        asking = {(o, f"{o}-u{phase}") for o in wanted - {owner for owner, _ in alive}}
        assert cluster.start(sorted(asking)).keys() == asking, f"seed {seed}, {what}"
        alive |= asking
        cluster.check(alive, 18)


@pytest.mark.parametrize("seed", SEEDS)
def test_p00002_forty_replicas_in_a_pool_of_forty(seed: int) -> None:
    """P00002: 40 pods on exactly 40 addresses: create, rebuild, delete; every uid is its own."""
    cluster = Cluster(seed, make_pool(ips=ips(1, 40)))
    pods = [(f"web-{n}", f"u{n}") for n in range(40)]
    before = cluster.start(pods)
    cluster.check(pods, 40)
    rebuilt = [(f"web-{n}", f"v{n}") for n in range(40)]
    after = cluster.start(rebuilt)
    cluster.check(rebuilt, 40)
    uids = Counter(lease.uid for lease in cluster.first.state.leases())
    assert set(uids.values()) == {1}, f"seed {seed}: {uids}"
    assert {o: at for (o, _), at in before.items()} == {o: at for (o, _), at in after.items()}
    cluster.stop(owner for owner, _ in rebuilt)
    cluster.check((), 0)
