"""Cursors as text and in their places: what races and lost replies must not do to them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from engine.entry import Anchor
from engine.errors import InvalidInput, Refused, Unavailable
from engine.reading import Checkpoint
from ipledger.cursors import (
    FileCursor,
    RedisCursor,
    consumers_key,
    cursor_text,
    list_kept,
    read_cursor,
    read_kept,
)
from ipledger.servers import make_client

if TYPE_CHECKING:
    import redis

CHECKPOINT = Checkpoint(bytes(range(16)), "default", 2, 5, Anchor(1_700_000_000_000, 17, b"\0\xff"))


class Racy(RedisCursor):
    """A cursor between whose load and claim another process saves, or whose reply is lost."""

    late: RedisCursor | None = None
    loses_reply = False

    def _write(self, value: bytes) -> bytes | None:
        if self.late is not None:
            late, self.late = self.late, None
            late.save("late")
        reply = super()._write(value)
        if self.loses_reply:
            self.loses_reply = False
            raise Unavailable("the reply was lost")
        return reply


@pytest.fixture
def client(embedded_url: str) -> Iterator[redis.Redis]:
    """A client as consumers use it."""
    with make_client(embedded_url) as made:
        made.response_callbacks.clear()
        yield made


def make_cursor(client: redis.Redis, space: str, holder: str) -> Racy:
    """A cursor of the name `dns`."""
    return Racy(client, space, "dns", holder=holder, filters=("type=X",), now_ms=lambda: 7)


def test_a_cursor_is_read_as_it_was_written() -> None:
    """All of the checkpoint, on one line."""
    assert read_cursor(cursor_text(CHECKPOINT)) == CHECKPOINT
    assert "\n" not in cursor_text(CHECKPOINT)


@pytest.mark.parametrize(
    ("key", "value"),
    [("format", 2), ("space_id", "zz"), ("space", "a b"), ("id", "17"), ("id", "x-y"),
     ("id", "5-0"), ("c", 1), ("generation", None), ("voided", "many")],
)  # fmt: skip
def test_a_cursor_with_a_fault_is_refused(key: str, value: object) -> None:
    """Whatever the fault."""
    data = {**json.loads(cursor_text(CHECKPOINT)), key: value}
    with pytest.raises(InvalidInput, match="is not a cursor"):
        read_cursor(json.dumps(data))


def test_a_predecessors_last_save_may_land_late(client: redis.Redis, space: str) -> None:
    """Killed with a save under way: the successor takes the name over, and that cursor."""
    before = make_cursor(client, space, "before")
    assert before.load() is None
    before.save("first")
    after = make_cursor(client, space, "after")
    after.late = before
    assert after.load() == "late"
    after.save("mine")
    with pytest.raises(Refused, match="another process consumes as dns now: after"):
        before.save("too late")
    assert make_cursor(client, space, "third").load() == "mine"


def test_a_lost_reply_is_not_taken_for_another_process(client: redis.Redis, space: str) -> None:
    """What stands there is our own."""
    cursor = make_cursor(client, space, "one")
    cursor.load()
    cursor.loses_reply = True
    with pytest.raises(Unavailable):
        cursor.save("first")
    cursor.save("second")
    assert make_cursor(client, space, "two").load() == "second"


def test_of_two_that_begin_at_once_one_is_refused(client: redis.Redis, space: str) -> None:
    """Neither had anything to take over."""
    one, two = make_cursor(client, space, "one"), make_cursor(client, space, "two")
    assert (one.load(), two.load()) == (None, None)
    one.save("a")
    with pytest.raises(Refused):
        two.save("b")


def test_what_is_kept_is_listed(client: redis.Redis, space: str) -> None:
    """With holder, filters and time; in the slot of the space's stream."""
    cursor = make_cursor(client, space, "one")
    cursor.save("text")
    assert consumers_key(space) == f"ipledger:{{{space}}}:consumers"
    kept = read_kept("dns", list_kept(client, space)["dns"])
    assert kept == ("text", "one", ("type=X",), 7)


def test_a_key_of_another_program_is_told(client: redis.Redis, space: str) -> None:
    """Nothing of it is touched."""
    client.set(consumers_key(space), "x")
    with pytest.raises(Unavailable, match="WRONGTYPE"):
        make_cursor(client, space, "one").load()


def test_a_file_is_replaced_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full loses nothing, and nothing is left beside it."""
    cursor = FileCursor(tmp_path / "new" / "c")
    cursor.save("first")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Unavailable, match="No space left"):
        cursor.save("second")
    assert cursor.load() == "first"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["c", "c.lock"]
    cursor.close()


def test_a_path_that_is_no_directory(tmp_path: Path) -> None:
    """Is told when the file is taken."""
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable):
        FileCursor(tmp_path / "file" / "c")
