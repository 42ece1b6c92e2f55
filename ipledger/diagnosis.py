"""Looking at a stream that may be damaged: what is sound, what is not, and the way home."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import NamedTuple

from engine.entry import ORIGIN, Anchor, Commit, Header
from engine.errors import IntegrityError, LedgerError, Refusal, Refused
from engine.events import HistoryRestored, Sealed
from engine.model import LOCAL, Durability
from engine.names import check_text
from engine.reading import Continuity, HighWater
from engine.stream import Head, NewEntry, StoredEntry, Stream
from engine.wire import encode_commit, encode_entry
from ipledger.clock import SYSTEM_CLOCK, Clock
from projections.digest import state_digest
from projections.state import LedgerState
from replay.compare import entries_of


class Diagnosis(NamedTuple):
    """What a stream holds that is sound, and what is wrong with it.

    ``kept`` is the last commit end before anything is wrong; ``trouble`` is what is wrong there,
    ``seen`` the highest position that this machine remembers.
    """

    head: Head
    kept: Anchor
    generation: int
    space_id: bytes | None
    digest: str
    trouble: LedgerError | None
    seen: int
    durability: Durability = LOCAL

    @property
    def void_through_least(self) -> int:
        """The lowest position through which an acceptance must void."""
        # An entry of another program may have no position of ours.
        return max(self.head.position, self.seen, self.kept.position)


def diagnose(stream: Stream, remembered: HighWater | None) -> Diagnosis:
    """Walk the whole stream and check everything that a reader checks.

    Raises:
        Unavailable: the stream cannot be read.
    """
    head = stream.head()
    continuity = Continuity()
    state = LedgerState()
    kept, generation = ORIGIN, 0
    trouble: LedgerError | None = None
    try:
        for raw in entries_of(stream):
            state.apply(continuity.admit(raw))
            if continuity.at_commit_end:
                kept, generation = continuity.anchor, continuity.generation
        continuity.end(head)
    except IntegrityError as error:
        trouble = error
    if trouble is None:
        trouble = _compare(stream, remembered, head)
    space_id = None if continuity.space is None else continuity.space.space_id
    digest = state_digest(state) if trouble is None else ""
    seen = 0 if remembered is None else remembered.position
    promised = state.durability
    return Diagnosis(head, kept, generation, space_id, digest, trouble, seen, promised)


def _compare(stream: Stream, remembered: HighWater | None, head: Head) -> LedgerError | None:
    """What a sound stream lacks of what this machine has seen of it."""
    if remembered is None:
        return None
    continuity = Continuity(remembered)
    try:
        for raw in entries_of(stream):
            continuity.admit(raw)
        continuity.end(head)
    except IntegrityError as error:
        return error
    return None


def accept_rollback(
    stream: Stream,
    found: Diagnosis,
    *,
    void_through: int,
    actor: str | None,
    reason: str,
    save_to: Path,
    clock: Clock = SYSTEM_CLOCK,
) -> int:
    """Accept what is sound as the whole history; return how many entries were set aside.

    Positions behind it, up to `void_through`, are void for ever: no position and no lease id will
    mean two things. Entries that stand behind what is kept are saved to a file first.

    Raises:
        Refused: nothing is wrong, nothing can be kept, or `void_through` is too low.
        InvalidInput: the actor or the reason is no text.
        LedgerError: the stream cannot be read or written, or changed meanwhile.
    """
    _check_acceptable(found, void_through)
    entry = _restoration(found, void_through, actor, reason, clock)
    aside = stream.dump(found.kept.ms, found.kept.position)
    if aside:
        save_aside(aside, save_to)
    stream.restore(found.kept, found.head, void_through, clock.now_ms(), entry)
    return len(aside)


def promote(
    stream: Stream,
    found: Diagnosis,
    *,
    void_through: int,
    actor: str | None,
    reason: str,
    clock: Clock = SYSTEM_CLOCK,
) -> None:
    """Make a sound mirror the space itself: from now on it is written to.

    What its source had beyond it, up to `void_through`, is void for ever, as in any history that
    is accepted shorter than it was: who knows one of these entries notices.

    Raises:
        Refused: the mirror is empty, or `void_through` is too low.
        InvalidInput: the actor or the reason is no text.
        IntegrityError: the mirror is not sound, or changed meanwhile.
        LedgerError: it cannot be read or written.
    """
    if found.trouble is not None:
        found.trouble.hint = (
            f"what is sound ends at position {found.kept.position}: if that must do, delete the "
            "mirror's marker yourself (DEL ipledger:{NAME}:mirror) and run `ipledger doctor` on it"
        )
        raise found.trouble
    if found.kept == ORIGIN:
        raise Refused(Refusal("not_found", "there is nothing to promote: the mirror is empty"))
    _check_void_through(found, void_through)
    entry = _restoration(found, void_through, actor, reason, clock)
    now_ms = clock.now_ms()
    stream.restore(found.kept, found.head, void_through, now_ms, entry, promote=True)


def _restoration(
    found: Diagnosis, void_through: int, actor: str | None, reason: str, clock: Clock
) -> NewEntry:
    """The entry that says which positions are void."""
    generation = found.generation + 1
    event = HistoryRestored(found.kept.position, void_through, generation)
    who = None if actor is None else check_text(actor, "actor")
    sealed = Sealed(clock.random_bytes(16), actor=who, reason=check_text(reason, "reason"))
    e, s, t = encode_entry(event, sealed, Header(clock.random_bytes(16)))
    commit = Commit(clock.random_bytes(8), 0, 1, generation, found.kept.position, bytes(16))
    return NewEntry(e, s, t, encode_commit(commit, e, s)[1])


def _check_acceptable(found: Diagnosis, void_through: int) -> None:
    if found.trouble is None:
        raise Refused(Refusal("invalid", "nothing is wrong: there is nothing to accept"))
    if found.kept == ORIGIN:
        hint = (
            "restore a backup or a mirror; to start over, delete the key yourself and run "
            "`ipledger space forget NAME`"
        )
        raise Refused(Refusal("integrity", "the beginning is gone: nothing can be kept", hint))
    _check_void_through(found, void_through)


def _check_void_through(found: Diagnosis, void_through: int) -> None:
    least = found.void_through_least
    if void_through < least:
        message = f"positions up to {least} were in use; voiding through {void_through} is too low"
        hint = f"--void-through {least}, or higher if another client has seen more"
        raise Refused(Refusal("invalid", message, hint, "void-through"))


def save_aside(entries: list[StoredEntry], path: Path) -> None:
    """Keep entries that will be removed: JSON lines of the id and the fields, in hex."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as handle:
        for entry_id, fields in entries:
            line = {"id": entry_id, "fields": [field.hex() for field in fields]}
            handle.write(json.dumps(line) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
