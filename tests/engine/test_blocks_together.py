"""Writers that know of each other only what they have read: what they grant is disjoint.

Blocks and single addresses are asked for, released and expire in any order, by several writers at
once; rest and time between. Whatever the order, all is aligned and apart, the best fit is what a
naive search finds, and nothing is lost after everything is released.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from engine.commands import Sweep
from ipledger.writing import Call, Done
from replay.audit import Options, audit
from tests.builders import TestLedger, granted, make_allocate, make_pool, make_release

WRITERS = 8
FIRST = 10 << 24


def naive_best_fit(free: set[int], size: int) -> int | None:
    """The lowest of the smallest free aligned blocks that are large enough."""
    found = []
    for value in free:
        order = 0
        if value % size:
            continue
        while True:
            whole = 1 << order
            start = value // whole * whole
            if not all(v in free for v in range(start, start + whole)):
                break
            order += 1
        if 1 << (order - 1) >= size and order:
            found.append((order - 1, value))
    return min(found)[1] if found else None


class Together(RuleBasedStateMachine):
    """Eight writers of a pool of 64 addresses."""

    @initialize(cooldown_s=st.sampled_from((0, 5)))
    def begin(self, cooldown_s: int) -> None:
        """Begin with nothing granted."""
        self.first = TestLedger()
        ips = ["10.0.0.0-10.0.0.63"]
        self.first.apply(make_pool(ips=ips, cooldown_s=cooldown_s))
        others = [TestLedger(seed=n, beside=self.first) for n in range(1, WRITERS)]
        self.writers = [self.first, *others]
        self.owners = 0

    @rule(
        asked=st.lists(
            st.tuples(
                st.integers(0, WRITERS - 1),
                st.sampled_from((26, 28, 29, 30, 31, 32, None, None)),
                st.integers(1, 3),
                st.sampled_from((None, 3)),
            ),
            min_size=1,
            max_size=12,
        )
    )
    def allocate(self, asked: list[tuple[int, int | None, int, int | None]]) -> None:
        """All decide before anybody appends; who is beaten asks again until it is answered."""
        calls: dict[int, list[Call]] = {}
        for writer, length, number, ttl_s in asked:
            self.owners += 1
            command = make_allocate(
                owner=f"o{self.owners}", prefix_length=length, number=number, ttl_s=ttl_s
            )
            calls.setdefault(writer, []).append(self.writers[writer].call(command))
        batches = {writer: self.writers[writer].plan(*those) for writer, those in calls.items()}
        left = {writer: self.writers[writer].append(batch) for writer, batch in batches.items()}
        for writer, again in left.items():
            waiting = list(again)
            for _ in range(50):
                if not waiting:
                    break
                waiting = list(self.writers[writer].append(self.writers[writer].plan(*waiting)))
            assert not waiting, "nobody waits for ever"
        for those in calls.values():
            for call in those:
                if isinstance(call.outcome, Done):
                    for lease in granted(call.outcome):
                        size = 1 << (32 - lease.prefix_length)
                        assert int.from_bytes(lease.address) % size == 0

    @rule(writer=st.integers(0, WRITERS - 1), data=st.data())
    def release(self, writer: int, data: st.DataObject) -> None:
        """Whatever a writer knows of may be released by it, also if it has ended meanwhile."""
        held = [lease.lease_id for lease in self.writers[writer].state.leases()]
        if held:
            chosen = data.draw(st.lists(st.sampled_from(held), min_size=1, unique=True))
            self.writers[writer].run(make_release(*chosen))

    @rule(seconds=st.sampled_from((1, 3, 5)))
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.first.clock.now_ms += seconds * 1_000

    @rule(writer=st.integers(0, WRITERS - 1))
    def sweep(self, writer: int) -> None:
        """What is due ends."""
        self.writers[writer].run(Sweep())

    @rule(length=st.sampled_from((26, 28, 29, 30, 31)))
    def best_fit(self, length: int) -> None:
        """A writer that knows everything grants what a naive search finds."""
        self.first.refresh()
        state, pool = self.first.state, self.first.state.pool("pool")
        assert pool is not None
        free = {
            value
            for low, high in state.pool_table.free(pool.pool_id).free_ranges()
            for value in range(low, high + 1)
        }
        expected = naive_best_fit(free, 1 << (32 - length))
        found = next(iter(state.free_blocks(pool.pool_id, length)), None)
        assert (None if found is None else found[0]) == expected

    @invariant()
    def disjoint(self) -> None:
        """No address is in two leases, and the counts are those of the leases."""
        self.first.refresh()
        held = [range(int.from_bytes(x.address), x.last + 1) for x in self.first.state.leases()]
        values = [value for each in held for value in each]
        assert len(set(values)) == len(values)
        counts = self.first.counts()
        assert counts.leased == len(values)
        assert sum(counts[1:]) == counts.total == 64

    def teardown(self) -> None:
        """After everything is released and has rested, all of it is one free block again."""
        self.first.refresh()
        held = [lease.lease_id for lease in self.first.state.leases()]
        if held:
            self.first.run(make_release(*held))
        self.first.clock.now_ms += 10_000
        (whole,) = self.first.grant(owner="last", prefix_length=26)
        assert whole.text == "10.0.0.0/26"
        assert not audit(self.first.stream, Options(count_every=1)).breaches


Together.TestCase.settings = settings(max_examples=40, stateful_step_count=15, deadline=None)
TestTogether = Together.TestCase
