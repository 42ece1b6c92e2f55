"""The rules of pools and reservations, each under its number in docs/rules.md.

V1 to V24 are the rules of Spiderpool's webhook for pools, R1 to R6 those for reservations, and H1
to H6 the holes that were seen in them: here a test holds that they cannot happen.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

import pytest

from engine.addresses import RangeSet
from engine.commands import Apply, PutPool, PutReservation
from engine.errors import InvalidInput, Refusal
from engine.facts import Counts
from engine.model import Expression, Selector, Selectors
from engine.pool_spec import RANGES_MAX, ROUTES_MAX, read_pool_spec, read_reservation_spec
from tests.builders import (
    TestLedger,
    ended,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)

HALF_OF_64: Final = 1 << 63

Fields: TypeAlias = dict[str, Any]  # of a definition, by their names in Python


@pytest.fixture
def ledger() -> TestLedger:
    """An empty space."""
    return TestLedger()


def invalid(rule: str, field: str, read: Callable[..., object], **fields: object) -> InvalidInput:
    """The error of a definition that must not be understood; it names its rule and its field."""
    with pytest.raises(InvalidInput) as caught:
        read(**fields)
    assert caught.value.kind == "invalid"
    assert caught.value.message.startswith(f"{field}: "), caught.value.message
    assert rule in caught.value.message.rpartition("(")[2], caught.value.message
    return caught.value


def refused(ledger: TestLedger, *objects: PutPool | PutReservation, kind: str) -> Refusal:
    """The refusal of definitions that are understood, but cannot be beside what stands."""
    refusal = ledger.refused(Apply(objects))
    assert refusal.kind == kind
    return refusal


# ------------------------------------------------------------------------- one definition by itself


@pytest.mark.parametrize(("subnet", "version"), [("10.0.0.0/24", 6), ("fd00::/64", 4)])
def test_v1_the_ip_version_is_that_of_the_subnet(subnet: str, version: int) -> None:
    """An ipVersion that contradicts the subnet is refused; without one the subnet decides."""
    invalid("V1", "ipVersion", read_pool_spec, subnet=subnet, ip_version=version)
    assert read_pool_spec(subnet=subnet).family == 10 - version


@pytest.mark.parametrize("version", [0, 5, 46, -4])
def test_v2_the_ip_version_is_4_or_6(version: int) -> None:
    """No other number is an IP version."""
    invalid("V2", "ipVersion", read_pool_spec, subnet="10.0.0.0/24", ip_version=version)


@pytest.mark.parametrize(
    "subnet", ["", "10.0.0.0", "10.0.0/24", "10.0.0.0/33", "fd00::/129", "fd00::/x", "x/24", "/24"]
)
def test_v4_the_subnet_is_a_block(subnet: str) -> None:
    """What is not ADDRESS/PREFIX-LENGTH is refused."""
    invalid("V4", "subnet", read_pool_spec, subnet=subnet)


@pytest.mark.parametrize(
    ("subnet", "right"),
    [
        ("172.18.40.5/24", "172.18.40.0/24"),
        ("10.0.0.0/024", "10.0.0.0/24"),
        ("FD00::/64", "fd00::/64"),
        ("fd00:0::/64", "fd00::/64"),
        ("fd00::1/64", "fd00::/64"),
    ],
)
def test_v5_the_subnet_is_in_its_canonical_form(subnet: str, right: str) -> None:
    """Host bits and other spellings are refused, and the message says what to write instead."""
    assert right in invalid("V5", "subnet", read_pool_spec, subnet=subnet).message


@pytest.mark.parametrize("field", ["ips", "exclude_ips"])
@pytest.mark.parametrize(
    "entry",
    [
        "10.0.0",
        "10.0.1.1",
        "10.0.0.255-10.0.1.0",
        "10.0.0.1 - 10.0.0.2",
        "10.0.0.1-10.0.0.2-10.0.0.3",
        "10.0.0.0/30",
        "10.0.0.01",
        "fd00::1",
        "",
    ],
)
def test_v10_entries_are_addresses_of_the_subnet(field: str, entry: str) -> None:
    """A malformed entry, one outside the subnet or of the other family is refused by name."""
    shown = {"ips": "ips", "exclude_ips": "excludeIPs"}[field]
    fields: Fields = {"subnet": "10.0.0.0/24", field: ["10.0.0.9", entry]}
    assert repr(entry) in invalid("V10", shown, read_pool_spec, **fields).message


def test_v10_entries_that_overlap_are_merged() -> None:
    """Spiderpool refuses them; we read them as the set that they write down."""
    spec = read_pool_spec(
        subnet="10.0.0.0/24", ips=["10.0.0.5", "10.0.0.1-10.0.0.3", "10.0.0.2-10.0.0.4"]
    )
    assert spec.ips.texts() == ["10.0.0.1-10.0.0.5"]


def test_v10_a_definition_has_a_bounded_number_of_ranges() -> None:
    """An event must stay small enough to be proven: one range more than the limit is refused."""
    entries = [f"10.{n >> 7}.{(n & 127) * 2}.0" for n in range(RANGES_MAX + 1)]
    read_pool_spec(subnet="10.0.0.0/8", ips=entries[:-1])
    invalid("V10", "ips", read_pool_spec, subnet="10.0.0.0/8", ips=entries)


@pytest.mark.parametrize("gateway", ["", "10.0.0", "10.0.1.1", "fd00::1", "10.0.0.1/24"])
def test_v12_the_gateway_is_an_address_of_the_subnet(gateway: str) -> None:
    """A malformed gateway, one outside the subnet or of the other family is refused."""
    invalid("V12", "gateway", read_pool_spec, subnet="10.0.0.0/24", gateway=gateway)


def test_v13_the_gateway_is_not_given_out() -> None:
    """A gateway among the pool's own addresses is refused; excluded it may stand in `ips`."""
    fields: Fields = {
        "subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.9"], "gateway": "10.0.0.5"
    }  # fmt: skip
    assert "excludeIPs" in invalid("V13", "gateway", read_pool_spec, **fields).hint
    read_pool_spec(**fields, exclude_ips=["10.0.0.5"])


