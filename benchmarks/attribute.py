"""How fast flow records are joined with a history, beside reading and writing them alone."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from benchmarks.harness import Bench, Figure, Options, Report, Timing, in_turns, main
from engine.entry import Anchor, Commit, Header, Record
from engine.events import Event, LeaseEnded, LeaseGranted, PoolCreated, Sealed, SpaceCreated
from engine.reading import Checkpoint
from ipledger.attributing import Asked, HistoryLookup, Store, attributed, open_records
from ipledger.farm import usable_cores
from ipledger.flows import FlowFile, Replacement
from ipledger.times import format_ms
from replay.attribution import Known, Tally
from replay.history.store import HistoryView

SEED: Final = 7
BEGIN_MS: Final = 1_762_000_000_000
DAYS_MS: Final = 30 * 86_400_000
ADDRESSES: Final = 1 << 16
SPACE_ID: Final = bytes(16)

_FIRST, _LAST = bytes([10, 0, 0, 0]), bytes([10, 0, 255, 255])
_POOL: Final = PoolCreated(
    "bench", (_FIRST, 16), _FIRST + _LAST, b"", None, (), disabled=False, default=False,
    selectors=(), policy=0, cooldown_s=0, ttl_s=None, sticky_s=None,
)  # fmt: skip


class Sizes(NamedTuple):
    """How much there is of everything."""

    events: int
    addresses: int
    records: int
    rounds: int


class Writing:
    """Records of a history: of a /16 at random, whoever is free is granted and who holds goes."""

    def __init__(self, sizes: Sizes) -> None:
        self.ms = BEGIN_MS
        self.position = 0
        self._sizes = sizes
        self._commit = Commit(bytes(8), 0, 1, 0, 0, bytes(16))

    def __iter__(self) -> Iterator[Record]:
        chance = Random(SEED)  # noqa: S311 - the same history every time
        yield self._record(SpaceCreated(SPACE_ID, "bench", 1), Sealed(bytes(16)))
        yield self._record(_POOL, Sealed(bytes(16)))
        held: dict[int, int] = {}
        while self.position < self._sizes.events:
            self.ms += DAYS_MS // self._sizes.events
            number = chance.randrange(self._sizes.addresses)
            address = (0x0A000000 + number).to_bytes(4)
            owner = f"cluster-1/default/web-{self.position % 50_000}"
            sealed = Sealed(bytes(16), owner, None, (("app", f"app-{number % 100}"),), "bench")
            lease = held.pop(number, None)
            if lease is not None:
                yield self._record(LeaseEnded(lease, 2, address, 32, "eth0", 0), sealed)
                continue
            grant = LeaseGranted(2, address, 32, "eth0", None, "c1", None, (), None, None)
            yield self._record(grant, sealed)
            held[number] = self.position

    def _record(self, event: Event, sealed: Sealed) -> Record:
        self.position += 1
        return Record(self.position, self.ms, event, sealed, Header(bytes(16)), self._commit)


def write_history(path: Path, sizes: Sizes) -> tuple[Known, Store]:
    """A history in a file, and what it knows."""
    writing = Writing(sizes)
    with closing(HistoryView(path)) as view:
        view.load()
        page: list[Record] = []
        for record in writing:
            page.append(record)
            if len(page) == 10_000:
                view.apply_all(page)
                page = []
        view.apply_all(page)
        anchor = Anchor(writing.ms, writing.position, bytes(16))
        view.save(Checkpoint(SPACE_ID, "bench", 0, 0, anchor))
    return Known(BEGIN_MS, writing.ms, writing.position), Store(path, writing.ms, writing.position)


def write_flows(directory: Path, sizes: Sizes) -> tuple[Path, Path]:
    """The same records in both forms: at random times, of random addresses, unsorted."""
    chance = Random(SEED)  # noqa: S311 - the same records every time
    as_csv, as_json = directory / "flows.csv", directory / "flows.jsonl"
    with as_csv.open("w") as plain, as_json.open("w") as lines:
        plain.write("time,src,dst,sport,dport,proto,bytes\n")
        for number in range(sizes.records):
            at = format_ms(BEGIN_MS + chance.randrange(DAYS_MS))
            one, two = (chance.randrange(sizes.addresses) for _ in range(2))
            src, dst = (f"10.0.{n >> 8}.{n & 255}" for n in (one, two))
            plain.write(f"{at},{src},{dst},{number % 65_536},443,6,{number}\n")
            record = {"time": at, "src": src, "dst": dst, "sport": number % 65_536,
                      "dport": 443, "proto": 6, "bytes": number}  # fmt: skip
            lines.write(json.dumps(record) + "\n")
    return as_csv, as_json


def bare_csv(flows: Path, into: Path) -> None:
    """What Python's csv module takes to read and write it, and nothing else."""
    with flows.open(newline="") as source, into.open("w", newline="") as target:
        csv.writer(target).writerows(csv.reader(source))


def bare_json(flows: Path, into: Path) -> None:
    """What Python's json module takes to read and write it, and nothing else."""
    with flows.open() as source, into.open("w") as target:
        target.writelines(json.dumps(json.loads(line)) + "\n" for line in source)


def attribute(
    flows: Path, into: Path, columns: tuple[str, ...], workers: int, known: Known, store: Store
) -> None:
    """The whole way from one file to the other, the start of the workers included."""
    asked = Asked(flows.suffix[1:], "time", columns)
    tally = Tally(len(columns))
    with closing(FlowFile(str(flows))) as file, Replacement(str(into)) as target:
        opened = open_records(asked, file)
        target.write(opened.header)
        for joined in attributed(asked, opened, known, partial(HistoryLookup, store), workers):
            target.write(joined.output)
            tally.add(joined.tally)
        target.keep()
    assert tally.of("held"), "a join that finds nobody measures nothing"
    assert not tally.broken, "all records are whole"


def measure(options: Options, bench: Bench) -> Report:
    """CSV and JSON lines, each against its own ceiling."""
    report = Report("attribute", bench, options)
    sizes = Sizes(2_000, 256, 30_000, 1) if options.quick else Sizes(
        300_000, ADDRESSES, 3_000_000, 2
    )  # fmt: skip
    known, store = write_history(bench.home / "history.sqlite", sizes)
    as_csv, as_json = write_flows(bench.home, sizes)
    into = bench.home / "out"
    cores = usable_cores()
    told = {"events": sizes.events, "addresses": sizes.addresses}
    works: list[tuple[Timing, Callable[[], object]]] = []

    def figure(
        name: str, work: Callable[[], object], ceiling: str | None = None, **more: int
    ) -> None:
        timing = Timing(sizes.records)
        works.append((timing, work))
        report.add(Figure(name, timing, ceiling, {**told, **more} if ceiling else {}))

    for form, flows, bare in (("CSV", as_csv, bare_csv), ("JSON lines", as_json, bare_json)):
        name = f"{form}: read and write alone, one process"
        figure(name, partial(bare, flows, into))
        for columns in (("src",), ("src", "dst")):
            for workers in sorted({1, cores}):
                work = partial(attribute, flows, into, columns, workers, known, store)
                what = f"{form}: attribute {' and '.join(columns)}, {workers} workers"
                figure(what, work, name, bytes=flows.stat().st_size)
    in_turns(sizes.rounds, *works)
    return report


if __name__ == "__main__":
    main(__doc__, [measure])
