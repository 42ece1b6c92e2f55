"""The writer dies at every step of its work: what it did stands as a whole or not at all.

A crash is an exception from the stream that no part of the library catches, so that whatever the
writer would have done afterwards is never done; its `Ledger` is thrown away. A failing server, by
contrast, raises what it really raises, and the writer may try again until its caller's time is up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

import pytest

import ipledger
from engine.entry import Anchor, RawEntry, Record
from engine.errors import Unavailable, UnknownOutcome
from engine.events import LeaseEnded
from engine.memory_stream import MemoryStream
from engine.stream import AppendReply, Proposal
from ipledger.ledger import Ledger
from ipledger.writer import Writer
from tests.invariants import check_stream

ID: Final = "the command"
SPACE: Final = "crashes"

Where = Literal["before delivery", "after delivery", "refused"]


class Crash(Exception):
    """The process is gone at this point."""


class FailingStream:
    """A stream whose appends fail as the test says, counted from the first one."""

    def __init__(self, stream: MemoryStream, fail: Callable[[int], Where | None]) -> None:
        self._stream = stream
        self._fail = fail
        self.appends = 0
        self.dies = False  # whether a failure ends the process or is the server's

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal]
    ) -> AppendReply:
        """Append, unless it is the turn of a failure."""
        where = self._fail(self.appends)
        self.appends += 1
        if where is None or where == "after delivery":
            reply = self._stream.append(after, voided, now_ms, proposals)
            if where is None:
                return reply
        if self.dies:
            raise Crash(where)
        if where == "refused":
            raise Unavailable("the server is not there")
        raise UnknownOutcome("the reply was lost")

    def read(self, after_ms: int, after_position: int, entries_max: int) -> list[RawEntry]:
        """Read as the stream does: the server answers again when it is asked."""
        return self._stream.read(after_ms, after_position, entries_max)


Do = Callable[[Ledger], Any]

# Commands of one event and of many, whose answers do not depend on anything but the stream.
COMMANDS: Final[dict[str, Do]] = {
    "allocate": lambda ledger: ledger.allocate("p", "new", command_id=ID),
    "allocate several": lambda ledger: ledger.allocate("p", "new", count=3, command_id=ID),
    "interfaces": lambda ledger: ledger.allocate(
        ["p", "q"], "new", interface=["eth0", "eth1"], command_id=ID
    ),
    "supersede": lambda ledger: ledger.allocate("p", "old", uid="second", command_id=ID),
    "release": lambda ledger: ledger.release(owner="old", command_id=ID),
    "release a reported one": lambda ledger: ledger.release(owner="reported", command_id=ID),
    "renew": lambda ledger: ledger.renew(_lease(ledger, "timed"), ttl_s=999, command_id=ID),
    "quarantine": lambda ledger: ledger.quarantine(
        "10.0.0.1-10.0.0.20", reason="something answers", command_id=ID
    ),
    "unquarantine": lambda ledger: ledger.unquarantine("10.1.0.9", command_id=ID),
    "apply": lambda ledger: ledger.apply(
        ipledger.pool("p", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.99"]),
        ipledger.pool("r", subnet="10.2.0.0/24", ips=["10.2.0.1"]),
        ipledger.reservation("kept", ips=["10.2.0.1"]),
        command_id=ID,
    ),
    "delete": lambda ledger: ledger.delete(ipledger.Target("pool", "p"), command_id=ID),
    "cascade": lambda ledger: ledger.delete(
        ipledger.Target("pool", "p"), cascade=True, command_id=ID
    ),
    "sweep": lambda ledger: ledger.sweep(command_id=ID),
}


def _lease(ledger: Ledger, owner: str) -> int:
    ledger.refresh()
    return ledger.state.leases_of(owner)[0].lease_id


class World:
    """A stream with a little of everything on it, and the clock that it goes by."""

    def __init__(self) -> None:
        self.stream = MemoryStream(lambda: time.time_ns() // 1_000_000 + self.ahead_ms)
        self.ahead_ms = -60_000

    def prepare(self) -> World:
        """Leases that are held, reported and past their time; something quarantined."""
        ledger = Ledger(self.stream, SPACE)
        ledger.create_space()
        ledger.apply(
            ipledger.pool("p", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.50"]),
            ipledger.pool("q", subnet="10.1.0.0/24", ips=["10.1.0.1-10.1.0.9"], cooldown_s=5),
        )
        ledger.allocate("p", "old", uid="first", count=2)
        ledger.allocate("p", "timed", ttl_s=900)
        address = ledger.allocate("p", "reported").granted[0].text
        ledger.quarantine(address, "10.1.0.9", reason="something answers") if False else None
        ledger.quarantine(address, reason="something answers")
        ledger.quarantine("10.1.0.9", reason="something answers")
        for number in range(3):
            ledger.allocate("p", f"late-{number}", ttl_s=1)
        self.ahead_ms = 0
        return self

    def open(self, fail: Callable[[int], Where | None] = lambda _at: None) -> Ledger:
        """A fresh process, with a stream that fails as it is told."""
        return Ledger(FailingStream(self.stream, fail), SPACE)  # type: ignore[arg-type]

    def commits_of(self, records: Sequence[Record]) -> list[Record]:
        """The first records of the commits that the command under test made."""
        key = ipledger.operations.command_key(ID)[0]
        return [r for r in records if r.header.command == key and r.commit.part == 0]
