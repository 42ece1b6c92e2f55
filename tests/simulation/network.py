"""A server that many reach over a bad network: what it is told may be lost, late, or told twice.

The server is `MemoryStream`, whose verdicts are held to the script's by the parity tests.
Everything between it and a client goes wrong here, by the draw of a seeded source, and is counted
by its kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from random import Random
from typing import Final

from engine.entry import Anchor, RawEntry
from engine.errors import Unavailable, UnknownOutcome
from engine.memory_stream import MemoryStream
from engine.model import LOCAL, Durability
from engine.stream import Acknowledged, AppendReply, Head, NewEntry, Proposal, StoredEntry, Untimely
from engine.wire import decode_entry
from tests.simulation.schedule import Schedule

# How likely each fault is: of a request, or (those behind the line) of a turn of the world.
LIKELY: Final[dict[str, float]] = {
    "delay": 0.30,
    "reply lost": 0.04,
    "request lost": 0.04,
    "request late": 0.03,
    "request twice": 0.04,
    "refused": 0.03,
    "dropped while reading": 0.03,
    "script flushed": 0.02,
    # ----
    "crash": 0.05,
    "client clock jumps": 0.04,
    "server clock jumps": 0.04,
    "failover": 0.012,
    "entry deleted": 0.004,
}
_DELAY_MS: Final = 400
_CLIENT_TIMEOUT_MS: Final = 1_000


class World:
    """What all processes share: the schedule, the server, and which faults there are."""

    def __init__(self, seed: int, without: frozenset[str] = frozenset()) -> None:
        self.random = Random(f"faults {seed}")  # noqa: S311 - the same on every run
        self.schedule = Schedule(Random(f"turns {seed}"), 1_700_000_000_000)  # noqa: S311
        self.server_ahead_ms = 0
        self.server = MemoryStream(lambda: self.schedule.now_ms + self.server_ahead_ms)
        self.without = without
        self.happened: Counter[str] = Counter()
        self.calm = False  # at the end nothing goes wrong any more
        # Commands that arrive a second time, and that a clock and not a tag may have refused
        # before: they may land when nobody asks for them any more.
        self.early: set[bytes] = set()
        self._ghosts = 0

    def happens(self, fault: str, more: float = 1.0) -> bool:
        """Whether a fault strikes now. The draw is made also for those that are left out."""
        drawn = self.random.random() < LIKELY[fault] * more
        if not drawn or self.calm or fault in self.without:
            return False
        self.happened[fault] += 1
        return True

    def later(self, append: tuple[Anchor, int, int, Sequence[Proposal], Durability]) -> None:
        """A request arrives when nobody waits for its answer any more."""
        self._ghosts += 1
        self.early |= {_key(proposal) for proposal in append[3] if proposal.not_before_ms}
        wait_ms = self.random.randrange(3 * _CLIENT_TIMEOUT_MS)

        def arrive() -> None:
            self.schedule.pause(wait_ms)
            self.server.append(*append)

        self.schedule.spawn(f"late request {self._ghosts}", arrive)


def _key(proposal: Proposal) -> bytes:
    """The command that a proposal is of."""
    return decode_entry(RawEntry(0, 1, *proposal.entries[0])).header.command


class Link:
    """One client's connection to the server: `engine.stream.Stream` over a bad network."""

    def __init__(self, world: World) -> None:
        self._world = world

    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:  # fmt: skip
        """As the server's, if the request arrives, and its answer does."""
        world, request = self._world, (after, voided, now_ms, tuple(proposals), wanted)
        self._travel()
        if world.happens("refused"):
            message = "connection refused"
            raise Unavailable(message)
        if world.happens("request lost"):
            self._time_out()
        if world.happens("request late"):
            world.later(request)
            self._time_out()
        if world.happens("script flushed"):
            self._travel()  # "no such script" comes back, and the request goes out once more
        reply = world.server.append(*request)
        if world.happens("request twice"):
            world.later(request)
            self._note_early(request[3], reply)
        self._travel()
        if world.happens("reply lost"):
            self._time_out()
        return reply

    def _note_early(self, proposals: Sequence[Proposal], reply: AppendReply) -> None:
        for at, proposal in enumerate(proposals):
            if reply.status == "clock" or (
                reply.status == "ok" and isinstance(reply.verdicts[at], Untimely)
            ):
                self._world.early.add(_key(proposal))

    def _travel(self) -> None:
        slow = self._world.happens("delay")
        self._world.schedule.pause(self._world.random.randrange(_DELAY_MS) if slow else 0)

    def _time_out(self) -> None:
        self._world.schedule.pause(_CLIENT_TIMEOUT_MS)
        message = "no reply"
        raise UnknownOutcome(message)

    def _asks(self) -> None:
        """A question may be asked again, so that all that can happen is that it fails."""
        self._travel()
        if self._world.happens("dropped while reading"):
            message = "connection dropped"
            raise Unavailable(message)

    def acknowledge(self, through: Anchor, wanted: Durability) -> Acknowledged:
        """See `Stream.acknowledge`."""
        self._asks()
        return self._world.server.acknowledge(through, wanted)

    def head(self) -> Head:
        """See `Stream.head`."""
        self._asks()
        return self._world.server.head()

    def read(self, after_ms: int, after_position: int, entries_max: int) -> list[RawEntry]:
        """See `Stream.read`."""
        self._asks()
        return self._world.server.read(after_ms, after_position, entries_max)

    def read_from(self, ms: int, entries_max: int) -> list[RawEntry]:
        """See `Stream.read_from`."""
        self._asks()
        return self._world.server.read_from(ms, entries_max)

    def wait(self, after_ms: int, after_position: int, block_ms: int) -> list[RawEntry]:
        """See `Stream.wait`."""
        self._world.schedule.pause(block_ms)
        return self._world.server.wait(after_ms, after_position, 0)

    def dump(
        self, after_ms: int, after_position: int, entries_max: int | None = None
    ) -> list[StoredEntry]:
        """See `Stream.dump`."""
        return self._world.server.dump(after_ms, after_position, entries_max)

    def restore(
        self, keep: Anchor, head: Head, void_through: int, now_ms: int, entry: NewEntry, *,
        promote: bool = False,
    ) -> None:  # fmt: skip
        """See `Stream.restore`: what an operator does, over a line that holds."""
        self._world.server.restore(keep, head, void_through, now_ms, entry, promote=promote)

    def close(self) -> None:
        """See `Stream.close`."""
