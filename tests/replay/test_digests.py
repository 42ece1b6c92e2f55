"""Digest files: what they hold, that two replays are compared by them, and bad ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from engine.entry import RawEntry
from engine.errors import InvalidInput
from engine.memory_stream import MemoryStream
from engine.wire import decode_entry, encode_commit, encode_entry
from projections.digest import DIGEST_VERSION
from replay.digests import (
    Digests,
    Header,
    Taken,
    Writing,
    check_space,
    compare,
    intervals,
    read_digests,
    take_digests,
)
from replay.moments import Moment, last_moment
from tests.builders import SPACE_ID, TestLedger, make_delete, make_pool

HEADER: Final = Header("default", SPACE_ID, 3, "ipledger test")


@pytest.fixture
def ledger() -> TestLedger:
    """A short history whose commits are of one, two and three events."""
    made = TestLedger()
    made.apply(make_pool(), make_pool("b", "10.1.0.0/24"))
    for owner in "abc":
        made.grant("pool", "b", owner=owner)
        made.clock.now_ms += 1_000
    made.done(make_delete("b", cascade=True))
    return made


def _written(stream: MemoryStream, every: int = 3, header: Header = HEADER) -> list[bytes]:
    writing = Writing()
    lines = [writing.header(header)]
    lines += [
        writing.taken(reached.taken)
        for reached in take_digests(stream, intervals(every, last_moment(stream)))
    ]
    return [*lines, writing.end()]


def test_digests_are_taken_at_commit_ends(ledger: TestLedger) -> None:
    """An interval that ends inside a commit is moved to the commit's end; the last is the end."""
    reached = list(take_digests(ledger.stream, intervals(4, last_moment(ledger.stream))))
    assert [each.taken.position for each in reached] == [5, 9, 13]
    assert [each.events for each in reached] == [5, 9, 13]
    assert reached[-1].taken.digest == ledger.digest()
    last = ledger.stream.entries[-1]
    assert reached[-1].taken.id == last.entry_id
    assert reached[-1].taken.ms == last.ms
    assert list(intervals(5, Moment(10, 0))) == [5, 10]
    assert list(intervals(5, Moment(0, 0))) == [0]
    with pytest.raises(InvalidInput):
        list(intervals(0, Moment(10, 0)))


def test_a_file_is_read_as_it_was_written(ledger: TestLedger) -> None:
    """Header, digests and end; the same replay agrees with all of it."""
    digests = read_digests(_written(ledger.stream))
    assert digests.header == HEADER
    assert [taken.position for taken in digests.taken] == [3, 7, 9, 13]
    found = compare(ledger.stream, digests)
    assert (found.compared, found.agrees, found.differs) == (4, digests.taken[-1], None)
    check_space(digests, "default", SPACE_ID)


def _with_another_owner(stream: MemoryStream, position: int) -> MemoryStream:
    """The same history but for one owner, forged so well that every check holds."""
    forged = MemoryStream(lambda: 0)
    forged.entries, forged.last_generated = list(stream.entries), stream.last_generated
    record = decode_entry(stream.entries[position - 1])
    sealed = record.sealed._replace(owner="mallory")
    e, s, t = encode_entry(record.event, sealed, record.header)
    _, c = encode_commit(record.commit, e, s)
    forged.entries[position - 1] = RawEntry(record.ms, position, e, s, t, c)
    return forged


def test_where_two_replays_part(ledger: TestLedger) -> None:
    """The last position at which they agree, and the first at which they do not."""
    digests = read_digests(_written(ledger.stream))
    found = compare(_with_another_owner(ledger.stream, 6), digests)
    assert found.agrees is not None
    assert found.differs is not None
    assert found.found is not None
    assert (found.agrees.position, found.differs.position, found.compared) == (3, 7, 2)
    assert found.found.digest != found.differs.digest
    assert found.found.id == found.differs.id


def test_a_position_that_is_no_commit_end_here(ledger: TestLedger) -> None:
    """Then the two histories differ, though no digest can be compared."""
    digests = read_digests(_written(ledger.stream))
    elsewhere = Taken(6, digests.taken[1].id.replace("-7", "-6"), digests.taken[1].digest)
    other = digests._replace(taken=[digests.taken[0], elsewhere])
    found = compare(ledger.stream, other)
    assert (found.agrees, found.differs, found.found) == (digests.taken[0], elsewhere, None)


