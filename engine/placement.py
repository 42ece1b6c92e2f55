"""Which free address to propose, while others are proposed in the same batch.

Lowest first is a preference at the decision's position. Two things bend it, and both are kept
here: members of one batch must not propose the same address, and a writer far from the server
skips ahead of what nearer writers will have taken by the time that its proposal arrives.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from engine.addresses import BITS
from engine.facts import Facts, Pool
from engine.pending_blocks import Claim, PendingBlocks

if TYPE_CHECKING:
    from engine.plain_grant import PlainPools


class Proposed(NamedTuple):
    """What a batch proposes: addresses by pool id, what it passed over, and blocks."""

    addresses: AbstractSet[tuple[int, int]]
    passed: Mapping[int, tuple[int, int]]  # by pool: from where to where all that was free
    blocks: Sequence[Claim]


class Placement:
    """The addresses proposed so far in one batch."""

    def __init__(
        self,
        skip_ahead: Mapping[int, int] | None = None,
        seed: int = 0,
        behind: Placement | None = None,
        plain_pools: PlainPools | None = None,
    ) -> None:
        """Start a batch; `skip_ahead` says how many free addresses to pass over, by pool id.

        `seed` (64 bits) is what the seeds of the batch's random choices are made of. `behind` is a
        batch that is on its way: what it proposes is not proposed again. `plain_pools` is what
        earlier batches found out about the pools that are asked for; see `engine.plain_grant`.
        """
        self._skip_ahead = skip_ahead or {}
        self._cursors: dict[int, int] = {}
        self._pending: set[tuple[int, int]] = set()
        self._journal: list[tuple[int, int, int | None, bool]] = []
        self._blocks = PendingBlocks(self._pending)
        self._seed = seed
        self._seeds = 0  # made so far
        self._idle: dict[int, Iterator[int]] = {}  # by pool: the rest of its order
        self._runs: dict[int, int] = {}  # by pool: all is free from its cursor to there
        self.plain_pools: PlainPools = {} if plain_pools is None else plain_pools
        self._starts: dict[int, int] = {}  # by pool: what was proposed first
        self._passed: Mapping[int, tuple[int, int]] = {}  # as of the batch that it is behind
        if behind is not None:
            self._begin_behind(behind.proposed())

    def proposed(self) -> Proposed:
        """What this batch proposes, for the one behind it."""
        addresses = {(pool_id, value) for pool_id, value, _, _ in self._journal}
        passed = {pool: (self._starts.get(pool, end), end) for pool, end in self._cursors.items()}
        return Proposed(addresses, passed, self._blocks.claims)

    def _begin_behind(self, before: Proposed) -> None:
        self._pending.update(before.addresses)
        self._passed = before.passed
        self._blocks.begin_behind(before.blocks)

    def __bool__(self) -> bool:
        """Whether anything is pending, so that "none left" may not be the truth."""
        return bool(self._pending)

    def is_pending(self, pool: Pool, value: int) -> bool:
        """Whether an earlier member of the batch proposes this address."""
        pending = (pool.pool_id, value) in self._pending
        return pending or self._blocks.last_of(pool.pool_id, value) is not None

    def overlaps(self, pool: Pool, first: int, last: int) -> bool:
        """Whether an earlier member of the batch proposes anything of a block."""
        return self._blocks.overlap(pool.pool_id, first, last) is not None

    def propose_block(self, facts: Facts, pool: Pool, prefix_length: int) -> int | None:
        """Return the first address of the best free block that nobody in the batch proposes."""
        skip = self._skip_ahead.get(pool.pool_id, 0)
        first = self._blocks.propose(facts, pool, prefix_length, skip)
        if first is not None:
            size = 1 << (BITS[pool.spec.family] - prefix_length)
            self.claim_block(pool, first, first + size - 1)
        return first

    def claim_block(self, pool: Pool, first: int, last: int) -> None:
        """Record that a block is proposed."""
        self._blocks.claim(len(self._journal), pool, first, last)
        self.claim(pool, first)

    def pending_of(self, pool: Pool) -> list[int]:
        """What the batch proposes of a pool so far."""
        return [value for pool_id, value in self._pending if pool_id == pool.pool_id]

    def next_seed(self) -> int:
        """Return 64 bits that no other choice of the batch is made with."""
        self._seeds += 1
        made = sha256(self._seed.to_bytes(8) + self._seeds.to_bytes(8)).digest()
        return int.from_bytes(made[:8])

    def propose_idle(self, facts: Facts, pool: Pool) -> int | None:
        """Return the longest idle address of `pool` that nobody in the batch proposes yet."""
        order = self._idle.get(pool.pool_id)
        if order is None:
            order = self._idle[pool.pool_id] = iter(facts.longest_idle(pool.pool_id))
        for value in order:
            if not self.is_pending(pool, value):
                self.claim(pool, value)
                return value
        return None

    def propose(self, facts: Facts, pool: Pool) -> int | None:
        """Return the next free address of `pool` that nobody in the batch proposes yet."""
        pool_id = pool.pool_id
        cursor = self._cursors.get(pool_id)
        if cursor is None:
            start = self._first_start(facts, pool)
            value = self._next(facts, pool, start)
            if value is not None:
                self._starts.setdefault(pool_id, value)
        else:
            start = cursor
            value = self._next_in_run(facts, pool_id, cursor)
            if value is None or self.is_pending(pool, value):
                value = self._next(facts, pool, start)
        if value is None and start is not None:
            value = self._next(facts, pool, None)  # what was skipped is better than nothing
            self._runs.pop(pool_id, None)
        if value is not None:
            self.claim(pool, value, moves_cursor=True)
        return value

    def _next_in_run(self, facts: Facts, pool_id: int, cursor: int) -> int | None:
        """The lowest free address from a pool's cursor on: most often the one behind the last."""
        if cursor <= self._runs.get(pool_id, -1):
            return cursor
        run = facts.free_run(pool_id, cursor)
        if run is None:
            return None
        self._runs[pool_id] = run[1]
        return run[0]

    def claim(self, pool: Pool, value: int, *, moves_cursor: bool = False) -> None:
        """Record that `value` is proposed, so that the rest of the batch passes over it."""
        key = (pool.pool_id, value)
        # What an earlier member proposes stays its own when this claim is taken back.
        added = key not in self._pending
        self._journal.append((*key, self._cursors.get(pool.pool_id), added))
        self._pending.add(key)
        if moves_cursor:
            self._cursors[pool.pool_id] = value + 1

    def mark(self) -> int:
        """Return where we are, for `rewind`."""
        return len(self._journal)

    def rewind(self, mark: int) -> None:
        """Forget what was proposed since `mark`: its command was refused."""
        if len(self._journal) > mark:
            self._blocks.rewind(mark)
        while len(self._journal) > mark:
            pool_id, value, cursor, added = self._journal.pop()
            if added:
                self._pending.discard((pool_id, value))
            self._idle.pop(pool_id, None)  # it may have passed over this one
            self._runs.pop(pool_id, None)  # it may begin behind where the cursor is again
            if cursor is None:
                self._cursors.pop(pool_id, None)
            else:
                self._cursors[pool_id] = cursor

    def _first_start(self, facts: Facts, pool: Pool) -> int | None:
        skipped = self._skip_ahead.get(pool.pool_id, 0)
        return facts.nth_free(pool.pool_id, skipped) if skipped else None

    def _next(self, facts: Facts, pool: Pool, start: int | None) -> int | None:
        value = facts.lowest_free(pool.pool_id, start)
        while value is not None:
            within = self._blocks.last_of(pool.pool_id, value)
            if within is not None:
                value = facts.lowest_free(pool.pool_id, within + 1)
            elif (pool.pool_id, value) in self._pending:
                first, end = self._passed.get(pool.pool_id, (0, 0))
                behind = end if first <= value < end else value + 1
                value = facts.lowest_free(pool.pool_id, behind)
            else:
                return value
        return None
