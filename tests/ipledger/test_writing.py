"""The writer's protocol without its shell: batches, truth, repetition, and writers far away."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from random import Random
from typing import Final, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.addresses import RangeSet
from engine.commands import Apply, Command, SetAside
from engine.decide import decide
from engine.draft import Nothing
from engine.errors import Refusal
from engine.facts import Lease
from engine.placement import Placement
from ipledger.lookout import Lookout
from ipledger.writing import BATCH_BYTES_MAX, BATCH_PROPOSALS_MAX, Batch, Call, Done, Held
from projections.digest import state_digest
from tests.builders import (
    TestLedger,
    granted,
    make_allocate,
    make_delete,
    make_pool,
    make_release,
    make_reservation,
)

SMALL: Final = ["10.0.0.1-10.0.0.4"]


@pytest.fixture
def ledger() -> TestLedger:
    """A space with a pool of four addresses."""
    ledger = TestLedger()
    ledger.apply(make_pool(ips=SMALL))
    return ledger


@pytest.fixture
def late(ledger: TestLedger) -> TestLedger:
    """Another writer of the same space, who has read what there is so far."""
    return TestLedger(seed=1, beside=ledger)


def leases_of(call: Call) -> tuple[Lease, ...]:
    """What a call was granted."""
    assert isinstance(call.outcome, Done), call.outcome
    return granted(call.outcome)


def carried(batch: Batch) -> list[Call]:
    """The calls for which a batch proposes something."""
    return [member.call for member in batch.members]


def finish(ledger: TestLedger, calls: Iterable[Call]) -> None:
    """Carry calls again until all of them are answered."""
    again = tuple(calls)
    for _round in range(50):
        if not again:
            return
        again = ledger.append(ledger.plan(*again))
    raise AssertionError("the calls were not answered in 50 rounds")


# ------------------------------------------------------------------------------------- batches


def test_members_of_a_batch_never_propose_the_same_address(ledger: TestLedger) -> None:
    """Of many, some of whom insist on an address, all commit but one who insists too late."""
    ledger.apply(make_pool("big", "10.1.0.0/24"))
    ips = {3: "10.1.0.2", 5: "10.1.0.200", 8: "10.1.0.11"}
    calls = [
        ledger.call(make_allocate("big", owner=f"pod-{n}", ips=[ips[n]] if n in ips else []))
        for n in range(20)
    ]
    batch = ledger.plan(*calls)
    taken = [address for call in carried(batch) for address in proposed(batch, call)]
    assert len(taken) == len(set(taken))
    again = ledger.append(batch)
    assert again == (calls[3],), "somebody before it had been given just that address"
    lowest = [leases_of(calls[n])[0].text for n in range(20) if n not in ips]
    assert lowest == [f"10.1.0.{n}" for n in range(1, 19) if n != 11]
    finish(ledger, again)
    assert isinstance(calls[3].outcome, Refusal)
    assert calls[3].outcome.kind == "conflict"


def proposed(batch: Batch, call: Call) -> list[str]:
    """The address tags that a call's proposal writes."""
    at = carried(batch).index(call)
    entries = batch.proposals[at].entries
    return [tag for entry in entries for tag in entry.t.decode().split() if tag[0] in "46"]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (make_allocate(), make_allocate(number=2)),
        (make_allocate(ips=["10.0.0.3"]), make_allocate(owner="other", ips=["10.0.0.3"])),
        (Apply((make_pool("b", "10.1.0.0/24"),)), Apply((make_pool("c", "10.2.0.0/24"),))),
        (Apply((make_pool(ips=SMALL, disabled=True),)), make_allocate()),
        (Apply((make_reservation("r", "10.0.0.1"),)), make_allocate()),
        (make_delete("pool"), make_allocate()),
        (Apply((make_reservation("r", "10.0.0.1"),)), make_delete(reservations=["s"])),
    ],
    ids=["owner", "address", "pools", "pool", "reservation", "deleted pool", "reservations"],
)
def test_a_command_that_reads_a_pending_fact_waits(
    ledger: TestLedger, first: Command, second: Command
) -> None:
    """It is decided in the next batch, on what the first one made of it."""
    ledger.apply(make_reservation("s", "10.0.0.4"))
    calls = [ledger.call(first), ledger.call(second)]
    batch = ledger.plan(*calls)
    assert carried(batch) == calls[:1]
    assert batch.left == (calls[1],)
    assert ledger.append(batch) == (calls[1],)
    finish(ledger, [calls[1]])
    replayed = ledger.replayed()
    assert state_digest(replayed) == ledger.digest()


