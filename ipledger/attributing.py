"""Attribution of a flow file: what is asked for, one process's part, and all of it together."""

from __future__ import annotations

import csv
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from engine.addresses import Address
from engine.errors import InvalidInput, Unavailable
from engine.names import check_name
from ipledger.farm import Farm
from ipledger.flows import FlowFile, packed
from ipledger.local import HISTORY, view_path
from ipledger.spaces import open_server
from replay.attribution import (
    FIELDS_USUAL,
    Answers,
    Block,
    Columns,
    CsvJoin,
    Join,
    Joined,
    JsonJoin,
    Known,
    Members,
    Tally,
    added_names,
    blocks_of,
    csv_rendering,
    cut_csv,
    cut_lines,
    decoded,
    json_rendering,
    time_reader,
)
from replay.attribution.blocks import csv_records
from replay.attribution.csv_join import quoted
from replay.history.lookup import TenureLookup, TenureSpan
from replay.history.queries import History, Span
from replay.history.store import HistoryView

if TYPE_CHECKING:
    from ipledger.cli.settings import Settings

_BOM: Final = b"\xef\xbb\xbf"


class Asked(NamedTuple):
    """What is asked of a flow file; ``form`` is ``csv`` or ``jsonl``.

    Columns are names, or numbers from 1 where there is no header.
    """

    form: str
    time_column: str
    address_columns: tuple[str, ...]
    time_format: str = "auto"
    assume_utc: bool = False
    delimiter: str = ","
    has_header: bool = True
    fields: tuple[str, ...] = FIELDS_USUAL
    set_aside: bool = False
    pack: bool = False


class Store(NamedTuple):
    """Where a history lies, and as of what it is asked: nothing recorded after that counts.

    ``position`` is where it stands if that is all of it, or None if an earlier time is asked for.
    """

    path: Path
    recorded_until_ms: int
    position: int | None


class Pinned(NamedTuple):
    """What the history knows, and how each process asks it."""

    known: Known
    lookup: Callable[[], TenureLookup]


class Reached(NamedTuple):
    """Where the history of a space lies, and the moment up to which it tells all there is.

    ``now_ms`` is None on a replica or a mirror, which may lag: there only the last event tells
    the time.
    """

    path: Path
    now_ms: int | None

    @classmethod
    def now(cls, settings: Settings) -> Reached:
        """As of now, by the server's clock.

        Raises:
            LedgerError: the server cannot be reached.
        """
        from ipledger import servers

        check_name(settings.space, "space")
        server, endpoint = open_server(settings)
        with closing(server):
            execute = server.client.execute_command
            is_primary = (
                execute("ROLE")[0] == b"master"  # type: ignore[no-untyped-call]
                and servers.open_stream(server, settings.space).marker() is None
            )
            seconds, micros = execute("TIME")  # type: ignore[no-untyped-call]
        now_ms = int(seconds) * 1_000 + int(micros) // 1_000
        path = view_path(settings.views, endpoint, settings.space, HISTORY)
        return cls(path, now_ms if is_primary else None)


def pinned(reached: Reached, history: History, span: Span) -> Pinned:
    """What a history knows that was brought up to date since it was reached.

    Nothing happened between the last event and the moment the history was reached, so what was so
    then was so until that moment. About later times nobody can say anything yet.
    """
    last_ms = history.checkpoint.anchor.ms
    if not history.position:
        return Pinned(Known(0, 0, 0), Nobody)
    until_ms = max(last_ms, reached.now_ms or 0)
    recorded_ms = last_ms
    if span.known_at_ms is not None:
        recorded_ms = min(last_ms, span.known_at_ms)
        until_ms = min(until_ms, span.known_at_ms + 1)
    known = Known(history.first_ms, until_ms, history.position)
    position = None if span.known_at_ms is not None else history.position
    return Pinned(known, partial(HistoryLookup, Store(reached.path, recorded_ms, position)))


class Nobody:
    """The history of a space in which nothing has happened."""

    def tenures_at(self, address: bytes) -> list[TenureSpan]:
        """See `TenureLookup`."""
        del address
        return []


class AsOf:
    """A history as it was recorded up to a time: all workers give the same answers."""

    def __init__(self, history: History, recorded_until_ms: int) -> None:
        self._history = history
        self._span = Span(known_at_ms=recorded_until_ms)

    def tenures_at(self, address: bytes) -> list[TenureSpan]:
        """See `TenureLookup`."""
        history = self._history
        found = history.tenures(history.of_address(Address(address)), self._span, limit=-1)
        return [
            TenureSpan(
                t.from_ms, t.to_ms, t.owner, t.lease_id, t.labels, t.pool, t.interface, t.cluster
            )
            for t in found
        ]  # fmt: skip


class HistoryLookup:
    """The history of a file, opened by the process that asks it, and open until that ends."""

    def __init__(self, store: Store) -> None:
        """Open it.

        Raises:
            Unavailable: it is not there any more, or cannot be read.
        """
        view = HistoryView(store.path)
        if view.load() is None:
            message = f"the local history {store.path} {view.notice or 'is gone'}"
            raise Unavailable(message, "run the command again: it is built anew")
        self._reading = view.reading()  # kept, as its end would close what is read from
        history = self._reading.__enter__()
        # Others may have folded more meanwhile, which costs a closer look at each tenure.
        is_as_it_was = history.position == store.position
        asked: TenureLookup = history if is_as_it_was else AsOf(history, store.recorded_until_ms)
        self.tenures_at = asked.tenures_at


