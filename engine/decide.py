"""One door to all decisions: `decide(facts, command, …)` is a draft, nothing, or a refusal."""

from __future__ import annotations

from engine.commands import (
    Allocate,
    AllocateTogether,
    Apply,
    Claim,
    Command,
    Delete,
    PutBack,
    Release,
    Renew,
    SetAside,
    Sweep,
)
from engine.decide_config import decide_apply, decide_delete
from engine.decide_leases import decide_allocate, decide_together
from engine.decide_release import decide_release
from engine.decide_time import decide_put_back, decide_renew, decide_set_aside, decide_sweep
from engine.draft import Decision
from engine.facts import Facts
from engine.placement import Placement


def decide(
    facts: Facts, command: Command, claim: Claim, placement: Placement, now_ms: int = 0
) -> Decision:
    """Decide `command` on the facts as of one position, without doing anything.

    `now_ms` is the server's time as the caller knows it; 0 lets nothing be due.
    """
    match command:
        case Allocate():
            return decide_allocate(facts, command, claim, placement, now_ms)
        case AllocateTogether():
            return decide_together(facts, command, claim, placement, now_ms)
        case Release():
            return decide_release(facts, command, claim, now_ms)
        case Apply():
            return decide_apply(facts, command, claim)
        case Delete():
            return decide_delete(facts, command, claim)
        case Renew():
            return decide_renew(facts, command, claim, now_ms)
        case Sweep():
            return decide_sweep(facts, command, claim, now_ms)
        case SetAside():
            return decide_set_aside(facts, command, claim)
        case PutBack():
            return decide_put_back(facts, command, claim)
