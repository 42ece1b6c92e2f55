"""Digests of the state at intervals: what two replays of one history are compared by.

A digest file is JSON lines: a header (which space, how the digests were made), one line for each
position, and a last line that closes it, with a checksum of everything before. So a file that was
cut short or altered is told from two replays that differ.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, Final, NamedTuple, TypeGuard

from engine.bulk import read_rows
from engine.errors import InvalidInput
from engine.reading import Continuity, HighWater
from engine.stream import Stream
from projections.digest import DIGEST_VERSION, state_digest
from projections.state import LedgerState
from replay.moments import Moment
from replay.walk import walk

FORM: Final = 1
EVERY: Final = 100_000
LINE_BYTES_MAX: Final = 4_096

_HINT: Final = "write a new one with `ipledger replay --digests FILE`"


class Header(NamedTuple):
    """Of which space the digests are, and what made them. ``every`` is the interval asked for."""

    space: str
    space_id: bytes
    every: int
    tool: str
    digest_version: int = DIGEST_VERSION


class Taken(NamedTuple):
    """The digest of the state at a commit end; ``id`` is that of the entry there."""

    position: int
    id: str
    digest: str

    @property
    def ms(self) -> int:
        """The time of the entry."""
        return int(self.id.partition("-")[0])


class Reached(NamedTuple):
    """A stop on the way: the state, which goes on changing, after so many events."""

    state: LedgerState
    events: int
    taken: Taken


class Digests(NamedTuple):
    """A digest file."""

    header: Header
    taken: list[Taken]


class Comparison(NamedTuple):
    """What a replay says of a digest file: where both agree last, and where they part.

    ``found`` is what this replay has instead of ``differs``; None if no commit ends there.
    """

    compared: int
    agrees: Taken | None
    differs: Taken | None
    found: Taken | None


# ----------------------------------------------------------------------------------------- taking


def take_digests(
    stream: Stream,
    stops: Iterable[int],
    *,
    remembered: HighWater | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Iterator[Reached]:
    """The digest at each stop, a position; one inside a commit is moved to the commit's end.

    Raises:
        IntegrityError: the stream is not what it must be.
        Unavailable: it cannot be read.
    """
    state = LedgerState()
    events = 0
    reading = Continuity(remembered)
    for items, arrived in walk(stream, reading, stops, remembered, read_rows):
        state.apply_rows(items)
        events += len(items)
        if on_progress is not None:
            on_progress(state.position)
        if arrived:
            entry_id = f"{state.ms}-{state.position}"
            yield Reached(state, events, Taken(state.position, entry_id, state_digest(state)))


def intervals(every: int, end: Moment) -> Iterator[int]:
    """Each multiple of `every` before the end, and the end.

    Raises:
        InvalidInput: `every` is not above zero.
    """
    if every < 1:
        raise InvalidInput(f"an interval of {every} positions is none", "give 1 or more")
    yield from range(every, end.position, every)
    yield end.position


def compare(
    stream: Stream,
    digests: Digests,
    *,
    remembered: HighWater | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Comparison:
    """Replay to each position of a digest file, up to the first that differs.

    Raises:
        InvalidInput: the file goes on beyond the end of the stream.
        IntegrityError: the stream is not what it must be.
        Unavailable: it cannot be read.
    """
    head = stream.head()
    last = digests.taken[-1] if digests.taken else None
    if last is not None and last.position > head.position:
        message = f"the digest file ends at position {last.position}, the stream at {head.position}"
        hint = "either it is of a longer history of this space, or entries were lost since"
        raise InvalidInput(message, f"{hint}: run `ipledger doctor`")
    agrees: Taken | None = None
    positions = [expected.position for expected in digests.taken]
    replayed = take_digests(stream, positions, remembered=remembered, on_progress=on_progress)
    for compared, expected in enumerate(digests.taken):
        found = next(replayed).taken
        if found != expected:
            there = found if found.position == expected.position else None
            return Comparison(compared + 1, agrees, expected, there)
        agrees = expected
    return Comparison(len(digests.taken), agrees, None, None)


# ------------------------------------------------------------------------------------------ files


class Writing:
    """The lines of a digest file, in their order; the last one vouches for those before it."""

    def __init__(self) -> None:
        self._hasher = sha256()
        self.count = 0
        self._end = 0

    def header(self, header: Header) -> bytes:
        """The first line."""
        return self._line({
            "ipledger": "digests",
            "form": FORM,
            "digest_version": header.digest_version,
            "space": header.space,
            "space_id": header.space_id.hex(),
            "every": header.every,
            "tool": header.tool,
        })  # fmt: skip

    def taken(self, taken: Taken) -> bytes:
        """The line of one digest."""
        self.count += 1
        self._end = taken.position
        return self._line(taken._asdict())

    def end(self) -> bytes:
        """The last line."""
        checksum = self._hasher.hexdigest()
        return self._line({"end": self._end, "digests": self.count, "sha256": checksum})

    def _line(self, fields: dict[str, Any]) -> bytes:
        line = json.dumps(fields, separators=(",", ":")).encode() + b"\n"
        self._hasher.update(line)
        return line


def read_digests(lines: Iterable[bytes]) -> Digests:
    """A digest file from its lines.

    Raises:
        InvalidInput: it is none, was cut short or altered, or another release wrote it.
    """
    hasher = sha256()
    header: Header | None = None
    taken: list[Taken] = []
    ended = False
    for number, line in enumerate(lines, 1):
        fields = _fields(line, number)
        if ended:
            raise _malformed(number, "something follows the end of the file")
        if header is None:
            header = _header(fields)
        elif "end" in fields:
            _check_end(fields, number, taken, hasher.hexdigest())
            ended = True
        else:
            taken.append(_taken(fields, number, taken))
        hasher.update(line)
    if header is None:
        raise InvalidInput("the digest file is empty", _HINT)
    if not ended:
        message = f"the digest file was cut short: its end is missing behind {len(taken)} digests"
        raise InvalidInput(message, _HINT)
    return Digests(header, taken)


def check_space(digests: Digests, space: str, space_id: bytes) -> None:
    """Fail unless the digests are of this space.

    Raises:
        InvalidInput: they are of another one.
    """
    header = digests.header
    if header.space_id != space_id:
        message = (
            f"the digest file is of space {header.space} ({header.space_id.hex()}), "
            f"not of {space} ({space_id.hex()})"
        )
        raise InvalidInput(message, "choose its space with --space, or write a new file")


def _fields(line: bytes, number: int) -> dict[str, Any]:
    if len(line) > LINE_BYTES_MAX:
        raise _malformed(number, "too long a line")
    try:
        fields = json.loads(line)
    except (ValueError, RecursionError):
        why = "no JSON" if line.endswith(b"\n") else "it ends in the middle"
        raise _malformed(number, why) from None
    if not isinstance(fields, dict):
        raise _malformed(number, "no JSON object")
    return fields


def _header(fields: dict[str, Any]) -> Header:
    if fields.get("ipledger") != "digests":
        raise _malformed(1, "no header of a digest file")
    if fields.get("form") != FORM:
        message = f"the digest file has form {fields.get('form')!r}; this release reads {FORM}"
        raise InvalidInput(message, _HINT)
    version = fields.get("digest_version")
    if version != DIGEST_VERSION:
        message = (
            f"the digest file has digests of version {version!r}, "
            f"which cannot be compared with those of version {DIGEST_VERSION}"
        )
        raise InvalidInput(message, _HINT)
    space, every, tool = (fields.get(name) for name in ("space", "every", "tool"))
    space_id = _hex(fields.get("space_id"), 16)
    if (
        space_id is None
        or not isinstance(space, str)
        or not isinstance(tool, str)
        or not _is_count(every)
    ):
        raise _malformed(1, "a header without its fields")
    return Header(space, space_id, every, tool)


def _taken(fields: dict[str, Any], number: int, before: list[Taken]) -> Taken:
    position, entry_id, digest = (fields.get(name) for name in Taken._fields)
    if not (
        len(fields) == len(Taken._fields)
        and _is_count(position)
        and isinstance(entry_id, str)
        and _is_id(entry_id, position)
        and isinstance(digest, str)
        and _hex(digest, 32) is not None
    ):
        raise _malformed(number, "no digest with its position and entry id")
    if before and position <= before[-1].position:
        raise _malformed(number, f"position {position} does not ascend")
    return Taken(position, entry_id, digest)


def _check_end(fields: dict[str, Any], number: int, taken: list[Taken], checksum: str) -> None:
    if fields.get("digests") != len(taken) or fields.get("sha256") != checksum:
        message = "the digest file was altered: its checksum is another one"
        raise InvalidInput(message, _HINT)
    if fields.get("end") != (taken[-1].position if taken else 0):
        raise _malformed(number, "it ends at another position than its last digest")


def _is_count(value: Any) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 64


def _is_id(text: str, position: int) -> bool:
    ms, dash, at = text.partition("-")
    return bool(dash) and at == str(position) and ms.isascii() and ms.isdigit() and len(ms) < 20


def _hex(value: Any, length: int) -> bytes | None:
    if not isinstance(value, str) or len(value) != 2 * length or value != value.lower():
        return None
    try:
        return bytes.fromhex(value)
    except ValueError:
        return None


def _malformed(number: int, why: str) -> InvalidInput:
    return InvalidInput(f"the digest file cannot be understood: line {number}: {why}", _HINT)
