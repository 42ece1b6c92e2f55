"""A command on a long stream takes up the view that is kept here, and trusts nothing of it."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import Final

import pytest

from engine.errors import HistoryDiverged, MissingEntries, ViewDamaged
from engine.reading import Continuity, HighWater, read_commits
from ipledger import opening
from ipledger.ledger import Ledger
from ipledger.opening import Opener
from projections.digest import state_digest
from projections.state_view import StateView
from tests.builders import SPACE_ID, TestLedger, make_pool, make_release

POOL: Final = "pool"


@pytest.fixture(autouse=True)
def _kept_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Views are kept of short streams, and for few events, so that tests are quick."""
    monkeypatch.setattr(opening, "KEEP_FROM", 20)
    monkeypatch.setattr(opening, "KEEP_EVERY", 10)


def _note(read: list[int], position: int, end: int) -> None:
    assert position <= end
    read.append(position)


class Machine:
    """A machine on which short processes open one stream, one after the other."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "views" / "state"
        self.read: list[int] = []
        self.begin("10.0.0.0/16", seed=0)
        self.work(60)

    def begin(self, subnet: str, seed: int) -> None:
        """A new stream, by the clock of this machine."""
        self.ledger = TestLedger(seed=seed)
        self.ledger.clock.now_ms = time.time_ns() // 1_000_000
        self.ledger.apply(make_pool(POOL, subnet))

    def work(self, leases: int) -> None:
        """Somebody allocates, and releases every third."""
        for number in range(leases):
            owner = f"owner-{self.ledger.state.position}-{number}"
            (lease,) = self.ledger.grant(POOL, owner=owner)
            if not number % 3:
                self.ledger.run(make_release(lease.lease_id))

    def open(self, *, stays: bool = False) -> Ledger:
        """A process opens the stream; `read` are the positions that it has read up to."""
        self.read = []
        view = StateView(self.path)
        told = partial(_note, self.read)
        return Ledger(self.ledger.stream, view=view, stays=stays, on_progress=told)

    @property
    def files(self) -> list[Path]:
        """The databases that lie there."""
        return sorted(self.path.parent.glob("*.sqlite"))

    def check(self, ledger: Ledger) -> None:
        """What the process knows is what the stream says."""
        assert ledger.position == self.ledger.state.position
        assert ledger.digest() == self.ledger.digest()
        assert state_digest(self.ledger.replayed()) == ledger.digest()


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with a view of 80 events and more."""
    made = Machine(tmp_path)
    made.open()
    assert len(made.files) == 1
    return made


def test_a_second_process_reads_what_is_new(machine: Machine) -> None:
    """What the view covers is not read again."""
    machine.work(3)
    ledger = machine.open()
    machine.check(ledger)
    assert len(machine.read) == 1, "one page: the tail"


def test_a_short_stream_leaves_no_view(tmp_path: Path) -> None:
    """It is read whole each time, so that whatever was done to it is noticed."""
    machine = Machine(tmp_path)
    machine.ledger = TestLedger()
    machine.open()
    assert not machine.path.exists()


def test_the_view_follows_the_stream(machine: Machine) -> None:
    """It is kept anew when it is enough behind, in the same file."""
    for _ in range(5):
        machine.work(20)
        machine.check(machine.open())
    assert len(machine.files) == 1
    view = StateView(machine.path)
    checkpoint = view.load()
    assert checkpoint is not None
    assert machine.ledger.state.position - checkpoint.position < 10
    assert view.digest() == machine.ledger.digest()


def test_a_process_writes_on_top_of_its_view(machine: Machine) -> None:
    """Decisions are made on pages that are read for them; repeats and owners are known."""
    ledger = machine.open()
    held = next(iter(machine.ledger.state.leases()))
    again = ledger.allocate(POOL, held.owner)
    assert again.held == (held.lease_id,)
    first = ledger.allocate(POOL, "somebody-new", command_id="once").granted
    ledger.release(first[0].lease_id)
    machine.ledger.refresh()
    machine.check(ledger)
    later = machine.open()
    assert later.allocate(POOL, "somebody-new", command_id="once").granted == first


def test_a_process_that_stays_holds_everything(machine: Machine) -> None:
    """It lets go of the file: whoever removes that does not disturb it."""
    ledger = machine.open(stays=True)
    for path in machine.path.parent.iterdir():
        path.unlink()
    machine.work(5)
    ledger.refresh()
    machine.check(ledger)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _emptied(path: Path) -> None:
    path.write_bytes(b"")


def _text(path: Path) -> None:
    path.write_text("this is no database\n" * 500)


def _of_another_program(path: Path) -> None:
    path.unlink()
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE page (tbl, number, body)")
    connection.close()


def _of_another_release(path: Path) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE page SET body = x'00' WHERE tbl = 'about'")
    connection.close()


def _gone(path: Path) -> None:
    path.unlink()


@pytest.mark.parametrize(
    "harm",
    [_truncated, _emptied, _text, _of_another_program, _of_another_release, _gone],
)
def test_a_view_that_is_none_is_built_anew(machine: Machine, harm: Callable[[Path], None]) -> None:
    """The command is answered as ever, and the next one has a view again."""
    harm(machine.files[0])
    ledger = machine.open()
    machine.check(ledger)
    machine.work(1)
    machine.check(machine.open())
    assert len(machine.read) == 1, "from a view again"


