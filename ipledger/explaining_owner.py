"""Why an owner has what it has: its leases, how each came about, and what pools would give it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from engine.addresses import format_address
from engine.errors import Refusal, Refused
from engine.explaining import Outlook, outlook
from engine.facts import Pool
from engine.model import DEFAULT_INTERFACE
from ipledger.explain_views import outlook_view
from ipledger.history_views import time_or_none
from ipledger.times import format_ms
from ipledger.views import Json
from replay.choices import Choice, Grant, choices, find_grant

if TYPE_CHECKING:
    from engine.stream import Stream
    from ipledger.explaining import Then
    from replay.history.tenure import Ending, Tenure


class Had(NamedTuple):
    """A lease of the owner: as history tells it, as it was granted, how its address was chosen.

    ``ending`` is None while it is held at the moment that is asked about.
    """

    tenure: Tenure
    ending: Ending | None
    grant: Grant
    choice: Choice


class OwnerTold(NamedTuple):
    """All that is told about an owner as of one moment.

    ``known`` tells whether it ever held anything or anything is kept for it. ``last`` is the lease
    that ended last. ``pools`` are what pools would give it, where that was asked for or where it
    holds nothing.
    """

    owner: str
    interface: str | None
    known: bool
    held: tuple[Had, ...]
    last: Had | None
    pools: tuple[Outlook, ...]


def explain_owner(
    stream: Stream,
    then: Then,
    owner: str,
    interface: str | None,
    pools: Sequence[str],
    tenures: Iterable[Tenure],
    on_progress: Callable[[int], None] | None = None,
) -> OwnerTold:
    """Tell why an owner has what it has, or why it would get nothing.

    Args:
        stream: the space's events.
        then: the state as of the moment that is asked about.
        owner: whose leases.
        interface: on this interface only; None for all.
        pools: what these would give; none for all pools, where the owner holds nothing.
        tenures: everything that the owner ever held, of the history.
        on_progress: told the position that was reached in folding the stream.

    Raises:
        Refused: ``not_found``: there is no such pool.
        LedgerError: the stream cannot be read, or is not what it must be.
    """
    state, now_ms = then
    began = [tenure for tenure in tenures if tenure.lease_id <= state.position]
    ended = [each for each in began if each.ending and each.ending.position <= state.position]
    over = {each.lease_id for each in ended}
    held = [tenure for tenure in began if tenure.lease_id not in over]
    last = max(ended, key=_ended_position, default=None)
    told = held if last is None else [*held, last]
    had = _with_choices(stream, told, over, on_progress)
    known = bool(began) or any(state.reserved_for(owner, family) for family in (4, 6))
    asked = [_pool(state.pool(name), name) for name in pools]
    chosen = asked or ([] if held else list(state.pools()))
    looks = [outlook(state, p, owner, interface or DEFAULT_INTERFACE, now_ms) for p in chosen]
    return OwnerTold(
        owner, interface, known, tuple(had[: len(held)]),
        None if last is None else had[-1], tuple(looks),
    )  # fmt: skip


def _ended_position(tenure: Tenure) -> int:
    assert tenure.ending is not None, "chosen so"
    return tenure.ending.position


def _pool(pool: Pool | None, name: str) -> Pool:
    if pool is None:
        hint = "see `ipledger get pools`"
        raise Refused(Refusal("not_found", f"pool {name[:60]} does not exist", hint, "pool"))
    return pool


def _with_choices(
    stream: Stream,
    tenures: Sequence[Tenure],
    over: set[int],
    on_progress: Callable[[int], None] | None,
) -> list[Had]:
    grants: dict[int, Grant] = {}
    for tenure in tenures:
        grant = find_grant(stream, tenure.lease_id)
        assert grant is not None, "the history was folded from this stream"
        grants[tenure.lease_id] = grant
    chosen = choices(stream, grants.values(), on_progress)
    return [
        Had(
            tenure,
            tenure.ending if tenure.lease_id in over else None,
            grants[tenure.lease_id],
            chosen[tenure.lease_id],
        )
        for tenure in tenures
    ]


# ---------------------------------------------------------------------------------------- as JSON


def owner_view(told: OwnerTold, then: Then) -> Json:
    """An owner: what it holds and why, what it held last, what it would get."""
    gives = next((seen for seen in told.pools if seen.found.gives), None)
    address = None if gives is None or gives.address is None else format_address(gives.address)
    return {
        "owner": told.owner,
        "interface": told.interface,
        "known": told.known,
        "held": [_had_view(had) for had in told.held],
        "last_ended": None if told.last is None else _had_view(told.last),
        "would_get": address,
        "pools": [outlook_view(seen) for seen in told.pools],
        "at": format_ms(then.now_ms),
        "position": then.state.position,
    }


def _had_view(had: Had) -> Json:
    tenure, ending = had.tenure, had.ending
    record, choice = had.grant.record, had.choice
    return {
        "lease": tenure.lease_id,
        "address": format_address(tenure.address),
        "prefix_length": tenure.prefix_length,
        "pool": tenure.pool,
        "interface": tenure.interface,
        "uid": tenure.uid,
        "labels": dict(tenure.labels),
        "cluster": tenure.cluster,
        "from": format_ms(tenure.from_ms),
        "to": None if ending is None else format_ms(ending.to_ms),
        "granted": {
            "position": record.position,
            "time": format_ms(record.ms),
            "actor": record.sealed.actor,
            "reason": record.sealed.reason,
            "command": record.header.command.hex(),
            "command_id": record.sealed.command_id,
        },
        "chosen": {
            "how": choice.how.value,
            "text": choice.text,
            "decided_at": choice.decided_at,
            "seed": had.grant.event.seed,
            "supersedes": had.grant.event.supersedes,
            "source": had.grant.event.source,
        },
        "ended": None if ending is None else {
            "position": ending.position,
            "time": time_or_none(ending.recorded_ms),
            "actor": ending.actor,
            "reason": ending.reason,
            "how": ending.how,
        },
    }  # fmt: skip
