"""The state of a space as manifests, in an order that does not depend on its history."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Final

from engine.addresses import Address, family_of
from engine.facts import Lease
from ipledger.manifests.documents import (
    Document,
    lease_document,
    pool_document,
    quarantine_document,
    report_document,
    reservation_document,
    space_document,
)
from projections.state import LedgerState


def manifests_of(state: LedgerState, kinds: Collection[str]) -> Iterator[Document]:
    """The manifests of what is, of the kinds named (see `KINDS`), one at a time.

    First the space, then pools and reservations by name, leases by pool and address, quarantines
    by address: what a document refers to is before it. A space that is not there yet has none.
    """
    for kind in KINDS:
        if kind in kinds:
            yield from _KINDS[kind](state)


def terminating_pools(state: LedgerState) -> list[str]:
    """The pools that an export states as disabled, since no manifest says "terminating"."""
    return [pool.name for pool in state.pools() if pool.terminating]


def _space(state: LedgerState) -> Iterator[Document]:
    if state.space is not None:
        yield space_document(state.space.name, state.space.level)


def _pools(state: LedgerState) -> Iterator[Document]:
    return map(pool_document, state.pools())


def _reservations(state: LedgerState) -> Iterator[Document]:
    return map(reservation_document, state.reservations())


def _leases(state: LedgerState) -> Iterator[Document]:
    names = {pool.pool_id: pool.name for pool in state.pools()}

    def place(lease: Lease) -> tuple[str, int, Address]:
        return names[lease.pool_id], len(lease.address), lease.address

    return (lease_document(held, names[held.pool_id]) for held in sorted(state.leases(), key=place))


def _quarantines(state: LedgerState) -> Iterator[Document]:
    """What is set aside, and what will be when a lease ends: both are told by applying it."""
    found: list[tuple[tuple[int, tuple[int, int]], Document]] = [
        ((aside.ips.family, aside.ips.ranges[0]), quarantine_document(aside))
        for aside in state.quarantines()
    ]
    for lease, report in state.lease_table.reported():
        first = int.from_bytes(lease.address)
        found.append(((family_of(lease.address), (first, first)), report_document(lease, report)))
    found.sort(key=lambda entry: entry[0])
    return (document for _, document in found)


_KINDS: Final[dict[str, Callable[[LedgerState], Iterator[Document]]]] = {
    "space": _space,
    "pool": _pools,
    "reservation": _reservations,
    "lease": _leases,
    "quarantine": _quarantines,
}
KINDS: Final = tuple(_KINDS)
DEFINITIONS: Final = ("pool", "reservation")