def route_error(rule: str, at: str, *routes: tuple[str, str], subnet: str = "10.0.0.0/24") -> str:
    """The message about routes that must be refused."""
    return invalid(rule, f"routes[{at}", read_pool_spec, subnet=subnet, routes=routes).message


def test_v14_the_default_route_is_the_gateway() -> None:
    """A route to everything is refused in both families: that is what `gateway` is for."""
    route_error("V14", "0].dst", ("0.0.0.0/0", "10.0.0.1"))
    route_error("V14", "0].dst", ("::/0", "fd00::1"), subnet="fd00::/64")


def test_v15_no_two_routes_to_one_destination() -> None:
    """The second route to a destination is refused, whatever its gateway."""
    routes = [("10.9.0.0/16", "10.0.0.1"), ("10.9.0.0/24", "10.0.0.1"), ("10.9.0.0/16", "10.0.0.2")]
    assert "10.9.0.0/16" in route_error("V15", "2].dst", *routes)


@pytest.mark.parametrize("destination", ["10.9.0.0", "10.9.0.1/16", "fd00::/64", "x"])
def test_v16_a_route_leads_to_a_block_of_the_family(destination: str) -> None:
    """A destination that is no canonical block, or of the other family, is refused."""
    route_error("V16", "0].dst", (destination, "10.0.0.1"))


def test_v16_routes_are_not_without_number() -> None:
    """As with ranges, an event stays bounded."""
    routes = [(f"10.9.{n >> 8}.{n & 255}/32", "10.0.0.1") for n in range(ROUTES_MAX + 1)]
    read_pool_spec(subnet="10.0.0.0/24", routes=routes[:-1])
    invalid("V16", "routes", read_pool_spec, subnet="10.0.0.0/24", routes=routes)


@pytest.mark.parametrize("gateway", ["x", "10.0.1.1", "fd00::1"])
def test_v17_a_route_goes_by_an_address_of_the_subnet(gateway: str) -> None:
    """A route's gateway that is malformed or outside the subnet is refused."""
    route_error("V17", "0].gw", ("10.9.0.0/16", gateway))