def make_join(
    asked: Asked, columns: Columns | Members, known: Known, lookup: Callable[[], TenureLookup]
) -> Join:
    """The function that works on blocks; made in each process, which opens its own history."""
    read_time = time_reader(asked.time_format, assume_utc=asked.assume_utc)
    join: Join
    if isinstance(columns, Columns):
        rendering = csv_rendering(asked.fields, asked.delimiter)
        answers = Answers(lookup(), known, rendering)
        join = CsvJoin(columns, read_time, answers, set_aside=asked.set_aside)
    else:
        answers = Answers(lookup(), known, json_rendering(asked.fields))
        join = JsonJoin(columns, read_time, answers, set_aside=asked.set_aside)
    return _Packing(join) if asked.pack else join


class _Packing:
    """A join whose output is packed: by the workers, as packing takes as long as joining."""

    def __init__(self, join: Join) -> None:
        self._join = join

    def __call__(self, block: Block) -> Joined:
        joined = self._join(block)
        return joined._replace(output=packed(joined.output))


class Opened(NamedTuple):
    """A flow file whose first record has been read.

    ``header`` is what is written first, ``header_as_read`` the same without added columns;
    ``lines`` is how many lines that took. ``blocks`` are all other records.
    """

    columns: Columns | Members
    header: bytes
    header_as_read: bytes
    lines: int
    blocks: Iterator[Block]


def open_records(asked: Asked, file: FlowFile) -> Opened:
    """Read the header, find the columns, and cut the rest into blocks.

    Raises:
        InvalidInput: there is no such column, or nothing to find one in.
    """
    if asked.time_column in asked.address_columns or len(set(asked.address_columns)) < len(
        asked.address_columns
    ):
        raise InvalidInput("a column is named twice", "the time and each address have their own")
    chunks = _without_mark(file.chunks())
    if asked.form == "jsonl":
        members = Members(asked.time_column, asked.address_columns)
        return Opened(members, b"", b"", 0, blocks_of(chunks, cut_lines))
    blocks = blocks_of(chunks, cut_csv(asked.delimiter))
    first = next(blocks, b"")
    head, closed = next(csv_records(first, asked.delimiter), (b"", True))
    if not closed:
        message = f"{file.shown}: a quote is opened in the first record and never closed"
        raise InvalidInput(message, "is it CSV?")
    if not asked.has_header:
        names = _names(head, asked)
        columns = _columns(asked, [str(number) for number in range(1, len(names) + 1)], file)
        return Opened(columns, b"", b"", 0, chain([first] if first else [], blocks))
    if not head.strip():
        raise InvalidInput(f"{file.shown}: there is no header", "a file without one: --no-header")
    names = _names(head, asked)
    columns = _columns(asked, names, file)
    added = [name for column in asked.address_columns for name in added_names(column, asked.fields)]
    for name in added:
        if name in names:
            message = f"{file.shown}: there is a column {name} already"
            raise InvalidInput(message, "rename it, or leave that field out with --add")
    body = head.rstrip(b"\r\n")
    more = "".join(asked.delimiter + quoted(name, asked.delimiter) for name in added)
    header = body + more.encode("utf-8", "surrogateescape") + head[len(body) :]
    rest = first[len(head) :]
    lines = head.count(b"\n")
    return Opened(columns, header, head, lines, chain([rest] if rest else [], blocks))


def _names(head: bytes, asked: Asked) -> list[str]:
    rows = list(csv.reader([decoded(head).rstrip("\r\n")], delimiter=asked.delimiter))
    return rows[0] if rows else []


def _columns(asked: Asked, names: list[str], file: FlowFile) -> Columns:
    def place(column: str) -> int:
        if names.count(column) == 1:
            return names.index(column)
        told = ", ".join(names) if asked.has_header else f"1 to {len(names)}"
        if column in names:
            raise InvalidInput(f"{file.shown}: several columns are called {column}", told)
        message = f"{file.shown}: there is no column {column}"
        raise InvalidInput(message, f"there are: {told}" if names else "the file is empty")

    addresses = tuple(place(column) for column in asked.address_columns)
    return Columns(asked.delimiter, len(names), place(asked.time_column), addresses)


def _without_mark(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The pieces without the byte order mark that some programs begin a file with."""
    pieces = iter(chunks)
    yield next(pieces, b"").removeprefix(_BOM)
    yield from pieces


def attributed(
    asked: Asked,
    opened: Opened,
    known: Known,
    lookup: Callable[[], TenureLookup],
    workers: int,
) -> Generator[Joined, None, None]:
    """The blocks with their answers, in order; few are in memory at once.

    What is one block, or is asked for with one worker, is done by this process itself.

    Raises:
        InvalidInput: the file breaks off, or has a record of endless length.
        LedgerError: the history cannot be read, or a worker is gone.
    """
    prepare = partial(make_join, asked, opened.columns, known, lookup)
    begun = [block for _, block in zip(range(2), opened.blocks, strict=False)]
    blocks = chain(begun, opened.blocks)
    if len(begun) < 2 or workers == 1:
        join = prepare()
        for block in blocks:
            yield join(block)
        return
    with Farm[Block, Joined](prepare, workers) as farm, closing(farm.results(blocks)) as results:
        yield from results


def check_columns(asked: Asked, tally: Tally) -> None:
    """A column that no record has was misspelt.

    Raises:
        InvalidInput: it is so.
    """
    fault = tally.faults.get("column")
    if asked.form == "jsonl" and fault is not None and fault.count == tally.records:
        _, told = fault.first[0]
        raise InvalidInput(f"no record can be attributed: {told} in any of them", "see --help")
