"""`replay`: the events folded anew to any moment, two moments and two replays compared."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypedDict, Unpack

import click

from engine.errors import EXIT_CODES, InvalidInput
from ipledger.cli.complete import complete_pool
from ipledger.cli.settings import Settings, verb
from ipledger.cli.show import emit, fields, plain, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from engine.reading import HighWater
    from engine.stream import Stream
    from projections.state import LedgerState
    from replay.digests import Comparison, Digests, Taken
    from replay.moments import Moment

_EVERY = 100_000


class _History(NamedTuple):
    """A space's stream, and what this machine remembers of it."""

    stream: Stream
    remembered: HighWater | None
    now_ms: int

    def moment(self, text: str | None) -> Moment:
        """The moment that a user names, or the end."""
        from ipledger.moments import find_moment
        from ipledger.times import Point, parse_point

        point = Point(None, None) if text is None else parse_point(text, self.now_ms)
        return find_moment(self.stream, point, self.now_ms)


class _Asked(TypedDict):
    """The options of `replay`."""

    to: str | None
    with_digest: bool
    diff: tuple[str, str] | None
    pool: str | None
    owner: str | None
    digests: str | None
    every: int | None
    check: str | None


@verb(
    examples=(
        "ipledger replay --to 2026-11-03T04:05:00Z --digest",
        "ipledger replay --diff -2h now",
        "ipledger replay --digests monday.digests --every 50000",
        "ipledger replay --check monday.digests",
    )
)
@click.option("--to", "to", metavar="POSITION|TIME", help="Stop there [the end].")
@click.option("--digest", "with_digest", is_flag=True, help="The canonical digest of the state.")
@click.option("--diff", nargs=2, metavar="A B",
              help="What changed between two moments, each a position or a time.")  # fmt: skip
@click.option("--pool", metavar="POOL", shell_complete=complete_pool,
              help="With --diff: only this pool and its leases.")  # fmt: skip
@click.option("--owner", metavar="OWNER", help="With --diff: only what this owner has.")
@click.option("--digests", metavar="FILE", type=click.Path(),
              help="Write the digests at intervals into a file.")  # fmt: skip
@click.option("--every", type=click.IntRange(min=1), metavar="N",
              help=f"With --digests: one every N positions [{_EVERY}].")  # fmt: skip
@click.option("--check", metavar="FILE", type=click.Path(),
              help="Compare with the digests in a file; exit code 8 if they differ.")  # fmt: skip
def replay(settings: Settings, /, **asked: Unpack[_Asked]) -> int:
    """Fold the events anew: what is, what was, what changed.

    Without options it tells what all events amount to. A digest file says where two replays part,
    of this machine or of another: the last position at which they agree, and the first at which
    they differ.
    """
    _check_options(asked)
    with _history(settings) as history:
        if asked["diff"] is not None:
            _show_difference(settings, history, asked)
            return 0
        if asked["check"] is not None:
            return _show_comparison(settings, history, asked["check"])
        _show_state(settings, history, asked)
        return 0


def _check_options(asked: _Asked) -> None:
    kinds = {
        "--diff": asked["diff"] is not None,
        "--check": asked["check"] is not None,
        "--to": asked["to"] is not None,
        "--digests": asked["digests"] is not None,
        "--digest": asked["with_digest"],
    }
    given = [name for name, is_given in kinds.items() if is_given]
    if len(given) > 1 and given[0] in {"--diff", "--check"}:
        message = f"{given[0]} and {given[1]} cannot be asked for together"
        raise InvalidInput(message, "run them one after the other")
    if (asked["pool"] or asked["owner"]) and asked["diff"] is None:
        raise InvalidInput("--pool and --owner narrow down --diff only", "leave them out")
    if asked["every"] is not None and asked["digests"] is None:
        raise InvalidInput("--every is for --digests only", "give --digests FILE, too")