@pytest.mark.parametrize(
    "selector",
    [
        Selector(),
        Selector(match_labels=(("", "x"),)),
        Selector(match_labels=(("-app", "x"),)),
        Selector(match_labels=(("app", "-x"),)),
        Selector(match_labels=(("app", "x" * 64),)),
        Selector(match_expressions=(Expression("app", "Is", ("x",)),)),
        Selector(match_expressions=(Expression("app", "In", ()),)),
        Selector(match_expressions=(Expression("app", "Exists", ("x",)),)),
    ],
)
@pytest.mark.parametrize("field", ["podAffinity", "namespaceAffinity", "nodeAffinity"])
def test_v18_a_selector_says_something_that_can_be_read(selector: Selector, field: str) -> None:
    """An empty selector, or one in bad label syntax, is refused: of pods and of the other kinds."""
    chosen = {"podAffinity": "pod", "namespaceAffinity": "namespace", "nodeAffinity": "node"}
    given: Fields = {f"{chosen[field]}_affinity": selector}
    selectors = Selectors(**given)
    invalid("V18", field, read_pool_spec, subnet="10.0.0.0/24", selectors=selectors)


def test_v18_a_selector_in_good_syntax_is_kept() -> None:
    """Prefixed keys, empty values and all four operators are label syntax."""
    expressions = (
        Expression("example.com/tier", "In", ("a", "b")),
        Expression("tier", "NotIn", ("c",)),
        Expression("app", "Exists", ()),
        Expression("old", "DoesNotExist", ()),
    )
    chosen = Selectors(pod_affinity=Selector((("app", ""),), expressions))
    assert read_pool_spec(subnet="10.0.0.0/24", selectors=chosen).selectors == chosen


# ----------------------------------------------------------------------- beside what stands already


def test_v6_a_name_is_created_once(ledger: TestLedger) -> None:
    """Whoever insists on creating is told that the pool exists, even if it is just the same."""
    ledger.apply(make_pool("a"))
    refusal = ledger.refused(Apply((make_pool("a"),), create_only=True))
    assert (refusal.kind, refusal.about) == ("exists", "a")


@pytest.mark.parametrize("second", ["10.0.0.0/25", "10.0.0.128/25", "10.0.0.0/16", "0.0.0.0/0"])
def test_v7_subnets_are_equal_or_disjoint(ledger: TestLedger, second: str) -> None:
    """A subnet within another's, or around it, is refused naming both, whatever the addresses."""
    ledger.apply(make_pool("a", "10.0.0.0/24", ips=[]))
    refusal = refused(ledger, make_pool("b", second, ips=[]), kind="conflict")
    assert "(V7)" in refusal.message
    assert refusal.about == "a"
    assert "10.0.0.0/24" in refusal.message
    assert second in refusal.message


def test_v7_neighbours_twins_and_the_other_family_are_allowed(ledger: TestLedger) -> None:
    """The next block, the very same block, and the same numbers as IPv6 do not overlap."""
    ledger.apply(make_pool("a", "10.0.0.0/24", ips=[]))
    ledger.apply(make_pool("next", "10.0.1.0/24", ips=[]))
    ledger.apply(make_pool("same", "10.0.0.0/24", ips=[]))
    ledger.apply(make_pool("six", "::a00:0/120", ips=[]))


def test_v8_the_ip_version_does_not_change(ledger: TestLedger) -> None:
    """An update cannot make an IPv4 pool an IPv6 one."""
    ledger.apply(make_pool("a", "10.0.0.0/24"))
    assert "(V8)" in refused(ledger, make_pool("a", "fd00::/64"), kind="forbidden").message


def test_v9_the_subnet_does_not_change(ledger: TestLedger) -> None:
    """An update cannot move a pool to another subnet, not even to a wider one."""
    ledger.apply(make_pool("a", "10.0.0.0/24"))
    for subnet in ("10.0.1.0/24", "10.0.0.0/23", "10.0.0.0/25"):
        assert "(V9)" in refused(ledger, make_pool("a", subnet), kind="forbidden").message


def test_v11_no_address_is_in_two_pools(ledger: TestLedger) -> None:
    """Effective ranges are disjoint: the refusal names the pool and just what is shared."""
    ledger.apply(make_pool("a", ips=["10.0.0.10-10.0.0.20"]))
    refusal = refused(ledger, make_pool("b", ips=["10.0.0.18-10.0.0.30"]), kind="conflict")
    assert refusal.message == "pool b overlaps pool a in 10.0.0.18-10.0.0.20 (V11)"
    assert refusal.about == "a"


