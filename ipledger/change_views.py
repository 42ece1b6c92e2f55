"""The JSON shape of what changed between two moments: what `replay --diff` prints.

docs/schemas/replay-diff.schema.json is the promise. Each item has the object as it was, as it is,
and the names of the fields that differ.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, NamedTuple, TypeVar

from engine.facts import Quarantine, Reservation
from ipledger.times import format_ms
from ipledger.views import (
    Json,
    defined_pool_view,
    lease_view,
    quarantine_view,
    reservation_view,
)
from replay.changes import Change, Difference, HeldLease
from replay.moments import Moment

KINDS: Final = ("pools", "reservations", "leases", "quarantines")
HOW: Final = ("added", "removed", "changed")
# The position of an object's latest event: that it moved on is no change of its own.
_NO_CHANGE: Final = frozenset({"position"})

Thing = TypeVar("Thing")


class Narrowed(NamedTuple):
    """Which changes are asked for: of one pool and its leases, of one owner, or all."""

    pool: str | None = None
    owner: str | None = None


def difference_view(found: Difference, space: str, narrowed: Narrowed | None = None) -> Json:
    """What changed, by kind of object, and how many of each."""
    wanted = narrowed or Narrowed()
    items: dict[str, list[Json]] = {
        "pools": _items(found.pools, lambda pool: defined_pool_view(pool, space)),
        "reservations": _items(found.reservations, lambda held: _reservation(held, space)),
        "leases": _items(found.leases, lambda held: _lease(held, space)),
        "quarantines": _items(found.quarantines, lambda aside: _quarantine(aside, space)),
    }
    for item in items["leases"]:
        item["ended_by"] = found.endings.get(item["id"]) if item["change"] == "removed" else None
    items = {kind: [i for i in listed if _is_wanted(kind, i, wanted)]
             for kind, listed in items.items()}  # fmt: skip
    return {
        "space": space,
        "from": moment_view(found.begin),
        "to": moment_view(found.end),
        "events": found.events,
        # Of what is at neither moment it is only known how many there were.
        "granted_and_ended": None if any(wanted) else found.passing,
        "summary": {
            kind: {how: sum(item["change"] == how for item in listed) for how in HOW}
            for kind, listed in items.items()
        },
        **items,
    }


def moment_view(moment: Moment) -> Json:
    """A position and its time; the beginning has none."""
    return {
        "position": moment.position,
        "time": format_ms(moment.ms) if moment.position else None,
    }


def _items(changes: Iterable[Change[Thing]], view: Callable[[Thing], Json]) -> list[Json]:
    found: list[Json] = []
    for change in changes:
        before = None if change.before is None else view(change.before)
        after = None if change.after is None else view(change.after)
        fields: list[str] = []
        how = "removed" if after is None else "added"
        if before is not None and after is not None:
            how = "changed"
            fields = [
                name for name in before
                if before[name] != after[name] and name not in _NO_CHANGE
            ]  # fmt: skip
            if not fields:
                continue
        found.append(
            {"change": how, "id": change.id, "before": before, "after": after, "fields": fields}
        )
    return found


def _is_wanted(kind: str, item: Json, wanted: Narrowed) -> bool:
    shown: Json = item["after"] or item["before"]
    if wanted.pool is not None:
        name = {"pools": "name", "leases": "pool"}.get(kind)
        if name is None or shown[name] != wanted.pool:
            return False
    if wanted.owner is not None:
        sides = [side for side in (item["before"], item["after"]) if side is not None]
        return any(side.get("owner") == wanted.owner for side in sides)
    return True


def _reservation(held: Reservation, space: str) -> Json:
    ends_ms = held.ends_at_ms
    return {
        **reservation_view(held, space),
        "ends_at": None if ends_ms is None else format_ms(ends_ms),
    }


def _lease(held: HeldLease, space: str) -> Json:
    report = held.report
    return {
        **lease_view(held.lease, held.pool, space),
        "effective_at": format_ms(held.lease.effective_at_ms),
        "ttl_s": held.lease.ttl_s,
        "conflict": None if report is None else report.position,
        "missing_in": 0 if held.absence is None else held.absence.times,
    }


def _quarantine(aside: Quarantine, space: str) -> Json:
    return quarantine_view(aside, space)
