"""The life of a history: kept with its checkpoint, built anew when it must be, asked meanwhile."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Final

import pytest

from engine.addresses import RangeSet, from_int, parse_address
from engine.commands import Apply, SetAside
from engine.entry import Record
from engine.errors import ContradictoryEvent, LedgerError, Unavailable
from engine.events import LeaseEnded
from engine.reading import Checkpoint
from projections.view import View
from replay.history.catching_up import catch_up
from replay.history.queries import Span
from replay.history.store import DamagedHistory, HistoryView, NewerHistory
from replay.history.unheld import unheld
from tests.builders import TestLedger, make_allocate, make_pool, make_release, make_reservation
from tests.privileges import without_privileges
from tests.replay.simulated import Simulation

EVENTS: Final = 3_000


def simulated(seed: int = 7, events: int = EVENTS) -> tuple[list[list[Record]], Simulation]:
    """Commits by chance, and who drew them."""
    simulation = Simulation(seed)
    return list(simulation.commits(events)), simulation


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a history is kept; its directory is not there yet."""
    return tmp_path / "views" / "history.sqlite"


@pytest.fixture
def opened(path: Path) -> Iterator[Callable[[], HistoryView]]:
    """Opens views at `path`; they are closed in the end."""
    views: list[HistoryView] = []

    def make() -> HistoryView:
        views.append(HistoryView(path))
        return views[-1]

    yield make
    for view in views:
        view.close()


@pytest.fixture
def ledger() -> TestLedger:
    """A ledger in which something was granted, and something ended."""
    made = TestLedger()
    made.apply(make_pool("web"), make_reservation("kept", "10.0.0.9", reason="why"))
    for number in range(20):
        made.clock.now_ms += 1_000
        made.grant("web", owner=f"pod-{number}", labels=(("k", "v"),))
        if number % 3 == 0:
            made.done(make_release(owner=f"pod-{number}"))
    return made


def build(view: HistoryView, events: int = EVENTS, seed: int = 7) -> HistoryView:
    """A history by chance, whole."""
    assert view.load() is None
    commits, simulation = simulated(seed, events)
    for commit in commits:
        view.apply_all(commit)
    view.save(simulation.checkpoint())
    view.settle()
    return view


def keep(
    view: HistoryView, records: list[Record], checkpoint: Checkpoint, *, settled: bool = True
) -> None:
    """Fold, save, and put in order what was built anew."""
    view.apply_all(records)
    view._flush()
    view.save(checkpoint)
    if settled:
        view.settle()


def test_it_is_a_view(path: Path) -> None:
    """A runner can keep it like any other."""
    view: View = HistoryView(path)
    assert (view.name, view.schema_version) == ("history", 1)
    assert view.load() is None
    view.close()


def test_it_goes_on_from_where_it_stood(
    opened: Callable[[], HistoryView], ledger: TestLedger
) -> None:
    """After it was closed as well; and comes to the same as one built in one go."""
    view = opened()
    first = catch_up(view, ledger.stream)
    assert first is not None
    view.close()
    ledger.clock.now_ms += 1
    ledger.done(make_release(owner="pod-1"))
    again = opened()
    positions: list[int] = []
    last = catch_up(again, ledger.stream, on_progress=positions.append)
    assert (first.position, positions[0], again.notice) == (positions[0], first.position, None)
    assert last is not None
    assert last.position == positions[-1] == ledger.state.position
    anew = HistoryView(Path(f"{again._files.path}-anew"))
    catch_up(anew, ledger.stream)
    assert anew.digest() == again.digest()
    anew.close()


@pytest.mark.parametrize("size", [1, 7, 500, 1_999, 10_000])
def test_however_it_is_saved_it_comes_to_the_same(
    opened: Callable[[], HistoryView], tmp_path: Path, size: int
) -> None:
    """One event at a time, in pages, in one go: equal digests."""
    whole = build(HistoryView(tmp_path / "whole.sqlite"), 600)
    view = opened()
    assert view.load() is None
    simulation = Simulation(7)
    pending = 0
    for commit in simulation.commits(600):
        view.apply_all(commit)
        pending += len(commit)
        if pending >= size:
            view.save(simulation.checkpoint())
            pending = 0
    view.save(simulation.checkpoint())
    assert view.digest() == whole.digest()
    whole.close()


def test_what_was_not_saved_is_gone(opened: Callable[[], HistoryView]) -> None:
    """Neither its rows nor its position are there; in a build neither."""
    commits, simulation = simulated(events=100)
    view = opened()
    view.load()
    for commit in commits:
        view.apply_all(commit)
    view.close()
    assert opened().load() is None
    kept = build(opened(), 100)
    digest = kept.digest()
    more = list(simulation.commits(300))
    for commit in more:
        kept.apply_all(commit)
    kept._flush()
    kept.close()
    again = opened()
    assert again.load() is not None
    assert again.digest() == digest


