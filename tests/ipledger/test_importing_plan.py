"""An import as a whole: what it would do, in which order it writes, and that it goes on.

The ledger is the real one on a stream in memory, which can be told to fail at some append.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pytest

import ipledger
from engine.addresses import RangeSet, from_int
from engine.commands import Adopted
from engine.entry import Anchor
from engine.errors import Refused, Unavailable
from engine.events import ConflictReported, LeaseGranted, Quarantined, ReservationCreated
from engine.memory_stream import MemoryStream
from engine.model import LOCAL, Durability
from engine.reading import Continuity, read_commits
from engine.stream import AppendReply, Proposal
from ipledger.held_texts import parse_held
from ipledger.importing import Found, FoundAside, FoundLease, Plan, carry_out, make_plan
from ipledger.importing.carrying import CHUNK_LEASES, Claims
from ipledger.ledger import Ledger
from projections.content import content_digest
from tests.builders import Clock

MANY: Final = 2 * CHUNK_LEASES + 500
WIDE: Final = ipledger.pool("wide", subnet="10.0.0.0/16", ips=["10.0.0.0-10.0.255.255"])


class Failing(MemoryStream):
    """A stream whose server goes away at an append that carries something."""

    appends_left: int | None = None

    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:  # fmt: skip
        """See `engine.stream.Stream.append`."""
        if proposals and self.appends_left is not None:
            self.appends_left -= 1
            if self.appends_left < 0:
                raise Unavailable("the server is away")
        return super().append(after, voided, now_ms, proposals, wanted)


@pytest.fixture
def stream() -> Failing:
    """An empty stream."""
    import time

    return Failing(lambda: time.time_ns() // 1_000_000)


@pytest.fixture
def ledger(stream: Failing) -> Iterator[Ledger]:
    """An empty space."""
    with Ledger(stream, timeout_s=1.0) as opened:
        opened.ensure_space()
        yield opened


def lease(number: int, owner: str | None = None, **fields: Any) -> FoundLease:
    """A lease on 10.0.0.`number` or behind it."""
    adopted = Adopted(from_int(0x0A000000 + number, 4), 32, owner or f"pod-{number}", **fields)
    return FoundLease(f"line {number}", adopted)


def planned(ledger: Ledger, found: Found) -> Plan:
    """The plan as of now."""
    ledger.refresh()
    return make_plan(ledger.state, found, ledger.writer.server_now_ms())


def run(ledger: Ledger, found: Found, **claims: str) -> int:
    """Import; how many leases were written."""
    done = carry_out(ledger, planned(ledger, found), "test", Claims(**claims))
    assert not done.refused
    return done.leases


def test_it_is_done_once(ledger: Ledger) -> None:
    """What is there already is left as it is, all of it: a second import writes nothing."""
    found = Found(
        (WIDE, ipledger.reservation("kept", ips=["10.0.1.1"])),
        tuple(lease(number) for number in range(9)),
        (FoundAside("q", RangeSet.parse(["10.0.2.2"]), "arp"),
         FoundAside("l", RangeSet.parse(["10.0.0.3-10.0.0.4"]), "arp", for_s=60)),
    )  # fmt: skip
    assert run(ledger, found) == 9
    position, digest = ledger.position, content_digest(ledger.state)
    assert run(ledger, found) == 0
    assert (ledger.position, content_digest(ledger.state)) == (position, digest)
    plan = planned(ledger, found)
    assert (len(plan.held), plan.leases, plan.aside) == (9, (), ())


def held(text: str, owner: str, where: str) -> FoundLease:
    """A lease of an address or of a block."""
    address, length = parse_held(text)
    return FoundLease(where, Adopted(address, length, owner))


SIX: Final = ipledger.pool("six", subnet="2001:db8::/32", ips=["2001:db8::-2001:db8:f::"])


@pytest.mark.parametrize(
    ("texts", "out"),
    [
        (("2001:db8:2::/48", "2001:db8:2:1::/64"), {"l1"}),
        (("10.0.1.17", "10.0.1.16/28", "10.0.1.18"), {"l1"}),
        (("10.0.1.16/28", "10.0.1.17", "10.0.1.18", "10.0.1.32"), {"l1", "l2"}),
        (("10.0.1.16/28", "10.0.1.0/24", "10.0.1.200"), {"l1"}),
        (("10.0.1.16/28", "10.0.1.16", "10.0.1.0/28"), {"l1"}),
        (("10.0.1.16/28", "10.0.1.32/28", "10.0.1.15", "2001:db8::a00:110"), set()),
    ],
)
def test_what_overlaps_in_the_files_is_planned_as_refused(
    ledger: Ledger, texts: tuple[str, ...], out: set[str]
) -> None:
    """The first of the files stays; as many are written as were planned, and none is refused."""
    leases = [held(text, f"own-{at}", f"l{at}") for at, text in enumerate(texts)]
    found = Found((WIDE, SIX), tuple(leases))
    plan = planned(ledger, found)
    assert {entry.found.where for entry in plan.refused} == out
    assert {entry.where for entry in plan.leases} == {f"l{n}" for n in range(len(texts))} - out
    for entry in plan.refused:
        assert "overlaps" in entry.refusal.message
        assert "own-" in entry.refusal.message
        assert ": l" in entry.refusal.message
    done = carry_out(ledger, plan, "test", Claims())
    assert (done.leases, done.refused) == (len(texts) - len(out), ())


@pytest.mark.parametrize("appends", range(5))
def test_it_goes_on_where_it_stopped(ledger: Ledger, stream: Failing, appends: int) -> None:
    """Whichever commit the server went away at: the second run writes the rest, each once."""
    found = Found((WIDE,), tuple(lease(number) for number in range(MANY)))
    told: list[int] = []
    stream.appends_left = appends
    if appends < 4:
        with pytest.raises(Unavailable) as away:
            carry_out(ledger, planned(ledger, found), "test", on_progress=told.append)
        assert ("run it again" in away.value.hint) == (appends > 1)
    else:
        assert run(ledger, found) == MANY
    stream.appends_left = None
    stands = CHUNK_LEASES * max(appends - 1, 0) if appends < 4 else MANY
    assert run(ledger, found) == MANY - stands
    records = [r for commit in read_commits(stream, Continuity()) for r in commit]
    granted = [r.event.address for r in records if isinstance(r.event, LeaseGranted)]
    assert len(granted) == len(set(granted)) == MANY
    assert told == [CHUNK_LEASES * (n + 1) for n in range(appends - 1 if appends < 4 else 0)]


def test_a_reservation_waits_for_the_leases_that_it_covers(ledger: Ledger) -> None:
    """As where they come from: its holder keeps what was reserved later, nobody else gets it."""
    found = Found(
        (ipledger.reservation("late", ips=["10.0.0.1-10.0.0.2"]), WIDE,
         ipledger.reservation("own", ips=["10.0.0.3"], owner="pod-3"),
         ipledger.reservation("first", ips=["10.0.9.9"])),
        (lease(5), lease(1), lease(3)),
    )  # fmt: skip
    plan = planned(ledger, found)
    assert [wanted.name for wanted in plan.objects] == ["wide", "own", "first"]
    assert [wanted.name for wanted in plan.later] == ["late"]
    assert [entry.where for entry in plan.covered] == ["line 1"]
    assert run(ledger, found) == 3
    events = [r.event for c in read_commits(ledger.writer.stream, Continuity()) for r in c]
    order = [
        event.name if isinstance(event, ReservationCreated) else event.address[3]
        for event in events if isinstance(event, LeaseGranted | ReservationCreated)
    ]  # fmt: skip
    assert order == ["own", "first", 1, "late", 5, 3]
    assert run(ledger, found) == 0
    (refused,) = planned(ledger, Found((), (lease(2),))).refused
    assert refused.refusal.message == "10.0.0.2 is reserved by late"


def test_a_plan_knows_the_pools_of_its_own_files(ledger: Ledger) -> None:
    """A lease of a pool that is yet to be made, or to grow, is one to import."""
    ledger.apply(ipledger.pool("wide", subnet="10.0.0.0/16", ips=["10.0.0.0-10.0.0.9"]))
    assert planned(ledger, Found((), (lease(10),))).refused
    assert planned(ledger, Found((WIDE,), (lease(10),))).leases
    assert run(ledger, Found((WIDE,), (lease(10),))) == 1


def test_quarantines_come_last_and_keep_what_is_left_of_their_time(ledger: Ledger) -> None:
    """A leased one is set aside with the end of its lease; one that is over is none."""
    now_ms = ledger.writer.server_now_ms()
    found = Found(
        (WIDE,), (lease(1),),
        (FoundAside("a", RangeSet.parse(["10.0.0.1-10.0.0.2"]), "arp", until_ms=now_ms + 59_500),
         FoundAside("b", RangeSet.parse(["10.0.0.2-10.0.0.3"]), "arp"),
         FoundAside("c", RangeSet.parse(["10.0.0.4"]), "arp", until_ms=now_ms)),
    )  # fmt: skip
    assert run(ledger, found) == 1
    events = [r.event for c in read_commits(ledger.writer.stream, Continuity()) for r in c]
    (report,) = [event for event in events if isinstance(event, ConflictReported)]
    assert report.quarantine_s in {59, 60}
    aside = [event for event in events if isinstance(event, Quarantined)]
    assert [(event.ips[3], event.for_s is None) for event in aside] == [(2, False), (3, True)]


def test_what_somebody_else_takes_meanwhile_is_told(ledger: Ledger, stream: Failing) -> None:
    """The plan was true when it was made; the rest of the commit stands."""
    ledger.apply(WIDE)
    plan = planned(ledger, Found((), (lease(1), lease(2))))
    alone = planned(ledger, Found((), (lease(1),)))
    with Ledger(stream) as other:
        other.allocate("wide", "fast", addresses=["10.0.0.1"])
    done = carry_out(ledger, plan, "test")
    assert done.leases == 1
    (late,) = done.refused
    assert (late.found.where, late.refusal.kind) == ("line 1", "conflict")
    again = carry_out(ledger, alone, "test")
    assert (again.leases, len(again.refused)) == (0, 1)


def test_definitions_that_cannot_be_stop_it(ledger: Ledger) -> None:
    """Nothing of the leases is written then."""
    ledger.apply(ipledger.pool("other", subnet="10.0.0.0/16", ips=["10.0.0.5"]))
    position = ledger.position
    with pytest.raises(Refused, match="V11"):
        run(ledger, Found((WIDE,), (lease(1),)))
    assert ledger.position == position


def test_a_command_id_makes_each_commit_its_own(ledger: Ledger) -> None:
    """Repeated with the same content it is recalled; with other content it is another command."""
    found = Found((WIDE,), (lease(1),))
    plan = planned(ledger, found)
    first = carry_out(ledger, plan, "test", Claims("mine", "why"))
    position = ledger.position
    again = carry_out(ledger, plan, "test", Claims("mine", "why"))
    assert (first.leases, again.leases, ledger.position) == (1, 1, position)
    assert run(ledger, Found((WIDE,), (lease(1), lease(2))), command_id="mine") == 1


def test_leases_with_much_sealed_fit_their_commits(ledger: Ledger) -> None:
    """Labels count: a thousand leases are one commit only while it is small enough."""
    labels = tuple((f"label-{number:02}", "x" * 500) for number in range(40))
    found = Found((WIDE,), tuple(lease(number, labels=labels) for number in range(150)))
    assert run(ledger, found) == 150
    pages = read_commits(ledger.writer.stream, Continuity())
    assert len({record.commit.nonce for page in pages for record in page}) > 4


def test_a_digest_of_content_is_of_no_space(stream: Failing) -> None:
    """Other ids, other positions, another order: the same names and times, the same digest."""
    since_ms = Clock().now_ms
    leases = [lease(number, effective_at_ms=since_ms, ttl_s=999_999_999) for number in range(5)]
    digests = set()
    for order in (leases, leases[::-1]):
        with Ledger(MemoryStream(stream._clock_ms)) as ledger:
            ledger.ensure_space()
            for entry in order:
                run(ledger, Found((WIDE,), (entry,)))
            digests.add(content_digest(ledger.state))
            ledger.release(owner="pod-1")
            assert content_digest(ledger.state) not in digests
    assert len(digests) == 1
