"""The JSON shapes of explanations: of an address, of an owner, of what a pool would give."""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.addresses import format_address
from ipledger.history_views import time_or_none
from ipledger.times import format_ms
from ipledger.views import Json, lease_view

if TYPE_CHECKING:
    from engine.explaining import Explanation, Outlook
    from engine.reasons import Found
    from projections.state import LedgerState


def explanation_view(told: Explanation, state: LedgerState, space: str) -> Json:
    """An address: the verdict, who holds it, and every rule that speaks about it."""
    verdict = told.verdict
    lease = told.lease
    return {
        "address": format_address(told.address),
        "verdict": {
            "free": verdict.bucket == "free",
            "for": told.owner,
            "interface": told.interface,
            "given": verdict.given,
            "bucket": verdict.bucket,
            "reason": verdict.decides.reason.value,
            "kind": verdict.decides.refuses,
            "text": verdict.decides.text,
        },
        "lease": None if lease is None else lease_view(lease, pool_name(state, lease[1]), space),
        "reasons": [reason_view(found) for found in told.reasons],
        "at": format_ms(told.at_ms),
        "position": told.position,
    }


def reason_view(found: Found) -> Json:
    """One rule that speaks."""
    return {
        "reason": found.reason.value,
        "text": found.text,
        "kind": found.refuses,
        "pool": found.pool,
        "lease": found.lease,
        "owner": found.owner,
        "name": found.name,
        "why": found.why,
        "since": time_or_none(found.since_ms),
        "until": time_or_none(found.until_ms),
        "position": found.position,
    }


def outlook_view(seen: Outlook) -> Json:
    """What a pool would give now, or why nothing."""
    found = seen.found
    return {
        "pool": seen.pool.name,
        "gives": found.gives,
        "address": None if seen.address is None else format_address(seen.address),
        "reason": found.reason.value,
        "kind": found.refuses,
        "text": found.text,
    }


def pool_name(state: LedgerState, pool_id: int) -> str:
    """The name of a pool, or its number if it is gone."""
    pool = state.pool_of(pool_id)
    return f"#{pool_id}" if pool is None else pool.name
