"""What the choice policies of pools have to know beyond what is free (ADR 0022).

A pure function of the stream, as everything that is folded; but preferences only, so they enter no
digest. Pools of the policies that need nothing of it cost a look into a set.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from engine.facts import LastHeld, Pool
from engine.model import Policy
from projections.idle import Idles
from projections.last_held import LastHolders
from projections.leases import Leases
from projections.pages import PageSink, PageSource
from projections.pools import Pools

SCHEMA_VERSION = 1
_ORDERED: Final[frozenset[Policy]] = frozenset({"least-recently-used", "sticky"})


class Preferences:
    """In which order pools prefer their addresses, and whom they remember."""

    def __init__(self, pools: Pools, leases: Leases) -> None:
        self._pools = pools
        self._idles = Idles(pools, leases)
        self._last_holders = LastHolders(leases)
        self.watched: set[int] = set()  # the pools whose leases are to be told here

    def longest_idle(self, pool_id: int) -> Iterator[int]:
        """The free addresses of a pool, the never held first, then the longest idle."""
        if pool_id not in self.watched:
            return self._idles.walk_once(pool_id)  # it would not be carried on
        return self._idles.walk(pool_id)

    def remembered(self, owner: str, interface: str) -> list[LastHeld]:
        """What is remembered for a holder, what it held last first."""
        return self._last_holders.of(owner, interface)

    def define(self, pool: Pool) -> None:
        """Fold the definition of a pool, after its table has: new, changed, or deleted."""
        wants = pool.spec.policy in _ORDERED
        if wants:
            self.watched.add(pool.pool_id)
        else:
            self.watched.discard(pool.pool_id)
        self._idles.define(pool, asked_for=wants and not pool.terminating)

    def go(self, pool_id: int) -> None:
        """Fold that a pool has gone."""
        self.watched.discard(pool_id)
        self._idles.forget(pool_id)

    def grant(self, event: tuple[Any, ...]) -> None:
        """Fold a grant from a watched pool, before the tables do: the members of the event."""
        self._idles.grant(event)

    def end(self, event: tuple[Any, ...], owner: str | None, ended_at_ms: int, now_ms: int) -> None:
        """Fold the end of a lease of a watched pool, after the leases and before the pools."""
        self._idles.end(event, ended_at_ms)
        pool = self._pools.of_id(event[1])
        assert pool is not None, "its leases are folded first, and it goes with its last"
        if pool.spec.policy == "sticky":
            sticky_s = pool.spec.sticky_s
            until_ms = None if sticky_s is None else ended_at_ms + sticky_s * 1_000
            self._last_holders.end(event, owner, until_ms, now_ms)

    # --- being kept in pages ---

    def keep(self, sink: PageSink) -> dict[str, Any]:
        """Write what pools ask for; return what it takes to show it again."""
        asked_for = [
            pool for pool in self._pools
            if pool.spec.policy in _ORDERED and not pool.terminating
        ]  # fmt: skip
        return {
            "idles": self._idles.keep(sink, asked_for),
            "last_holders": self._last_holders.keep(sink),
        }

    def read_all(self) -> None:
        """Hold everything in memory."""
        self._idles.read_all()
        self._last_holders.read_all()

    @classmethod
    def kept(
        cls, source: PageSource, told: dict[str, Any], pools: Pools, leases: Leases
    ) -> Preferences:
        """Show what `keep` wrote."""
        preferences = cls(pools, leases)
        preferences._idles.show(source, told["idles"])
        preferences._last_holders.show(source, told["last_holders"])
        preferences.watched = {pool.pool_id for pool in pools if pool.spec.policy in _ORDERED}
        return preferences