def test_what_does_not_read_each_other_goes_together(ledger: TestLedger) -> None:
    """Grants, releases and a reservation behind them are members of one batch."""
    one, _two = ledger.grant(number=2)
    calls = [
        ledger.call(make_allocate(owner="a")),
        ledger.call(make_release(one.lease_id)),
        ledger.call(make_allocate(owner="b")),
        ledger.call(Apply((make_reservation("r", "10.0.0.1"),))),
    ]
    assert carried(ledger.plan(*calls)) == calls


def test_a_refused_member_leaves_no_gap(ledger: TestLedger) -> None:
    """What a joint allocation had proposed before it was refused goes to the next call."""
    ledger.apply(make_pool("none", "10.1.0.0/24", ips=[]))
    calls = [
        ledger.call(make_allocate("pool", "none", owner="a")),
        ledger.call(make_allocate(owner="b")),
    ]
    finish(ledger, calls)
    assert isinstance(calls[0].outcome, Refusal)
    assert [lease.text for lease in leases_of(calls[1])] == ["10.0.0.1"]


def test_exhausted_while_the_last_address_is_only_proposed(ledger: TestLedger) -> None:
    """More callers than addresses in one batch: each address once, the rest refused truly."""
    calls = [ledger.call(make_allocate(owner=f"pod-{n}")) for n in range(7)]
    batch = ledger.plan(*calls)
    assert len(batch.members) == 4
    assert len(batch.waiting) == 3
    assert ledger.append(batch) == ()
    kinds = Counter(type(call.outcome) for call in calls)
    assert kinds == {Done: 4, Refusal: 3}


def test_a_batch_is_bounded_in_number(ledger: TestLedger) -> None:
    """The 513th call waits for the next batch, and so does everything behind it, in order."""
    ledger.apply(make_pool("big", "10.1.0.0/16"))
    calls = [
        ledger.call(make_allocate("big", owner=f"pod-{n}")) for n in range(BATCH_PROPOSALS_MAX + 3)
    ]
    batch = ledger.plan(*calls)
    assert carried(batch) == calls[:BATCH_PROPOSALS_MAX]
    assert batch.left == tuple(calls[BATCH_PROPOSALS_MAX:])


def test_a_batch_is_bounded_in_bytes(ledger: TestLedger) -> None:
    """Members go together as long as their bytes are no more than a mebibyte."""
    ledger.apply(make_pool("big", "10.1.0.0/16"))
    labels = tuple((f"{n:02}", "x" * 500) for n in range(64))
    calls = [
        ledger.call(make_allocate("big", owner=f"pod-{n}", number=5, labels=labels))
        for n in range(12)
    ]
    batch = ledger.plan(*calls)
    size = sum(len(field) for p in batch.proposals for entry in p.entries for field in entry)
    assert 0 < size <= BATCH_BYTES_MAX < size * 12 / len(batch.members)
    assert (*carried(batch), *batch.left) == tuple(calls)
    finish(ledger, ledger.append(batch))
    addresses = [lease.text for call in calls for lease in leases_of(call)]
    assert addresses == [f"10.1.0.{n}" for n in range(1, 61)], "nobody's turn was skipped"


# ---------------------------------------------------------------------------- refusals are true


class Stale(NamedTuple):
    """A command whose answer, in what the late writer knows, would be another one."""

    first: Command | None
    meanwhile: Command
    asked: Command


