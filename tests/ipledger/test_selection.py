"""What a consumer is given: exactly the events that its filters name, wherever it began.

A lease's later events carry neither its pool's name nor its cluster; a consumer that begins
between the two must choose as one that has seen the grant.
"""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from random import Random

import pytest

from engine import events as ev
from engine.entry import Record
from engine.errors import InvalidInput
from engine.reading import Continuity
from ipledger.consuming import Consuming, StreamEvent
from ipledger.selection import Known, Selection, Shard, parse_shard, shard_number
from projections.following import Following
from projections.starting import AtPosition
from tests.builders import (
    TestLedger,
    make_delete,
    make_pool,
    make_record,
    make_release,
    make_reservation,
)

CLUSTERS = (None, "east", "west")
POOLS = ("a", "b", "c")


def busy_ledger(seed: int = 1) -> TestLedger:
    """Three pools, one of them made anew, and leases of three clusters that come and go."""
    random = Random(seed)  # noqa: S311 - the same history on every run
    ledger = TestLedger()
    for number, name in enumerate(POOLS):
        ledger.apply(make_pool(name, f"10.{number}.0.0/24"))
    ledger.apply(make_pool("six", "fd00::/64", ips=["fd00::1-fd00::ff"]))
    for at in range(120):
        owner = f"o-{at}"
        if at == 60:
            ledger.run(make_release(labels={"app": "web"}))
            ledger.done(make_delete("a", cascade=True))
            ledger.apply(make_pool("a", "10.9.0.0/24"))
        labels = (("app", random.choice(("web", "db"))), ("n", str(at % 3)))
        fields = {"cluster": random.choice(CLUSTERS), "labels": labels}
        ledger.grant(random.choice((*POOLS, "six")), owner=owner, **fields)
        if random.random() < 0.6:
            ledger.run(make_release(owner=f"o-{random.randrange(at + 1)}"))
        ledger.clock.now_ms += random.choice((0, 0, 1, 50))
    ledger.apply(make_reservation("kept", "10.1.0.200", "10.1.0.210-10.1.0.220"))
    ledger.done(make_delete(reservations=["kept"]))
    return ledger


LEDGER = busy_ledger()


def chosen(selection: Selection, start: int = 1) -> list[StreamEvent]:
    """The events that a consumer is given from a start to the end."""
    consuming = Consuming(LEDGER.stream, "default", selection, AtPosition(start))
    deliveries = consuming.deliveries(until_end=True)
    return [event for delivery in deliveries for event in delivery.events]


def all_records() -> list[Record]:
    """The whole history."""
    pages = Following(LEDGER.stream, Continuity()).follow(until_end=True)
    return [record for page in pages for record in page.records]


def facts_of(records: list[Record]) -> dict[int, tuple[str | None, str | None]]:
    """The pool's name and the cluster of each event, by a plain fold of everything."""
    pools: dict[int, str] = {}
    clusters: dict[int, str | None] = {}
    found: dict[int, tuple[str | None, str | None]] = {}
    for record in records:
        event = record.event
        match event:
            case ev.PoolCreated():
                pools[record.position] = event.name
                found[record.position] = (event.name, None)
            case ev.PoolDeleted():
                found[record.position] = (event.name, None)
            case ev.LeaseGranted():
                clusters[record.position] = event.cluster
                found[record.position] = (pools[event.pool_id], event.cluster)
            case ev.LeaseEnded():
                found[record.position] = (pools[event.pool_id], clusters[event.lease])
            case _:
                found[record.position] = (None, None)
    return found


RECORDS = all_records()
FACTS = facts_of(RECORDS)
BEGINNINGS = [record.position for record in RECORDS if record.commit.part == 0]


def text_of(event: ev.LeaseGranted | ev.LeaseEnded) -> str:
    """The address in words, by the standard library."""
    return str(ip_address(event.address))


@pytest.mark.parametrize("seed", range(30))
def test_it_chooses_as_a_fold_of_everything_would(seed: int) -> None:
    """Any filters, from any commit on: the same events as the naive ones, in order."""
    random = Random(seed)  # noqa: S311 - the same choice on every run
    start = random.choice(BEGINNINGS)
    types = random.choice((["leasegranted", "LeaseEnded"], ["LeaseEnded"], []))
    pools = random.choice(([], ["a"], ["b", "six"]))
    clusters = random.choice(([], ["east"], ["east", "west"]))
    labels = random.choice(({}, {"app": "web"}, {"app": "web", "n": "1"}))
    shard = random.choice((None, "1/3", "3/3"))
    selection = Selection.read(
        types=types, pools=pools, clusters=clusters, labels=labels, shard=shard
    )
    expected = []
    for record in RECORDS:
        pool, cluster = FACTS[record.position]
        event = record.event
        held = dict(record.sealed.labels)
        redefined = isinstance(event, ev.PoolDeleted | ev.ReservationDeleted)
        if (
            record.position >= start
            and (not types or type(event).__name__.lower() in {t.lower() for t in types})
            and (not pools or pool in pools)
            and (not clusters or cluster in clusters)
            and (redefined or all(held.get(key) == value for key, value in labels.items()))
            and (
                shard is None
                or not isinstance(event, ev.LeaseGranted | ev.LeaseEnded)
                or shard_number(bytes(event.address), 3) == int(shard[0])
            )
        ):
            expected.append(record.position)
    assert [event.position for event in chosen(selection, start)] == expected