@contextmanager
def _history(settings: Settings) -> Iterator[_History]:
    """The stream that the options speak of; nothing of it is folded, and nothing is written.

    Raises:
        Refused: there is no such space.
        LedgerError: it cannot be reached.
    """
    from engine.names import check_name
    from ipledger import servers
    from ipledger.high_water import HighWaterFile
    from ipledger.spaces import no_such_space, open_server

    check_name(settings.space, "space")
    server, endpoint = open_server(settings)
    with closing(server):
        stream = servers.open_stream(server, settings.space)
        remembered = HighWaterFile(settings.states, endpoint, settings.space).load()
        is_new = remembered is None and settings.space != "default"
        if is_new and stream.head().position == 0:
            raise no_such_space(settings.space)
        yield _History(stream, remembered, time.time_ns() // 1_000_000)


# -------------------------------------------------------------------------------------- the state


def _show_state(settings: Settings, history: _History, asked: _Asked) -> None:
    """The state at a moment, with its digests on the way if they are asked for."""
    from ipledger.cli.progress import Progress
    from ipledger.times import format_ms
    from projections.digest import state_digest
    from replay.rebuild import rebuild

    end = history.moment(asked["to"])
    path, every = asked["digests"], asked["every"] or _EVERY
    began_s = time.monotonic()
    with Progress("replaying", end.position) as progress:
        if path is None:
            state, events = rebuild(
                history.stream, to=end, remembered=history.remembered, on_progress=progress
            )
            written = None
        else:
            state, events, count = _write_digests(history, end, settings, (path, every), progress)
            written = {"file": path, "every": every, "count": count}
    took_s = time.monotonic() - began_s
    data: dict[str, Any] = {
        "space": settings.space,
        "position": state.position,
        "time": format_ms(state.ms) if state.position else None,
        "events": events,
        "pools": len(state.pool_table),
        "reservations": len(state.reservation_table),
        "leases": len(state.lease_table),
        "digest": state_digest(state) if asked["with_digest"] else None,
        "digests": written,
    }
    hidden = {"digests"} if asked["with_digest"] else {"digest", "digests"}
    human = fields([(key, value) for key, value in data.items() if key not in hidden])
    if written is not None:
        human += f"\n{written['count']} digests written to {plain(path)}"
    emit(settings.output, data, f"{human}\n{events} events in {took_s:.2f} s")


def _write_digests(
    history: _History,
    end: Moment,
    settings: Settings,
    where: tuple[str, int],
    on_progress: Callable[[int], None],
) -> tuple[LedgerState, int, int]:
    """Replay to `end` and write a digest file, whole or not at all.

    The state at the end, after how many events, and how many digests were written.
    """
    from ipledger import __version__
    from projections.collector import seldom_collecting
    from replay.digests import Header, Writing, intervals, take_digests

    path, every = where
    space_id = _space_id(history, settings.space)
    header = Header(settings.space, space_id, every, f"ipledger {__version__}")
    writing = Writing()
    replayed = take_digests(
        history.stream, intervals(every, end), remembered=history.remembered,
        on_progress=on_progress,
    )  # fmt: skip
    with _replacing(path) as file, seldom_collecting():
        file.write(writing.header(header))
        for last in replayed:
            file.write(writing.taken(last.taken))
        file.write(writing.end())
    return last.state, last.events, writing.count


def _space_id(history: _History, space: str) -> bytes:
    """The id of the space, from the first event.

    Raises:
        InvalidInput: it has none yet.
    """
    from engine.events import SpaceCreated
    from engine.wire import decode_entry

    first = history.stream.read(0, 0, 1)
    created = decode_entry(first[0]).event if first else None
    if not isinstance(created, SpaceCreated):
        raise InvalidInput(f"space {space} has no events yet", "there is nothing to compare")
    return created.space_id


@contextmanager
def _replacing(path: str) -> Iterator[BinaryIO]:
    """A file that takes the place of the one at `path` once it is whole.

    Raises:
        InvalidInput: it cannot be written there.
    """
    import os
    from pathlib import Path

    target = Path(path)
    temporary = target.with_name(f"{target.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be written: {error.strerror}", "") from error
    finally:
        temporary.unlink(missing_ok=True)


# ------------------------------------------------------------------------------------ comparisons


def _show_comparison(settings: Settings, history: _History, path: str) -> int:
    """Whether this replay agrees with a digest file, and if not, where the two part."""
    from ipledger.cli.progress import Progress
    from projections.collector import seldom_collecting
    from replay.digests import check_space, compare

    digests = _read_digests(path)
    check_space(digests, settings.space, _space_id(history, settings.space))
    last = digests.taken[-1].position if digests.taken else 0
    with Progress("replaying", last) as progress, seldom_collecting():
        found = compare(
            history.stream, digests, remembered=history.remembered, on_progress=progress
        )
    header = digests.header
    data: dict[str, Any] = {
        "space": settings.space,
        "file": path,
        "tool": header.tool,
        "digests": len(digests.taken),
        "compared": found.compared,
        "agrees": found.differs is None,
        "last_agreement": _taken_view(found.agrees),
        "first_difference": _taken_view(found.differs),
        "instead": _taken_view(found.found),
    }
    emit(settings.output, data, _comparison_text(path, found))
    return 0 if found.differs is None else EXIT_CODES["integrity"]


def _read_digests(path: str) -> Digests:
    from pathlib import Path

    from replay.digests import LINE_BYTES_MAX, read_digests

    try:
        with Path(path).open("rb") as file:
            # A line longer than any of ours is read in pieces, the first of which is refused.
            return read_digests(iter(lambda: file.readline(LINE_BYTES_MAX + 1), b""))
    except OSError as error:
        hint = "`ipledger replay --digests FILE` writes one"
        raise InvalidInput(f"{path} cannot be read: {error.strerror}", hint) from error


def _taken_view(taken: Taken | None) -> dict[str, Any] | None:
    from ipledger.times import format_ms

    if taken is None:
        return None
    time_ = format_ms(taken.ms) if taken.position else None
    return {"position": taken.position, "time": time_, "id": taken.id, "digest": taken.digest}


def _comparison_text(path: str, found: Comparison) -> str:
    agrees, differs = found.agrees, found.differs
    if differs is None:
        where = f" through position {agrees.position}" if agrees else ""
        return f"{plain(path)} and this replay agree{where} ({found.compared} digests)"
    same = f"agree last at position {agrees.position}" if agrees else "never agree"
    said = f"{plain(path)} and this replay {same} and differ first at position {differs.position}"
    if found.found is None:
        return f"{said}\nno commit ends there in this stream"
    rows = [("position", differs.id, found.found.id), ("digest", differs.digest,
            found.found.digest)]  # fmt: skip
    between = f"ipledger replay --diff {agrees.position if agrees else 0} {differs.position}"
    return (
        f"{said}\n{table(['', 'file', 'this replay'], rows)}\n"
        f"hint: `{between}` shows what lies between"
    )


# ------------------------------------------------------------------------------------ differences


def _show_difference(settings: Settings, history: _History, asked: _Asked) -> None:
    """What changed between two moments."""
    from ipledger.change_views import KINDS, Narrowed, difference_view
    from ipledger.cli.changes import difference_text
    from ipledger.cli.progress import Progress
    from replay.changes import difference

    assert asked["diff"] is not None, "it is asked for"
    begin, end = map(history.moment, asked["diff"])
    if begin.position > end.position:
        message = f"{asked['diff'][0]} is after {asked['diff'][1]}"
        hint = f"they are positions {begin.position} and {end.position}: give them in order"
        raise InvalidInput(message, hint)
    with Progress("replaying", end.position) as progress:
        found = difference(
            history.stream, begin, end, remembered=history.remembered, on_progress=progress
        )
    data = difference_view(found, settings.space, Narrowed(asked["pool"], asked["owner"]))
    emit(settings.output, data, difference_text(data), KINDS)
