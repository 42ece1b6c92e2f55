"""Where a consumer has come: cursors as text, and the places that keep one.

A cursor is a whole checkpoint and not a number: the space's id, its generation, the entry's id
and what it looked like. So a consumer that comes back finds out whether the stream still is the
one that it has read.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from engine.entry import Anchor, parse_entry_id
from engine.errors import IntegrityError, InvalidInput, Refusal, Refused, Unavailable
from engine.names import check_name
from engine.reading import Checkpoint

if TYPE_CHECKING:
    from redis import Redis

FORMAT: Final = 1
CURSOR_CHARACTERS_MAX: Final = 4_096
_WRITE: Final = "consumer.lua"


class Cursor(Protocol):
    """A place for one consumer's cursor. The text is opaque to whoever keeps it."""

    def load(self) -> str | None:
        """The cursor that was saved last; None if there is none."""

    def save(self, text: str) -> None:
        """Keep a cursor instead of the one before.

        Raises:
            Refused: ``conflict``: somebody else consumes under this name now.
            Unavailable: it cannot be kept.
        """

    def close(self) -> None:
        """Nothing more will be saved."""


def cursor_text(checkpoint: Checkpoint) -> str:
    """A checkpoint as one line of text, for whoever keeps it."""
    data = {
        "format": FORMAT,
        "space": checkpoint.space,
        "space_id": checkpoint.space_id.hex(),
        "generation": checkpoint.generation,
        "voided": checkpoint.voided,
        "id": checkpoint.anchor.entry_id,
        "c": checkpoint.anchor.c.hex(),
    }
    return json.dumps(data, separators=(",", ":"))


def read_cursor(text: str) -> Checkpoint:
    """The checkpoint that a text of `cursor_text` says.

    Raises:
        InvalidInput: it is none.
    """
    try:
        if len(text) > CURSOR_CHARACTERS_MAX:
            raise ValueError  # noqa: TRY301 - one way out for everything that is no cursor
        data = json.loads(text)
        checkpoint = Checkpoint(
            bytes.fromhex(data["space_id"]), check_name(data["space"], "space"),
            int(data["generation"]), int(data["voided"]),
            Anchor(*parse_entry_id(data["id"]), bytes.fromhex(data["c"])),
        )  # fmt: skip
        if data["format"] == FORMAT and checkpoint.position > 0:
            return checkpoint
    except (ValueError, KeyError, TypeError, RecursionError, InvalidInput):
        pass
    shown = repr(text if len(text) <= 60 else f"{text[:57]}...")
    message = f"{shown} is not a cursor"
    raise InvalidInput(message, "give back the text of `commit.cursor` as it was")


