"""A consumer of a space's events: from a URL to commits, one after another."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Self

from engine.errors import IntegrityError, InvalidInput, LedgerError, Unavailable
from engine.names import DEFAULT_SPACE, check_name
from engine.reading import Checkpoint
from ipledger import servers
from ipledger.consuming import Consuming, Delivery, read_start
from ipledger.cursors import Cursor, FileCursor, RedisCursor, ask
from ipledger.high_water import HighWaterFile
from ipledger.reaching import open_server
from ipledger.selection import Selection
from ipledger.spaces import existing
from projections.following import Lag


def _silent(_error: Unavailable | None) -> None:
    """Tell nobody."""


class Consumer:
    """Commits of a space as they come: iterate over it, in a ``with`` block.

    A commit counts as handled when the next one is asked for, so a loop's body that fails or is
    killed gets the same commit again: at least once, in order, whole commits. ``position`` is the
    key that tells a repetition. It only reads: a consumer that is slow or gone slows no writer.

    Not to be shared between threads, but for `stop` and `lag`.

    Args:
        name: whose cursor it is. It is kept in Redis beside the stream, unless `cursor` says
            where else; without a name and a `cursor` none is kept.
        url: redis://, rediss:// or unix://; without one the embedded server is used.
        space: the address space.
        start: where to begin if there is no cursor yet: a position (that event included), a
            time as `ipledger follow --from` takes it, ``"now"``, or the text of a
            `Delivery.cursor` (behind that commit).
        cursor: a file to keep the cursor in, or anything with ``load``, ``save``, ``close``.
        types: only events of these types, such as ``"LeaseGranted"``.
        pools: only events of pools of these names, and of their leases.
        prefixes: only events about addresses in these, such as ``"10.0.0.0/8"``.
        clusters: only events of leases that were granted to these clusters.
        labels: only events with all of these labels.
        shard: ``"2/5"``: only the second of five shares of the addresses.
        until_end: stop at the end of the stream instead of waiting for more.
        heartbeats: deliver an empty commit whenever the end was reached, once a second.
        save_every_s: how often the cursor is saved at most; 0 is after each commit.
        home: where the embedded server keeps its data.
        state_dir: where high-water marks are kept; ``state`` under `home` by default.
        server: the program to use as embedded server.
        on_away: told once why the server is away, and with None that it is back.
        on_start: told, when this started the embedded server, in words.
    """

    def __init__(
        self,
        name: str | None = None,
        *,
        url: str | None = None,
        space: str = DEFAULT_SPACE,
        start: int | str = 1,
        cursor: str | Path | Cursor | None = None,
        types: Sequence[str] = (),
        pools: Sequence[str] = (),
        prefixes: Sequence[str] = (),
        clusters: Sequence[str] = (),
        labels: Mapping[str, str] | None = None,
        shard: str | None = None,
        until_end: bool = False,
        heartbeats: bool = False,
        save_every_s: float = 1.0,
        home: str | Path | None = None,
        state_dir: str | Path | None = None,
        server: str | None = None,
        on_away: Callable[[Unavailable | None], None] = _silent,
        on_start: Callable[[str], None] | None = None,
    ) -> None:
        """Reach the server and find the place to begin at; the class tells of the arguments.

        Raises:
            InvalidInput: an argument cannot be understood, or `start` is no place in the stream.
            Refused: ``not_found``: there is no such space; ``conflict``: the cursor's file is
                another process's.
            IntegrityError: the stream is not what it must be, or not what the cursor has seen.
            Unavailable: no server, or the cursor cannot be kept.
        """
        self.name = None if name is None else check_name(name, "consumer")
        self.space = check_name(space, "space")
        selection = Selection.read(
            types=types, pools=pools, prefixes=prefixes, clusters=clusters, labels=labels,
            shard=shard,
        )  # fmt: skip
        begin_at = read_start(start, _now_ms())
        self._until_end = until_end
        self._stopped = threading.Event()
        opened = open_server(
            url, home=home, state_dir=state_dir, program=server, on_start=on_start
        )  # fmt: skip
        self._server = opened.server
        self._cursor: Cursor | None = None
        try:
            stream = existing(servers.open_stream(opened.server, self.space), self.space)
            self._cursor = self._open_cursor(cursor, selection)
            self._consuming = Consuming(
                stream, self.space, selection, begin_at,
                cursor=self._cursor,
                memory=HighWaterFile(opened.states, opened.endpoint, self.space),
                heartbeats=heartbeats, save_every_s=save_every_s,
                lags=lambda: self._is_replica() or stream.marker() is not None,
                pause=self._stopped.wait, is_stopped=self._stopped.is_set, on_away=on_away,
            )  # fmt: skip
        except BaseException as error:
            if isinstance(error, IntegrityError | InvalidInput):
                self._tell_way_out(error)
            self._release()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, failed: type[BaseException] | None, *_exception: object) -> None:
        if failed is None:
            self.close()
        else:
            with suppress(LedgerError):  # the first error is the one to tell
                self.close()

    def __iter__(self) -> Iterator[Delivery]:
        """Commits that have wanted events, and wait for more; until `stop` or the end.

        Raises:
            IntegrityError: the stream is not what it must be, or not what it was: it has a hole,
                is shorter, another space, or restored to before what was read.
            Refused: ``conflict``: another process consumes under this name now.
            Unavailable: the server is away; only with `until_end`, otherwise it is waited for.
        """
        try:
            yield from self._consuming.deliveries(until_end=self._until_end)
        except IntegrityError as error:
            self._tell_way_out(error)
            raise

    @property
    def resumed_at(self) -> Checkpoint | None:
        """Where the cursor stood that it went on from; None if it began anew."""
        return self._consuming.resumed_at

    @property
    def cursor(self) -> str | None:
        """The cursor behind what has been handled; None while the space does not exist."""
        from ipledger.cursors import cursor_text

        checkpoint = self._consuming.checkpoint
        return None if checkpoint is None else cursor_text(checkpoint)

    @property
    def lag(self) -> Lag:
        """How far it is behind the stream's end: positions and seconds, as of the last read."""
        return self._consuming.lag

    def commit(self) -> None:
        """The commit that was delivered last is handled: save the cursor behind it now.

        The loop does so by itself when the next one is asked for; this is for who cannot wait,
        and for who leaves the loop with ``break``.

        Raises:
            Refused: ``conflict``: another process consumes under this name now.
            Unavailable: it cannot be kept now.
        """
        self._consuming.commit()

    def stop(self) -> None:
        """End the iteration within about a second. From any thread, or a signal's handler."""
        self._stopped.set()

    def close(self) -> None:
        """Save the cursor, if that is possible, and give everything back.

        Raises:
            Refused: ``conflict``: another process consumes under this name now.
        """
        try:
            with suppress(Unavailable):  # what is not saved is delivered again
                self._consuming.save()
        finally:
            self._release()

    def _release(self) -> None:
        if self._cursor is not None:
            self._cursor.close()
        self._server.close()

    def _open_cursor(
        self, cursor: str | Path | Cursor | None, selection: Selection
    ) -> Cursor | None:
        if isinstance(cursor, str | Path):
            return FileCursor(cursor)
        if cursor is not None or self.name is None:
            return cursor
        if self._is_replica():  # told at once, and not waited out as if it would go away
            message = "the server is a read-only replica: no cursor can be kept there"
            raise Unavailable(message, "keep it in a file, or use the primary's URL")
        holder = f"{socket.gethostname()}/{os.getpid()}/{os.urandom(4).hex()}"
        return RedisCursor(
            self._server.client, self.space, self.name, holder=holder,
            filters=tuple(selection.words()), now_ms=_now_ms,
        )  # fmt: skip

    def _is_replica(self) -> bool:
        role: bytes = ask(self._server.client, "ROLE")[0]
        return role == b"slave"

    def _tell_way_out(self, error: LedgerError) -> None:
        """Say how a consumer whose cursor leads nowhere begins anew."""
        if isinstance(self._cursor, RedisCursor):
            forget = f"`ipledger consumers forget {self.name}` forgets where it was"
            error.hint = f"{error.hint}; {forget}" if error.hint else forget
        elif isinstance(self._cursor, FileCursor):
            error.hint = f"{error.hint}; where it was is in {self._cursor.path}"


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
