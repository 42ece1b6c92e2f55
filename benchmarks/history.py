"""How fast a history is asked, small and large, and how fast it is built, beside reading alone."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any, Final

from benchmarks.harness import Bench, Figure, Options, Report, Timing, in_turns, main
from benchmarks.replay import fill
from engine.addresses import from_int
from engine.entry import Anchor
from engine.reading import Checkpoint, Continuity, read_commits
from engine.stream import Stream
from ipledger import servers
from ipledger.ledger import Ledger
from replay.history import schema
from replay.history.catching_up import catch_up
from replay.history.queries import History
from replay.history.store import HistoryView
from replay.history.tenure import seal_of

START_MS: Final = 1_700_000_000_000
FIRST: Final = 10 << 24
TENURES_EACH: Final = 38  # of an address: as in ten million of a /14
LASTS_MS: Final = 60_000
POINT_MAX: Final = 3.0  # p99 of ten million, as a multiple of that of a hundred thousand
_PART: Final = 100_000


def rows(tenures: int) -> Iterator[list[Any]]:
    """Rows as a fold collects them, in the order of the stream: round after round of addresses."""
    addresses = max(tenures // TENURES_EACH, 1)
    words = (None,) * 2
    for number in range(tenures):
        turn, index = divmod(number, addresses)
        position = number * 2 + 2
        from_ms = START_MS + turn * LASTS_MS + index % LASTS_MS
        key = schema.family_key(from_int(FIRST + index, 4))
        owner = f"cluster-1/default/pod-{number % (addresses * 7)}"
        grant = (
            from_ms,
            position,
            from_ms,
            owner,
            "eth0",
            None,
            (),
            None,
            2,
            None,
            None,
            None,
            None,
        )
        end = (from_ms + LASTS_MS * 9 // 10, position + 1, from_ms + LASTS_MS * 9 // 10, 0)
        yield [
            key, 32, from_ms, position, from_ms, owner, 1, None, None, None, 2, None, None,
            None, None, seal_of(key, 32, *grant), None, 0,
            *end, *words, seal_of(position, *end, *words),
        ]  # fmt: skip


def made(path: Path, tenures: int) -> tuple[HistoryView, float]:
    """A history of so many tenures through the way of a rebuild, and how long that took."""
    view = HistoryView(path)
    assert view.load() is None, "the directory is new"
    began_s = time.perf_counter()
    view._begin_building()  # noqa: SLF001 - what a fold would do with events
    database = view._connection  # noqa: SLF001 - as above
    insert = f"INSERT INTO collected.granted VALUES ({', '.join('?' * 25)})"  # noqa: S608 - marks
    source = rows(tenures)
    database.execute("INSERT INTO word VALUES (1, 'eth0')")
    database.execute("INSERT INTO block_size VALUES (4, 32)")
    while part := list(itertools.islice(source, _PART)):
        database.execute("BEGIN")
        database.executemany(insert, part)
        database.execute("COMMIT")
    anchor = Anchor(START_MS + tenures, tenures * 2 + 1, b"c")
    view._first_ms = view._earliest_ms = START_MS  # noqa: SLF001 - as above
    view.save(Checkpoint(bytes(16), "default", 0, 0, anchor))
    view.settle()
    return view, time.perf_counter() - began_s


def asking(history: History, tenures: int, seed: int) -> Callable[[], object]:
    """Ask who held an address at a time, both drawn by chance."""
    draw = Random(seed)  # noqa: S311 - the same questions on every run
    addresses = max(tenures // TENURES_EACH, 1)

    def ask() -> object:
        address = from_int(FIRST + draw.randrange(addresses), 4)
        at_ms = START_MS + draw.randrange(TENURES_EACH * LASTS_MS)
        return history.holder(address, at_ms)

    return ask


def ask_both(report: Report, home: Path, sizes: tuple[int, int], questions: int) -> None:
    """The same questions of a small history and of a large one, in turns."""
    views, built_s = zip(
        *(made(home / f"{size}.sqlite", size) for size in sizes), strict=True
    )  # fmt: skip
    timings = (Timing(), Timing())
    with views[0].reading() as small, views[1].reading() as large:
        works = [
            (timing, asking(history, size, 7))
            for timing, history, size in zip(timings, (small, large), sizes, strict=True)
        ]
        in_turns(100, *works, times=max(questions // 100, 1))
    name = f"who held X at T, of {sizes[0]:,} tenures"
    ratio = timings[1].percentile_s(99) / timings[0].percentile_s(99)
    note = f"p99 is {ratio:.2f} × that of the small one; the target is at most {POINT_MAX:g} ×"
    for timing, size, seconds, ceiling, said in zip(
        timings, sizes, built_s, (None, name), ("", note), strict=True
    ):
        kept = sum(file.stat().st_size for file in home.glob(f"{size}.sqlite.*"))
        report.add(Figure(
            f"who held X at T, of {size:,} tenures", timing, ceiling=ceiling, note=said,
            sizes={"file_MB": round(kept / 1e6), "tenures_a_second_built": round(size / seconds)},
        ))  # fmt: skip
    for view in views:
        view.close()


def read_alone(stream: Stream) -> None:
    """Read, decode and check everything, and keep nothing."""
    for _ in read_commits(stream, Continuity()):
        pass


def build(report: Report, stream: Stream, home: Path, events: int, rounds: int) -> None:
    """The history of a stream built anew, beside reading it alone."""
    alone, anew = Timing(events), Timing(events)
    number = itertools.count()

    def make() -> None:
        view = HistoryView(home / f"built-{next(number)}.sqlite")
        catch_up(view, stream)
        view.close()

    in_turns(rounds, (alone, lambda: read_alone(stream)), (anew, make))
    name = "read, decode, check"
    report.add(
        Figure(name, alone, sizes={"events": events}),
        Figure("history built anew from the stream", anew, ceiling=name),
    )


def measure(options: Options, bench: Bench) -> Report:
    """Questions of two sizes of history, and building one from a stream."""
    report = Report("history", bench, options)
    stream = servers.open_stream(servers.reach(bench.url), "default")
    with Ledger(stream) as ledger:
        fill(ledger, 2_000 if options.quick else 200_000)
        events = ledger.position
    del ledger
    build(report, stream, bench.home, events, 2 if options.quick else 3)
    sizes = (1_000, 10_000) if options.quick else (100_000, 10_000_000)
    ask_both(report, bench.home, sizes, 200 if options.quick else 20_000)
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
