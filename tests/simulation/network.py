"""Servers that many reach over a bad network: what they are told may be lost, late, or told twice.

A server is `MemoryStream`, whose verdicts are held to the script's by the parity tests.
Everything between it and a client goes wrong here, by the draw of a seeded source, and is counted
by its kind.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Final, NoReturn

from engine import events as ev
from engine.entry import Anchor, RawEntry, Record
from engine.errors import LedgerError, Unavailable, UnknownOutcome
from engine.memory_stream import MemoryStream
from engine.mirroring import CopyStatus, Marker
from engine.model import ENDINGS, LOCAL, Durability
from engine.stream import (
    Acknowledged,
    AppendReply,
    AppendsWhenFetched,
    Conflict,
    Head,
    NewEntry,
    Proposal,
    StoredEntry,
    Untimely,
)
from engine.wire import decode_entry
from tests.simulation.log import decoded, ends_inside
from tests.simulation.schedule import Schedule

# How likely each fault is: of a request, or (those behind the line) of a turn of the world.
LIKELY: Final[dict[str, float]] = {
    "delay": 0.25,
    "reply lost": 0.04,
    "request lost": 0.04,
    "request late": 0.03,
    "request twice": 0.04,
    "dropped in a batch": 0.04,
    "refused": 0.03,
    "dropped while reading": 0.03,
    "script flushed": 0.02,
    # ----
    "crash": 0.05,
    "client clock jumps": 0.04,
    "server clock jumps": 0.04,
    "failover": 0.012,
    "mirror promoted": 0.008,
    "entry deleted": 0.005,
    "cursor taken over": 0.02,
}
_DELAY_MS: Final = 400
_SEEKS_SEEN: Final = 0.1
_CLIENT_TIMEOUT_MS: Final = 1_000
# A writer is BEHIND after this many entries, so that short histories show it, too.
TAIL_MAX: Final = 12
_NOWHERE: Final = 1 << 40  # behind whatever a proposal was decided on


class World:
    """What all processes share: the schedule, the server, and which faults there are."""

    def __init__(self, seed: int, without: frozenset[str] = frozenset()) -> None:
        self.random = Random(f"faults {seed}")  # noqa: S311 - the same on every run
        self.schedule = Schedule(Random(f"turns {seed}"), 1_700_000_000_000)  # noqa: S311
        self.server_ahead_ms = 0
        self.server = MemoryStream(self.server_now_ms, tail_max=TAIL_MAX)
        self.without = without
        self.happened: Counter[str] = Counter()
        self.calm = False  # at the end nothing goes wrong any more
        # Commands that arrive a second time, and that a clock and not a tag may have refused
        # before: they may land when nobody asks for them any more.
        self.early: set[bytes] = set()
        self.sent = 0  # requests, in the order in which they were sent
        self.arrived = 0  # the latest of those that were received
        self.under_way = 0  # what will still happen, although no client waits for it

    def server_now_ms(self) -> int:
        """What the servers take for the time."""
        return self.schedule.now_ms + self.server_ahead_ms

    def happens(self, fault: str) -> bool:
        """Whether a fault strikes now. The draw is made also for those that are left out."""
        drawn = self.random.random() < LIKELY[fault]
        if not drawn or self.calm or fault in self.without:
            return False
        self.happened[fault] += 1
        return True

    def later(self, arrives: Callable[[], object]) -> None:
        """A request arrives when nobody waits for its answer any more."""
        wait_ms = self.random.randrange(3 * _CLIENT_TIMEOUT_MS)

        def arrive() -> None:
            self.schedule.pause(wait_ms)
            arrives()

        self.aside("late request", arrive)

    def aside(self, name: str, body: Callable[[], None]) -> None:
        """Something happens that is no process of the cluster; nobody is done before it is."""
        self.under_way += 1

        def happen() -> None:
            body()
            self.under_way -= 1

        self.schedule.spawn(name, happen)


def _first_of(proposal: Proposal) -> Record:
    """What the first entry of a proposal will say, wherever it will stand."""
    return decode_entry(RawEntry(0, _NOWHERE, *proposal.entries[0]))


def command_of(proposal: Proposal) -> bytes:
    """The command that a proposal is of."""
    return _first_of(proposal).header.command


class Line:
    """One client's way to a server: so many milliseconds long, all the time, and unreliable."""

    def __init__(self, world: World, away_ms: int = 0) -> None:
        self.world = world
        self.away_ms = away_ms
        self.struck = 0  # requests that were lost, dropped, or too early by a clock
        self.late_ms = 0  # how much delays took, beside the way itself

    def travel(self) -> None:
        """A request, or an answer, is under way."""
        slow = self.world.happens("delay")
        late_ms = self.world.random.randrange(_DELAY_MS) if slow else 0
        self.late_ms += late_ms
        self.world.schedule.pause(self.away_ms + late_ms)

    def asks(self) -> None:
        """A question may be asked again, so that all that can happen is that it fails."""
        self.travel()
        if self.world.happens("dropped while reading"):
            self.fail(Unavailable("connection dropped"))

    def time_out(self) -> NoReturn:
        """No answer comes."""
        self.world.schedule.pause(_CLIENT_TIMEOUT_MS)
        self.fail(UnknownOutcome("no reply"))

    def fail(self, error: LedgerError) -> NoReturn:
        """The client is told so."""
        self.struck += 1
        raise error


