"""A space's stream in Redis or Valkey, from 7.0.

Client retries are off on this connection: a retried append could be written twice. Replies are
read raw, without the client's reshaping, so that they look the same in every protocol version.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from hashlib import sha1
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import (
    AuthenticationError,
    AuthorizationError,
    BusyLoadingError,
    InvalidResponse,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from engine.entry import Anchor, RawEntry, parse_entry_id
from engine.errors import DamagedEntry, IntegrityError, Unavailable, UnknownOutcome
from engine.mirroring import MARKER_FORMAT, CopyStatus, Marker, read_only
from engine.model import LOCAL, Durability
from engine.names import check_name
from engine.redis_line import Line
from engine.stream import (
    PAGE_ENTRIES,
    RESTORE_HINT,
    TAIL_BYTES_MAX,
    Acknowledged,
    AppendReply,
    Committed,
    Conflict,
    Fetch,
    Head,
    NewEntry,
    Proposal,
    StoredEntry,
    Untimely,
    Verdict,
    not_restored,
    trouble,
)

if TYPE_CHECKING:
    from redis import Redis

# No answer, or none that can be read.
_LOST: Final = (RedisConnectionError, RedisTimeoutError, InvalidResponse, OSError)
# The client calls these lost connections, too; but they are answers: the command was not run.
_DENIED: Final = (BusyLoadingError, AuthenticationError, AuthorizationError)
_SCRIPTS: dict[str, str] = {}
# A replica tells what it has on disk when it is asked, and else once a second. Asked right behind
# a write, it has not written it yet: asked again, it tells after 10 to 50 ms and not after 1,004.
_ASK_AGAIN_MS: Final = (2, 4, 16, 64)


def _source(name: str) -> str:
    if name not in _SCRIPTS:
        _SCRIPTS[name] = files("engine").joinpath(name).read_text("utf-8")
    return _SCRIPTS[name]


def stream_key(space: str) -> str:
    """The key of a space's stream; the braces keep every key of a space in one cluster slot."""
    return f"ipledger:{{{check_name(space, 'space')}}}:events"


def marker_key(space: str) -> str:
    """The key of what marks a space's stream as a mirror."""
    return f"ipledger:{{{check_name(space, 'space')}}}:mirror"


def _raw_page(reply: list[Any]) -> list[RawEntry]:
    """The entries of a reply; a shape that is not ours is damage and not a crash."""
    entries: list[RawEntry] = []
    for entry_id, fields in reply:
        ms, _, position = entry_id.partition(b"-")
        try:
            name_e, e, name_s, s, name_t, t, name_c, c = fields
        except (TypeError, ValueError):  # none at all, or not four
            raise _not_ours(entry_id, position) from None
        if name_e != b"e" or name_s != b"s" or name_t != b"t" or name_c != b"c":
            raise _not_ours(entry_id, position)
        entries.append(tuple.__new__(RawEntry, (int(ms), int(position), e, s, t, c)))
    return entries


def _not_ours(entry_id: bytes, position: bytes) -> DamagedEntry:
    message = f"the entry {entry_id.decode()} does not have the fields e, s, t, c"
    return DamagedEntry(message, RESTORE_HINT, int(position))


def _verdict(text: bytes) -> Verdict:
    if text[:1].isdigit():
        return Committed(int(text))
    word, _, rest = text.decode().partition(" ")
    if word == "conflict":
        tag, _, position = rest.partition(" ")
        return Conflict(tag, int(position))
    return Untimely(word)


def _waiting(wanted: Durability) -> list[tuple[str, ...]]:
    """The commands that wait for what their connection has written; the last one tells."""
    replicas, left_ms = str(wanted.replicas), wanted.ack_timeout_ms
    if not wanted.fsync:
        return [("WAIT", replicas, str(left_ms))]
    waits_ms = [wait_ms for wait_ms in _ASK_AGAIN_MS if wait_ms < left_ms]
    waits_ms.append(max(left_ms - sum(waits_ms), 1))
    return [("WAITAOF", "1", replicas, str(wait_ms)) for wait_ms in waits_ms]