class FileCursor:
    """A cursor in a file of its own: replaced as a whole, and on disk before `save` returns.

    A lock beside the file is held as long as this lives, so that a second consumer of the same
    file is refused; the lock of a process that was killed is gone with it.
    """

    def __init__(self, path: str | Path) -> None:
        """Take the file for this process.

        Raises:
            Refused: ``conflict``: another process has it.
            Unavailable: its directory cannot be written.
        """
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = self.path.with_name(f"{self.path.name}.lock").open("a")
        except OSError as error:
            raise self._unusable(error) from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.close()
            message = f"another process keeps its cursor in {self.path}"
            hint = "stop it, or give this consumer a file of its own"
            raise Refused(Refusal("conflict", message, hint, "cursor")) from error

    def load(self) -> str | None:
        """See `Cursor.load`."""
        try:
            return self.path.read_text("utf-8").strip()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError) as error:
            message = f"the cursor in {self.path} cannot be read: {error}"
            raise Unavailable(message, "make it readable, or remove it to begin anew") from error

    def save(self, text: str) -> None:
        """See `Cursor.save`."""
        temporary = self.path.with_name(f"{self.path.name}.{os.getpid()}.tmp")
        try:
            with temporary.open("w", encoding="utf-8") as written:
                written.write(f"{text}\n")
                written.flush()
                os.fsync(written.fileno())
            temporary.replace(self.path)
            directory = os.open(self.path.parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            raise self._unusable(error) from error

    def close(self) -> None:
        """See `Cursor.close`."""
        self._lock.close()

    def _unusable(self, error: OSError) -> Unavailable:
        message = f"the cursor cannot be kept in {self.path}: {error.strerror}"
        return Unavailable(message, "make its directory writable, or choose another file")


def consumers_key(space: str) -> str:
    """The key of a space's cursors: a hash by name, in the cluster slot of the space's stream."""
    return f"ipledger:{{{check_name(space, 'space')}}}:consumers"


class Kept(NamedTuple):
    """A cursor as it is kept in Redis, with what `ipledger consumers` tells about it.

    ``holder`` is the process that saved it last, ``filters`` what it wants in words, and
    ``seen_ms`` when it was last heard of, by its own clock.
    """

    cursor: str
    holder: str
    filters: tuple[str, ...]
    seen_ms: int

    def encode(self) -> str:
        """As the hash's value."""
        return json.dumps(self._asdict(), separators=(",", ":"), ensure_ascii=False)


def read_kept(name: str, value: bytes) -> Kept:
    """A value of the hash.

    Raises:
        IntegrityError: it cannot be understood.
    """
    try:
        data: dict[str, Any] = json.loads(value.decode())
        texts = (data["cursor"], data["holder"], *data["filters"])
        if all(type(text) is str for text in texts) and type(data["seen_ms"]) is int:
            return Kept(data["cursor"], data["holder"], tuple(data["filters"]), data["seen_ms"])
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    message = f"the cursor of consumer {name} is damaged"
    raise IntegrityError(message, f"`ipledger consumers forget {name}` lets it begin anew")


class RedisCursor:
    """A cursor beside the stream, by name: who starts last has the name.

    Each save says what it replaces. So a process whose name was taken over by another one (its
    successor, as a rule) learns it at its next save, and never moves the other's cursor.
    """

    def __init__(
        self, client: Redis, space: str, name: str, *, holder: str,
        filters: tuple[str, ...] = (), now_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        """Keep the cursor of `name` through a client whose replies are bytes, as they come."""
        self.name = check_name(name, "consumer")
        self._client = client
        self._key = consumers_key(space)
        self._holder = holder
        self._filters = filters
        self._now_ms = now_ms
        self._before = b""

    def load(self) -> str | None:
        """See `Cursor.load`; from here on the name is ours."""
        value: bytes | None = ask(self._client, "HGET", self._key, self.name)
        while value:
            # The last save of a predecessor that was killed may land between the two steps.
            cursor = read_kept(self.name, value).cursor
            self._before = value
            ours = self._value(cursor)
            value = self._write(ours)
            if value is None:
                self._before = ours
                return cursor
        return None

    def save(self, text: str) -> None:
        """See `Cursor.save`."""
        value = self._value(text)
        found = self._write(value)
        if found and read_kept(self.name, found).holder == self._holder:
            self._before = found  # ours: the reply to an earlier save was lost
            found = self._write(value)
        if found is not None:
            raise self._taken(found)
        self._before = value

    def close(self) -> None:
        """See `Cursor.close`; the connection is not ours to close."""

    def _value(self, text: str) -> bytes:
        return Kept(text, self._holder, self._filters, self._now_ms()).encode().encode()

    def _write(self, value: bytes) -> bytes | None:
        """Write if what is there is what we know; else what is there instead."""
        script = files("ipledger").joinpath(_WRITE).read_text("utf-8")
        reply: bytes | None = ask(
            self._client, "EVAL", script, "1", self._key, self.name, self._before, value
        )
        return reply

    def _taken(self, found: bytes) -> Refused:
        if not found:
            message = f"the cursor of consumer {self.name} was removed while it ran"
            hint = "start it again to begin anew; `ipledger consumers forget` removes cursors"
        else:
            holder = read_kept(self.name, found).holder
            message = f"another process consumes as {self.name} now: {holder}"
            hint = "give this one a name of its own, or let only one of them run"
        return Refused(Refusal("conflict", message, hint, "consumer"))


def list_kept(client: Redis, space: str) -> dict[str, bytes]:
    """The values of all consumers of a space, by name.

    Raises:
        Unavailable: the server cannot be reached.
    """
    reply = ask(client, "HGETALL", consumers_key(space))
    pairs = zip(reply[::2], reply[1::2], strict=True)
    return dict(sorted((name.decode("utf-8", "replace"), value) for name, value in pairs))


def forget_kept(client: Redis, space: str, name: str) -> bool:
    """Remove a consumer's cursor; False if there is none.

    Raises:
        Unavailable: the server cannot be reached.
    """
    return bool(ask(client, "HDEL", consumers_key(space), name))


def ask(client: Redis, *command: str | bytes) -> Any:
    """What the server answers.

    Raises:
        Unavailable: nothing, or no.
    """
    from redis.exceptions import (
        AuthenticationError,
        BusyLoadingError,
        ConnectionError,  # noqa: A004 - the client's own
        ReadOnlyError,
        RedisError,
        TimeoutError,  # noqa: A004 - the client's own
    )

    try:
        return client.execute_command(*command)  # type: ignore[no-untyped-call]
    except ReadOnlyError as error:
        message = "the server is a read-only replica: no cursor can be kept there"
        raise Unavailable(message, "keep it in a file, or use the primary's URL") from error
    except (AuthenticationError, BusyLoadingError) as error:
        raise Unavailable(f"the server refused: {error}", "try again in a moment") from error
    except (ConnectionError, TimeoutError, OSError) as error:
        message = f"the server cannot be reached: {error}"
        raise Unavailable(message, "check the URL and that the server runs") from error
    except RedisError as error:
        message = f"the server refused: {error}"
        hint = "another program uses our key, or this user may not write it"
        raise Unavailable(message, hint) from error