class Link(AppendsWhenFetched):
    """One client's connection to the server: `engine.stream.Stream` over a bad network."""

    def __init__(
        self, world: World, away_ms: int = 0, server: Callable[[], MemoryStream] | None = None
    ) -> None:
        """Reach the world's server, or another, from so far away."""
        self.line = Line(world, away_ms)
        self._world = world
        self._server = server or (lambda: world.server)

    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:  # fmt: skip
        """As the server's, if the request arrives, and its answer does."""
        world, line = self._world, self.line
        request = after, voided, now_ms, tuple(proposals), wanted
        world.sent += 1
        number = world.sent
        line.travel()
        if world.happens("refused"):
            line.fail(Unavailable("connection refused"))
        if world.happens("request lost"):
            line.time_out()
        if world.happens("request late"):
            world.early |= {command_of(each) for each in proposals if each.not_before_ms}
            world.later(lambda: world.server.append(*request))
            line.time_out()
        if world.happens("dropped in a batch"):
            if world.random.random() < 0.5:  # the script had come whole
                world.server.append(*request)
            line.fail(UnknownOutcome("connection dropped"))
        if world.happens("script flushed"):
            line.travel()  # "no such script" comes back, and the request goes out once more
        world.happened["reordered between clients"] += number < world.arrived
        world.arrived = max(world.arrived, number)
        reply = self._server().append(*request)
        self._note(request[3], reply)
        if world.happens("request twice"):
            self._note_early(request[3], reply)
            world.later(lambda: world.server.append(*request))
        line.travel()
        if world.happens("reply lost"):
            line.time_out()
        return reply

    def _note_early(self, proposals: Sequence[Proposal], reply: AppendReply) -> None:
        for at, proposal in enumerate(proposals):
            if reply.status == "clock" or (
                reply.status == "ok" and isinstance(reply.verdicts[at], Untimely)
            ):
                self._world.early.add(command_of(proposal))

    def _note(self, proposals: Sequence[Proposal], reply: AppendReply) -> None:
        """Count what the server said, where that is worth knowing."""
        happened = self._world.happened
        happened["writer is behind"] += reply.status == "behind"
        for proposal, verdict in zip(proposals, reply.verdicts, strict=False):
            if isinstance(verdict, Untimely):
                happened["proposal is too early"] += 1
                self.line.struck += 1
            if not isinstance(verdict, Conflict):
                continue
            happened["conflict"] += 1
            ours = _first_of(proposal).event
            there = self._server().entries
            at = verdict.position - (there[-1].position - len(there)) - 1
            if 0 <= at < len(there):  # it may be of the same batch
                raced = {_doing(ours), _doing(decoded(there[at]).event)}
                happened["expiry raced with a renewal"] += raced == {"expires", "renews"}

    def acknowledge(self, through: Anchor, wanted: Durability) -> Acknowledged:
        """See `Stream.acknowledge`."""
        self.line.asks()
        return self._server().acknowledge(through, wanted)

    def head(self) -> Head:
        """See `Stream.head`."""
        self.line.asks()
        return self._server().head()

    def read(self, after_ms: int, after_position: int, entries_max: int) -> list[RawEntry]:
        """See `Stream.read`."""
        self.line.asks()
        page = self._server().read(after_ms, after_position, entries_max)
        is_cut = len(page) == entries_max > 1 and ends_inside(page)
        self._world.happened["page ends inside a commit"] += is_cut
        return page

    def read_from(self, ms: int, entries_max: int) -> list[RawEntry]:
        """See `Stream.read_from`: asked forty times to find one place, which need not all fail."""
        if self._world.random.random() < _SEEKS_SEEN:
            self.line.asks()
        return self._server().read_from(ms, entries_max)

    def wait(self, after_ms: int, after_position: int, block_ms: int) -> list[RawEntry]:
        """See `Stream.wait`."""
        self._world.schedule.pause(block_ms)
        return self._server().wait(after_ms, after_position, 0)

    def dump(
        self, after_ms: int, after_position: int, entries_max: int | None = None
    ) -> list[StoredEntry]:
        """See `Stream.dump`."""
        return self._server().dump(after_ms, after_position, entries_max)

    def restore(
        self, keep: Anchor, head: Head, void_through: int, now_ms: int, entry: NewEntry, *,
        promote: bool = False,
    ) -> None:  # fmt: skip
        """See `Stream.restore`: what an operator does, over a line that holds."""
        self._server().restore(keep, head, void_through, now_ms, entry, promote=promote)

    def marker(self) -> Marker | None:
        """See `Target.marker`."""
        self.line.asks()
        return self._server().marker()

    def copy(
        self, after: Anchor, head: Head, marker: Marker, entries: Sequence[RawEntry]
    ) -> CopyStatus:
        """As the server's, if the request arrives, and its answer does."""
        world, line = self._world, self.line
        line.travel()
        if world.happens("request lost"):
            line.time_out()
        if world.happens("request late"):
            world.later(lambda: self._server().copy(after, head, marker, entries))
            line.time_out()
        status = self._server().copy(after, head, marker, entries)
        if world.happens("request twice"):
            world.later(lambda: self._server().copy(after, head, marker, entries))
        line.travel()
        if world.happens("reply lost"):
            line.time_out()
        return status

    def close(self) -> None:
        """See `Stream.close`."""


def _doing(event: ev.Event) -> str:
    if isinstance(event, ev.LeaseRenewed):
        return "renews"
    is_expiry = isinstance(event, ev.LeaseEnded) and ENDINGS[event.ended_by] == "expired"
    return "expires" if is_expiry else "other"
