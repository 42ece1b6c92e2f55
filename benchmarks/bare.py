"""The ceilings: the same script and the same bytes as ours, without any of our code around them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import ipledger
from engine.memory_stream import MemoryStream
from engine.stream import PAGE_ENTRIES, TAIL_BYTES_MAX, Proposal
from ipledger import operations
from ipledger.ledger import Ledger
from ipledger.writing import Protocol

if TYPE_CHECKING:
    from redis import Redis

_XADD_SCRIPT = """\
for i = 1, #ARGV, 4 do
  redis.call('XADD', KEYS[1], '*',
    'e', ARGV[i], 's', ARGV[i + 1], 't', ARGV[i + 2], 'c', ARGV[i + 3])
end
return 'ok'
"""


def ready_made(number: int) -> list[Proposal]:
    """So many proposals, each of one grant, made by a writer on a stream in memory."""
    ledger = Ledger(MemoryStream(lambda: time.time_ns() // 1_000_000))
    ledger.apply(ipledger.pool("bench", subnet="10.0.0.0/8", ips=["10.0.0.1-10.255.255.254"]))
    writer = ledger.writer
    calls = []
    for index in range(number):
        asked = operations.allocate("bench", f"cluster-1/default/pod-{index}")
        calls.append(writer.make_call(asked.command, asked.claim, asked.key, 1.0, lambda _: None))
    batch, _ = Protocol(ledger.state, writer.continuity, os.urandom).plan(calls)
    assert len(batch.proposals) == number, "one batch holds them all"
    return list(batch.proposals)


def caller_of(client: Redis) -> Callable[..., Any]:
    """How a raw command is sent; replies come as the server shapes them."""
    execute: Callable[..., Any] = client.execute_command
    return execute


class BareScript:
    """Our append script by raw EVALSHA: arguments made beforehand, the reply hardly looked at.

    What is left of a writer is what no writer can do without: naming the entry it has seen last.
    """

    def __init__(self, client: Redis, key: str, proposals: Sequence[Proposal]) -> None:
        self._execute = caller_of(client)
        source = files("engine").joinpath("append.lua").read_text("utf-8")
        sha = self._execute("SCRIPT LOAD", source)
        self._head = ["EVALSHA", sha, 2, key, f"{key}:mirror"]
        self._last_c = proposals[-1].entries[-1].c
        self._number = len(proposals)
        self._rest: list[Any] = [PAGE_ENTRIES, TAIL_BYTES_MAX, len(proposals)]
        for proposal in proposals:
            self._rest += [0, 0, proposal.reads, 1, *proposal.entries[0]]
        self._after: tuple[Any, bytes] = ("0-0", b"")

    def __call__(self) -> None:
        """Append all of the proposals once more."""
        now_ms = time.time_ns() // 1_000_000
        status, _, ms, verdicts, _ = self._execute(
            *self._head, *self._after, 0, now_ms, *self._rest
        )
        assert status == b"ok", status
        self._after = (f"{int(ms)}-{int(verdicts[0]) + self._number - 1}", self._last_c)


class BareEvalsha:
    """A script that writes what it is given and checks nothing: one durable round trip."""

    def __init__(self, client: Redis, key: str, proposals: Sequence[Proposal]) -> None:
        self._execute = caller_of(client)
        sha = self._execute("SCRIPT LOAD", _XADD_SCRIPT)
        fields = [field for proposal in proposals for field in proposal.entries[0]]
        self._command = ["EVALSHA", sha, 1, key, *fields]

    def __call__(self) -> None:
        """Write all of the entries once more."""
        assert self._execute(*self._command) == b"ok"


class BarePipeline:
    """A pipeline of XADDs: a durable write without any condition."""

    def __init__(self, client: Redis, key: str, proposals: Sequence[Proposal]) -> None:
        self._client = client
        self._commands: list[list[Any]] = [
            ["XADD", key, "*", *(part for pair in zip("estc", entry, strict=True) for part in pair)]
            for proposal in proposals
            for entry in proposal.entries
        ]

    def __call__(self) -> None:
        """Write all of the entries once more."""
        pipeline: Any = self._client.pipeline(transaction=False)
        for command in self._commands:
            pipeline.execute_command(*command)
        pipeline.execute()
