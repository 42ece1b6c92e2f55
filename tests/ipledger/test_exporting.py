"""What a space says, exported and applied to an empty one, is said by that one as well."""

from __future__ import annotations

from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from engine.addresses import RangeSet
from engine.commands import Adopt, Apply, PutPool, PutReservation, Renew, SetAside
from engine.facts import Facts
from engine.model import ReservationSpec
from engine.names import Labels
from ipledger.exporting import DEFINITIONS, KINDS, manifests_of
from ipledger.importing import Found, make_plan
from ipledger.importing.documents import own_lease, own_quarantine
from ipledger.manifests import Parsed, Source, parse
from ipledger.manifests.yaml_out import document_text
from ipledger.writing import Done
from projections.content import content_digest
from tests.builders import TestLedger, make_allocate, make_delete, make_pool, make_release
from tests.drawn import LABELS, NAMES, pool_specs, reservation_specs

_OWNERS = st.sampled_from(["a", "b", "c", "no"])


def exported(ledger: TestLedger, *kinds: str) -> str:
    """What an export of these kinds says."""
    return "".join(map(document_text, manifests_of(ledger.state, kinds or KINDS)))


def read(text: str) -> Parsed:
    """What it says when it is read; an empty export says nothing."""
    return parse([Source("export.yaml", text)]) if text else Parsed((), (), ())


def applied_elsewhere(ledger: TestLedger) -> TestLedger:
    """An empty space that the whole export of another was applied to, at the same time."""
    other = TestLedger(seed=1)
    other.clock.now_ms = ledger.clock.now_ms
    said = read(exported(ledger))
    leases = tuple(own_lease(stated, None) for stated in said.leases)
    aside = tuple(map(own_quarantine, said.quarantines))
    plan = make_plan(other.state, Found(said.objects, leases, aside), other.clock.now_ms)
    assert not plan.refused
    for found, objects in ((plan.covered, plan.objects), (plan.leases, plan.later)):
        if objects:
            other.apply(*objects)
        if found:
            other.done(Adopt(tuple(entry.lease for entry in found), "export"))
    for wanted in plan.aside:
        other.done(wanted)
    return other


@settings(max_examples=50)
@given(data=st.data())
def test_definitions_are_the_same(data: st.DataObject) -> None:
    """Pools and reservations of any shape, whatever order they came in."""
    names = data.draw(st.lists(NAMES, unique=True, max_size=4))
    objects: list[PutPool | PutReservation] = [
        PutPool(name, data.draw(pool_specs(index))) for index, name in enumerate(names)
    ]
    objects += [PutReservation(name, data.draw(reservation_specs())) for name in names[:2]]
    ledger, other = TestLedger(), TestLedger(seed=1)
    if objects:
        ledger.apply(*data.draw(st.permutations(objects)))
    said = read(exported(ledger, *DEFINITIONS))
    if said.objects:
        other.apply(*said.objects)

    def specs(facts: Facts) -> list[tuple[str, Any]]:
        pools = [(pool.name, pool.spec) for pool in facts.pools()]
        return [*pools, *((held.name, held.spec) for held in facts.reservations())]

    assert specs(other.state) == specs(ledger.state)
    assert exported(other, *DEFINITIONS) == exported(ledger, *DEFINITIONS)
    assert content_digest(other.state) == content_digest(ledger.state)


_STEPS = st.one_of(
    st.tuples(st.just("grant"), _OWNERS, st.none() | st.integers(60, 9_000), LABELS),
    st.tuples(st.just("renew"), st.integers(0, 5), st.integers(60, 9_000), st.just(())),
    st.tuples(st.just("release"), st.integers(0, 5), st.none(), st.just(())),
    st.tuples(st.just("aside"), st.integers(1, 30), st.none() | st.integers(60, 9_000),
              st.just(())),
    st.tuples(st.just("reserve"), st.integers(1, 30), st.none(), st.just(())),
    st.tuples(st.just("wait"), st.integers(1, 20_000), st.none(), st.just(())),
)  # fmt: skip


def _step(ledger: TestLedger, what: str, who: Any, ttl_s: int | None, labels: Labels) -> None:
    """Do something; what is refused is not done."""
    held = list(ledger.state.leases())
    ips = RangeSet.parse([f"10.0.0.{who}"]) if what in {"aside", "reserve"} else RangeSet(4)
    match what:
        case "grant":
            uid = str(ledger.state.position)
            ledger.run(make_allocate("web", owner=who, ttl_s=ttl_s, labels=labels, uid=uid))
        case "renew" if held:
            ledger.run(Renew(held[who % len(held)].lease_id, ttl_s))
        case "release" if held:
            ledger.run(make_release(held[who % len(held)].lease_id))
        case "aside":
            ledger.run(SetAside(ips, "arp", ttl_s))
        case "reserve":
            ledger.run(Apply((PutReservation(f"r{who}", ReservationSpec(ips)),)))
        case "wait":
            ledger.clock.now_ms += who


@settings(max_examples=60)
@given(st.lists(_STEPS, max_size=12))
@example(
    [
        ("grant", "a", 100, ()),
        ("wait", 1_234, None, ()),
        ("renew", 0, 200, ()),
        ("grant", "b", None, (("k", "v"),)),
        ("aside", 2, 90, ()),
        ("aside", 6, 60, ()),
        ("reserve", 1, None, ()),
        ("wait", 7, None, ()),
    ]
)
def test_the_whole_is_the_same(steps: list[tuple[str, Any, int | None, Labels]]) -> None:
    """Whatever has happened: leases with the same ends, the same set aside and reported."""
    ledger = TestLedger()
    ledger.apply(make_pool("web", "10.0.0.0/27", ips=["10.0.0.1-10.0.0.6"]))
    for step in steps:
        _step(ledger, *step)
    other = applied_elsewhere(ledger)
    past = ledger.state.leases_due(ledger.clock.now_ms, 100)
    if past:  # they have ended, so they are not carried over: sweep them here as well
        assert isinstance(ledger.run(make_release(*(lease.lease_id for lease in past))), Done)

    def ends(facts: Facts) -> dict[str, tuple[str, int | None]]:
        return {lease.text: (lease.owner, lease.expires_at_ms) for lease in facts.leases()}

    def reports(facts: Facts) -> dict[str, tuple[int | None, str | None] | None]:
        found = {lease.text: facts.conflict_on(lease.lease_id) for lease in facts.leases()}
        return {text: report and report[1:] for text, report in found.items()}

    assert ends(other.state) == ends(ledger.state)
    assert content_digest(other.state) == content_digest(ledger.state)
    assert other.state.quarantined(4) == ledger.state.quarantined(4)
    assert reports(other.state) == reports(ledger.state)


def test_a_terminating_pool_is_one_that_is_disabled() -> None:
    """Its leases are stated, too, but a pool that is on its way out cannot be applied as it was."""
    ledger = TestLedger()
    ledger.apply(make_pool("web"))
    ledger.grant("web", owner="a")
    ledger.done(make_delete("web"))
    text = exported(ledger)
    (wanted,) = read(text).objects
    assert isinstance(wanted, PutPool)
    assert wanted.spec.disabled
    assert len(read(text).leases) == 1
    assert "terminating" in ledger.refused(Apply((wanted,))).message


def test_an_empty_space_says_which_it_is() -> None:
    """And one that is not there says nothing."""
    assert exported(TestLedger()) == (
        "---\napiVersion: ipledger/v1\nkind: Space\nmetadata:\n  name: default\nspec:\n"
        "  formatLevel: 3\n"
    )  # fmt: skip