def test_a_file_that_goes_on_beyond_the_end(ledger: TestLedger) -> None:
    """It is of a longer history, or this one has lost something: nothing is compared."""
    digests = read_digests(_written(ledger.stream))
    beyond = Taken(99, "1-99", "0" * 64)
    longer = digests._replace(taken=[*digests.taken, beyond])
    with pytest.raises(InvalidInput, match="ends at position 99, the stream at 13"):
        compare(ledger.stream, longer)


def test_a_file_of_another_space(ledger: TestLedger) -> None:
    """Both are named."""
    digests = read_digests(_written(ledger.stream))
    with pytest.raises(InvalidInput, match=f"{SPACE_ID.hex()}.*not of blue"):
        check_space(digests, "blue", bytes(16))


def _cut(lines: list[bytes], number: int) -> list[bytes]:
    return [*b"".join(lines)[:-number].splitlines(keepends=True)]


def _with(lines: list[bytes], at: int, **fields: Any) -> list[bytes]:
    told = {**json.loads(lines[at]), **fields}
    changed = json.dumps(told, separators=(",", ":")).encode() + b"\n"
    return [*lines[:at], changed, *lines[at + 1 :]]


# What is wrong with a file: the lines of a good one made bad, and what is told of it.
_BAD: Final[dict[str, tuple[Callable[[list[bytes]], list[bytes]], str]]] = {
    "empty": (lambda _: [], "is empty"),
    "cut": (lambda lines: lines[:3], "cut short: its end is missing behind 2 digests"),
    "cut in a line": (lambda lines: _cut(lines, 5), "ends in the middle"),
    "a line less": (lambda lines: lines[:2] + lines[3:], "was altered"),
    "another digest": (lambda lines: _with(lines, 2, digest="0" * 64), "was altered"),
    "another tool": (lambda lines: _with(lines, 0, tool="another"), "was altered"),
    "another end": (lambda lines: _with(lines, -1, end=5), "another position than its last"),
    "a line more": (lambda lines: [*lines, lines[1]], "line 7: something follows"),
    "a list": (lambda lines: [lines[0], b"[1]\n"], "line 2: no JSON object"),
    "no text": (lambda lines: [lines[0], b"\xff\n"], "line 2: no JSON"),
    "too deep": (lambda lines: [lines[0], b"[" * 4_000], "line 2"),
    "too long": (lambda _: [b" " * 5_000], "line 1: too long"),
    "no header": (lambda lines: lines[1:], "line 1: no header"),
    "newer": (lambda lines: _with(lines, 0, form=2), "form 2"),
    "other digests": (lambda lines: _with(lines, 0, digest_version=2), "version 2"),
    "no space id": (lambda lines: _with(lines, 0, space_id="00"), "without its fields"),
    "no interval": (lambda lines: _with(lines, 0, every="3"), "without its fields"),
    "disorder": (lambda lines: [lines[0], lines[2], lines[1]], "position 3 does not ascend"),
    "short digest": (lambda lines: _with(lines, 1, digest="0" * 63), "line 2: no digest"),
    "no hex": (lambda lines: _with(lines, 1, digest="G" * 64), "line 2: no digest"),
    "another id": (lambda lines: _with(lines, 1, id="1-4"), "line 2: no digest"),
    "no position": (lambda lines: _with(lines, 1, position=True), "line 2: no digest"),
    "another field": (lambda lines: _with(lines, 1, more=1), "line 2: no digest"),
}


@pytest.mark.parametrize(("harm", "told"), _BAD.values(), ids=_BAD)
def test_a_bad_file_is_told_as_such(
    ledger: TestLedger, harm: Callable[[list[bytes]], list[bytes]], told: str
) -> None:
    """Cut short, altered, not ours, of another version: never a difference of two replays."""
    assert DIGEST_VERSION == 1
    with pytest.raises(InvalidInput) as refused:
        read_digests(harm(_written(ledger.stream)))
    assert told in refused.value.message
    assert "ipledger replay --digests" in refused.value.hint


def test_no_digests_at_all() -> None:
    """A file may hold none; that is no error of its own."""
    writing = Writing()
    lines = [writing.header(HEADER), writing.end()]
    assert read_digests(lines) == Digests(HEADER, [])
    assert compare(MemoryStream(lambda: 0), read_digests(lines)).compared == 0
