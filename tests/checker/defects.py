"""Defects that a process is started with, to see that the checker finds what they lead to.

Those of the script change a copy of it in that process: what runs is the real server, with Lua
that is not what it should be.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from engine import redis_stream
from engine.entry import Record
from engine.errors import UnknownOutcome
from ipledger.writer import Writer
from ipledger.writing import Call, Done


def _change_the_script(right: str, wrong: str) -> None:
    source = redis_stream._source("append.lua")
    assert source.count(right) == 1, "the script has changed: so must this defect"
    redis_stream._SCRIPTS["append.lua"] = source.replace(right, wrong)


def _skip_the_tag_check() -> None:
    """Two may write what rests on the same fact: one address has two holders."""
    _change_the_script("if tag then verdicts[number]", "if false then verdicts[number]")


def _refuse_from_a_stale_state() -> None:
    """A refusal costs less when the tail is not read for it. The log stays without a fault."""
    _change_the_script(
        "-- 2. What was written since?",
        "if ARGV[7] == '0' then return {'ok', '', digits(last_ms), {}, {}} end --",
    )


def _say_more_than_is_written() -> None:
    """Now and then the last proposal of a batch is said to stand, and is not written."""
    _change_the_script(
        "position = last\nlocal prefix",
        "if #accepted == 1 and last % 7 == 0 then accepted = {} end\nposition = last\nlocal prefix",
    )


def _answer_before_the_commit() -> None:
    """Whose reply is lost believes that it was written, and answers so."""
    reconnect = Writer._reconnect

    def hopeful(self: Writer, error: Any) -> None:
        if isinstance(error, UnknownOutcome):
            for call in list(self._queue):
                imagined = _imagined(self, call) if call.in_doubt else None
                if imagined is not None and call.outcome is None:
                    call.settle(Done((imagined,)))
        reconnect(self, error)

    Writer._reconnect = hopeful  # type: ignore[assignment, method-assign]


def _imagined(writer: Writer, call: Call) -> Record | None:
    """The record that a hopeful writer believes in: the next position, of its own command."""
    batch, _ = writer._protocol.plan([call], writer.server_now_ms())
    at = writer.continuity.anchor.position + 1
    return Record(at, writer.state.ms, *batch.members[0].parts[0]) if batch.members else None


DEFECTS: Final[dict[str, Callable[[], None]]] = {
    "skip the tag check": _skip_the_tag_check,
    "refuse from a stale state": _refuse_from_a_stale_state,
    "say more than is written": _say_more_than_is_written,
    "answer before the commit": _answer_before_the_commit,
}