def test_a_name_that_leads_nowhere_is_no_view(machine: Machine) -> None:
    """The file that holds the name is damaged."""
    for name in ("", "elsewhere", "../../etc/passwd", "\0", "x" * 5_000):
        machine.path.write_text(name)
        machine.check(machine.open())


@pytest.mark.parametrize("seed", range(40))
def test_no_damage_leads_to_a_wrong_answer(machine: Machine, seed: int) -> None:
    """Bytes are altered anywhere: the answer is right all the same, to reads and to writes."""
    random = Random(seed)  # noqa: S311 - the same damage on every run
    data = bytearray(machine.files[0].read_bytes())
    for _ in range(random.choice((1, 20, 400))):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    machine.files[0].write_bytes(data)
    ledger = machine.open()
    held = random.choice(list(machine.ledger.state.leases()))
    again = ledger.allocate(POOL, held.owner)
    assert again.held == (held.lease_id,)
    new = ledger.allocate(POOL, "somebody-new").granted
    assert [lease.text for lease in new] == [_lowest(machine)]
    ledger.release(held.lease_id)
    machine.ledger.refresh()
    try:
        machine.check(ledger)
    except ViewDamaged:  # of a page that no command has asked for: the next process reads anew
        machine.check(machine.open())


def _lowest(machine: Machine) -> str:
    """The lowest address that is free before the process writes."""
    taken = {lease.text for lease in machine.ledger.state.leases()}
    return next(f"10.0.0.{n}" for n in range(1, 255) if f"10.0.0.{n}" not in taken)


def test_a_lost_page_is_answered_anew_after_the_commit(machine: Machine) -> None:
    """The page is missed when the commit is folded: what stands is found, and lands once."""
    with sqlite3.connect(machine.files[0]) as connection:
        connection.execute("DELETE FROM page WHERE tbl IN ('owner', 'last_tenure')")
    connection.close()
    machine.ledger.refresh()
    before = machine.ledger.state.position
    view = StateView(machine.path)
    assert view.load() is not None
    damaged = Ledger(machine.ledger.stream, view=view, stays=False)
    damaged.allocate(POOL, "somebody-new")
    machine.ledger.refresh()
    assert machine.ledger.state.position == before + 1
    machine.check(damaged)


def test_a_view_of_another_stream_is_not_taken(machine: Machine, tmp_path: Path) -> None:
    """Same name, other space: the stream is read, and the view replaced."""
    other = Machine(tmp_path / "other")
    other.begin("10.9.0.0/16", seed=9)
    other.work(50)
    other.path = machine.path
    other.check(other.open())
    other.check(other.open())


def test_a_stream_that_lost_entries_is_noticed(machine: Machine) -> None:
    """Behind the view or before it: its length is checked, whoever reads."""
    stream = machine.ledger.stream
    for position in (5, machine.ledger.state.position):
        kept = list(stream.entries)
        stream.entries = [raw for raw in kept if raw.position != position]
        with pytest.raises(MissingEntries):
            machine.open()
        stream.entries = kept
    machine.check(machine.open())


def test_a_stream_that_runs_backwards_is_noticed_by_its_marks(machine: Machine) -> None:
    """What the machine remembers of it counts; the view alone proves nothing."""
    anchor = machine.open().writer.continuity.anchor
    for seen in (anchor._replace(c=b"else"), anchor._replace(position=anchor.position + 5)):
        remembered = HighWater(SPACE_ID, 0, (seen,))
        opener = Opener(machine.ledger.stream, remembered, StateView(machine.path))
        with pytest.raises(HistoryDiverged):
            opener.open()


def test_a_directory_that_cannot_be_written_costs_nothing_but_time(tmp_path: Path) -> None:
    """A file stands where the directory should be: no view, and no error."""
    machine = Machine(tmp_path)
    machine.path = tmp_path / "file" / "state"
    machine.path.parent.write_text("in the way")
    machine.check(machine.open())


def test_two_that_keep_at_once_disturb_nobody(machine: Machine) -> None:
    """Both loaded the same view; the second finds that it is not as it was, and leaves it."""
    machine.work(20)
    views = [StateView(machine.path) for _ in range(2)]
    opened = []
    for view in views:
        checkpoint = view.load()
        assert checkpoint is not None
        opened.append(Continuity.resumed(checkpoint))
    machine.work(20)
    for view, continuity in zip(views, opened, strict=True):
        for records in read_commits(machine.ledger.stream, continuity):
            view.apply_all(records)
        view.save(continuity.checkpoint())
        assert view.digest() == machine.ledger.digest()
    machine.check(machine.open())


def test_a_command_that_repeats_on_a_damaged_view_lands_once(machine: Machine) -> None:
    """The same command id, before and after the damage."""
    first = machine.open().allocate(POOL, "x", command_id="one").granted
    _truncated(machine.files[0])
    assert machine.open().allocate(POOL, "x", command_id="one").granted == first


def test_files_that_nobody_uses_any_more_are_removed(machine: Machine) -> None:
    """Not at once: somebody may just have read the old name."""
    (current,) = machine.files
    old, young = (current.with_name(f"state.{name}.sqlite") for name in ("old", "young"))
    for path in (old, young):
        path.write_bytes(b"left by somebody who was killed")
    long_ago = time.time() - 3_600
    os.utime(old, (long_ago, long_ago))
    machine.work(20)
    machine.check(machine.open())
    assert set(machine.files) == {current, young}
    machine.check(machine.open())