STALE: Final[dict[str, Stale]] = {
    "exhausted, but something was released": Stale(
        make_allocate(owner="x", number=4), make_release(owner="x"), make_allocate()
    ),
    "not found, but it was created": Stale(
        None, Apply((make_pool("new", "10.1.0.0/24"),)), make_allocate("new")
    ),
    "disabled, but it was enabled": Stale(
        Apply((make_pool(ips=SMALL, disabled=True),)),
        Apply((make_pool(ips=SMALL),)),
        make_allocate(),
    ),
    "held, but it was released": Stale(
        make_allocate(), make_release(owner="pod-1"), make_allocate()
    ),
    "leased to another, but it was released": Stale(
        make_allocate(owner="x"), make_release(owner="x"), make_allocate(ips=["10.0.0.1"])
    ),
    "reserved, but no more": Stale(
        Apply((make_reservation("r", "10.0.0.1"),)),
        make_delete(reservations=["r"]),
        make_allocate(ips=["10.0.0.1"]),
    ),
    "nothing to release, but it was granted": Stale(
        None, make_allocate(), make_release(owner="pod-1")
    ),
    "unchanged, but it was changed": Stale(
        None, Apply((make_pool(ips=SMALL, disabled=True),)), Apply((make_pool(ips=SMALL),))
    ),
    "overlapping, but the other is gone": Stale(
        Apply((make_pool("b", ips=["10.0.0.9"]),)),
        make_delete("b"),
        Apply((make_pool("c", ips=["10.0.0.9"]),)),
    ),
}


@pytest.mark.parametrize("stale", STALE.values(), ids=STALE.keys())
def test_no_answer_from_a_state_older_than_the_call(ledger: TestLedger, stale: Stale) -> None:
    """What would be refused, or be so already, is decided anew when the tail says otherwise."""
    if stale.first is not None:
        ledger.done(stale.first)
    late = TestLedger(seed=1, beside=ledger)
    ledger.done(stale.meanwhile)
    call = late.call(stale.asked)
    batch = late.plan(call)
    assert batch.waiting == (call,), "as far as it knows there is nothing to write"
    assert call.outcome is None
    assert late.append(batch) == (call,)
    finish(late, [call])
    assert isinstance(call.outcome, Done), call.outcome


def test_too_large_for_a_commit_is_not_said_from_an_old_state(ledger: TestLedger) -> None:
    """How much is missing depends on what is held, so this refusal too waits for the truth."""
    ledger.apply(make_pool("big", "10.1.0.0/16"))
    late = TestLedger(seed=1, beside=ledger)
    owner = "x" * 512
    for number in (1_000, 2_000):
        ledger.grant("big", owner=owner, number=number)
    call = late.call(make_allocate("big", owner=owner, number=2_001))
    batch = late.plan(call)
    assert batch.waiting == (call,)
    finish(late, late.append(batch))
    assert len(leases_of(call)) == 1
    refusal = ledger.refused(make_allocate("big", owner="y" * 512, number=2_001))
    assert refusal.kind == "invalid"
    assert "split it" in refusal.hint


def test_a_refusal_is_given_when_it_is_true(ledger: TestLedger, late: TestLedger) -> None:
    """One round trip, also when the late writer knew nothing of why."""
    ledger.grant(owner="x", number=4)
    call = late.call(make_allocate())
    (again,) = late.append(late.plan(call))
    assert late.append(late.plan(again)) == ()
    assert isinstance(call.outcome, Refusal)
    assert call.outcome.kind == "exhausted"


# ----------------------------------------------------------------------------- conflict, repeat


def test_a_conflict_is_carried_again(ledger: TestLedger, late: TestLedger) -> None:
    """Two writers propose the same lowest address: the second takes the next one."""
    first, second = ledger.call(make_allocate(owner="a")), late.call(make_allocate(owner="b"))
    batches = ledger.plan(first), late.plan(second)
    assert ledger.append(batches[0]) == ()
    assert late.append(batches[1]) == (second,)
    finish(late, [second])
    assert [lease.text for lease in (*leases_of(first), *leases_of(second))] == [
        "10.0.0.1", "10.0.0.2",
    ]  # fmt: skip


def test_the_same_command_again_is_recalled(ledger: TestLedger, late: TestLedger) -> None:
    """By the writer that carried it and by another one, before and after the address is gone."""
    command = make_allocate(number=2)
    first = ledger.done(command, "my id")
    for writer in (ledger, late, ledger):
        again = writer.done(command, "my id")
        assert again.repeated
        assert again.records == first.records
        if writer is late:
            ledger.done(make_release(owner="pod-1"))