@pytest.mark.parametrize("prefix", ["10.1.0.0/24", "10.1.0.0/28", "10.0.0.0/8", "fd00::8/125"])
def test_a_prefix_chooses_leases_by_address(prefix: str) -> None:
    """In either family; and what is redefined or deleted passes always."""
    wanted = ip_network(prefix)
    found = chosen(Selection.read(prefixes=[prefix]))
    leases = [e.position for e in found if e.lease is not None]
    assert leases == [
        record.position
        for record in RECORDS
        if isinstance(record.event, ev.LeaseGranted | ev.LeaseEnded)
        and ip_address(record.event.address) in wanted
    ]
    assert len({e.type for e in found} & {"PoolDeleted", "ReservationDeleted"}) == 2


def test_a_prefix_chooses_ranges_that_overlap() -> None:
    """Pools, reservations and quarantines of which any address is in it."""
    known = Known(LEDGER.stream)
    aside = make_record(9, ev.Quarantined(4, bytes((10, 0, 0, 5, 10, 0, 0, 9)), None, None))
    for prefix, fits in [("10.0.0.8/29", True), ("10.0.0.10/31", False), ("::/0", False)]:
        assert Selection.read(prefixes=[prefix]).wants(aside, known) is fits
    created = [r for r in RECORDS if isinstance(r.event, ev.PoolCreated | ev.ReservationCreated)]
    wanted = Selection.read(prefixes=["10.1.0.192/26"])
    names = [r.event.name for r in created if wanted.wants(r, known)]  # type: ignore[union-attr]
    assert names == ["b", "kept"]


def test_shards_share_the_work() -> None:
    """Each lease event is of exactly one share, the same at its end; the rest is everybody's."""
    shares = [[e.position for e in chosen(Selection.read(shard=f"{n}/4"))] for n in range(1, 5)]
    of_leases = {
        r.position for r in RECORDS if isinstance(r.event, ev.LeaseGranted | ev.LeaseEnded)
    }
    for record in RECORDS:
        holders = sum(record.position in share for share in shares)
        assert holders == (1 if record.position in of_leases else 4)
    by_lease: dict[int, set[int]] = {}
    for number, share in enumerate(shares):
        for position in set(share) & of_leases:
            event = RECORDS[position - 1].event
            lease = event.lease if isinstance(event, ev.LeaseEnded) else position
            by_lease.setdefault(lease, set()).add(number)
    assert all(len(numbers) == 1 for numbers in by_lease.values())


def test_the_share_of_an_address_is_for_ever() -> None:
    """Figures that another program can check: SHA-256, first 8 bytes, modulo."""
    assert [shard_number(bytes((10, 0, 0, n)), 5) for n in range(1, 7)] == [4, 1, 3, 5, 2, 1]
    assert shard_number(bytes(15) + b"\1", 5) == 2
    assert Shard(1, 5).has(bytes((10, 0, 0, 2)))


def test_few_clusters_are_kept_and_the_others_looked_up() -> None:
    """However many leases go by, memory is bounded, and the answer is the same."""
    known = Known(LEDGER.stream, leases_max=2)
    for record in RECORDS:
        known.note(record)
        assert known.cluster_of(record) == FACTS[record.position][1]
        assert known.pool_of(record) == FACTS[record.position][0]
    assert len(known._clusters) == 2


def test_events_of_no_lease_have_no_address() -> None:
    """What an event is not about is None."""
    by_type = {event.type: event for event in chosen(Selection())}
    pool, lease = by_type["PoolCreated"], by_type["LeaseEnded"]
    assert (pool.address, pool.lease, pool.interface, pool.pool) == (None, None, None, "a")
    assert (lease.interface, lease.pool in POOLS or lease.pool == "six") == ("eth0", True)
    assert lease.address is not None
    assert lease.owner == lease.as_json()["data"]["owner"]  # type: ignore[index]


@pytest.mark.parametrize(
    "words",
    [{"types": ["Nope"]}, {"pools": ["a b"]}, {"prefixes": ["10.0.0.1/8"]},
     {"prefixes": ["nonsense"]}, {"shard": "0/3"}, {"shard": "4/3"}, {"shard": "1"},
     {"shard": "1/0"}, {"shard": "1/99999999999"}, {"shard": "-1/2"}, {"shard": "²/3"}],
    ids=str,
)  # fmt: skip
def test_bad_words_are_refused(words: dict[str, object]) -> None:
    """Before anything is read."""
    with pytest.raises(InvalidInput):
        Selection.read(**words)  # type: ignore[arg-type]


def test_a_selection_in_words() -> None:
    """Whoever lists consumers sees what each wants."""
    selection = Selection.read(
        types=["leaseended"], pools=["a"], prefixes=["10.0.0.0/8"], clusters=["east"],
        labels={"k": "v"}, shard="2/5",
    )  # fmt: skip
    assert selection.words() == [
        "type=LeaseEnded", "pool=a", "prefix=10.0.0.0/8", "cluster=east", "label=k=v", "shard=2/5",
    ]  # fmt: skip
    assert parse_shard("2/5") == Shard(2, 5)
