"""Each backend on a workbench: how other programs would meddle with what it keeps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from engine.entry import RawEntry
from engine.memory_stream import MemoryStream
from engine.redis_stream import RedisStream, stream_key
from tests.contracts.stream import Workbench

if TYPE_CHECKING:
    import redis


class MemoryBench(Workbench):
    """The stream in memory; `clock_ms` is its server's time."""

    stream: MemoryStream

    def __init__(self) -> None:
        self.skew_ms = 0
        super().__init__(MemoryStream(lambda: self.now_ms + self.skew_ms))

    def delete(self, *positions: int) -> None:
        """See `Workbench.delete`."""
        self.stream.entries = [e for e in self.stream.entries if e.position not in positions]

    def trim(self, length: int) -> None:
        """See `Workbench.trim`."""
        self.stream.entries = self.stream.entries[-length:]

    def flush(self) -> None:
        """See `Workbench.flush`."""
        self.stream.entries = []
        self.stream.last_generated = (0, 0)

    def inject(self, raw: RawEntry) -> None:
        """See `Workbench.inject`."""
        self.stream.entries.append(raw)
        self.stream.last_generated = (raw.ms, raw.position)


class RedisBench(Workbench):
    """A stream on a server, and another program's connection to the same server."""

    stream: RedisStream

    def __init__(self, client: redis.Redis, other: redis.Redis, space: str) -> None:
        super().__init__(RedisStream(client, space))
        self.other = other
        self.space = space
        self.key = stream_key(space)

    def delete(self, *positions: int) -> None:
        """See `Workbench.delete`."""
        for raw in self.all():
            if raw.position in positions:
                self.other.xdel(self.key, raw.entry_id)

    def trim(self, length: int) -> None:
        """See `Workbench.trim`."""
        self.other.xtrim(self.key, length, approximate=False)

    def flush(self) -> None:
        """See `Workbench.flush`."""
        self.other.delete(self.key)

    def inject(self, raw: RawEntry) -> None:
        """See `Workbench.inject`."""
        fields = {b"e": raw.e, b"s": raw.s, b"t": raw.t, b"c": raw.c}
        self.inject_fields(raw.entry_id, fields)

    def inject_fields(self, entry_id: str, fields: dict[Any, Any]) -> None:
        """Write an entry of any fields."""
        self.other.xadd(self.key, fields, id=entry_id)