def test_the_same_command_id_for_another_request_is_a_conflict(ledger: TestLedger) -> None:
    """Whatever differs in the request; who asks and why may differ."""
    (record,) = ledger.done(make_allocate(), "my id").records
    for other in (make_allocate(number=2), make_allocate(owner="x"), make_release(owner="pod-1")):
        refusal = ledger.refused(other, "my id")
        assert (refusal.kind, refusal.about) == ("conflict", "command-id")
        assert refusal.position == record.position


def test_one_command_twice_in_a_batch_lands_once(ledger: TestLedger) -> None:
    """The second reads the command that the first one writes, so it waits and is recalled."""
    calls = [ledger.call(make_allocate(), "my id") for _ in range(2)]
    batch = ledger.plan(*calls)
    assert batch.left == (calls[1],)
    finish(ledger, ledger.append(batch))
    assert isinstance(calls[1].outcome, Done)
    assert calls[1].outcome.repeated
    assert ledger.counts().leased == 1


def test_two_requests_under_one_command_id_do_not_both_land(
    ledger: TestLedger, late: TestLedger
) -> None:
    """Neither in one batch nor from two writers, though they have nothing else in common."""
    calls = [ledger.call(make_allocate(owner=owner), "my id") for owner in ("a", "b")]
    elsewhere = late.call(make_allocate(owner="c"), "my id")
    batch = late.plan(elsewhere)
    finish(ledger, calls)
    finish(late, late.append(batch))
    assert isinstance(calls[0].outcome, Done)
    for call in (calls[1], elsewhere):
        assert isinstance(call.outcome, Refusal)
        assert (call.outcome.kind, call.outcome.about) == ("conflict", "command-id")


def test_a_command_whose_reply_was_lost_lands_once(ledger: TestLedger) -> None:
    """Sent again without having read anything, it meets its own tag in the tail."""
    call = ledger.call(make_allocate())
    batch = ledger.plan(call)
    anchor = ledger.continuity.anchor
    ledger.stream.append(anchor, 0, ledger.clock.now_ms, batch.proposals)  # and no reply
    assert ledger.append(ledger.plan(call)) == (call,)
    finish(ledger, [call])
    assert isinstance(call.outcome, Done)
    assert call.outcome.repeated
    assert ledger.counts().leased == 1


def test_a_refused_command_may_be_repeated_with_another_answer(ledger: TestLedger) -> None:
    """A refusal writes nothing, so nothing is remembered of it."""
    ledger.grant(owner="x", number=4)
    assert ledger.refused(make_allocate(), "my id").kind == "exhausted"
    ledger.done(make_release(owner="x"))
    assert not ledger.done(make_allocate(), "my id").repeated


# ----------------------------------------------------------------------- writers that interleave

OWNERS = [f"pod-{n}" for n in range(5)]
COMMANDS: Final[tuple[Callable[[Random], Command], ...]] = (
    lambda r: make_allocate("a", owner=r.choice(OWNERS), number=r.randint(1, 3)),
    lambda r: make_allocate("a,b", owner=r.choice(OWNERS), uid=r.choice(("u1", "u2"))),
    lambda r: make_allocate("b", "a", owner=r.choice(OWNERS)),
    lambda r: make_allocate("a", owner=r.choice(OWNERS), ips=[f"10.0.0.{r.randint(1, 9)}"]),
    lambda r: make_release(owner=r.choice(OWNERS)),
    lambda r: make_release(owner=r.choice(OWNERS)),
    lambda r: make_release(r.randint(1, 60)),
    lambda r: Apply((make_pool("a", ips=[f"10.0.0.1-10.0.0.{r.randint(4, 9)}"]),)),
    lambda r: Apply((make_pool("b", ips=[f"10.0.0.{r.randint(6, 12)}-10.0.0.14"]),)),
    lambda r: Apply((make_reservation("r", f"10.0.0.{r.randint(1, 14)}"),)),
    lambda r: make_delete(r.choice("ab"), ignore_not_found=True),
    lambda _r: make_delete(reservations=["r"]),
)


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_writers_that_know_different_pasts_agree_on_one(seed: int) -> None:
    """Three writers plan on old states and append in any order.

    No answer is untrue when it is given, what was answered as committed is in the stream, and in
    the end all of them, and a fold from the beginning, have one state.
    """
    random = Random(seed)  # noqa: S311 - a simulation
    first = TestLedger()
    writers = [first, *(TestLedger(seed=n, beside=first) for n in (1, 2))]
    queues: list[list[Call]] = [[], [], []]
    batches: list[Batch | None] = [None, None, None]
    answered = 0
    for step in range(90):
        at = random.randrange(3)
        writer, queue, batch = writers[at], queues[at], batches[at]
        if batch is None:
            if step < 60:
                queue += [writer.call(random.choice(COMMANDS)(random)) for _ in range(2)]
            batches[at] = writer.plan(*queue)
        else:
            calls = list(queue)
            queues[at], batches[at] = list(writer.append(batch)), None
            for call in calls:
                if call.outcome is not None:
                    answered += 1
                    check_answer(writer, call)
        assert all(call.outcome is None for queue in queues for call in queue)
    for writer, queue in zip(writers, queues, strict=True):
        finish(writer, queue)
    for writer in writers:
        writer.refresh()
    assert answered > 20
    digests = {writer.digest() for writer in writers}
    assert digests == {state_digest(first.replayed())}


