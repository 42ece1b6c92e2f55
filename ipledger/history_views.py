"""The JSON shapes of what was: tenures, what an address was while unheld, changes, overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from engine.addresses import format_address
from engine.facts import Quarantine
from engine.model import PoolSpec
from ipledger.times import format_ms
from ipledger.views import Json, pool_definition, reservation_definition

if TYPE_CHECKING:
    from replay.history.changes import Change, Overlap
    from replay.history.definitions import Spec
    from replay.history.tenure import Tenure
    from replay.history.unheld import Unheld


def time_or_none(ms: int | None) -> str | None:
    """A time, or none."""
    return None if ms is None else format_ms(ms)


def tenure_view(tenure: Tenure) -> Json:
    """One lease of an address: when it was so, when that was told, by whom and why."""
    ending = tenure.ending
    return {
        "lease": tenure.lease_id,
        "leases": list(tenure.leases),
        "address": format_address(tenure.address),
        "prefix_length": tenure.prefix_length,
        "pool": tenure.pool,
        "pool_id": tenure.pool_id,
        "owner": tenure.owner,
        "interface": tenure.interface,
        "uid": tenure.uid,
        "labels": dict(tenure.labels),
        "cluster": tenure.cluster,
        "from": format_ms(tenure.from_ms),
        "to": time_or_none(tenure.to_ms),
        "granted_at": format_ms(tenure.recorded_ms),
        "ended_at": None if ending is None else format_ms(ending.recorded_ms),
        "began": tenure.began,
        "supersedes": tenure.supersedes,
        "source": tenure.source,
        "ended_by": None if ending is None else ending.how,
        "granted_by": tenure.actor,
        "granted_reason": tenure.reason,
        "ended_by_actor": None if ending is None else ending.actor,
        "ended_reason": None if ending is None else ending.reason,
        "expires_at": time_or_none(tenure.expires_ms),
        "renewals": tenure.renewals,
        "granted_position": tenure.leases[0],
        "ended_position": None if ending is None else ending.position,
    }


def unheld_view(why: Unheld | None) -> Json | None:
    """What an address was while nobody held it."""
    if why is None:
        return None
    return {
        "why": why.why,
        "pool": why.pool,
        "named": list(why.named),
        "reason": why.reason,
        "position": why.position,
        "until": time_or_none(why.until_ms),
    }


def change_view(change: Change) -> Json:
    """One change of a pool or reservation, with the whole definition before and after."""
    return {
        "what": change.what,
        "id": change.object_id,
        "position": change.position,
        "time": format_ms(change.at_ms),
        "actor": change.actor,
        "reason": change.reason,
        "before": _definition(change.before),
        "after": _definition(change.after),
    }


def _definition(spec: Spec | None) -> Json | None:
    if spec is None:
        return None
    assert not isinstance(spec, Quarantine), "a quarantine is not changed but ended"
    return pool_definition(spec) if isinstance(spec, PoolSpec) else reservation_definition(spec)


def overlap_view(overlap: Overlap) -> Json:
    """A pool's share of a block, from when to when."""
    return {
        "pool": overlap.pool,
        "pool_id": overlap.pool_id,
        "ips": overlap.covered.texts(),
        "size": overlap.covered.size,
        "from": format_ms(overlap.from_ms),
        "to": time_or_none(overlap.to_ms),
        "from_position": overlap.from_position,
        "to_position": overlap.to_position,
    }


def differences(change: Change) -> Sequence[str]:
    """What of a definition is new, as ``key=value``; of a created one, what it was made of."""
    before, after = _definition(change.before), _definition(change.after)
    if after is None:
        return ()
    if before is None:
        return [f"{key}={_short(after[key])}" for key in ("subnet", "ips") if key in after]
    return [
        f"{key}={_short(value)} (was {_short(before[key])})"
        for key, value in after.items()
        if value != before[key]
    ]


def _short(value: object) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "none"
    return "none" if value is None or value == {} else str(value)
