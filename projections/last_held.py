"""Whom sticky pools remember: which addresses a holder had last, and until when they count.

Written when a lease ends, from the pool's setting then; an entry belongs to its address. It stands
until somebody is granted the address, which is told by the address's last tenure: so a grant has
nothing to do here. There is at most one entry an address.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from engine.addresses import Address
from engine.facts import LastHeld
from projections.leases import Leases
from projections.pages import Paged, PageSink, PageSource, keep_table


class LastHolders:
    """The addresses that are remembered, by address and by holder."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        # Whose it was, by which lease, and until when that counts (None: as long as it stands).
        self._by_address: MutableMapping[Address, tuple[str, int, int | None]] = {}
        self._by_holder: MutableMapping[str, tuple[Address, ...]] = {}

    def __len__(self) -> int:
        return len(self._by_address)

    def of(self, owner: str, interface: str) -> list[LastHeld]:
        """What is remembered for a holder, what it held last first."""
        holder = _holder(owner, interface)
        found = []
        for address in self._by_holder.get(holder, ()):
            _, lease_id, until_ms = self._by_address[address]
            last = self._leases.last_tenure(address)
            if last is not None and last[1] == lease_id:
                found.append(LastHeld(address, lease_id, last[0], until_ms))
        found.sort(key=lambda last: (-last.ended_at_ms, last.address))
        return found

    def end(
        self, event: tuple[Any, ...], owner: str | None, until_ms: int | None, now_ms: int
    ) -> None:
        """Remember an address after its lease has ended: the members of a `LeaseEnded`."""
        lease_id, _, raw, prefix_length, interface, *_ = event
        if prefix_length != len(raw) * 8:
            return  # a block
        address, holder = Address(raw), _holder(owner or "", interface)
        before = self._by_address.get(address)
        if before is not None and before[0] != holder:
            self._let_go(before[0], address)
        self._by_address[address] = holder, lease_id, until_ms
        mine = [address]
        for other in self._by_holder.get(holder, ()):
            if other == address:
                continue
            _, its_lease, its_until_ms = self._by_address[other]
            last = self._leases.last_tenure(other)
            over = its_until_ms is not None and its_until_ms <= now_ms
            if over or last is None or last[1] != its_lease:
                del self._by_address[other]
            else:
                mine.append(other)
        self._by_holder[holder] = tuple(mine)

    def _let_go(self, holder: str, address: Address) -> None:
        left = tuple(other for other in self._by_holder[holder] if other != address)
        if left:
            self._by_holder[holder] = left
        else:
            del self._by_holder[holder]

    # --- being kept in pages ---

    def keep(self, sink: PageSink) -> dict[str, Any]:
        """Write the tables; return what it takes to show them again."""
        return {
            "by_address": keep_table(sink, "remembered", self._by_address),
            "by_holder": keep_table(sink, "holder", self._by_holder),
        }

    def read_all(self) -> None:
        """Hold everything in memory."""
        self._by_address = dict(self._by_address)
        self._by_holder = dict(self._by_holder)

    def show(self, source: PageSource, told: dict[str, Any]) -> None:
        """Show the tables that `keep` wrote."""
        self._by_address = Paged(source, "remembered", *told["by_address"])
        self._by_holder = Paged(source, "holder", *told["by_holder"])


def _holder(owner: str, interface: str) -> str:
    """One key for both: a NUL cannot occur in either."""
    return f"{owner}\0{interface}"
