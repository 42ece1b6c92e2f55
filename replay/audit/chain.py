"""How entries follow one another: positions, time, commits, commands, generations."""

from __future__ import annotations

from collections import deque
from hashlib import sha256
from typing import Any, Final, NamedTuple

from pyroaring import BitMap64

from engine import events as ev
from engine.entry import COMMIT_BYTES_MAX, COMMIT_EVENTS_MAX, Anchor, Commit, RawEntry, Record
from engine.reading import HighWater
from engine.wire import REGISTRY
from replay.audit.entries import Foreign
from replay.audit.texts import faulty_text
from replay.audit.world import World

WINDOW_POSITIONS: Final = 100_000
_STEP_BYTES: Final = 4
SINCE_LEVEL: Final[dict[type[Any], int]] = {
    cls: REGISTRY.since_level(cls) for cls in REGISTRY.classes
}


class Restoration(NamedTuple):
    """A restoration that was accepted: what it kept and voided, and who said so, and why."""

    position: int
    ms: int
    kept: int
    void_through: int
    actor: str | None
    reason: str | None


class Chain:
    """What was read so far, and therefore what must come next."""

    def __init__(self, world: World, remembered: HighWater | None) -> None:
        """Begin before the first entry; `remembered` is what this machine has seen."""
        self.position = 0
        self.ms = 0
        self.generation = 0
        self.commits = 0
        self.space: ev.SpaceCreated | None = None
        self.restorations: list[Restoration] = []
        self.begins = 0  # where the commit that is being read begins
        self.torn = False  # whether something of it is missing or cannot be read
        self._world = world
        self._breach = world.breach
        self._open: Record | None = None  # the last entry, if more of its commit must follow
        self._bytes = 0
        self._inner = BitMap64()  # positions that end no commit
        self._void: list[tuple[int, int]] = []
        self._commands: dict[bytes, int] = {}
        self._order: deque[tuple[int, bytes]] = deque()
        self._remembered = remembered
        self._seen: dict[int, Anchor] = {}
        if remembered is not None:
            self._seen = {anchor.position: anchor for anchor in remembered.anchors}

    @property
    def inside_commit(self) -> bool:
        """Whether the commit that is being read is not whole yet."""
        return self._open is not None

    def admit(self, raw: RawEntry | Foreign, record: Record | None) -> bool:
        """Check where an entry stands, readable or not; False if it has no place to stand."""
        position = raw.position
        self._compare(raw)
        if raw.ms < self.ms:
            says = f"it is {self.ms - raw.ms} ms older than the entry before it"
            self._breach("monotonic-time", position, says, self.position)
        self.ms = max(self.ms, raw.ms)
        if position <= self.position:
            # An entry of another program may have no position at all.
            if isinstance(raw, RawEntry):
                says = f"it does not follow position {self.position}, behind which it stands"
                self._breach("gapless", position, says, self.position)
            return False
        if record is not None and isinstance(record.event, ev.HistoryRestored):
            self._restore(record, record.event)
        elif position != self.position + 1:
            self.miss(position - 1)
        if record is None or isinstance(raw, Foreign):
            self._lose(position, position)
        else:
            self._commit(raw, record)
            self._about(record)
        self.position = position
        return record is not None

    def miss(self, through: int) -> None:
        """Positions up to this one are missing."""
        first = self.position + 1
        shown = f"position {first} is" if first == through else f"positions {first}-{through} are"
        self._breach("gapless", first, f"{shown} missing", self.position or None)
        self._lose(first, through)

    def _lose(self, first: int, last: int) -> None:
        """Nobody knows what stood there: what follows from it cannot be judged."""
        self._world.unseen.append((first, last))
        self._world.findings.cannot_see(first)
        self._open = None
        self.torn = True

    def end(self, *, whole: bool) -> None:
        """Check that the history may end here; `whole` if it was read to its very end."""
        if self._open is not None:
            says = f"the history ends inside the commit that begins at position {self.begins}"
            self._breach("commit-whole", self._open.position, says, self.begins)
        # What is missing in a hole has been told.
        left = [at for at in self._seen if not self._world.is_unseen(at)]
        if not whole or not left:
            return
        last = max(left)
        if last > self.position:
            says = f"position {last} was seen on this machine; the stream ends at {self.position}"
        else:
            says = f"position {last} was seen on this machine, and is not there"
        self._breach("as-seen", self.position, says)

    def _compare(self, raw: RawEntry | Foreign) -> None:
        seen = self._seen.pop(raw.position, None)
        if seen is None:
            return
        if isinstance(raw, Foreign) or (seen.ms, seen.c) != (raw.ms, raw.c):
            self._breach("as-seen", raw.position, "it is not the entry that was seen there before")

    def _restore(self, record: Record, event: ev.HistoryRestored) -> None:
        position = record.position
        fits = (event.kept, event.void_through) == (self.position, position - 1)
        if not fits or event.generation != self.generation + 1 or self._open is not None:
            says = (
                f"it keeps {event.kept}, voids through {event.void_through} and begins generation "
                f"{event.generation}, after position {self.position} of generation "
                f"{self.generation}{' inside a commit' if self._open else ''}"
            )
            self._breach("restoration", position, says, self.position)
        elif not record.sealed.reason:
            self._breach("restoration", position, "it does not say why", self.position)
        if not fits and position > self.position + 1:
            self._lose(self.position + 1, position - 1)
        if event.void_through > event.kept:
            self._void.append((event.kept + 1, event.void_through))
        self.generation = event.generation
        sealed = record.sealed
        self.restorations.append(
            Restoration(position, record.ms, event.kept, event.void_through,
                        sealed.actor, sealed.reason)
        )  # fmt: skip

    def _commit(self, raw: RawEntry, record: Record) -> None:
        """Check that an entry goes on with a commit, or begins one behind a whole one."""
        commit, before = record.commit, self._open
        size = len(raw.e) + len(raw.s) + len(raw.t) + len(raw.c)
        follows = before is not None and _goes_on(before, record)
        if follows:
            self._bytes += size
        else:
            if before is not None:
                says = f"the commit that begins at position {self.begins} is not whole"
                self._breach("commit-whole", record.position, says, self.begins, before.position)
            elif commit.part != 0 and not self.torn:
                says = f"it is part {commit.part} of a commit whose beginning is not before it"
                self._breach("commit-whole", record.position, says, self.position)
            self.torn = before is not None or commit.part != 0
            self._bytes = size
            self.begins = record.position - (commit.part if self.torn else 0)
            self._begin(record)
        if commit.parts > COMMIT_EVENTS_MAX or self._bytes > COMMIT_BYTES_MAX:
            says = f"the commit that begins at position {self.begins} is larger than it may be"
            self._breach("commit-size", record.position, says, self.begins)
            self._bytes = 0
        if commit.ends_here:
            self._open = None
            self.commits += 1
        else:
            self._open = record
            self._inner.add(record.position)

    def _begin(self, record: Record) -> None:
        """Check what all entries of a commit share, at its first."""
        position, commit = record.position, record.commit
        if commit.generation != self.generation:
            says = f"it is of generation {commit.generation}, the history of {self.generation}"
            self._breach("generation", position, says)
        self._decided(record, commit)
        text = record.sealed.command_id
        if text is not None and sha256(text.encode()).digest()[:16] != record.header.command:
            says = "the id of its command is not the one that its key was made of"
            self._breach("command-id", position, says)
        if commit.part == 0:
            self._command(record)

    def _command(self, record: Record) -> None:
        position, header = record.position, record.header
        key = header.command + header.step.to_bytes(_STEP_BYTES)
        before = self._commands.get(key)
        if before is not None and position - before <= WINDOW_POSITIONS:
            says = f"its command was committed at position {before} before"
            self._breach("command-once", position, says, before)
        self._commands[key] = position
        self._order.append((position, key))
        while self._order[0][0] <= position - WINDOW_POSITIONS:
            at, old = self._order.popleft()
            if self._commands[old] == at:
                del self._commands[old]

    def _decided(self, record: Record, commit: Commit) -> None:
        at, position = commit.decided_at, record.position
        if at >= self.begins:
            says = f"it was decided on position {at}, which is not before it"
        elif at in self._inner:
            says = f"it was decided on position {at}, which ends no commit"
        elif any(first <= at <= last for first, last in self._void):
            says = f"it was decided on position {at}, which is void"
        else:
            return
        self._breach("decided-at", position, says, at or None)

    def _about(self, record: Record) -> None:
        """Check what any event says of itself."""
        position, header, event = record.position, record.header, record.event
        world = self._world
        if isinstance(event, ev.SpaceCreated) != (position == 1):
            self._breach("space", position, "position 1, and it alone, creates the space")
        if isinstance(event, ev.SpaceCreated):
            self._space(event)
        elif isinstance(event, ev.LevelRaised):
            if not world.level < event.level <= ev.LEVEL:
                says = f"the format level is {world.level}, and becomes {event.level}"
                self._breach("level", position, says)
            world.level = max(world.level, event.level)
        elif SINCE_LEVEL.get(type(event), 0) > world.level and self.space is not None:
            says = f"a {type(event).__name__} is of a later format level than {world.level}"
            self._breach("level", position, says)
        if header.cause is not None and header.cause >= position:
            says = f"its cause is position {header.cause}, which is not before it"
            self._breach("cause", position, says)
        if header.effective_at_ms is not None and header.effective_at_ms > record.ms:
            says = f"it is effective {header.effective_at_ms - record.ms} ms after it was recorded"
            self._breach("effective-at", position, says)
        fault = faulty_text(record)
        if fault is not None:
            self._breach("names", position, f"{fault} is not as it must be")

    def _space(self, event: ev.SpaceCreated) -> None:
        if event.level > ev.LEVEL:
            says = f"the space has format level {event.level}; this release knows {ev.LEVEL}"
            self._breach("level", 1, says)
        if self.space is None:
            self.space = event
            self._world.level = event.level
        if self._remembered is not None and event.space_id != self._remembered.space_id:
            known = self._remembered.space_id.hex()
            says = f"it is space {event.space_id.hex()}; the one that was seen before is {known}"
            self._breach("as-seen", 1, says)
            self._seen = {}


def _goes_on(before: Record, record: Record) -> bool:
    """Whether an entry is the next of the same commit."""
    mine, theirs = record.commit, before.commit
    return (
        mine.part == theirs.part + 1
        and mine.nonce == theirs.nonce
        and mine[2:6] == theirs[2:6]
        and record.ms == before.ms
        and record.header[:2] == before.header[:2]
    )
