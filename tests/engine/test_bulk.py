"""Rows are what records are: of any page, whole or harmed, the two ways of reading agree."""

from __future__ import annotations

from copy import copy
from typing import Any, Final

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.bulk import Row, _tags, admit_rows, read_rows
from engine.entry import Anchor, Commit, RawEntry, Record
from engine.errors import LedgerError
from engine.reading import Continuity, HighWater, admit_all, read_commits
from engine.wire import check_of, decode_event
from projections.state import LedgerState
from tests.builders import SPACE_ID, TestLedger, make_allocate, make_pool, make_release
from tests.projections.test_pages import answers, random_ledger


def _dual_stack() -> TestLedger:
    """Commits of several parts, blocks of several interfaces, releases with late facts."""
    ledger = TestLedger()
    ledger.apply(make_pool("four", "10.0.0.0/24"), make_pool("six", "fd00::/64", ttl_s=60))
    for number in range(30):
        ledger.clock.now_ms += 1_000
        labels = (("app", "web"), ("node", f"n{number % 3}"))
        wanted = make_allocate("four", "six", owner=f"o{number}", uid=str(number), labels=labels)
        ledger.run(wanted)
        ledger.run(wanted._replace(uid=f"again-{number}"))
        if number % 4 == 0:
            ledger.run(make_release(owner=f"o{number}"))
    return ledger


PAGES: Final[list[list[RawEntry]]] = [
    list(_dual_stack().stream.entries),
    list(random_ledger(5, 120).stream.entries),
]


def is_row(item: Record | Row) -> bool:
    """Whether it stayed a plain tuple."""
    return type(item) is tuple


def as_record(item: Record | Row) -> tuple[Any, ...]:
    """A row as the record that it stands for, both as plain tuples."""
    if not is_row(item):
        position, ms, event, sealed, header, commit = item  # type: ignore[misc]
        return (position, ms, tuple(event), tuple(sealed), tuple(header), tuple(commit))
    position, ms, fields, sealed, commit = item  # type: ignore[misc]
    return (position, ms, fields[7:], sealed, fields[2:7], commit)


def outcome(
    page: list[RawEntry],
    remembered: HighWater | None,
    *,
    rows: bool,
    behind: Continuity | None = None,
) -> Any:
    """What a reader makes of a page, and where it stands then; or its error."""
    continuity = Continuity(remembered) if behind is None else copy(behind)
    try:
        if rows:
            found = [as_record(item) for item in admit_rows(continuity, page)]
        else:
            found = [as_record(record) for record in admit_all(continuity, page)]
    except LedgerError as error:
        return type(error), error.message, error.position, continuity.anchor
    return found, continuity.anchor, continuity.last, continuity.generation


@pytest.mark.parametrize("page", PAGES, ids=["dual stack", "random"])
def test_rows_are_the_records(page: list[RawEntry]) -> None:
    """All of them, and most are rows."""
    assert outcome(page, None, rows=True) == outcome(page, None, rows=False)
    items = admit_rows(Continuity(), page)
    assert sum(map(is_row, items)) > len(items) // 2


VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, 1, -1, 2**32, 2**63, b"", b"x" * 4, b"z" * 8, b"y" * 16, "", "text",
    (), (1,), ((1,),), (("a", "b"),), (("b", "a"), ("a", "b")), {}, 1.0, 129, 33,
)  # fmt: skip


def _repacked(raw: RawEntry, field: str, at: int, value: object) -> RawEntry:
    """An entry with one member of one field replaced, and its check value made right again."""
    try:
        members = list(msgpack.unpackb(getattr(raw, field), use_list=False))
    except ValueError:  # it was harmed before
        return raw
    members[at % len(members)] = value
    raw = raw._replace(**{field: msgpack.packb(members)})  # type: ignore[arg-type]
    if field == "c" and at % len(members) == len(members) - 1:
        return raw
    prefix = raw.c[:-8]
    return raw._replace(c=prefix + check_of(prefix, raw.e, raw.s))


def _retagged(raw: RawEntry) -> RawEntry:
    """An entry with the tags that its members would have, if they have any."""
    try:
        fields = msgpack.unpackb(raw.e, use_list=False)
        owner = msgpack.unpackb(raw.s, use_list=False)[1]
        return raw._replace(t=_tags(fields, owner).encode())
    except (ValueError, TypeError, IndexError, AttributeError, KeyError):
        return raw


