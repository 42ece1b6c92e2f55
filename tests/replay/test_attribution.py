"""The join of flow records with the history equals a naive one, whatever the blocks and lines.

The naive join reads CSV character by character and looks at every span for every record. What
Hypothesis makes up has quotes, line feeds inside them, stray quotes, letters of all scripts, both
kinds of line ends, blank lines, no last line end, and broken records of every kind.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.errors import InvalidInput
from replay.attribution import (
    FIELDS_USUAL,
    Answers,
    Columns,
    CsvJoin,
    Joined,
    JsonJoin,
    Known,
    Members,
    Tally,
    blocks_of,
    csv_rendering,
    cut_csv,
    cut_lines,
    json_rendering,
    time_reader,
)
from replay.attribution.answers import life_of
from replay.attribution.blocks import RECORD_BYTES_MAX
from replay.history.lookup import TenureSpan

KNOWN: Final = Known(100, 200, 9)
ADDRESSES: Final = {bytes([10, 0, 0, n]): f"10.0.0.{n}" for n in range(4)}
SECONDS: Final = 1_000_000_000  # what the times of these files count from, in ms


def span(from_ms: int, to_ms: int | None, owner: str = "a", lease: int = 3) -> TenureSpan:
    """A tenure; times are small numbers here."""
    labels = (("app", 'we"b'),) if lease % 2 else ()
    return TenureSpan(from_ms, to_ms, owner, lease, labels, "front", "eth0", None)


class Spans:
    """A history in memory; it counts the questions."""

    def __init__(self, spans: dict[bytes, list[TenureSpan]]) -> None:
        self.spans = spans
        self.asked = 0

    def tenures_at(self, address: bytes) -> list[TenureSpan]:
        """See `TenureLookup`."""
        self.asked += 1
        return self.spans.get(address, [])


@st.composite
def histories(draw: st.DrawFn) -> Spans:
    """Tenures of a few addresses, one after the other, before, within and after what is known."""
    spans: dict[bytes, list[TenureSpan]] = {}
    for address in list(ADDRESSES)[:3]:
        moments = sorted(draw(st.lists(st.integers(90, 210), max_size=8)))
        pairs = [(moments[i], moments[i + 1]) for i in range(0, len(moments) - 1, 2)]
        found = [
            span(a, b, draw(st.sampled_from(["a", 'b,"c"', "žluť;\u2028"])), place)
            for place, (a, b) in enumerate(pairs)
        ]
        if found and not draw(st.integers(0, 1)):
            found[-1] = found[-1]._replace(to_ms=None)
        spans[address] = found
    return Spans(spans)


def naive_answer(spans: Spans, text: str, at_ms: int) -> tuple[str, TenureSpan | None]:
    """Every span looked at."""
    if text.strip() in {"", "-"}:
        return "none", None
    packed = next((raw for raw, known in ADDRESSES.items() if known == text.strip()), None)
    if packed is None:
        return "broken", None
    if at_ms >= KNOWN.until_ms:
        return "unknown", None
    for held in spans.spans.get(packed, []):
        if held.from_ms <= at_ms and (held.to_ms is None or at_ms < held.to_ms):
            return "held", held
    return ("unheld" if at_ms >= KNOWN.from_ms else "unknown"), None


# ---------------------------------------------------------------------------------------- a life


@given(histories(), st.integers(80, 220))
def test_a_life_answers_as_a_look_at_every_span(spans: Spans, at_ms: int) -> None:
    """At every moment, the borders included: half-open, unknown outside of what is known."""
    for address, text in ADDRESSES.items():
        answers = Answers(spans, KNOWN, lambda status, held: f"{status}:{held and held.lease_id}")
        status, held = naive_answer(spans, text, at_ms)
        got = answers.at(text, at_ms)
        assert got == answers.at(f" {text} ", at_ms)
        names = ("held", "unheld", "unknown", "disputed", "none", "broken")
        assert (names[got.status], got.text) == (status, f"{got.status}:{held and held.lease_id}")
        assert address in spans.spans or status != "held"


def test_two_holders_at_once_are_named_by_nobody() -> None:
    """What the rules forbid is told as disputed, and only while it lasts."""
    one, two = span(110, 150, "a", 3), span(140, None, "b", 4)
    life = life_of([one, two], KNOWN)
    assert list(life.edges) == [100, 110, 140, 150, 200]
    assert life.answers == [2, 1, one, 3, two, 2]


def test_one_moment_may_end_and_begin() -> None:
    """Handed over within a millisecond: the later one has it; a tenure of no length has nothing."""
    one, two = span(110, 150, "a", 3), span(150, 160, "b", 4)
    life = life_of([one, span(150, 150, "c", 5), two], KNOWN)
    assert (list(life.edges), life.answers) == ([100, 110, 150, 160, 200], [2, 1, one, two, 1, 2])


def test_few_addresses_are_kept() -> None:
    """Memory is bounded: of many addresses the first is asked for again, of few each once."""
    spans = Spans({})
    answers = Answers(spans, KNOWN, lambda *_: "", answers_max=30)
    for number in range(1_000):
        answers.at(f"10.0.{number // 256}.{number % 256}", 150)
        assert len(answers.young) <= 10
    answers.at("10.0.0.0", 150)
    assert spans.asked == 1_001
    before = spans.asked
    for _ in range(50):
        for number in range(8):
            answers.at(f"10.1.0.{number}", 150)
    assert spans.asked == before + 8


# ------------------------------------------------------------------------------------------- CSV

WORDS: Final = st.sampled_from([
    "", "x", "žluť", "\udc80", "a b", "\u2028", "10.0.0.1", 'x"y', "longer than the others",
])  # fmt: skip
QUOTED: Final = st.sampled_from(['"a,b"', '"two\nlines"', '"two\r\nlines"', '"say ""hi"""', '""'])
TIMES: Final = st.integers(80, 220).map(lambda ms: f"1970-01-12T13:46:40.{ms:03d}Z")
ALL_ADDRESSES: Final = st.sampled_from([*ADDRESSES.values(), "-", "", " 10.0.0.1"])
BAD: Final = st.sampled_from(["x", "1970-01-12T13:46:40", "10.0.0.01", "::ffff:1.2.3.4"])


