"""Which free address to propose, while others are proposed in the same batch.

Lowest first is a preference at the decision's position. Two things bend it, and both are kept
here: members of one batch must not propose the same address, and a writer far from the server
skips ahead of what nearer writers will have taken by the time that its proposal arrives.
"""

from __future__ import annotations

from collections.abc import Mapping

from engine.addresses import BITS
from engine.facts import Facts, Pool
from engine.pending_blocks import PendingBlocks


class Placement:
    """The addresses proposed so far in one batch."""

    def __init__(self, skip_ahead: Mapping[int, int] | None = None) -> None:
        """Start a batch; `skip_ahead` says how many free addresses to pass over, by pool id."""
        self._skip_ahead = skip_ahead or {}
        self._cursors: dict[int, int] = {}
        self._pending: set[tuple[int, int]] = set()
        self._journal: list[tuple[int, int, int | None, bool]] = []
        self._blocks = PendingBlocks(self._pending)

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

    def propose(self, facts: Facts, pool: Pool) -> int | None:
        """Return the next free address of `pool` that nobody in the batch proposes yet."""
        cursor = self._cursors.get(pool.pool_id)
        start = cursor if cursor is not None else self._first_start(facts, pool)
        value = self._next(facts, pool, start)
        if value is None and start is not None:
            value = self._next(facts, pool, None)  # what was skipped is better than nothing
        if value is not None:
            self.claim(pool, value, moves_cursor=True)
        return value

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
                value = facts.lowest_free(pool.pool_id, value + 1)
            else:
                return value
        return None
