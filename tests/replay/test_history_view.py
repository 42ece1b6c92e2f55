"""The life of a history: kept with its checkpoint, built anew when it must be, asked meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from engine.addresses import RangeSet, from_int, parse_address
from engine.commands import Apply, SetAside
from engine.entry import Record
from engine.errors import LedgerError, Unavailable, ViewDamaged
from engine.reading import Checkpoint
from projections.view import View
from replay.history.catching_up import catch_up
from replay.history.queries import Span
from replay.history.store import HistoryView
from replay.history.trouble import DamagedHistory, NewerHistory
from replay.history.unheld import unheld
from tests.builders import TestLedger, make_allocate, make_pool, make_release, make_reservation
from tests.replay.built import build, simulated
from tests.replay.simulated import Simulation


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


def part_of(simulation: Simulation, events: int) -> tuple[list[list[Record]], Checkpoint]:
    """What comes until there are so many events, and where that ends."""
    return list(simulation.commits(events)), simulation.checkpoint()


def fold(view: HistoryView, part: tuple[list[list[Record]], Checkpoint]) -> None:
    """Fold commits and save."""
    for commit in part[0]:
        view.apply_all(commit)
    view.save(part[1])


def digest_of_one_alone(view: HistoryView, events: int) -> str:
    """What a history of so many events comes to that nobody else has a hand in."""
    whole = HistoryView(view._files.path.with_name("whole.sqlite"))
    digest = build(whole, events).digest()
    whole.close()
    return digest


def test_of_two_that_build_at_once_the_first_goes_on_in_what_it_made(
    opened: Callable[[], HistoryView], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second finds nothing, and the first switches and folds on before the second switches."""
    one, two = opened(), opened()
    simulation = Simulation(7)
    few, some, more = (part_of(simulation, events) for events in (100, 300, 500))
    assert one.load() is two.load() is None
    for commit in few[0]:
        one.apply_all(commit)
    for commit in few[0] + some[0]:
        two.apply_all(commit)
    switch = two._files.switch

    def late(*arguments: Any) -> Any:
        monkeypatch.undo()
        one.save(few[1])
        fold(one, (some[0] + more[0], more[1]))
        return switch(*arguments)

    monkeypatch.setattr(two._files, "switch", late)
    two.save(some[1])
    assert one.digest() == two.digest() == digest_of_one_alone(one, 500)


def test_what_is_being_folded_into_is_not_replaced_by_what_lags(
    opened: Callable[[], HistoryView], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has built the same beside it waits for the commit, and then gives way to it."""
    one, two = opened(), opened()
    simulation = Simulation(7)
    few, some, more = (part_of(simulation, events) for events in (100, 300, 500))
    looked = threading.Event()
    load = HistoryView.load

    def seen(view: HistoryView) -> Checkpoint | None:
        found = load(view)
        looked.set()
        return found

    with ThreadPoolExecutor(1) as beside:  # a connection is of the thread that made it
        assert one.load() is beside.submit(two.load).result(60) is None
        for commit in few[0] + some[0]:
            beside.submit(two.apply_all, commit).result(60)
        fold(one, few)
        for commit in some[0] + more[0]:
            one.apply_all(commit)
        one._flush()  # it holds the write lock from here on, and 100 is what others see
        monkeypatch.setattr(HistoryView, "load", seen)
        saved = beside.submit(two.save, some[1])
        assert looked.wait(60)
        one.save(more[1])
        saved.result(60)
        digest = beside.submit(two.digest).result(60)
        beside.submit(two.close).result(60)
    assert one.digest() == digest == digest_of_one_alone(one, 500)


def test_nothing_is_folded_into_what_was_replaced(
    opened: Callable[[], HistoryView], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who has seen that it still has the name looks again when it holds the write lock."""
    one, two = opened(), opened()
    simulation = Simulation(7)
    few, some, more = (part_of(simulation, events) for events in (100, 300, 500))
    assert one.load() is two.load() is None
    for commit in few[0] + some[0]:
        two.apply_all(commit)
    fold(one, few)
    follow = one._follow_switch

    def at_once() -> None:
        monkeypatch.undo()
        follow()
        two.save(some[1])

    monkeypatch.setattr(one, "_follow_switch", at_once)
    fold(one, (some[0] + more[0], more[1]))
    assert two._files.target() == two._opened
    assert one.digest() == two.digest() == digest_of_one_alone(one, 500)


_FOLDING: Final = """
import sys
import threading
from pathlib import Path
from replay.history.store import HistoryView
from tests.replay.built import build, keep, simulated
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


def test_every_address_of_a_released_block_is_at_rest(path: Path) -> None:
    """Until its pool's cooldown is over; the later tenure of a part of it counts instead."""
    ledger = TestLedger()
    start_ms = ledger.clock.now_ms
    ledger.apply(make_pool("web", ips=["10.0.0.0-10.0.0.63"], cooldown_s=20))
    (block,) = ledger.grant("web", owner="a", ips=("10.0.0.0",), prefix_length=28)
    ledger.clock.now_ms = start_ms + 1_000
    ledger.done(make_release(block.lease_id))
    ledger.clock.now_ms = start_ms + 22_000
    ledger.grant("web", owner="b", ips=("10.0.0.0",))
    ledger.clock.now_ms = start_ms + 23_000
    ledger.done(make_release(owner="b"))
    view = HistoryView(path)
    catch_up(view, ledger.stream)
    first = int.from_bytes(block.address)
    with view.reading() as history:
        for value in range(first, first + 16):
            said = unheld(history, from_int(value, 4), start_ms + 2_000)
            assert (said.why, said.until_ms) == ("cooling", start_ms + 21_000)
            said = unheld(history, from_int(value, 4), start_ms + 24_000)
            assert said.why == ("cooling" if value == first else "free")
        assert unheld(history, from_int(first + 16, 4), start_ms + 2_000).why == "free"
    view.close()


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
    assert issubclass(DamagedHistory, ViewDamaged)