def quoted_sometimes(texts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """The same, some of them in quotes."""
    return st.builds(lambda text, is_quoted: f'"{text}"' if is_quoted else text, texts, QUOTE)


QUOTE: Final = st.sampled_from([False, False, True])
FIELDS_OF_RECORD: Final = st.tuples(
    WORDS | QUOTED,
    quoted_sometimes(TIMES | TIMES | TIMES | BAD),
    WORDS | QUOTED,
    quoted_sometimes(ALL_ADDRESSES | ALL_ADDRESSES | BAD),
    quoted_sometimes(ALL_ADDRESSES),
)
RECORDS: Final = (
    FIELDS_OF_RECORD.map(",".join)
    | FIELDS_OF_RECORD.map(",".join)
    | st.sampled_from(["", "1,2", ",,,,,", '"', "x,y\u2028"])
)


@st.composite
def csv_files(draw: st.DrawFn) -> bytes:
    """A file of CSV without its header."""
    records = draw(st.lists(RECORDS, max_size=12))
    same = draw(st.sampled_from(["\n", "\r\n", None]))
    ends = [same or draw(st.sampled_from(["\n", "\r\n"])) for _ in records]
    if records and not draw(st.integers(0, 1)):
        ends[-1] = ""
    text = "".join(f"{record}{end}" for record, end in zip(records, ends, strict=True))
    return text.encode("utf-8", "surrogateescape")


def naive_records(text: str) -> list[tuple[str, bool]]:
    """The records of CSV with their line ends, and whether their quotes close: by characters."""
    found, begin, is_open, at_field = [], 0, False, True
    place = 0
    while place < len(text):
        character = text[place]
        if is_open:
            if character == '"' and text[place + 1 : place + 2] == '"':
                place += 1
            elif character == '"':
                is_open = False
        elif character == '"' and at_field:
            is_open = True
            at_field = False
        elif character == "\n":
            found.append((text[begin : place + 1], True))
            begin = place + 1
            at_field = True
        else:
            at_field = character == ","
        place += 1
    if begin < len(text):
        found.append((text[begin:], not is_open))
    return found


def naive_csv(data: bytes, spans: Spans, *, set_aside: bool) -> tuple[str, str, dict[str, Any]]:
    """The whole file at once: what comes out, what is put aside, and the lines of each fault."""
    out, aside = "", ""
    faults: dict[str, list[int]] = {}
    records = 0
    line = 1
    for raw, closed in naive_records(data.decode("utf-8", "surrogateescape")):
        end = "\r\n" if raw.endswith("\r\n") else "\n" if raw.endswith("\n") else ""
        body = raw[: len(raw) - len(end)]
        number, line = line, line + raw.count("\n")
        if not body:
            out += raw
            continue
        records += 1
        (fields,) = csv.reader([body]) if closed else ([],)
        if not closed or len(fields) != 5:
            faults.setdefault("fields" if closed else "quote", []).append(number)
            aside += raw
            continue
        try:
            at_ms = time_reader("rfc3339")(fields[1]) - SECONDS
        except ValueError:
            cause = "time"
            added = [naive_cells("broken", None)] * 2
        else:
            answers = [naive_answer(spans, fields[index], at_ms) for index in (3, 4)]
            added = [naive_cells(*answer) for answer in answers]
            cause = "address" if any(status == "broken" for status, _ in answers) else ""
        if cause:
            faults.setdefault(cause, []).append(number)
        if cause and set_aside:
            aside += raw
        else:
            out += body + "".join(added) + end
    return out, aside if set_aside else "", {"faults": faults, "records": records}


def naive_cells(status: str, held: TenureSpan | None) -> str:
    """The added cells, written by the standard library."""
    row: list[object] = ["", status, "", "", "", ""]
    if held is not None:
        labels = json.dumps(dict(held.labels), separators=(",", ":"))
        row[2:] = [held.owner, held.lease_id, labels, held.pool]
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="").writerow(row)
    return file.getvalue()


