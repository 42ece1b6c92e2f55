"""Deciding about the space itself: its format level, what that allows, and its durability."""

from __future__ import annotations

from engine import events as ev
from engine import tags
from engine.commands import Claim, Raise, SetDurability
from engine.draft import UNSALTED, Change, Decision, Draft, Nothing
from engine.errors import Refusal
from engine.facts import Facts


def decide_raise(facts: Facts, command: Raise, claim: Claim) -> Decision:
    """The space gets the level, if this release knows it; a level is never lowered."""
    if not facts.level <= command.level <= ev.LEVEL:
        message = f"format level {command.level} is not from {facts.level} to {ev.LEVEL}"
        return Refusal("invalid", message, "a level is only ever raised", "level")
    if command.level == facts.level:
        return Nothing()
    sealed = ev.Sealed(
        UNSALTED, actor=claim.actor, reason=claim.reason, command_id=claim.command_id
    )
    return Draft((Change(ev.LevelRaised(command.level), sealed),), (tags.SPACE,))


def decide_durability(facts: Facts, command: SetDurability, claim: Claim) -> Decision:
    """The space promises this of its answers, if its level allows to say so."""
    if command.durability == facts.durability:
        return Nothing()
    if refusal := needs_level(facts, ev.DURABILITY_LEVEL, "durability of its own"):
        return refusal
    sealed = ev.Sealed(
        UNSALTED, actor=claim.actor, reason=claim.reason, command_id=claim.command_id
    )
    return Draft((Change(ev.DurabilitySet(*command.durability), sealed),), (tags.SPACE,))


def needs_level(facts: Facts, level: int, what: str) -> Refusal | None:
    """Why `what` cannot be written to the space yet, if its format level is too low."""
    if facts.level >= level:
        return None
    message = f"the space has format level {facts.level}, which knows no {what}"
    hint = "see that every reader has this release, then run `ipledger space raise`"
    return Refusal("forbidden", message, hint, "level")