def _of_each_kind(page: list[RawEntry]) -> list[int]:
    """Where the page has the first lease event of each type, alone and as part of a commit."""
    first: dict[tuple[Any, ...], int] = {}
    for at, item in enumerate(admit_rows(Continuity(), page)):
        if is_row(item):
            fields: Any = item[2]
            commit: Any = item[-1]
            first.setdefault((fields[0], commit[1] > 0, commit[2] > 1), at)
    return list(first.values())


@pytest.mark.parametrize("page", PAGES, ids=["dual stack", "random"])
@pytest.mark.parametrize("field", ["e", "s", "c"])
def test_every_member_is_checked_alike(page: list[RawEntry], field: str) -> None:
    """Each in turn is given each of many values, with tags and check values that fit."""
    for at in _of_each_kind(page):
        members = msgpack.unpackb(getattr(page[at], field), use_list=False)
        begin = list(page[:at])
        standing = Continuity()
        admit_all(standing, begin)
        for member in range(len(members)):
            for value in VALUES:
                harmed = _repacked(page[at], field, member, value)
                if field != "c":
                    harmed = _retagged(harmed)
                found = [
                    outcome([harmed, *page[at + 1 : at + 3]], None, rows=rows, behind=standing)
                    for rows in (True, False)
                ]
                assert found[0] == found[1], (field, member, value)


@settings(max_examples=400)
@given(st.data())
def test_harmed_pages_are_refused_alike(data: st.DataObject) -> None:
    """A member replaced, bytes added, entries dropped, doubled, swapped, moved in time."""
    page = list(data.draw(st.sampled_from(PAGES), "page"))
    for _ in range(data.draw(st.integers(1, 2), "harms")):
        at = data.draw(st.integers(0, len(page) - 1), "entry")
        raw = page[at]
        match data.draw(st.integers(0, 9), "harm"):
            case 0:
                del page[at]
            case 1:
                page.insert(at, raw)
            case 2:
                other = data.draw(st.integers(0, len(page) - 1), "with")
                page[at], page[other] = page[other], raw
            case 3:
                page[at] = raw._replace(ms=raw.ms + data.draw(st.sampled_from((-1, 1, 10**6))))
            case 4:
                page[at] = raw._replace(t=raw.t + b" ")
            case 5:
                field = data.draw(st.sampled_from("est"))
                page[at] = raw._replace(**{field: getattr(raw, field) + b"\xc0"})
            case 6:
                field = data.draw(st.sampled_from("esc"))
                page[at] = raw._replace(**{field: getattr(raw, field)[:-1]})
            case _:
                field = data.draw(st.sampled_from("esc"), "field")
                member = data.draw(st.integers(0, 20), "member")
                value = data.draw(st.sampled_from(VALUES), "value")
                page[at] = _repacked(raw, field, member, value)
    assert outcome(page, None, rows=True) == outcome(page, None, rows=False)


def test_what_is_remembered_is_compared() -> None:
    """An anchor in the middle of rows."""
    page = PAGES[0]
    for c in (page[40].c, b"else"):
        seen = HighWater(SPACE_ID, 0, (Anchor(page[40].ms, page[40].position, c),))
        assert outcome(page, seen, rows=True) == outcome(page, seen, rows=False)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("entries_max", [1, 7, 1_000])
def test_a_stream_of_rows_folds_to_the_same_state(seed: int, entries_max: int) -> None:
    """Commits stay whole in pages of any size."""
    ledger = random_ledger(seed, 150)
    rows, records = LedgerState(), LedgerState()
    for items in read_rows(ledger.stream, Continuity(), entries_max=entries_max):
        last = items[-1][-1]
        assert Commit._make(last).ends_here
        rows.apply_rows(items)
    for commits in read_commits(ledger.stream, Continuity()):
        records.apply_all(commits)
    assert answers(rows) == answers(records)
    assert rows.position == ledger.stream.head().position


def test_without_the_sealed_part_it_still_has_to_be_whole() -> None:
    """It is not decoded, but the check value covers it."""
    page = list(PAGES[0])
    items = admit_rows(Continuity(decode=decode_event), page, sealed=False)
    assert all(item[3] is None for item in items if is_row(item))
    page[50] = page[50]._replace(s=page[50].s[:-1] + b"?")
    with pytest.raises(LedgerError, match="position 51"):
        admit_rows(Continuity(decode=decode_event), page, sealed=False)


def test_every_kind_of_lease_event_becomes_a_row() -> None:
    """Also of IPv6, of several parts, and with labels."""
    items = [item for page in PAGES for item in admit_rows(Continuity(), page)]
    codes: set[Any] = {next(iter(item[2])) for item in items if is_row(item)}
    assert codes == {30, 31, 32}