def run(join: Callable[[bytes], Joined], blocks: Sequence[bytes]) -> tuple[bytes, bytes, Tally]:
    """All blocks, one after the other."""
    total = Tally(2)
    done = [join(block) for block in blocks]
    for joined in done:
        total.add(joined.tally)
    return b"".join(d.output for d in done), b"".join(d.rejected for d in done), total


def csv_join(spans: Spans, *, set_aside: bool) -> CsvJoin:
    """The join of the files above."""
    answers = Answers(Shifted(spans), shifted(KNOWN), csv_rendering(FIELDS_USUAL, ","))
    return CsvJoin(Columns(",", 5, 1, (3, 4)), time_reader("auto"), answers, set_aside=set_aside)


def shifted(known: Known) -> Known:
    """The same, in the times that stand in the files."""
    return Known(known.from_ms + SECONDS, known.until_ms + SECONDS, known.position)


class Shifted(Spans):
    """A history of small numbers, in the times that stand in the files."""

    def __init__(self, spans: Spans) -> None:
        super().__init__({
            address: [
                held._replace(
                    from_ms=held.from_ms + SECONDS,
                    to_ms=None if held.to_ms is None else held.to_ms + SECONDS,
                )
                for held in found
            ]
            for address, found in spans.spans.items()
        })  # fmt: skip


def pieces(data: bytes, size: int) -> list[bytes]:
    """The bytes as they might be read."""
    return [data[at : at + size] for at in range(0, len(data), size)]


@given(csv_files(), histories(), st.integers(1, 200), st.booleans())
def test_csv_in_blocks_of_any_size_equals_the_naive_join(
    data: bytes, spans: Spans, size: int, set_aside: bool
) -> None:
    """Output, what is put aside, counts and line numbers."""
    out, aside, told = naive_csv(data, spans, set_aside=set_aside)
    blocks = list(blocks_of(pieces(data, size), cut_csv(",")))
    assert b"".join(blocks) == data
    got, got_aside, tally = run(csv_join(spans, set_aside=set_aside), blocks)
    assert got.decode("utf-8", "surrogateescape") == out
    assert got_aside.decode("utf-8", "surrogateescape") == aside
    assert tally.records == told["records"]
    faults = {cause: (f.count, [n for n, _ in f.first]) for cause, f in tally.faults.items()}
    assert faults == {c: (len(lines), lines[:3]) for c, lines in told["faults"].items()}
    assert tally.rejected + tally.left_out <= tally.broken == sum(map(len, told["faults"].values()))


@given(st.lists(FIELDS_OF_RECORD.map(",".join), max_size=12), histories(), st.randoms())
def test_the_order_of_records_does_not_matter(lines: list[str], spans: Spans, chance: Any) -> None:
    """Sorted or not, each record gets the same answer."""
    mixed = lines[:]
    chance.shuffle(mixed)
    join = csv_join(spans, set_aside=False)
    one, two = (
        join("".join(f"{line}\n" for line in order).encode("utf-8", "surrogateescape")).output
        for order in (lines, mixed)
    )
    assert sorted(naive_records(one.decode("utf-8", "surrogateescape"))) == sorted(
        naive_records(two.decode("utf-8", "surrogateescape"))
    )


def test_the_fast_way_and_the_careful_way_agree() -> None:
    """A quote in one line sends the whole block the other way; the other lines do not notice."""
    spans = Spans({bytes([10, 0, 0, 1]): [span(120, None)]})
    lines = [f"x,1970-01-12T13:46:40.{ms}Z,y,10.0.0.1,-\n" for ms in range(100, 200, 7)]
    plain, _, _ = run(csv_join(spans, set_aside=False), ["".join(lines).encode()])
    mixed, _, _ = run(csv_join(spans, set_aside=False), ["".join([*lines, '"\n"\n']).encode()])
    assert mixed == plain


