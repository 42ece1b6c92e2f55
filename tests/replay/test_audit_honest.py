"""Whatever the engine writes, the audit finds nothing wrong with it, and counts what it counts."""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from engine.addresses import RangeSet, from_int
from engine.commands import (
    Adopt,
    Adopted,
    Allocate,
    AllocateTogether,
    Apply,
    Command,
    PutBack,
    PutPool,
    Release,
    Renew,
    SetAside,
    Sweep,
)
from engine.entry import Anchor, Commit, Header
from engine.events import HistoryRestored, Sealed
from engine.stream import NewEntry
from engine.wire import decode_entry, encode_commit, encode_entry
from projections.digest import state_digest
from replay.audit import Audited, Options, audit
from tests.builders import START_MS, TestLedger, make_allocate, make_pool
from tests.projections.test_state import APPLIES, DELETES, allocates, few_addresses, pools

LEASES: Final = st.integers(4, 60)


class Late(NamedTuple):
    """A command about something that is true since some seconds ago."""

    command: Allocate | Release
    ago_s: int


Step = Command | Late | int | None  # so many seconds, or a restoration


RELEASES: Final = st.builds(
    lambda lease, owner: Release((lease,)) if owner is None else Release(owner=owner),
    LEASES, st.sampled_from((None, None, None, "x", "y")),
)  # fmt: skip
TOGETHER: Final = st.builds(
    lambda one, other: AllocateTogether((one._replace(interface="eth0"),
                                         other._replace(interface="net1", owner=one.owner))),
    allocates(), allocates(),
)  # fmt: skip


def _adopted(
    ips: RangeSet, owner: str, since_s: int | None, ttl_s: int | None, shorter: int
) -> Adopted:
    """A lease from elsewhere, of an address or of the block around it."""
    length = (32 if ips.family == 4 else 128) - shorter
    first = ips.ranges[0][0] >> shorter << shorter
    since_ms = None if since_s is None else START_MS + since_s * 1_000
    address = from_int(first, ips.family)
    return Adopted(address, length, owner, effective_at_ms=since_ms, ttl_s=ttl_s)


ADOPTED: Final = st.builds(
    _adopted, few_addresses(), st.sampled_from("xy"), st.none() | st.integers(0, 60),
    st.none() | st.integers(1, 60), st.sampled_from((0, 0, 0, 1, 2)),
)  # fmt: skip
ADOPTS: Final = st.builds(
    lambda leases: Adopt(tuple(leases), "elsewhere"), st.lists(ADOPTED, min_size=1, max_size=4)
)
STEPS: Final = st.one_of(
    st.integers(1, 9), APPLIES, DELETES, allocates(), allocates(), TOGETHER, RELEASES, RELEASES,
    st.builds(Late, allocates() | RELEASES, st.integers(0, 20)),
    st.builds(Renew, LEASES, st.sampled_from((None, 8, 20))),
    st.just(Sweep()), st.builds(lambda ips: SetAside(ips, "ARP", 6), few_addresses()),
    st.builds(PutBack, few_addresses()), ADOPTS, st.none(),
)  # fmt: skip


def give_up(ledger: TestLedger, entries: int) -> None:
    """Accept a backup that lacks the last entries, as `doctor --accept-rollback` does."""
    stream = ledger.stream
    ends = [raw for raw in stream.entries if decode_entry(raw).commit.ends_here]
    kept = next((raw for raw in reversed(ends[:-1]) if raw.position <= ends[-1].position - entries),
                ends[0])  # fmt: skip
    head = stream.head()
    generation = decode_entry(kept).commit.generation + 1
    restored = HistoryRestored(kept.position, head.position + 2, generation)
    sealed = Sealed(bytes(16), actor="me", reason="the disk")
    e, s, t = encode_entry(restored, sealed, Header(head.position.to_bytes(16)))
    commit = Commit(bytes(8), 0, 1, generation, kept.position, bytes(16))
    entry = NewEntry(e, s, t, encode_commit(commit, e, s)[1])
    anchor = Anchor(kept.ms, kept.position, kept.c)
    stream.restore(anchor, head, head.position + 2, ledger.clock.now_ms, entry)


def run(steps: list[Step], writers: Random) -> TestLedger:
    """Carry out the steps, each by one of two writers, neither of which knows of the other."""
    ledger = TestLedger(seed=1)
    both = [ledger, TestLedger(seed=2, beside=ledger)]
    for number, step in enumerate(steps):
        writer = writers.choice(both)
        match step:
            case int():
                ledger.clock.now_ms += step * 1_000
            case None:
                give_up(ledger, number % 5)
                both = [TestLedger(seed=10 * number + at, beside=ledger) for at in (3, 4)]
            case Late(command, ago_s):
                at_ms = ledger.clock.now_ms - ago_s * 1_000
                writer.run(command._replace(effective_at_ms=at_ms), f"{number}")
            case _:
                writer.run(step, f"{number}")
    return ledger


def no_breach(ledger: TestLedger) -> Audited:
    """Fail unless the audit finds nothing, and its digest is that of a replay."""
    found = audit(ledger.stream, Options(count_every=1))
    assert not found.total, found.breaches
    assert found.digest == state_digest(ledger.replayed())
    return found


@settings(max_examples=100)
@given(made=st.tuples(pools("a"), pools("b"), pools("c")),
       steps=st.lists(STEPS, min_size=10, max_size=40), seed=st.integers(0, 99))  # fmt: skip
def test_what_is_written_is_right(made: tuple[PutPool, ...], steps: list[Step], seed: int) -> None:
    """Any commands by two writers, late facts and restorations among them: no breach."""
    found = no_breach(run([Apply(made), *steps], Random(seed)))  # noqa: S311
    event(f"{found.events // 10 * 10} events or more")


@pytest.mark.parametrize("seed", range(3))
def test_a_longer_history_is_right(seed: int) -> None:
    """Hundreds of grants, renewals and ends in a small and in a wide pool, by two writers."""
    random = Random(seed)  # noqa: S311 - the same history on every run
    ledger = TestLedger(seed=1)
    other = TestLedger(seed=2, beside=ledger)
    ledger.apply(
        make_pool("v4", ips=["10.0.0.10-10.0.0.60"], cooldown_s=5, ttl_s=30),
        make_pool("v6", "fd00::/64", ips=["fd00::-fd00::ffff:ffff:ffff:ffff"]),
    )
    for number in range(400):
        ledger.clock.now_ms += random.randrange(1_500)
        writer = random.choice((ledger, other))
        owner = f"pod-{random.randrange(40)}"
        command = random.choice((
            make_allocate("v4", "v6", owner=owner, uid=f"u{random.randrange(3)}"),
            make_allocate("v6,v4", owner=owner, number=3), Release(owner=owner),
            Renew(random.randrange(4, 300)), Sweep(),
            SetAside(RangeSet(4, [(0x0A00000A + number % 51,) * 2]), "ARP", 20),
        ))  # fmt: skip
        writer.run(command, f"{seed} {number}")
    assert no_breach(ledger).events > 300