def check_answer(writer: TestLedger, call: Call) -> None:
    """An answer that was given just now, against the stream as it is just now."""
    outcome = call.outcome
    if isinstance(outcome, Done):
        for record in outcome.records:
            entry = writer.stream.entries[record.position - 1]
            assert entry.entry_id == record.entry_id
        return
    truth = decide(writer.replayed(), call.command, call.claim, Placement())
    if isinstance(outcome, Held):
        assert isinstance(truth, Nothing), truth
        assert truth.leases == outcome.leases
    else:
        assert truth == outcome


# ------------------------------------------------------------------------- writers that are far


class Far(NamedTuple):
    """A writer whose every round trip lasts many of the near one's."""

    ledger: TestLedger
    tried: Counter[str]


def race(lanes: Iterable[float], rounds: int, seed: int) -> list[Far]:
    """Far writers beside a near one who is busy: grants mostly, and releases of some of them."""
    random = Random(seed)  # noqa: S311 - a simulation
    near = TestLedger()
    near.apply(make_pool("big", "10.0.0.0/16"))
    far = [
        Far(TestLedger(seed=at, beside=near, lane=lane), Counter())
        for at, lane in enumerate(lanes, start=1)
    ]
    held: list[int] = []
    for at in range(rounds):
        batches = [plan_some(f.ledger, f"far-{n}-{at}") for n, f in enumerate(far)]
        for burst in range(random.randint(1, 5)):
            calls = [
                near.call(make_allocate("big", owner=f"near-{at}-{burst}-{n}"))
                for n in range(random.randint(1, 12))
            ]
            if held and random.random() < 0.3:
                calls.append(near.call(make_release(held.pop(random.randrange(len(held))))))
            finish(near, calls)
            held += [lease.lease_id for c in calls[:2] for lease in leases_of(c)]
        for f, batch in zip(far, batches, strict=True):
            again = f.ledger.append(batch)
            f.tried["proposed"] += len(batch.members)
            f.tried["committed"] += len(batch.members) - len(again)
    return far


def plan_some(ledger: TestLedger, owner: str) -> Batch:
    """A batch of three of the far writer's callers."""
    return ledger.plan(*(ledger.call(make_allocate("big", owner=f"{owner}-{n}")) for n in range(3)))


@pytest.mark.parametrize("seed", range(3))
def test_a_far_writer_beside_a_busy_one_does_not_starve(seed: int) -> None:
    """At least nine of ten of its proposals succeed, though others took the lowest meanwhile."""
    (far,) = race([0.3], 60, seed)
    assert far.tried["committed"] >= 0.9 * far.tried["proposed"], far.tried


def test_without_looking_out_it_would_starve(monkeypatch: pytest.MonkeyPatch) -> None:
    """The race is one: who always proposes the lowest address is beaten nearly every time."""
    monkeypatch.setattr(Lookout, "skip_ahead", lambda _self, _state: {})
    (far,) = race([0.3], 20, 0)
    assert far.tried["committed"] < 0.3 * far.tried["proposed"]


