"""Explaining as of now or of any moment: the state that is meant, and what it says."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from engine.addresses import Address, parse_address
from engine.errors import InvalidInput
from engine.explaining import Explanation, explain
from engine.names import check_interface, check_text
from engine.reasons import Found, Reason
from ipledger.times import parse_point
from projections.state import LedgerState
from replay.choices import find_grant

if TYPE_CHECKING:
    from engine.stream import Stream
    from ipledger.ledger import Ledger

_SHOWN = 60


class Then(NamedTuple):
    """The state as of a moment, and the time at which it is looked at."""

    state: LedgerState
    now_ms: int


def state_at(
    ledger: Ledger, at: str | None, on_progress: Callable[[int], None] | None = None
) -> Then:
    """The state as it is, or as it was at a position or a time.

    Args:
        ledger: the space.
        at: a position or a time, as `ipledger.times.parse_point` reads it; None for now.
        on_progress: told the position that was reached in folding the stream.

    Raises:
        InvalidInput: a position inside a commit or beyond the end; a time in the future, or
            before the first event.
        IntegrityError: the stream is not what it must be.
        Unavailable: it cannot be read.
    """
    ledger.refresh()
    now_ms = ledger.writer.server_now_ms()
    if at is None:
        return Then(ledger.state, max(now_ms, ledger.state.ms))
    from ipledger.moments import find_moment
    from replay.rebuild import rebuild

    stream = ledger.writer.stream
    point = parse_point(at, now_ms)
    moment = find_moment(stream, point, now_ms)
    state = rebuild(stream, to=moment, on_progress=on_progress).state
    return Then(state, moment.ms if point.ms is None else point.ms)


def read_address(text: str) -> Address:
    """One address from words.

    Raises:
        InvalidInput: it is none, or a block.
    """
    if "/" in text:
        shown = text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
        hint = "name one address of it; `ipledger history subnet` tells who held any of it"
        raise InvalidInput(f"{shown!r} is a block; one address is explained at a time", hint)
    return parse_address(text)


def explain_at(
    stream: Stream, then: Then, address: Address, owner: str | None, interface: str
) -> Explanation:
    """Tell all rules that speak about an address; see `Ledger.explain`."""
    if owner is not None:
        check_text(owner, "owner")
    state, now_ms = then
    told = explain(
        state, address, now_ms=now_ms, position=state.position, owner=owner,
        interface=check_interface(interface),
    )  # fmt: skip
    # The state knows only the number of a lease that has ended.
    reasons = tuple(_with_last_holder(stream, found) for found in told.reasons)
    decides = reasons[told.reasons.index(told.verdict.decides)]
    return told._replace(reasons=reasons, verdict=told.verdict._replace(decides=decides))


def _with_last_holder(stream: Stream, found: Found) -> Found:
    if found.reason not in {Reason.COOLING, Reason.QUARANTINED} or found.lease is None:
        return found
    grant = find_grant(stream, found.lease)
    if grant is None:
        return found
    holder = grant.record.sealed.owner
    return found._replace(owner=holder, text=f"{found.text} of {holder}")
