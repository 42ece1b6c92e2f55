"""The processes that only follow: consumers of either kind, and a mirror.

Each is the code as it is. It is killed at any step, and begins again with what is on its disk, or
on the server.
"""

from __future__ import annotations

from random import Random
from typing import Final, NamedTuple

from engine.entry import RawEntry
from engine.errors import IntegrityError, Refused, Unavailable, UnknownOutcome
from engine.memory_stream import MemoryStream
from engine.reading import Checkpoint
from ipledger.consuming import Consuming, Delivery
from ipledger.cursors import Cursor, RedisCursor, read_cursor
from ipledger.selection import Selection
from projections.starting import AtPosition
from replay.mirror import Ends, GivenUp, Mirror
from tests.simulation.clients import ProcessClock
from tests.simulation.cursors import CursorClient, CursorTable, Disk, InStep
from tests.simulation.network import TAIL_MAX, Line, Link, World
from tests.simulation.schedule import Crashed

_PAGE: Final = 5  # entries at a time, so that commits lie across two pages
_BLOCK_MS: Final = 1_000
_PAUSES: Final = 0.15  # how often a consumer takes its time
_MIRROR_PAUSE_MS: Final = 150


class Delivered(NamedTuple):
    """The wanted events of one commit, as a consumer was given them."""

    process: str
    life: int
    turn: int
    entries: tuple[RawEntry, ...]


class _Follower:
    """Goes on from what it has kept, whatever strikes it, until it is told to come to an end."""

    def __init__(self, world: World, name: str) -> None:
        self.name = name
        self.world = world
        self.stopped: IntegrityError | None = None
        self.refused: Refused | None = None
        self.done = False
        self.is_through = False  # it came to the end that it was told of
        self.life = 0
        self.random = Random(f"{name} {world.random.random()}")  # noqa: S311
        self.clock = ProcessClock(world, self.random)

    def live(self) -> None:
        """Until it has come to the end after it was told that there will be no more."""
        wait_ms = 0
        while self.stopped is None and self.refused is None and not self.is_through:
            last = self.done
            try:
                self.world.schedule.pause(wait_ms)
                wait_ms = 0
                self.follow(until_end=last)
                self.is_through = last
            except Crashed:
                self.life += 1
            except (Unavailable, UnknownOutcome):
                wait_ms = 200
            except Refused as error:
                self.refused = error
            except IntegrityError as error:
                self.on_stopped(error)

    def follow(self, *, until_end: bool) -> None:
        """Read on to the end, or until it is told to come to one."""
        raise NotImplementedError

    def on_stopped(self, error: IntegrityError) -> None:
        """The stream is not what it must be."""
        self.stopped = error


class ConsumerProcess(_Follower):
    """What is delivered goes into a journal, which outlives it."""

    def __init__(
        self, world: World, name: str, away_ms: int, journal: list[Delivered],
        wanted: Selection, table: CursorTable | None = None, save_every_s: float = 0,
    ) -> None:  # fmt: skip
        """Consume what is wanted; with its cursor in a `table`, else in one step with the journal.

        Another process of that `name` shares both.
        """
        super().__init__(world, name)
        self.wanted = wanted
        self.journal = journal
        self.disk = Disk()
        # Where it began again, and what the server had said before that it keeps.
        self.resumed: list[tuple[Checkpoint | None, Checkpoint | None]] = []
        self._away_ms = away_ms
        self._in_step = InStep()
        self._table = table
        self._save_every_s = save_every_s
        self._saved: Checkpoint | None = None

    @property
    def is_exactly_once(self) -> bool:
        """Whether its cursor is kept together with what it makes of the events."""
        return self._table is None

    @property
    def noted(self) -> Checkpoint | None:
        """How far it knows, also after it was killed, that it has come."""
        text = self._in_step.text
        return self._saved if text is None else read_cursor(text)

    def follow(self, *, until_end: bool) -> None:
        """Take delivery after delivery."""
        consuming = Consuming(
            Link(self.world, self._away_ms), "default", self.wanted, AtPosition(1),
            cursor=self._cursor(), memory=self.disk, save_every_s=self._save_every_s,
            is_stopped=lambda: self.done and not until_end, block_ms=_BLOCK_MS,
            entries_max=_PAGE, clock=self.clock,
        )  # fmt: skip
        self.resumed.append((consuming.resumed_at, self._saved))
        for delivery in consuming.deliveries(until_end=until_end):
            self._pause()
            self._handle(delivery)
            self._pause()

    def _cursor(self) -> Cursor:
        if self._table is None:
            return self._in_step
        client = CursorClient(self.world, self._table, Line(self.world, self._away_ms))
        holder = f"{self.name}/{self.life}/{self.random.randrange(1 << 32)}"
        cursor = RedisCursor(
            client,  # type: ignore[arg-type] # the one method that is used of it
            "default", self.name.split(" ")[0], holder=holder, now_ms=self.clock.now_ms,
        )  # fmt: skip
        return _Noting(cursor, self)

    def note(self, text: str) -> None:
        """The server has said that this cursor is kept."""
        self._saved = read_cursor(text)

    def _pause(self) -> None:
        if self.random.random() < _PAUSES:
            self.world.schedule.pause(self.random.randrange(100))

    def _handle(self, delivery: Delivery) -> None:
        """Make something of it: in one step, in which nothing can come between."""
        entries = tuple(event.raw for event in delivery.events)
        turn = self.world.schedule.turns
        self.journal.append(Delivered(self.name, self.life, turn, entries))
        self._in_step.text = delivery.cursor if self._table is None else None


class _Noting:
    """A cursor whose successful saves are noted for the verdict."""

    def __init__(self, cursor: RedisCursor, process: ConsumerProcess) -> None:
        self._cursor = cursor
        self._process = process

    def load(self) -> str | None:
        """See `Cursor.load`."""
        return self._cursor.load()

    def save(self, text: str) -> None:
        """See `Cursor.save`."""
        self._cursor.save(text)
        self._process.note(text)

    def close(self) -> None:
        """See `Cursor.close`."""


class MirrorProcess(_Follower):
    """Copies the server that it began with; goes on where its copy ends."""

    def __init__(self, world: World, away_ms: int) -> None:
        super().__init__(world, "mirror")
        self.source = world.server
        self.copy = MemoryStream(world.server_now_ms, tail_max=TAIL_MAX)
        self.aside: list[RawEntry] = []  # what its source gave up
        self._away_ms = away_ms
        self.accepts = False

    @property
    def entries(self) -> list[RawEntry]:
        """What it has."""
        return self.copy.entries

    def follow(self, *, until_end: bool) -> None:
        """Copy what there is, and what comes."""
        mirror = Mirror(
            Link(self.world, self._away_ms, lambda: self.source),
            Link(self.world, 0, lambda: self.copy),
            "default", Ends("source", "target"), self.world.server_now_ms, entries_max=_PAGE,
        )  # fmt: skip
        mirror.attach(self._set_aside if self.accepts else None)
        while True:
            while mirror.step():
                pass
            if until_end or self.done:
                return
            self.world.schedule.pause(self.random.randrange(_MIRROR_PAUSE_MS))

    def on_stopped(self, error: IntegrityError) -> None:
        """Who runs the mirror follows what its source gave up, more often than not."""
        if isinstance(error, GivenUp) and self.random.random() < 0.8:
            self.accepts = True
            return
        self.stopped = error

    def _set_aside(self, _kept: int, entries: list[RawEntry]) -> None:
        self.aside += entries
        self.world.happened["mirror followed a rollback"] += 1
