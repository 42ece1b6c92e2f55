"""A history's file that is damaged, foreign, older or newer; a stream that contradicts itself."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from engine.entry import Record
from engine.errors import ContradictoryEvent, Unavailable
from engine.events import LeaseEnded
from replay.history.catching_up import catch_up
from replay.history.store import HistoryView
from replay.history.trouble import DamagedHistory, NewerHistory
from tests.builders import TestLedger
from tests.privileges import without_privileges
from tests.replay.built import build, keep, simulated
from tests.replay.simulated import Simulation

# -------------------------------------------------------------------------------------- damage


def live(path: Path) -> Path:
    """The file that the name stands for."""
    return path.resolve()


def rewritten(at: int, content: bytes) -> Callable[[Path], None]:
    """Writes some bytes into a file."""

    def write(file: Path) -> None:
        with file.open("r+b") as opened_file:
            opened_file.seek(at)
            opened_file.write(content)

    return write


@pytest.mark.parametrize(
    "harm",
    [
        lambda file: os.truncate(file, file.stat().st_size // 2),
        lambda file: os.truncate(file, 100),
        lambda file: os.truncate(file, 0),
        lambda file: file.write_bytes(b"not a database, but long enough to be one" * 100),
        rewritten(0, b"SQLite format 4\0"),
        rewritten(100, bytes(4_000)),
        lambda file: sqlite3.connect(file).execute("PRAGMA application_id = 1").close(),
        lambda file: sqlite3.connect(file).execute("PRAGMA user_version = 0").close(),
        lambda file: file.unlink(),
    ],
    ids=["half", "header", "empty", "garbage", "magic", "schema", "foreign", "older", "no file"],
)
def test_a_file_that_is_none_loads_as_none(
    path: Path, opened: Callable[[], HistoryView], harm: Callable[[Path], None]
) -> None:
    """It is built anew under the same name, and the notice says why."""
    whole = build(opened(), 500)
    digest = whole.digest()
    whole.close()
    _close_all(path)
    harm(live(path))
    view = opened()
    assert view.load() is None
    if live(path).exists():
        assert view.notice
    commits, simulation = simulated(events=500)
    for commit in commits:
        view.apply_all(commit)
    view.save(simulation.checkpoint())
    assert view.digest() == digest


def _close_all(path: Path) -> None:
    """Move what the log holds into the file, as the last one who closes it does."""
    database = sqlite3.connect(live(path))
    database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def test_another_spaces_file_is_not_gone_on_from(path: Path, ledger: TestLedger) -> None:
    """By its space id where that is known, and by the stream in any case."""
    build(HistoryView(path), 200).close()
    other = HistoryView(path, space_id=bytes(16))
    assert other.load() is None
    assert "another space" in str(other.notice)
    notices: list[str] = []
    view = HistoryView(path)
    assert catch_up(view, ledger.stream, on_rebuild=notices.append) is not None
    assert "another history" in notices[0]
    with view.reading() as history:
        assert history.position == ledger.state.position
    view.close()


def test_a_newer_file_is_left_as_it_is(path: Path, ledger: TestLedger) -> None:
    """Nothing of it is lost: it is refused, with both versions and what to do."""
    build(HistoryView(path), 200).close()
    database = sqlite3.connect(live(path))
    database.execute("PRAGMA user_version = 2")
    database.close()
    before = live(path).read_bytes()
    view = HistoryView(path)
    with pytest.raises(NewerHistory, match="is of version 2; this release knows 1") as caught:
        catch_up(view, ledger.stream)
    assert (caught.value.kind, "move the file away" in caught.value.hint) == ("invalid", True)
    view.close()
    assert live(path).read_bytes() == before


def test_flipped_bytes_are_noticed_where_they_are_told(path: Path) -> None:
    """Wherever a byte is flipped in a tenure: it is right, or noticed, and never told wrong."""
    whole = build(HistoryView(path), 800)
    with whole.reading() as history:
        right = list(history.everything())
    whole.close()
    _close_all(path)
    content = live(path).read_bytes()
    draw = Random(3)  # noqa: S311 - the same flips on every run
    noticed = 0
    for _ in range(60):
        at = draw.randrange(4_096, len(content))
        harmed = bytearray(content)
        harmed[at] ^= 1 << draw.randrange(8)
        live(path).write_bytes(harmed) if path.exists() else _restore(path, bytes(harmed))
        view = HistoryView(path)
        try:
            if view.load() is None:
                noticed += 1
                continue
            with view.reading() as history:
                told = list(history.everything())
        except (DamagedHistory, Unavailable):
            noticed += 1
            assert not path.exists(), "the next one builds it anew"
        else:
            expected = {tenure.lease_id: tenure for tenure in right}
            for tenure in told:
                same = expected[tenure.lease_id]
                assert tenure._replace(expires_ms=0, renewals=0, pool="") == same._replace(
                    expires_ms=0, renewals=0, pool=""
                )
        finally:
            view.close()
    assert noticed > 5


def _restore(path: Path, content: bytes) -> None:
    file = path.with_name(f"{path.name}.restored")
    file.write_bytes(content)
    path.symlink_to(file.name)


def test_a_directory_that_cannot_be_written(path: Path) -> None:
    """A clear error, and nothing of a traceback."""
    path.parent.mkdir(parents=True)
    path.parent.chmod(0o500)
    with without_privileges(path.parent):
        view = HistoryView(path)
        with pytest.raises(Unavailable, match="cannot be used"):
            view.load()
    path.parent.chmod(0o700)


def _ending_of(lease: int, record: Record) -> Record:
    event = LeaseEnded(lease, 2, bytes([10, 0, 0, 1]), 32, "eth0", 0)
    return record._replace(event=event)


@pytest.mark.parametrize("built", [0, 300])
def test_an_end_of_nothing_stops_it(opened: Callable[[], HistoryView], built: int) -> None:
    """Live or built anew: it is told with its position, and nothing of it is kept."""
    view = opened()
    simulation = Simulation(7)
    commits = list(simulation.commits(300))
    if built:
        build(view, 300)
        digest = view.digest()
        commits = []
    else:
        view.load()
        digest = ""
    for commit in commits:
        view.apply_all(commit)
    (record,) = next(c for c in simulation.commits(100_000) if len(c) == 1)
    with pytest.raises(ContradictoryEvent) as caught:
        keep(view, [_ending_of(10**9, record)], simulation.checkpoint())
    assert caught.value.position == record.position
    view.close()
    again = opened()
    assert (again.load() is not None) == bool(built)
    assert not built or again.digest() == digest


def test_a_lease_that_ends_twice_stops_it(opened: Callable[[], HistoryView]) -> None:
    """Within one page, in a build, and in a live file."""
    simulation = Simulation(7)
    records = [record for commit in simulation.commits(400) for record in commit]
    end = next(record for record in records if isinstance(record.event, LeaseEnded))
    twice = end._replace(position=len(records) + 1)
    for cut in (0, end.position, len(records)):
        view = opened()
        view.discard("to try")
        last = simulation.checkpoint()
        if cut:
            keep(view, records[:cut], last._replace(anchor=last.anchor._replace(position=cut)),
                 settled=cut == len(records))  # fmt: skip
        with pytest.raises(ContradictoryEvent, match=f"position {twice.position} "):
            keep(view, [*records[cut:], twice], last._replace(
                anchor=last.anchor._replace(position=twice.position)))  # fmt: skip
        view.close()


def test_an_empty_stream_has_no_history(path: Path) -> None:
    """Nothing is written, and nothing is wrong."""

    class Empty(TestLedger):
        def _create_space(self, level: int) -> None:
            del level

    view = HistoryView(path)
    assert catch_up(view, Empty().stream) is None
    view.close()
