"""CSV joined with the history: each line as it was, with the answers behind its last field."""

from __future__ import annotations

import csv
import json
from bisect import bisect_right
from collections.abc import Sequence
from typing import Final, NamedTuple

from replay.attribution.answers import BROKEN, FIELDS, STATUSES, Answers, Rendered, Rendering
from replay.attribution.blocks import Block, csv_records
from replay.attribution.join import Joined, decoded, encoded, shown
from replay.attribution.moments import ReadTime
from replay.attribution.tally import Tally
from replay.history.lookup import TenureSpan

# `json.dumps` makes a new one for each call that wants other signs between the members.
_JSON: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False)


class Columns(NamedTuple):
    """Where a record has what: `width` fields, counted from 0."""

    delimiter: str
    width: int
    time: int
    addresses: tuple[int, ...]


def quoted(text: str, delimiter: str) -> str:
    """A field as CSV writes it."""
    if delimiter in text or '"' in text or "\n" in text or "\r" in text:
        return '"' + text.replace('"', '""') + '"'
    return text


def csv_rendering(fields: Sequence[str], delimiter: str) -> Rendering:
    """How an answer is written as further fields: its status, then the fields asked for."""
    values = [FIELDS[name].value for name in fields]

    def cell(value: object) -> str:
        if value is None:
            return ""
        if isinstance(value, dict):
            value = _JSON.encode(value)
        return quoted(str(value), delimiter)

    def render(status: int, span: TenureSpan | None) -> str:
        cells = ("" if span is None else cell(value(span)) for value in values)
        return delimiter + delimiter.join([STATUSES[status], *cells])

    return render


class CsvJoin:
    """The join of blocks of CSV; the header is not among them."""

    def __init__(
        self, columns: Columns, read_time: ReadTime, answers: Answers, *, set_aside: bool
    ) -> None:
        self._columns = columns
        self._read_time = read_time
        self._answers = answers
        self._set_aside = set_aside

    def __call__(self, block: Block) -> Joined:
        """Join one block."""
        work = _Pass(self._columns, self._read_time, self._answers, set_aside=self._set_aside)
        end = _only_end(block)
        if end is not None:
            lines = decoded(block).split(end)
            lines.pop()
            work.plain_lines(lines, end)
            return work.joined(len(lines))
        line = 1
        for raw, closed in csv_records(block, self._columns.delimiter):
            work.record(line, raw, closed=closed)
            line += raw.count(b"\n")
        return work.joined(line - block.endswith(b"\n"))


def _only_end(block: Block) -> str | None:
    """How all lines of a block end, if it has no quotes and they all end alike."""
    if b'"' in block or not block.endswith(b"\n"):
        return None
    returns = block.count(b"\r")
    if not returns:
        return "\n"
    return "\r\n" if returns == block.count(b"\n") == block.count(b"\r\n") else None


class _Pass:
    """One block on its way through."""

    def __init__(
        self, columns: Columns, read_time: ReadTime, answers: Answers, *, set_aside: bool
    ) -> None:
        self._columns = columns
        self._read_time = read_time
        self._answers = answers
        self._set_aside = set_aside
        self._tally = Tally(len(columns.addresses))
        self._out: list[str] = []
        self._rejected: list[str] = []

    def joined(self, lines: int) -> Joined:
        """What came of the block, which had so many lines."""
        self._tally.lines = lines
        return Joined(encoded(self._out), encoded(self._rejected), self._tally)

    def plain_lines(self, lines: list[str], end: str) -> None:
        """Join lines without a quote: each is a record. This loop is where the time goes."""
        delimiter, width, time, addresses = self._columns
        signs, splits = width - 1, max(time, *addresses) + 1
        columns = list(zip(addresses, self._tally.answers, strict=True))
        read_time, answers = self._read_time, self._answers
        known, life_of, render = answers.young.get, answers.life, answers.render
        write = self._out.append
        for number, line in enumerate(lines, 1):
            if line.count(delimiter) != signs:
                self._no_record(number, line, end)
                continue
            fields = line.split(delimiter, splits)
            try:
                at_ms = read_time(fields[time])
            except ValueError as error:
                self._untimed(number, line, end, error)
                continue
            added = ""
            broken = -1
            for index, counts in columns:
                edges, found = life = known(fields[index]) or life_of(fields[index])
                answer = found[place := bisect_right(edges, at_ms)]
                if not isinstance(answer, Rendered):
                    answer = render(life, place)
                text, status = answer
                counts[status] += 1
                added += text
                if status == BROKEN:
                    broken = index
            if broken < 0:
                write(f"{line}{added}{end}")
            else:
                self._unaddressed(number, line, added, end, fields[broken])
        self._tally.records += len(lines)

    def record(self, number: int, raw: bytes, *, closed: bool) -> None:
        """Join one record of any kind, with its line end."""
        text = decoded(raw)
        body = text.removesuffix("\n")
        body = body if body == text else body.removesuffix("\r")
        end = text[len(body) :]
        self._tally.records += 1
        fields = self._taken_apart(body) if closed else None
        if fields is None:
            self._lost("quote", number, body, end)
        elif len(fields) != self._columns.width:
            self._no_record(number, body, end)
        else:
            self._whole(number, body, fields, end)

    def _taken_apart(self, body: str) -> list[str] | None:
        if '"' not in body:
            return body.split(self._columns.delimiter)
        try:
            (fields,) = csv.reader([body], delimiter=self._columns.delimiter)
        except (csv.Error, ValueError):
            return None
        return fields

    def _whole(self, number: int, body: str, fields: list[str], end: str) -> None:
        try:
            at_ms = self._read_time(fields[self._columns.time])
        except ValueError as error:
            self._untimed(number, body, end, error)
            return
        added, broken = "", -1
        for index, counts in zip(self._columns.addresses, self._tally.answers, strict=True):
            answer = self._answers.at(fields[index], at_ms)
            counts[answer.status] += 1
            added += answer.text
            if answer.status == BROKEN:
                broken = index
        if broken < 0:
            self._out.append(f"{body}{added}{end}")
        else:
            self._unaddressed(number, body, added, end, fields[broken])

    def _untimed(self, number: int, body: str, end: str, error: ValueError) -> None:
        self._tally.fault("time", number, str(error))
        for counts in self._tally.answers:
            counts[BROKEN] += 1
        self._broken(body, self._answers.broken.text * len(self._tally.answers), end)

    def _unaddressed(self, number: int, body: str, added: str, end: str, address: str) -> None:
        self._tally.fault("address", number, f"{shown(address)} is not an address")
        self._broken(body, added, end)

    def _broken(self, body: str, added: str, end: str) -> None:
        """A record that could not be read in part keeps its place, unless it is put aside."""
        if self._set_aside:
            self._reject(body, end)
        else:
            self._out.append(f"{body}{added}{end}")

    def _no_record(self, number: int, body: str, end: str) -> None:
        if body:
            self._lost("fields", number, body, end)
        else:
            self._tally.records -= 1  # a blank line is no record, and stays what it is
            self._out.append(end)

    def _lost(self, cause: str, number: int, body: str, end: str) -> None:
        """What is no record has no place among records."""
        self._tally.fault(cause, number, shown(body))
        if self._set_aside:
            self._reject(body, end)
        else:
            self._tally.left_out += 1

    def _reject(self, body: str, end: str) -> None:
        self._tally.rejected += 1
        self._rejected.append(f"{body}{end}")