def _acknowledged(waited: Any) -> Acknowledged:
    """What came of waiting: a number of replicas, or (whether it is on disk here, a number)."""
    if isinstance(waited, Exception):
        return Acknowledged(0, str(waited))
    if isinstance(waited, int):
        return Acknowledged(waited)
    here, replicas = waited
    return Acknowledged(replicas) if here else Acknowledged(0, "it is not on this server's disk")


class RedisStream:
    """The stream under one key of one server, through a connection with retries off."""

    def __init__(self, client: Redis, space: str) -> None:
        """Take a client whose replies are bytes; its reshaping of replies is switched off."""
        self.space = space
        self.key = stream_key(space)
        self.marker_key = marker_key(space)
        self._instant_key = f"ipledger:{{{space}}}:instant"
        self._client = client
        client.response_callbacks.clear()
        self._sha: dict[str, str] = {}
        self._loaded: set[str] = set()
        self._line = Line(client)

    def append(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> AppendReply:  # fmt: skip
        """See `engine.stream.Stream.append`."""
        return self.begin(after, voided, now_ms, proposals, wanted)()

    def begin(
        self, after: Anchor, voided: int, now_ms: int, proposals: Sequence[Proposal],
        wanted: Durability = LOCAL,
    ) -> Fetch:  # fmt: skip
        """See `engine.stream.Stream.begin`."""
        arguments: list[str | bytes] = [
            after.entry_id, after.c, str(voided), str(now_ms), str(PAGE_ENTRIES),
            str(TAIL_BYTES_MAX),
            str(len(proposals)),
        ]  # fmt: skip
        for reads, entries, not_before_ms, not_after_ms in proposals:
            arguments += (str(not_before_ms), str(not_after_ms), reads, str(len(entries)))
            for entry in entries:
                arguments += entry
        if not wanted.replicas or not proposals:
            fetch = self._sent("append.lua", arguments, writes=bool(proposals))
            return lambda: self._appended(fetch())
        both = self._sent("append.lua", arguments, writes=True, waiting=_waiting(wanted))
        return lambda: self._appended(*both())

    def _appended(self, reply: list[Any], waited: Any = None) -> AppendReply:
        """What the append script answered, and what came of waiting for replicas."""
        status, detail, ms, verdicts, tail = reply
        if status == b"mirror":
            raise read_only(self.space, detail.decode())
        told = tuple(map(_verdict, verdicts))
        acknowledged = None
        # Unless the connection has written something, there was nothing to wait for.
        if waited is not None and any(isinstance(verdict, Committed) for verdict in told):
            acknowledged = _acknowledged(waited)
        return AppendReply(
            status.decode(), int(detail or 0), int(ms), told, _raw_page(tail), acknowledged
        )

    def acknowledge(self, through: Anchor, wanted: Durability) -> Acknowledged:
        """See `engine.stream.Stream.acknowledge`."""
        arguments: list[str | bytes] = [through.entry_id, through.c]
        try:
            answer, waited = self._sent(
                "acknowledge.lua", arguments, writes=True, beside=self._instant_key,
                waiting=_waiting(wanted),
            )()  # fmt: skip
        except UnknownOutcome as error:  # what was written is nothing that stays
            raise Unavailable(error.message, "check the URL and that the server runs") from error
        if answer != b"ok":
            raise trouble("diverged", 0, through, 0)
        return _acknowledged(waited)

    def head(self) -> Head:
        """See `engine.stream.Stream.head`."""
        try:
            info = self._call("XINFO", "STREAM", self.key)
        except ResponseError as error:
            if "no such key" in str(error).lower():
                return Head(0, 0, 0)
            raise self._refused(error) from error
        told = dict(zip(info[::2], info[1::2], strict=True)) if type(info) is list else info
        ms, position = parse_entry_id(told[b"last-generated-id"])
        return Head(ms, position, told[b"length"])

    def read(self, after_ms: int, after_position: int, entries_max: int) -> list[RawEntry]:
        """See `engine.stream.Stream.read`."""
        return self._range(f"({after_ms}-{after_position}", entries_max)

    def read_from(self, ms: int, entries_max: int) -> list[RawEntry]:
        """See `engine.stream.Stream.read_from`."""
        return self._range(str(max(ms, 0)), entries_max)

    def wait(self, after_ms: int, after_position: int, block_ms: int) -> list[RawEntry]:
        """See `engine.stream.Stream.wait`; the client's socket must wait longer than that."""
        after = f"{after_ms}-{after_position}"
        block_ms = max(block_ms, 1)  # to the server, 0 is for ever
        reply = self._reading(
            "XREAD", "COUNT", str(PAGE_ENTRIES), "BLOCK", str(block_ms), "STREAMS", self.key, after
        )
        if not reply:
            return []
        found = next(iter(reply.values())) if type(reply) is dict else reply[0][1]
        return _raw_page(found)

    def dump(
        self, after_ms: int, after_position: int, entries_max: int | None = None
    ) -> list[StoredEntry]:
        """See `engine.stream.Stream.dump`."""
        bound = () if entries_max is None else ("COUNT", str(entries_max))
        reply = self._reading("XRANGE", self.key, f"({after_ms}-{after_position}", "+", *bound)
        return [(entry_id.decode(), tuple(fields)) for entry_id, fields in reply]

    def restore(
        self,
        keep: Anchor,
        head: Head,
        void_through: int,
        now_ms: int,
        entry: NewEntry,
        *,
        promote: bool = False,
    ) -> None:
        """See `engine.stream.Stream.restore`."""
        last_id = f"{head.ms}-{head.position}"
        arguments: list[str | bytes] = [keep.entry_id, keep.c, last_id, str(void_through)]
        arguments += [str(now_ms), *entry, "promote" if promote else ""]
        status, detail = self._run("restore.lua", arguments, writes=True)
        if status == b"mirror" and not promote:
            raise read_only(self.space, detail.decode())
        if status != b"ok":
            raise not_restored("no mirror" if promote and status == b"mirror" else status.decode())

    def marker(self) -> Marker | None:
        """See `engine.mirroring.Target.marker`."""
        reply = self._reading("HGETALL", self.marker_key)
        if not reply:
            return None
        pairs = reply if type(reply) is dict else dict(zip(reply[::2], reply[1::2], strict=True))
        told = {name.decode(): value.decode() for name, value in pairs.items()}
        try:
            if int(told["format"]) == MARKER_FORMAT:
                voided, level_at_ms = int(told["voided"]), int(told.get("level_at_ms", 0))
                return Marker(bytes.fromhex(told["space_id"]), told["source"], voided, level_at_ms)
        except (KeyError, ValueError):
            pass
        message = f"the key {self.marker_key} is not what marks a mirror to this release"
        raise IntegrityError(message, "upgrade ipledger; another program must not use our keys")

    def copy(
        self, after: Anchor, head: Head, marker: Marker, entries: Sequence[RawEntry]
    ) -> CopyStatus:
        """See `engine.mirroring.Target.copy`."""
        arguments: list[str | bytes] = [
            after.entry_id, after.c, f"{head.ms}-{head.position}", marker.space_id.hex(),
            marker.source, str(marker.voided), str(marker.level_at_ms),
        ]  # fmt: skip
        for raw in entries:
            arguments += (raw.entry_id, raw.e, raw.s, raw.t, raw.c)
        status, _ = self._run("mirror.lua", arguments, writes=True)
        answer: CopyStatus = status.decode()
        return answer

    def close(self) -> None:
        """See `engine.stream.Stream.close`."""
        self._line.close()
        self._client.close()

    def _range(self, start: str, entries_max: int) -> list[RawEntry]:
        reply = self._reading("XRANGE", self.key, start, "+", "COUNT", str(entries_max))
        return _raw_page(reply)

    def _reading(self, *command: str | bytes) -> Any:
        try:
            return self._call(*command)
        except ResponseError as error:
            raise self._refused(error) from error

    def _call(self, *command: str | bytes) -> Any:
        """A command that writes nothing: a lost reply loses nothing."""
        try:
            return self._execute(*command)
        except _LOST as error:
            message = f"the server cannot be reached: {error}"
            raise Unavailable(message, "check the URL and that the server runs") from error

    def _run(self, script: str, arguments: list[str | bytes], *, writes: bool) -> Any:
        """Run a script and wait for its answer."""
        return self._sent(script, arguments, writes=writes)()

    def _sent(
        self,
        script: str,
        arguments: list[str | bytes],
        *,
        writes: bool,
        beside: str | None = None,
        waiting: Sequence[tuple[str, ...]] = (),
    ) -> Callable[[], Any]:
        """Send a script by its hash; the function that is returned waits for its answer.

        The source is sent where the server does not know it. The script's second key is the
        mirror's marker, or `beside`. With `waiting`, commands that wait for replicas, the answer
        is a pair: the script's, and what came of the last of them.
        """
        source = _source(script)
        sha = self._sha.get(script)
        if sha is None:
            sha = self._sha[script] = sha1(source.encode(), usedforsecurity=False).hexdigest()
        command = ("EVALSHA", sha, "2", self.key, beside or self.marker_key, *arguments)
        if waiting and script not in self._loaded:
            # Behind a script that the server does not know, waiting would take all of its time.
            with suppress(RedisError, OSError):  # then it is seen by what comes next
                self._line.send(("SCRIPT", "LOAD", source))()
                self._loaded.add(script)
        sent = self._line.send(command, waiting)

        def fetch() -> Any:
            try:
                try:
                    return sent()
                except NoScriptError:  # never sent, flushed, or the server was restarted
                    self._line.send(("SCRIPT", "LOAD", source))()
                    return self._line.send(command, waiting)()
            except _LOST as error:
                if not writes or not _may_have_run(error):
                    message = f"the server cannot be reached: {error}"
                    raise Unavailable(message, "check the URL and that the server runs") from error
                message = f"the reply was lost: {error}"
                raise UnknownOutcome(message, "repeat the command with its command id") from error
            except RedisError as error:
                raise self._refused(error) from error

        return fetch

    def _execute(self, *command: str | bytes) -> Any:
        # Texts and bytes only: hiredis 3.5 crashes when a signal such as Ctrl-C arrives while it
        # formats a number.
        return self._client.execute_command(*command)  # type: ignore[no-untyped-call]

    def _refused(self, error: RedisError) -> Exception:
        """What the server said no to, as one of our errors."""
        text = str(error)
        if isinstance(error, OutOfMemoryError):
            message = "the server is out of memory and refuses writes; nothing was written"
            return Unavailable(message, "raise maxmemory; eviction must stay off (noeviction)")
        if isinstance(error, ReadOnlyError) or "READONLY" in text:
            message = "the server is a read-only replica; nothing was written"
            return Unavailable(message, "use the URL of the primary for commands that write")
        if "WRONGTYPE" in text or "WRONG TYPE" in text.upper():
            message = f"the key {self.key} holds something that is not a stream"
            return IntegrityError(message, "another program uses our key; nothing was touched")
        message = f"the server refused: {text}"
        return Unavailable(message, "Redis or Valkey from 7.0 with Lua scripting is needed")


def _may_have_run(error: Exception) -> bool:
    """Whether the command may have been run; after a refused connection it cannot have."""
    text = str(error).lower()
    refused = "connecting to" in text or "connection refused" in text
    return not refused and not isinstance(error, _DENIED)