def test_v11_counts_ips_without_exclude_ips(ledger: TestLedger) -> None:
    """An address that one pool excludes may be another's, and may not be taken back then."""
    one = make_pool("a", ips=["10.0.0.10-10.0.0.20"], exclude_ips=["10.0.0.18-10.0.0.20"])
    ledger.apply(one)
    ledger.apply(make_pool("b", ips=["10.0.0.18-10.0.0.30"]))
    taken_back = make_pool("a", ips=["10.0.0.10-10.0.0.20"])
    assert "10.0.0.18-10.0.0.20" in refused(ledger, taken_back, kind="conflict").message
    ledger.apply(make_pool("c", ips=["10.0.0.1-10.0.0.30"], exclude_ips=["10.0.0.10-10.0.0.30"]))


def test_v11_holds_against_a_pool_that_is_terminating(ledger: TestLedger) -> None:
    """While its last lease lasts, the addresses of a deleted pool are still its own."""
    ledger.apply(make_pool("a", ips=["10.0.0.10-10.0.0.20"]))
    (lease,) = ledger.grant("a")
    ledger.done(make_delete("a"))
    other = make_pool("b", ips=["10.0.0.20"])
    refused(ledger, other, kind="conflict")
    ledger.done(make_release(lease.lease_id))
    ledger.apply(other)


@pytest.mark.parametrize(
    "smaller",
    [
        make_pool("a", ips=["10.0.0.2-10.0.0.9"]),
        make_pool("a", ips=["10.0.0.1-10.0.0.9"], exclude_ips=["10.0.0.1"]),
        make_pool("a", ips=[]),
    ],
    ids=["shrunk", "excluded", "emptied"],
)
def test_v20_an_address_in_use_is_not_removed(ledger: TestLedger, smaller: PutPool) -> None:
    """Shrinking and excluding are refused naming address, lease and owner, until it is released."""
    ledger.apply(make_pool("a", ips=["10.0.0.1-10.0.0.9"]))
    (lease,) = ledger.grant("a", owner="cluster/ns/pod")
    refusal = refused(ledger, smaller, kind="conflict")
    assert "(V20)" in refusal.message
    assert "10.0.0.1 " in refusal.message
    assert f"lease {lease.lease_id} of cluster/ns/pod" in refusal.message
    assert refusal.position == lease.lease_id
    ledger.done(make_release(lease.lease_id))
    ledger.apply(smaller)


def test_v20_looks_at_removed_addresses_only(ledger: TestLedger) -> None:
    """Growing, and removing what is free, is allowed while others are leased."""
    ledger.apply(make_pool("a", ips=["10.0.0.1-10.0.0.9"]))
    assert ledger.take("a") == ["10.0.0.1"]
    ledger.apply(make_pool("a", ips=["10.0.0.1", "10.0.0.100-10.0.0.200"]))
    assert ledger.counts("a") == Counts(102, 1, 0, 0, 0, 101)


def test_v23_a_terminating_pool_is_not_changed(ledger: TestLedger) -> None:
    """Nothing about it can be updated, and applying the very same definition is refused too."""
    ledger.apply(make_pool("a"))
    ledger.grant("a")
    ledger.done(make_delete("a"))
    for again in (make_pool("a"), make_pool("a", disabled=True)):
        assert "(V23)" in refused(ledger, again, kind="forbidden").message


def test_v24_a_pool_with_leases_is_deleted_by_its_last_release(ledger: TestLedger) -> None:
    """Deleting is not refused: the pool is terminating, gives out nothing, and goes by fold."""
    ledger.apply(make_pool("a"))
    one, two = ledger.grant("a", number=2)
    ledger.done(make_delete("a"))
    assert ledger.refused(make_allocate("a", owner="other")).kind == "forbidden"
    ledger.done(make_release(one.lease_id))
    pool = ledger.state.pool("a")
    assert pool is not None
    assert pool.terminating
    ledger.done(make_release(two.lease_id))
    assert ledger.state.pool("a") is None


# --------------------------------------------------------------------------------- reservations


@pytest.mark.parametrize("ips", [[], ["x"], [""], ["x", "10.0.0.1"]])
def test_r1_a_reservation_has_an_address(ips: list[str]) -> None:
    """No address, or a first one that cannot be read, leaves the family unknown: refused."""
    invalid("V", "ips", read_reservation_spec, ips=ips)