def test_readers_are_never_without(opened: Callable[[], HistoryView]) -> None:
    """While it is built anew and switched to, who has the old one open reads on in it."""
    old = build(opened(), 500)
    digest = old.digest()
    anew = opened()
    anew.discard("is to be built anew")
    commits, simulation = simulated(events=2_500)
    with old.reading() as history:
        for commit in commits:
            anew.apply_all(commit)
        anew.save(simulation.checkpoint())
        other = opened()
        assert other.load() is not None
        assert other.digest() == digest, "until the switch the old one has the name"
        other.close()
        anew.settle()
        assert len(list(history.everything())) > 100
    assert old.digest() == anew.digest() != digest, "asked again, it is asked of the new one"
    fresh = opened()
    assert fresh.load() == simulation.checkpoint()
    files = {
        found.name.split(".")[2].split("-")[0]
        for found in anew._files.path.parent.glob("*.sqlite.*")
    }
    assert len(files - {"building", "switch"}) == 1, "the old one is swept away"


def test_two_that_fold_the_same_do_not_fold_it_twice(opened: Callable[[], HistoryView]) -> None:
    """Who comes second finds it there, and goes on behind it."""
    build(opened(), 500).close()
    one, two = opened(), opened()
    simulation = Simulation(7)
    list(simulation.commits(500))
    assert one.load() == two.load() == simulation.checkpoint()
    part = list(simulation.commits(700))
    first = simulation.checkpoint()
    rest = list(simulation.commits(900))
    for commit in part:
        one.apply_all(commit)
    for commit in part + rest:
        two.apply_all(commit)
    one.save(first)
    two.save(simulation.checkpoint())
    one.save(first)
    assert one.digest() == two.digest()
    whole = HistoryView(one._files.path.with_name("whole.sqlite"))
    assert build(whole, 900).digest() == two.digest()
    whole.close()


def test_who_folds_goes_on_in_a_file_that_was_switched_to(
    opened: Callable[[], HistoryView],
) -> None:
    """What is pending is folded behind what the new one has; one that lags is not gone on from."""
    one = build(opened(), 500)
    simulation = Simulation(7)
    list(simulation.commits(500))
    for commit in simulation.commits(600):
        one.apply_all(commit)
    late, expected = simulation.checkpoint(), ""
    for size in (550, 300):
        other = opened()
        other.discard("to try")
        commits, drawn = simulated(events=size)
        for commit in commits:
            other.apply_all(commit)
        other.save(drawn.checkpoint())
        if size == 550:
            one.save(late)
            expected = one.digest()
        else:
            one.apply_all([])
            with pytest.raises(Unavailable, match="replaced meanwhile"):
                one.save(late)
    whole = HistoryView(one._files.path.with_name("whole.sqlite"))
    assert build(whole, 600).digest() == expected
    whole.close()


_FOLDING: Final = """
import sys
from pathlib import Path
from replay.history.store import HistoryView
from tests.replay.simulated import Simulation

view, size = HistoryView(Path(sys.argv[1])), int(sys.argv[2])
checkpoint = view.load()
base = 0 if checkpoint is None else checkpoint.position
simulation, pending = Simulation(7), 0
for commit in simulation.commits(6_000):
    if commit[-1].position <= base:
        continue
    view.apply_all(commit)
    pending += len(commit)
    if pending >= size:
        view.save(simulation.checkpoint())
        pending = 0
        with view.reading() as history:
            row = history._database.execute("SELECT max(granted) FROM tenure").fetchone()
            assert row[0] <= history.position
view.save(simulation.checkpoint())
print(view.digest())
view.close()
"""


