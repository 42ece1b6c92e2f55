"""Where consumers keep their cursors: a hash on the server, and what each has on its own disk."""

from __future__ import annotations

from itertools import groupby
from typing import Final, NamedTuple

import redis.exceptions

from engine.entry import Anchor
from engine.errors import LedgerError, Unavailable, UnknownOutcome
from engine.reading import HighWater
from ipledger.cursors import read_kept
from ipledger.high_water import merged
from tests.simulation.network import Line, World

_OWN_STEPS: Final = 3  # of EVAL: the script, the number of keys, the key


class _Saved(NamedTuple):
    """A value that was written, and where the stream beside it ended then."""

    position: int
    name: str
    value: bytes


class CursorTable:
    """The hash of cursors beside a stream, which loses what the stream loses."""

    def __init__(self) -> None:
        self.values: dict[str, bytes] = {}
        self._saved: list[_Saved] = []

    def swap(self, name: str, known: bytes, value: bytes, position: int) -> bytes | None:
        """What `consumer.lua` does: write, if what is there is what is known."""
        found = self.values.get(name, b"")
        if found != known:
            return found
        self.values[name] = value
        self._saved.append(_Saved(position, name, value))
        return None

    def holders(self) -> list[str]:
        """Which processes have had a name, one after another."""
        holders = [read_kept(name, value).holder for _, name, value in self._saved]
        return [holder for holder, _ in groupby(holders)]

    def lose(self, position: int) -> None:
        """The server comes back as it was when its stream ended at a position."""
        self._saved = [saved for saved in self._saved if saved.position <= position]
        self.values = {saved.name: saved.value for saved in self._saved}


class CursorClient:
    """What `ipledger.cursors` needs of a client of Redis, over a bad network."""

    def __init__(self, world: World, table: CursorTable, line: Line) -> None:
        self._world = world
        self._table = table
        self._line = line

    def execute_command(self, name: str, *arguments: str | bytes) -> bytes | None:
        """HGET, or EVAL of the one script.

        Raises:
            ConnectionError: as the real client's.
        """
        try:
            return self._execute(name, arguments)
        except LedgerError as error:
            raise redis.exceptions.ConnectionError(error.message) from error

    def _execute(self, name: str, arguments: tuple[str | bytes, ...]) -> bytes | None:
        world, line = self._world, self._line
        if name == "HGET":
            line.asks()
            return self._table.values.get(str(arguments[1]))
        assert name == "EVAL", "nothing else is asked"
        consumer, known, value = arguments[_OWN_STEPS:]
        assert isinstance(known, bytes), "as it was written"
        assert isinstance(value, bytes), "as it was written"

        def swap() -> bytes | None:
            return self._table.swap(str(consumer), known, value, world.server.last_generated[1])

        line.travel()
        if world.happens("request lost"):
            line.time_out()
        if world.happens("request late"):
            world.later(swap)
            line.time_out()
        if world.happens("refused"):
            line.fail(Unavailable("connection refused"))
        found = swap()
        line.travel()
        if world.happens("reply lost"):
            line.fail(UnknownOutcome("connection dropped"))
        return found


class Disk:
    """What one machine remembers of the space: `ipledger.consuming.Memory`, without a file."""

    def __init__(self) -> None:
        self.remembered: HighWater | None = None

    def load(self) -> HighWater | None:
        """See `Memory.load`."""
        return self.remembered

    def advance(self, space_id: bytes, generation: int, anchor: Anchor) -> HighWater:
        """See `Memory.advance`."""
        before = self.remembered
        if before is None or before.position < anchor.position:
            self.remembered = merged(before, space_id, generation, anchor)
        assert self.remembered is not None, "it was made just now, or before"
        return self.remembered


class InStep:
    """A cursor that is kept together with what was made of the events, in one step.

    So nothing is saved here: who makes something of a delivery keeps its cursor with it.
    """

    def __init__(self) -> None:
        self.text: str | None = None

    def load(self) -> str | None:
        """See `Cursor.load`."""
        return self.text

    def save(self, text: str) -> None:
        """See `Cursor.save`."""

    def close(self) -> None:
        """See `Cursor.close`."""