def test_r1_the_ip_version_is_that_of_the_addresses() -> None:
    """An ipVersion that contradicts them is refused; without one the first entry decides."""
    invalid("V1", "ipVersion", read_reservation_spec, ips=["10.0.0.1"], ip_version=6)
    invalid("V2", "ipVersion", read_reservation_spec, ips=["10.0.0.1"], ip_version=5)
    assert read_reservation_spec(ips=["fd00::1"]).ips.family == 6


def test_r3_the_ip_version_does_not_change(ledger: TestLedger) -> None:
    """An update cannot make an IPv4 reservation an IPv6 one."""
    ledger.apply(make_reservation("r", "10.0.0.1"))
    refusal = refused(ledger, make_reservation("r", "fd00::1"), kind="forbidden")
    assert "(V8)" in refusal.message


@pytest.mark.parametrize(
    "entry", ["10.0.0.0/30", "10.0.0.1 ", "10.0.0.9-10.0.0.1", "fd00::1", "::ffff:10.0.0.1", "10.0"]
)
def test_r4_every_entry_is_a_strict_range_of_one_family(entry: str) -> None:
    """Blocks, spaces, reversed ranges and the other family are refused naming the entry."""
    error = invalid("V10", "ips", read_reservation_spec, ips=["10.0.0.1", entry])
    assert repr(entry) in error.message


def test_r6_a_reservation_can_always_be_deleted(ledger: TestLedger) -> None:
    """Also one under which an address is leased; its name is free at once."""
    ledger.apply(make_pool("a"))
    (lease,) = ledger.grant("a")
    ledger.apply(make_reservation("r", "10.0.0.1-10.0.0.254"))
    ledger.done(make_delete(reservations=["r"]))
    ledger.apply(make_reservation("r", "fd00::1"))
    assert ledger.state.lease(lease.lease_id) == lease


def test_reservations_overlap_freely(ledger: TestLedger) -> None:
    """No check against pools, other reservations or leases: an address is kept while any does."""
    ledger.apply(make_pool("a", ips=["10.0.0.1-10.0.0.4"]))
    ledger.grant("a")
    ledger.apply(make_reservation("r", "10.0.0.1-10.0.0.3"), make_reservation("s", "10.0.0.3"))
    assert ledger.counts("a") == Counts(4, 1, 0, 0, 2, 1)
    ledger.done(make_delete(reservations=["r"]))
    assert ledger.counts("a") == Counts(4, 1, 0, 0, 1, 2)


# --------------------------------------------------------------------- the holes, each closed here


def test_h1_a_reversed_range_is_refused() -> None:
    """It never becomes a pool whose total says ten and that gives out none."""
    entry = "172.18.40.10-172.18.40.1"
    for ips in ([entry], ["172.18.40.20", entry]):
        invalid("V10", "ips", read_pool_spec, subnet="172.18.40.0/24", ips=ips)


def test_h2_no_exclusion_enlarges_a_pool() -> None:
    """A reversed exclusion is refused, and one outside `ips` subtracts nothing."""
    fields: Fields = {"subnet": "10.0.0.0/24", "ips": ["10.0.0.1-10.0.0.20"]}
    reversed_range = ["10.0.0.8-10.0.0.5"]
    invalid("V10", "excludeIPs", read_pool_spec, **fields, exclude_ips=reversed_range)
    spec = read_pool_spec(**fields, exclude_ips=["10.0.0.20-10.0.0.40"])
    assert spec.effective().size == 19


@pytest.mark.parametrize("subnet", ["172.18.40.0/24", "::ffff:172.18.40.0/120", "::/0"])
def test_h3_a_v4_mapped_address_is_refused(subnet: str) -> None:
    """IPv4 in IPv6 clothes is read differently by different programs, so it is not read at all."""
    with pytest.raises(InvalidInput):
        read_pool_spec(subnet=subnet, ips=["::ffff:172.18.40.1"])


def test_h4_the_gateway_is_compared_as_an_address() -> None:
    """Two spellings of one address are one address: in ranges, single entries and exclusions."""
    fields: Fields = {"subnet": "abcd:1234::/64", "gateway": "abcd:1234::1"}
    invalid("V13", "gateway", read_pool_spec, **fields, ips=["ABCD:1234::0001"])
    read_pool_spec(**fields, ips=["abcd:1234::0001"], exclude_ips=["ABCD:1234:0::1"])


