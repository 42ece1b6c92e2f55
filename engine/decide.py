"""One door to all decisions: `decide(facts, command, …)` is a draft, nothing, or a refusal."""

from __future__ import annotations

from engine.commands import Allocate, Apply, Claim, Command, Delete, Release
from engine.decide_config import decide_apply, decide_delete
from engine.decide_leases import decide_allocate, decide_release
from engine.draft import Decision
from engine.facts import Facts
from engine.placement import Placement


def decide(facts: Facts, command: Command, claim: Claim, placement: Placement) -> Decision:
    """Decide `command` on the facts as of one position, without doing anything."""
    match command:
        case Allocate():
            return decide_allocate(facts, command, claim, placement)
        case Release():
            return decide_release(facts, command, claim)
        case Apply():
            return decide_apply(facts, command, claim)
        case Delete():
            return decide_delete(facts, command, claim)