def test_a_record_without_an_end_stops_the_reading() -> None:
    """It would fill the memory; the error names the line where it begins."""
    endless = [b'a,b\nc,"', *[b"x" * 100_000] * 12]
    with pytest.raises(InvalidInput, match="line 2: the record does not end"):
        list(blocks_of(endless, cut_csv(",")))
    with pytest.raises(InvalidInput, match="line 1: "):
        list(blocks_of([b"x" * (RECORD_BYTES_MAX + 1)], cut_lines))


# ------------------------------------------------------------------------------------ JSON lines

MEMBERS: Final[st.SearchStrategy[dict[str, object]]] = st.fixed_dictionaries(
    {},
    optional={
        "t": TIMES | TIMES | BAD | st.sampled_from([None, True, 1_000_000.15, 1_000_000_150, []]),
        "a": ALL_ADDRESSES | ALL_ADDRESSES | BAD | st.sampled_from([None, 7, {"b": 1}]),
        "n": st.fixed_dictionaries({}, optional={"b": ALL_ADDRESSES}),
        "n.b": ALL_ADDRESSES,
        "more": st.text(max_size=5),
        "a_attribution": st.just(1),
    },
)
OTHER_LINES: Final = st.sampled_from(["", "  ", "[]", "{", '{"t": 1} x', '"x"', "\ufeff{}"])


@st.composite
def json_files(draw: st.DrawFn) -> bytes:
    """A file of JSON lines."""
    lines = []
    for record in draw(st.lists(MEMBERS, max_size=10)):
        if draw(st.integers(0, 5)) == 0:
            lines.append(draw(OTHER_LINES))
        body = json.dumps(record, ensure_ascii=draw(st.booleans()))
        lines.append(draw(st.sampled_from(["", " "])) + body + draw(st.sampled_from(["", "\r"])))
    return "\n".join(lines).encode() + draw(st.sampled_from([b"", b"\n"]))


def naive_json(line: str, spans: Spans) -> tuple[str | None, dict[str, Any]]:
    """What is wrong with a line, if anything, and the answers; no answers if it has no place."""
    try:
        record = json.loads(line)
    except ValueError:
        return "json", {}
    if not isinstance(record, dict):
        return "json", {}
    cause: str | None = None
    answers: dict[str, Any] = {}
    moment = record.get("t")
    at_ms = 0
    try:
        text = moment if isinstance(moment, str) else repr(moment)
        at_ms = time_reader("auto")(text) - SECONDS
    except ValueError:
        cause = "time" if "t" in record else "column"
    if cause is None and "a_attribution" in record:
        return "taken", {}
    untimed = cause is not None
    for name in ("a", "n.b"):
        where = record if name in record else record.get("n", {})
        value = where.get(name if name in record else name.removeprefix("n."), KeyError)
        if name == "a" and "a" not in record:
            value = KeyError
        status, held = "broken", None
        if not untimed and (value is None or isinstance(value, str)):
            status, held = naive_answer(spans, value or "", at_ms)
        if status == "broken" and not untimed:
            cause = "column" if value is KeyError else "address"
        answers[name] = naive_object(status, held)
    return cause, answers


def naive_object(status: str, held: TenureSpan | None) -> dict[str, Any]:
    """An answer as an object."""
    if held is None:
        return {"status": status, **dict.fromkeys(FIELDS_USUAL)}
    return {
        "status": status, "owner": held.owner, "lease": held.lease_id,
        "labels": dict(held.labels), "pool": held.pool,
    }  # fmt: skip


@given(json_files(), histories(), st.integers(1, 300))
def test_json_lines_in_blocks_of_any_size_equal_the_naive_join(
    data: bytes, spans: Spans, size: int
) -> None:
    """Every record keeps its members; answers, causes and counts are right."""
    answers = Answers(Shifted(spans), shifted(KNOWN), json_rendering(FIELDS_USUAL))
    join = JsonJoin(Members("t", ("a", "n.b")), time_reader("auto"), answers, set_aside=False)
    blocks = list(blocks_of(pieces(data, size), cut_lines))
    got, _, tally = run(join, blocks)
    written = iter(got.decode().split("\n"))
    counts: dict[str, int] = {}
    for line in data.decode().split("\n"):
        if not line.strip(" \t\r"):
            assert next(written) == line
            continue
        cause, added = naive_json(line, spans)
        if cause is not None:
            counts[cause] = counts.get(cause, 0) + 1
        if added:
            names = {f"{name}_attribution": answer for name, answer in added.items()}
            record = json.loads(line)
            assert json.loads(next(written)) == {**record, **names}
    assert {cause: fault.count for cause, fault in tally.faults.items()} == counts
