"""Looking at a stream that may be damaged: what is sound, what is not, and the way home."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import NamedTuple

from engine.entry import ORIGIN, Anchor, Commit, Header, RawEntry
from engine.errors import IntegrityError, LedgerError, Refusal, Refused
from engine.events import HistoryRestored, Sealed
from engine.reading import Continuity, HighWater
from engine.stream import PAGE_ENTRIES, Head, NewEntry, Stream
from engine.wire import check_of, encode_commit, encode_entry
from projections.digest import state_digest
from projections.state import LedgerState


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

    @property
    def void_through_least(self) -> int:
        """The lowest position through which an acceptance must void."""
        return max(self.head.position, self.seen)


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
        while True:
            page = stream.read(continuity.anchor.ms, continuity.anchor.position, PAGE_ENTRIES)
            for raw in page:
                state.apply(continuity.admit(raw))
                if continuity.at_commit_end:
                    kept, generation = continuity.anchor, continuity.generation
            if not page:
                break
        continuity.end(head)
    except IntegrityError as error:
        trouble = error
    if trouble is None:
        trouble = _compare(stream, remembered, head)
    space_id = None if continuity.space is None else continuity.space.space_id
    digest = state_digest(state) if trouble is None else ""
    seen = 0 if remembered is None else remembered.position
    return Diagnosis(head, kept, generation, space_id, digest, trouble, seen)


def _compare(stream: Stream, remembered: HighWater | None, head: Head) -> LedgerError | None:
    """What a sound stream lacks of what this machine has seen of it."""
    if remembered is None:
        return None
    continuity = Continuity(remembered)
    try:
        while page := stream.read(continuity.anchor.ms, continuity.anchor.position, PAGE_ENTRIES):
            for raw in page:
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
) -> int:
    """Accept what is sound as the whole history; return how many entries were set aside.

    Positions behind it, up to `void_through`, are void for ever: no position and no lease id will
    mean two things. Entries that stand behind what is kept are saved to a file first.

    Raises:
        Refused: nothing is wrong, nothing can be kept, or `void_through` is too low.
        LedgerError: the stream cannot be read or written, or changed meanwhile.
    """
    _check_acceptable(found, void_through)
    aside = _entries_behind(stream, found.kept)
    if aside:
        _save(aside, save_to)
    generation = found.generation + 1
    event = HistoryRestored(found.kept.position, void_through, generation)
    sealed = Sealed(os.urandom(16), actor=actor, reason=reason)
    e, s, t = encode_entry(event, sealed, Header(os.urandom(16)))
    c = encode_commit(Commit(os.urandom(8), 0, 1, generation, bytes(16), check_of(e, s)))
    now_ms = time.time_ns() // 1_000_000
    stream.restore(found.kept, found.head, void_through, now_ms, NewEntry(e, s, t, c))
    return len(aside)


def _check_acceptable(found: Diagnosis, void_through: int) -> None:
    if found.trouble is None:
        raise Refused(Refusal("invalid", "nothing is wrong: there is nothing to accept"))
    if found.kept == ORIGIN:
        hint = (
            "restore a backup or a mirror; to start over, delete the key yourself and run "
            "`ipledger space forget NAME`"
        )
        raise Refused(Refusal("integrity", "the beginning is gone: nothing can be kept", hint))
    least = found.void_through_least
    if void_through < least:
        message = f"positions up to {least} were in use; voiding through {void_through} is too low"
        hint = f"--void-through {least}, or higher if another client has seen more"
        raise Refused(Refusal("invalid", message, hint, "void-through"))


def _entries_behind(stream: Stream, kept: Anchor) -> list[RawEntry]:
    """What stands behind the last entry that is kept, as it is, damage and all."""
    found: list[RawEntry] = []
    ms, position = kept.ms, kept.position
    while page := stream.read(ms, position, PAGE_ENTRIES):
        found += page
        ms, position = page[-1].ms, page[-1].position
    return found


def _save(entries: list[RawEntry], path: Path) -> None:
    """Keep entries that will be removed: JSON lines with the id and the four fields in hex."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as handle:
        for raw in entries:
            fields = {name: getattr(raw, name).hex() for name in ("e", "s", "t", "c")}
            handle.write(json.dumps({"id": raw.entry_id, **fields}) + "\n")
        handle.flush()
        os.fsync(handle.fileno())
