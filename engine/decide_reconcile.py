"""Deciding what an observation of the network changes: what is missing is told, then it ends.

Telling and ending are never in one commit: what ends was told to be missing in an earlier one, so
that its end can name that event as its cause, and anybody who has seen the lease meanwhile stops
it. A series goes on until there is nothing more to tell and nothing more to end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from engine import events as ev
from engine.commands import Claim, Reconcile
from engine.comparing import Compared, compare, scope_of
from engine.decide_space import needs_level
from engine.draft import UNSALTED, Change, Decision, Draft, Nothing
from engine.endings import Ends, ending, ending_reads
from engine.errors import Refusal
from engine.facts import Facts, Lease
from engine.lasting import alive_ms
from engine.names import TEXT_BYTES_MAX
from engine.observation import Absence, missed
from engine.time_text import time_text

# What was in use longer ago says little about now.
AGE_S_MAX: Final = 3_600
# A file's time and the server's clock may differ by so much; it is waited for.
_AHEAD_MS_MAX: Final = 1_000
# A series is of commits of at most this many events, so that others get their turn.
OBSERVED_MAX: Final = 1_000
_OBSERVING_LEVEL: Final = 2  # since when what is missing can be told


def decide_reconcile(facts: Facts, command: Reconcile, claim: Claim, now_ms: int) -> Decision:
    """Tell which leases are missing, or are back; then end those that were missing often enough."""
    if refusal := _check(facts, command, now_ms):
        return refusal
    found = compare(facts, command.observed, scope_of(command))
    if refusal := suspicious(command, found):
        return refusal
    told = _tell(facts, command, claim, found)
    changes = told if told.changes else _end(facts, command, claim, found)
    if not changes.changes:
        return Nothing()
    too_low = needs_level(facts, _OBSERVING_LEVEL, "observations")
    if refusal := too_low or _too_old(command, now_ms):
        return refusal
    return Draft(tuple(changes.changes), tuple(changes.reads), command.observed.observed_at_ms)


def _check(facts: Facts, command: Reconcile, now_ms: int) -> Refusal | None:
    observed_at_ms = command.observed.observed_at_ms
    if observed_at_ms > now_ms + _AHEAD_MS_MAX or observed_at_ms < 0:
        ahead_s = (observed_at_ms - now_ms) / 1_000
        message = f"the observation was made {ahead_s:.3f} s in the future"
        if observed_at_ms < 0:
            message = "the observation was made before 1970"
        return Refusal("invalid", message, "say when it was made: --observed-at", "observed_at")
    if command.release_after is not None and command.release_after < 1:
        message = f"{command.release_after} observations are too few to release after"
        return Refusal("invalid", message, "give at least 1", "release_after")
    for name in command.pools:
        if facts.pool(name) is None:
            hint = "see `ipledger get pools`"
            return Refusal("not_found", f"pool {name} does not exist", hint, "pool")
    return None


def _too_old(command: Reconcile, now_ms: int) -> Refusal | None:
    """Why an observation says nothing any more.

    That a lease is in use costs no event, so nobody knows what was seen after an old observation.
    """
    age_s = (now_ms - command.observed.observed_at_ms) // 1_000
    if age_s <= AGE_S_MAX:
        return None
    message = f"the observation is {age_s} s old, and {AGE_S_MAX} s at most are believed"
    return Refusal("forbidden", f"{message}; nothing was written", "look again", "observed_at")


def suspicious(command: Reconcile, found: Compared) -> Refusal | None:
    """Why an observation is not believed: it is empty, or lacks most of what it should have."""
    if command.accept_many_missing:
        return None
    missing = len(found.missing)
    if not command.observed.users:
        message = "the observation is empty: nothing is in use, or whoever looked has failed"
    elif 2 * missing > found.expected:
        message = f"{missing} of {found.expected} leases are missing in the observation"
    else:
        return None
    hint = "if that is so, say --accept-many-missing; if it is of one pool or cluster, say which"
    return Refusal("forbidden", f"{message}; nothing was written", hint, "observed")


def _tell(facts: Facts, command: Reconcile, claim: Claim, found: Compared) -> Ends:
    """What this observation adds to what is known of the leases."""
    told = Ends(OBSERVED_MAX)
    at_ms = command.observed.observed_at_ms
    news = [(lease, False) for lease in found.missing if _is_news(facts, lease, at_ms)]
    news += [(lease, True) for lease in found.present if _is_back(facts, lease, at_ms)]
    for lease, present in news:
        event = ev.LeaseObserved(
            lease.lease_id, lease.pool_id, lease.address, lease.prefix_length, lease.interface,
            command.observation, present,
        )  # fmt: skip
        sealed = ev.Sealed(
            UNSALTED, lease.owner, lease.uid, lease.labels,
            claim.actor, claim.reason, claim.command_id, command.evidence,
        )  # fmt: skip
        if not told.add([Change(event, sealed, lease.lease_id, at_ms)], ending_reads(lease)):
            break
    return told


def _is_news(facts: Facts, lease: Lease, at_ms: int) -> bool:
    """Whether a lease was not yet missing, seen or renewed at a later time than `at_ms`."""
    absence = facts.absence_of(lease.lease_id)
    return alive_ms(lease) < at_ms and (absence is None or absence.last_ms < at_ms)


def _is_back(facts: Facts, lease: Lease, at_ms: int) -> bool:
    """Whether a lease was missing before it was seen now."""
    absence = facts.absence_of(lease.lease_id)
    return absence is not None and absence.times > 0 and absence.since_ms < at_ms


def _end(facts: Facts, command: Reconcile, claim: Claim, found: Compared) -> Ends:
    """End what this observation was the last of enough to miss."""
    ended = Ends(OBSERVED_MAX)
    if command.release_after is None:
        return ended
    for lease in found.missing:
        absence = facts.absence_of(lease.lease_id)
        if absence is None or not _is_enough(command, lease, absence):
            continue
        why = claim._replace(reason=_evidence(command, claim, absence))
        changes = ending(facts, lease, "revoked", why, cause=absence.position)
        if not ended.add(changes, ending_reads(lease)):
            break
    return ended


def _is_enough(command: Reconcile, lease: Lease, absence: Absence) -> bool:
    """Whether a lease was missing often and long enough, this observation being the last."""
    at_ms, grace_ms = command.observed.observed_at_ms, command.grace_s * 1_000
    return (
        command.release_after is not None
        and absence.observation == command.observation
        and absence.times >= command.release_after
        and at_ms - absence.since_ms >= grace_ms
        and at_ms - lease.granted_at_ms >= grace_ms
    )


class Foreseen(NamedTuple):
    """A missing lease as it would be if all that an observation tells were told.

    ``is_news`` if it tells something of this lease; ``ends`` if the lease would end then.
    """

    lease: Lease
    absence: Absence | None
    is_news: bool
    ends: bool


def foreseen(facts: Facts, command: Reconcile, found: Compared) -> Iterator[Foreseen]:
    """What carrying out a command would come to, of each lease that is missing."""
    at_ms = command.observed.observed_at_ms
    for lease in found.missing:
        absence, news = facts.absence_of(lease.lease_id), _is_news(facts, lease, at_ms)
        if news:
            absence = missed(absence, command.observation, at_ms, 0)
        ends = absence is not None and _is_enough(command, lease, absence)
        yield Foreseen(lease, absence, news, ends)


def _evidence(command: Reconcile, claim: Claim, absence: Absence) -> str:
    """Why a lease ended: how often and since when it was missing, and who says so."""
    times = "1 observation" if absence.times == 1 else f"{absence.times} observations"
    text = f"missing in {times} since {time_text(absence.since_ms)}, last in {command.evidence}"
    whole = text if claim.reason is None else f"{claim.reason}: {text}"
    return whole if len(whole.encode()) <= TEXT_BYTES_MAX else text
