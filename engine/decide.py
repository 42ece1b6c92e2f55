"""One door to all decisions: `decide(facts, command, …)` is a draft, nothing, or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from engine.commands import (
    Adopt,
    Allocate,
    AllocateTogether,
    Apply,
    Claim,
    Command,
    Delete,
    PutBack,
    Raise,
    Reconcile,
    Release,
    Renew,
    SetAside,
    SetDurability,
    Sweep,
    Undo,
)
from engine.decide_adopt import decide_adopt
from engine.decide_config import decide_apply, decide_delete
from engine.decide_leases import decide_allocate, decide_together
from engine.decide_reconcile import decide_reconcile
from engine.decide_release import decide_release
from engine.decide_space import decide_durability, decide_raise
from engine.decide_time import decide_put_back, decide_renew, decide_set_aside, decide_sweep
from engine.decide_undo import decide_undo
from engine.draft import Decision
from engine.facts import Facts
from engine.placement import Placement

# Who decides a command: what chooses addresses needs the batch's placement, what falls due the
# time. The table's key guarantees that each is given its own type of command.
_PLACING: Final[dict[type[Any], Callable[[Facts, Any, Claim, Placement, int], Decision]]] = {
    Allocate: decide_allocate,
    AllocateTogether: decide_together,
    Adopt: decide_adopt,
}
_TIMED: Final[dict[type[Any], Callable[[Facts, Any, Claim, int], Decision]]] = {
    Release: decide_release,
    Renew: decide_renew,
    Sweep: decide_sweep,
    Reconcile: decide_reconcile,
}
_PLAIN: Final[dict[type[Any], Callable[[Facts, Any, Claim], Decision]]] = {
    Apply: decide_apply,
    Delete: decide_delete,
    SetAside: decide_set_aside,
    PutBack: decide_put_back,
    Raise: decide_raise,
    SetDurability: decide_durability,
    Undo: decide_undo,
}


def decide(
    facts: Facts, command: Command, claim: Claim, placement: Placement, now_ms: int = 0
) -> Decision:
    """Decide `command` on the facts as of one position, without doing anything.

    `now_ms` is the server's time as the caller knows it; 0 lets nothing be due.
    """
    kind = type(command)
    placing = _PLACING.get(kind)
    if placing is not None:
        return placing(facts, command, claim, placement, now_ms)
    timed = _TIMED.get(kind)
    if timed is not None:
        return timed(facts, command, claim, now_ms)
    return _PLAIN[kind](facts, command, claim)
