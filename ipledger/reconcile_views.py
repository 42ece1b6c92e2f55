"""The JSON shape of a comparison between what is leased and what is in use."""

from __future__ import annotations

from typing import NamedTuple

from engine.addresses import format_address
from engine.comparing import Compared, Unleased, Wrong
from engine.decide_reconcile import foreseen
from engine.facts import Lease
from engine.observation import Absence, User
from ipledger.observed import Observed
from ipledger.operation import Operation
from ipledger.reconciling import Reconciled, reconcile_command
from ipledger.times import format_ms
from ipledger.views import Json, lease_view
from projections.state import LedgerState


class Told(NamedTuple):
    """What an observation says, and what came of it; `absences` are of what is missing."""

    observed: Observed
    compared: Compared
    absences: dict[int, Absence]
    did: Reconciled


def foresee(
    state: LedgerState, operation: Operation[Reconciled], observed: Observed, compared: Compared
) -> Told:
    """What carrying out an operation on a state would tell and end."""
    missing = list(foreseen(state, reconcile_command(operation), compared))
    absences = {each.lease.lease_id: each.absence for each in missing if each.absence is not None}
    told = tuple(each.lease.lease_id for each in missing if each.is_news)
    ends = tuple(each.lease.lease_id for each in missing if each.ends)
    return Told(observed, compared, absences, Reconciled(told, (), ends))


def reconcile_view(told: Told, state: LedgerState, space: str, *, dry_run: bool) -> Json:
    """Everything that is not as it should be, and what came of it."""
    observation, compared = told.observed.observation, told.compared
    ended = () if dry_run else told.did.released
    names = {pool.pool_id: pool.name for pool in state.pools()}

    def missing(lease: Lease) -> Json:
        absence = told.absences.get(lease.lease_id)
        times = 0 if absence is None else absence.times
        return {
            **lease_view(lease, names.get(lease.pool_id, f"#{lease.pool_id}"), space),
            "state": "revoked" if lease.lease_id in ended else "active",
            "missing_in": times,
            "missing_since": format_ms(absence.since_ms) if absence and times else None,
        }

    return {
        "observation": observation.id.hex(),
        "observed_at": format_ms(observation.observed_at_ms),
        "users": len(observation.users),
        "expected": compared.expected,
        "missing": [missing(lease) for lease in compared.missing],
        "unleased": [_unleased(item) for item in compared.unleased],
        "wrong": [_wrong(item) for item in compared.wrong],
        "outside": compared.outside,
        "counted": list(told.did.missing),
        "back": list(told.did.back),
        "released": list(told.did.released),
        "dry_run": dry_run,
        "position": state.position,
    }


def _user(user: User) -> Json:
    return {
        "address": format_address(user.address),
        "owner": user.owner,
        "interface": user.interface,
    }


def _unleased(item: Unleased) -> Json:
    return {**_user(item.user), "pool": item.pool, "reserved_by": item.reserved_by}


def _wrong(item: Wrong) -> Json:
    lease = item.lease
    return {
        "lease": lease.lease_id,
        "address": format_address(lease.address),
        "prefix_length": lease.prefix_length,
        "owner": lease.owner,
        "interface": lease.interface,
        "observed": _user(item.user),
    }
