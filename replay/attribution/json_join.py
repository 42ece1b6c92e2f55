"""JSON lines joined with the history: each object as it was, with one more member per address."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from replay.attribution.answers import BROKEN, FIELDS, STATUSES, Answers, Rendering
from replay.attribution.blocks import Block
from replay.attribution.join import Joined, decoded, encoded, shown
from replay.attribution.moments import ReadTime
from replay.attribution.tally import Tally
from replay.history.lookup import TenureSpan

Object = dict[str, Any]

# `json.loads` looks for white space on both sides first, which costs a fifth of its time.
_SCAN: Final = json.JSONDecoder().raw_decode
# `json.dumps` makes a new one for each call that wants other signs between the members.
_JSON: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)
_WHITE: Final = " \t\r"


class Members(NamedTuple):
    """Which members of a record say what; `a.b` is member b of member a, or the one so called."""

    time: str
    addresses: tuple[str, ...]


def added_name(address: str) -> str:
    """The member that is added for an address."""
    return f"{address}_attribution"


def json_rendering(fields: Sequence[str]) -> Rendering:
    """How an answer is written as an object: its status, then the fields asked for, or null."""
    values = [FIELDS[name] for name in fields]

    def render(status: int, span: TenureSpan | None) -> str:
        held = {field.name: None if span is None else field.value(span) for field in values}
        answer = {"status": STATUSES[status], **held}
        return _JSON.encode(answer)

    return render


class JsonJoin:
    """The join of blocks of JSON lines."""

    def __init__(
        self, members: Members, read_time: ReadTime, answers: Answers, *, set_aside: bool
    ) -> None:
        self._members = members
        self._read_time = read_time
        self._answers = answers
        self._set_aside = set_aside

    def __call__(self, block: Block) -> Joined:
        """Join one block."""
        work = _Pass(self._members, self._read_time, self._answers, set_aside=self._set_aside)
        lines = decoded(block).split("\n")
        last = lines.pop()
        work.lines(lines, "\n")
        if last:
            work.lines([last], "", len(lines) + 1)
        return work.joined(len(lines) + bool(last))


class _Pass:
    """One block on its way through."""

    def __init__(
        self, members: Members, read_time: ReadTime, answers: Answers, *, set_aside: bool
    ) -> None:
        self._members = members
        self._read_time = read_time
        self._answers = answers
        self._set_aside = set_aside
        self._tally = Tally(len(members.addresses))
        self._keys = [
            (name, added_name(name), f",{json.dumps(added_name(name), ensure_ascii=False)}:")
            for name in members.addresses
        ]
        self._out: list[str] = []
        self._rejected: list[str] = []

    def joined(self, lines: int) -> Joined:
        """What came of the block, which had so many lines."""
        self._tally.lines = lines
        return Joined(encoded(self._out), encoded(self._rejected), self._tally)

    def lines(self, lines: list[str], end: str, first: int = 1) -> None:
        """Join some lines, the first of which has that number."""
        for number, line in enumerate(lines, first):
            record, stop = _load(line)
            if record is not None and stop == len(line):
                self._record(number, line, record, end)
            else:
                self._unusual(number, line, end)
        self._tally.records += len(lines)

    def _unusual(self, number: int, line: str, end: str) -> None:
        """A line with white space around its object, or without one."""
        body = line.strip(_WHITE)
        record, stop = _load(body)
        if record is not None and stop == len(body):
            after = line[len(line.rstrip(_WHITE)) :]
            self._record(number, body, record, after + end)
        elif body:
            self._lost("json", number, shown(body), line + end)
        else:
            self._tally.records -= 1  # a blank line is no record, and stays what it is
            self._out.append(line + end)

    def _record(self, number: int, body: str, record: Object, end: str) -> None:
        try:
            at_ms = self._read_time(_written(_member(record, self._members.time)))
        except KeyError:
            self._untimed(number, body, end, "column", f"no {shown(self._members.time)}")
            return
        except ValueError as error:
            self._untimed(number, body, end, "time", str(error))
            return
        added, fault = "", None
        for (name, key, begin), counts in zip(self._keys, self._tally.answers, strict=True):
            if key in record:
                self._lost("taken", number, f"there is a member {shown(key)}", body + end)
                return
            try:
                answer = self._answers.at(_address(_member(record, name)), at_ms)
            except KeyError:
                answer, fault = self._answers.broken, ("column", f"no {shown(name)}")
            except ValueError as error:
                answer, fault = self._answers.broken, ("address", str(error))
            else:
                if answer.status == BROKEN:
                    fault = ("address", f"{shown(str(_member(record, name)))} is not an address")
            counts[answer.status] += 1
            added += f"{begin}{answer.text}"
        if fault is None:
            self._out.append(f"{body[:-1]}{added}}}{end}")
        else:
            self._tally.fault(fault[0], number, fault[1])
            self._broken(body, added, end)

    def _untimed(self, number: int, body: str, end: str, cause: str, told: str) -> None:
        self._tally.fault(cause, number, told)
        for counts in self._tally.answers:
            counts[BROKEN] += 1
        added = "".join(f"{begin}{self._answers.broken.text}" for _, _, begin in self._keys)
        self._broken(body, added, end)

    def _broken(self, body: str, added: str, end: str) -> None:
        """A record that could not be read in part keeps its place, unless it is put aside."""
        if self._set_aside:
            self._reject(body + end)
        else:
            # Only an object that has members wants a comma before the next.
            more = added if body[1:-1].strip() else added[1:]
            self._out.append(f"{body[:-1]}{more}}}{end}")

    def _lost(self, cause: str, number: int, told: str, text: str) -> None:
        """What is no record, or has no room for more, has no place among records."""
        self._tally.fault(cause, number, told)
        if self._set_aside:
            self._reject(text)
        else:
            self._tally.left_out += 1

    def _reject(self, text: str) -> None:
        self._tally.rejected += 1
        self._rejected.append(text)


def _load(line: str) -> tuple[Object | None, int]:
    """The object at the beginning of a line, if there is one, and where it ends."""
    try:
        value, stop = _SCAN(line)
    except (ValueError, RecursionError):
        return None, 0
    return (value, stop) if isinstance(value, dict) else (None, 0)


def _member(record: Object, name: str) -> object:
    """The member of that name, or the one that the name is a path to.

    Raises:
        KeyError: there is neither.
    """
    if name in record:
        return record[name]
    first, dot, rest = name.partition(".")
    inner = record.get(first) if dot else None
    if not isinstance(inner, dict):
        raise KeyError(name)
    return _member(inner, rest)


def _written(value: object) -> str:
    """A time as text; the shortest text of a number is what stood in the file."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    raise ValueError(f"{shown(json.dumps(value))} is not a time")


def _address(value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise ValueError(f"{shown(json.dumps(value))} is not an address")  # noqa: TRY004 - data
    return value