@pytest.mark.parametrize("begun", [0, 500])
def test_processes_that_fold_at_once(
    path: Path, opened: Callable[[], HistoryView], begun: int
) -> None:
    """Three fold the same, in pages of different sizes: each comes to the digest of one alone."""
    path.parent.mkdir(parents=True)
    if begun:
        build(opened(), begun).close()
    whole = build(HistoryView(path.with_name("whole.sqlite")), 6_000)
    expected = whole.digest()
    whole.close()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _FOLDING, str(path), str(size)],
            stdout=subprocess.PIPE, text=True, env=environment,
        )
        for size in (61, 149, 400)
    ]  # fmt: skip
    said = [process.communicate(timeout=100)[0].strip() for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert said == [expected] * 3
    view = opened()
    view.load()
    assert view.digest() == expected


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
        with pytest.raises(ContradictoryEvent):
            keep(view, [*records[cut:], twice], last._replace(
                anchor=last.anchor._replace(position=twice.position)))  # fmt: skip
        view.close()


def test_an_empty_stream_has_no_history(path: Path) -> None:
    """Nothing is written, and nothing is wrong."""

    class Empty(TestLedger):
        def _create_space(self) -> None:
            pass

    view = HistoryView(path)
    assert catch_up(view, Empty().stream) is None
    view.close()


# ------------------------------------------------------------------------------------- unheld


def test_what_an_unheld_address_was_is_what_the_ledger_said_then(path: Path) -> None:
    """At every moment of a life by chance: each address is told to be in the bucket of its state.

    The state's own buckets are the oracle; they are folded by other code.
    """
    ledger = TestLedger()
    draw = Random(11)  # noqa: S311 - the same life on every run
    ips = ["10.0.0.1-10.0.0.12"]
    ledger.apply(make_pool("web", ips=ips, cooldown_s=20))
    moments: list[tuple[int, dict[int, str]]] = []
    for step in range(160):
        ledger.clock.now_ms += draw.choice((1, 1_000, 9_000))
        _something(ledger, draw, step)
        ledger.refresh()
        moments.append((ledger.state.ms, _buckets(ledger)))
    view = HistoryView(path)
    catch_up(view, ledger.stream)
    kinds = set()
    with view.reading() as history:
        for at_ms, buckets in moments:
            for value, bucket in buckets.items():
                address = from_int(value, 4)
                held = history.holder(address, at_ms)
                said = "leased" if held else unheld(history, address, at_ms).why
                assert said == bucket, (address, at_ms)
                kinds.add(said)
                # What was recorded is known: the answer of then is the answer of now.
                then = history.holder(address, at_ms, at_ms)
                assert (then is None) == (held is None)
    view.close()
    assert kinds == {"leased", "quarantined", "cooling", "reserved", "free", "excluded", "no_pool"}


def _something(ledger: TestLedger, draw: Random, step: int) -> None:
    owner = f"pod-{draw.randrange(6)}"
    kind = draw.randrange(8)
    value = f"10.0.0.{draw.randrange(1, 13)}"
    if kind < 3:
        ledger.run(make_allocate("web", owner=owner))
    elif kind < 5:
        ledger.run(make_release(owner=owner))
    elif kind == 5:
        made = make_reservation("kept", value, f"10.0.0.{draw.randrange(1, 15)}")
        ledger.run(Apply((made,)))
    elif kind == 6:
        number = int.from_bytes(parse_address(value))
        ledger.run(SetAside(RangeSet(4, [(number, number)]), "arp", 10))
    else:
        excluded = [] if step % 2 else [f"10.0.0.{draw.randrange(1, 13)}"]
        pool = make_pool("web", ips=["10.0.0.1-10.0.0.12"], exclude_ips=excluded, cooldown_s=20)
        ledger.run(Apply((pool,)))


def _buckets(ledger: TestLedger) -> dict[int, str]:
    """What each address of the pool's subnet is, by the live state."""
    state, found = ledger.state, {}
    pool = state.pool("web")
    assert pool is not None
    first = pool.spec.subnet.first
    aside = state.quarantined(4)
    for value in range(first + 1, first + 16):
        address = from_int(value, 4)
        if state.lease_at(address) is not None:
            found[value] = "leased"
        elif value in aside:
            found[value] = "quarantined"
        elif state.resting(pool.pool_id, value) is not None:
            found[value] = "cooling"
        elif state.reserved_by(address):
            found[value] = "reserved"
        elif value in pool.effective:
            found[value] = "free"
        else:
            found[value] = "excluded" if value in pool.spec.ips else "no_pool"
    return found


def test_a_grant_and_its_late_end(path: Path) -> None:
    """The example of the guide: what was believed when, and what was so."""
    ledger = TestLedger()
    start_ms = ledger.clock.now_ms
    ledger.apply(make_pool("web"))
    (lease,) = ledger.grant("web", owner="a")
    ledger.clock.now_ms = start_ms + 10_000
    ledger.done(make_release(lease.lease_id)._replace(effective_at_ms=start_ms + 4_000))
    view = HistoryView(path)
    catch_up(view, ledger.stream)
    address = lease.address
    with view.reading() as history:
        assert history.holder(address, start_ms + 5_000) is None
        believed = history.holder(address, start_ms + 5_000, start_ms + 9_999)
        assert believed is not None
        assert (believed.owner, believed.to_ms) == ("a", None)
        (tenure,) = history.tenures(history.of_owner("a"), Span())
        assert tenure.ending is not None
        assert (tenure.to_ms, tenure.ending.recorded_ms) == (start_ms + 4_000, start_ms + 10_000)
    view.close()


def test_errors_are_told_as_such() -> None:
    """Both are errors of the house, with a kind and a hint."""
    assert issubclass(NewerHistory, LedgerError)
    assert issubclass(DamagedHistory, Unavailable)