def test_h5_pools_checked_before_either_is_stored_do_not_both_stand(ledger: TestLedger) -> None:
    """Two writers that both found no overlap: one commits, the other is told by whom it was."""
    late = TestLedger(seed=1, beside=ledger)
    call = late.call(Apply((make_pool("b", ips=["10.0.0.5-10.0.0.9"]),)))
    planned = late.plan(call)
    assert planned.proposals, "alone, the second pool would have been allowed"
    ledger.apply(make_pool("a", ips=["10.0.0.1-10.0.0.5"]))
    (again,) = late.append(planned)
    assert late.step([again]), "the second try is answered"
    assert isinstance(call.outcome, Refusal)
    assert (call.outcome.kind, call.outcome.about) == ("conflict", "a")


def test_h5_a_subnet_around_it_is_noticed_too(ledger: TestLedger) -> None:
    """The same for V7, which is about pools that share no address."""
    late = TestLedger(seed=1, beside=ledger)
    planned = late.plan(late.call(Apply((make_pool("b", "10.0.0.0/16", ips=["10.0.9.9"]),))))
    ledger.apply(make_pool("a", "10.0.0.0/24", ips=["10.0.0.1"]))
    (again,) = late.append(planned)
    assert late.step([again])
    assert isinstance(again.outcome, Refusal)
    assert "(V7)" in again.outcome.message


def test_h6_a_whole_64_is_a_pool_like_any_other(ledger: TestLedger) -> None:
    """Updating, excluding and reserving parts of a /64 is exact and never listed out."""
    everything = "fd00::-fd00::ffff:ffff:ffff:ffff"
    ledger.apply(make_pool("six", "fd00::/64", ips=[everything]))
    assert ledger.counts("six").free == 1 << 64
    ledger.apply(make_reservation("upper-half", "fd00::8000:0:0:0-fd00::ffff:ffff:ffff:ffff"))
    assert ledger.take("six") == ["fd00::"]
    assert ledger.counts("six") == Counts(1 << 64, 1, 0, 0, HALF_OF_64, HALF_OF_64 - 1)
    excluded = make_pool(
        "six", "fd00::/64", ips=[everything], exclude_ips=["fd00::1-fd00::3fff:ffff:ffff:ffff"]
    )
    ledger.apply(excluded)
    quarter = 1 << 62
    assert ledger.counts("six") == Counts((1 << 64) - quarter + 1, 1, 0, 0, HALF_OF_64, quarter)
    assert ledger.take("six", owner="pod-2") == ["fd00::4000:0:0:0"]
    ledger.done(make_delete(reservations=["upper-half"]))
    ledger.apply(make_pool("six", "fd00::/64", ips=[everything]))
    assert ledger.counts("six") == Counts(1 << 64, 2, 0, 0, 0, (1 << 64) - 2)
    assert ended(ledger.done(make_release(owner="pod-1"))) != ()


def test_h6_shrinking_a_whole_64_finds_the_lease_in_the_way(ledger: TestLedger) -> None:
    """V20 looks at leases within ranges, not at addresses within pools."""
    ledger.apply(make_pool("six", "fd00::/64", ips=["fd00::-fd00::ffff:ffff:ffff:ffff"]))
    far = "fd00::ffff:ffff:ffff:fffe"
    ledger.grant("six", ips=[far])
    smaller = make_pool("six", "fd00::/64", ips=["fd00::-fd00::ff"])
    assert far in refused(ledger, smaller, kind="conflict").message


def test_h6_everything_there_is_can_be_reserved(ledger: TestLedger) -> None:
    """A reservation of all IPv6 addresses closes a pool, and only that: IPv4 goes on."""
    ledger.apply(
        make_pool("four"),
        make_pool("six", "fd00::/64"),
        make_reservation("all", "::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    )
    assert ledger.state.reservation_table.closed(6) == RangeSet(6, [(0, (1 << 128) - 1)])
    assert ledger.refused(make_allocate("six")).kind == "exhausted"
    assert ledger.take("four") == ["10.0.0.1"]