@pytest.mark.parametrize("seed", range(3))
def test_far_writers_in_different_lanes_do_not_meet(seed: int) -> None:
    """Two that skip ahead skip to different addresses."""
    for far in race([0.0, 0.6], 60, seed):
        assert far.tried["committed"] >= 0.9 * far.tried["proposed"], far.tried


def test_a_near_writer_takes_the_lowest(ledger: TestLedger) -> None:
    """Only who is beaten skips; whoever is alone is given addresses in order, always."""
    ledger.apply(make_pool("big", "10.1.0.0/24"))
    taken = [ledger.take("big", owner=f"pod-{n}")[0] for n in range(100)]
    assert taken == [f"10.1.0.{n}" for n in range(1, 101)]


def test_the_lookout_forgets(ledger: TestLedger) -> None:
    """Beaten once, it skips for a while; when nobody else grants any more it does so no longer."""
    ledger.apply(make_pool("big", "10.1.0.0/24"))
    pool = ledger.state.pool("big")
    assert pool is not None
    other = TestLedger(seed=1, beside=ledger)
    taken = [other.done(make_allocate("big", owner=f"x-{n}")).records[0] for n in range(5)]
    ledger.refresh()
    lookout = Lookout(0.0)
    lookout.observe(taken, [])
    assert lookout.skip_ahead(ledger.state) == {}
    lookout.observe(taken, [pool.pool_id])
    assert lookout.skip_ahead(ledger.state) == {pool.pool_id: 10}
    for _round in range(64):
        lookout.observe([], [])
    assert lookout.skip_ahead(ledger.state) == {}


def test_the_lookout_does_not_skip_where_there_is_no_room(ledger: TestLedger) -> None:
    """In a small pool, and in one that is gone, the lowest address is as good as any."""
    pool = ledger.state.pool("pool")
    assert pool is not None
    record = ledger.done(make_allocate()).records[0]
    lookout = Lookout(0.9)
    lookout.observe([record] * 5, [pool.pool_id, 999])
    assert lookout.skip_ahead(ledger.state) == {}


@given(
    st.sets(st.integers(1, 30)),
    st.integers(0, 60),
    st.sets(st.integers(1, 30), max_size=5),
)
def test_skipping_ahead_never_makes_a_pool_with_room_look_exhausted(
    taken: set[int], skip: int, claimed: set[int]
) -> None:
    """However far it skips, every free address is proposed once before there is none."""
    ledger = TestLedger()
    ledger.apply(make_pool(ips=["10.0.0.1-10.0.0.30"]))
    if taken:
        ips = [f"10.0.0.{n}" for n in sorted(taken)]
        ledger.grant(ips=ips, number=len(ips), owner="x")
    pool = ledger.state.pool("pool")
    assert pool is not None
    placement = Placement({pool.pool_id: skip})
    first = pool.spec.subnet.first
    for n in claimed - taken:
        placement.claim(pool, first + n)
    found = []
    while (value := placement.propose(ledger.state, pool)) is not None:
        found.append(value - first)
    assert sorted(found) == sorted(set(range(1, 31)) - taken - claimed)
    free = sorted(set(range(1, 31)) - taken)
    if skip < len(free) and not claimed:
        assert found[0] == free[skip], "with room, it does skip"


@pytest.mark.parametrize(
    ("sent", "asked"),
    [
        (SetAside(RangeSet.parse(["10.0.0.2"]), "arp"), make_allocate(prefix_length=31)),
        (SetAside(RangeSet.parse(["10.0.0.1-10.0.0.4"]), "arp"), make_allocate()),
    ],
)
def test_what_is_decided_behind_a_batch_does_not_overlap_it(sent: Command, asked: Command) -> None:
    """A block and a single address in it meet, though their tags are not the same."""
    ledger = TestLedger()
    ledger.apply(make_pool(ips=["10.0.0.1-10.0.0.4"]))
    first = ledger.plan(ledger.call(sent))
    second, _ = ledger.protocol.plan([ledger.call(asked)], ledger.clock.now_ms, first)
    assert not second.members
    assert len(second.left) == 1
