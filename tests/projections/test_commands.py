"""The window of remembered commands: the last 100,000 positions, whoever looks, and no more."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from engine import events as ev
from engine.entry import Commit, Header, Record
from engine.events import Sealed
from projections.commands import WINDOW_POSITIONS, CommandWindow, Remembered

EVENT = ev.Informational(200, 1, ())
SEALED = Sealed(bytes(16))
KEY, OTHER = b"k" * 16, b"o" * 16


def record(position: int, key: bytes, *, part: int = 0, parts: int = 1, step: int = 0) -> Record:
    """As small a record as the window looks at; its request is told by its position."""
    commit = Commit(
        nonce=bytes(8), part=part, parts=parts, generation=0, decided_at=0,
        request_hash=position.to_bytes(16),
    )  # fmt: skip
    return Record(position, 10 * position, EVENT, SEALED, Header(key, step), commit)


def fold(window: CommandWindow, record: Record) -> None:
    """Fold one record, as the state does."""
    header = record.header
    window.fold(record.position, record.ms, header.command, header.step, record.commit)


def test_a_commit_is_remembered_by_its_first_record() -> None:
    """Where it begins, when, how long it is and what was asked: enough to answer a repeat."""
    window = CommandWindow()
    for part in range(3):
        fold(window, record(7 + part, KEY, part=part, parts=3))
    assert window.get(KEY) == Remembered(7, 70, 3, (7).to_bytes(16))
    assert window.get(OTHER) is None
    assert len(window) == 1


def test_steps_of_a_series_are_remembered_apart() -> None:
    """A command that takes several commits can be resumed at any of them."""
    window = CommandWindow()
    for step in range(3):
        fold(window, record(5 + step, KEY, step=step))
    assert [window.get(KEY, step) is not None for step in range(4)] == [True, True, True, False]
    found = window.get(KEY, 1)
    assert found is not None
    assert found.position == 6


def test_the_window_ends_after_100_000_positions() -> None:
    """At exactly that distance a command is forgotten; one position nearer it is known."""
    assert WINDOW_POSITIONS == 100_000
    window = CommandWindow()
    fold(window, record(5, KEY))
    fold(window, record(6, OTHER))
    fold(window, record(5 + WINDOW_POSITIONS - 1, b"a" * 16))
    assert window.get(KEY) is not None
    fold(window, record(5 + WINDOW_POSITIONS, b"b" * 16))
    assert window.get(KEY) is None
    assert window.get(OTHER) is not None
    fold(window, record(5 * WINDOW_POSITIONS, b"c" * 16))
    assert len(window) == 1


def test_a_full_window_stays_full() -> None:
    """Positions go by one at a time: as many are remembered as the window is wide."""
    window = CommandWindow()
    template = record(1, KEY)
    for position in range(1, WINDOW_POSITIONS + 51):
        header = Header(position.to_bytes(16))
        fold(window, template._replace(position=position, header=header))
    assert len(window) == WINDOW_POSITIONS
    assert window.get((50).to_bytes(16)) is None
    assert window.get((51).to_bytes(16)) is not None


def test_a_command_id_used_anew_after_the_window_is_another_command() -> None:
    """Its first use is forgotten for good: leaving the window twice forgets it once."""
    window = CommandWindow()
    fold(window, record(1, KEY))
    again = 1 + WINDOW_POSITIONS
    fold(window, record(again, KEY))
    found = window.get(KEY)
    assert found is not None
    assert found.position == again
    fold(window, record(again + WINDOW_POSITIONS - 1, OTHER))
    assert window.get(KEY) is not None
    fold(window, record(again + WINDOW_POSITIONS, b"x" * 16))
    assert window.get(KEY) is None


@given(
    st.lists(
        st.tuples(
            st.integers(1, WINDOW_POSITIONS // 3),
            st.integers(0, 4),
            st.booleans(),
            st.integers(0, 2),
        ),
        max_size=30,
    ),
    st.integers(0, 30),
)
def test_the_window_is_a_function_of_the_stream(
    commits: list[tuple[int, int, bool, int]], cut: int
) -> None:
    """It is what a scan of the last positions finds, and a reader who began later agrees."""
    position, records = 0, []
    for gap, name, is_long, step in commits:  # gaps as a restoration makes them, commits of 1 or 2
        position += gap
        parts = 2 if is_long else 1
        key = bytes([name]) * 16
        records += [
            record(position + at, key, part=at, parts=parts, step=step) for at in range(parts)
        ]
        position += parts - 1
    window = CommandWindow()
    for each in records:
        fold(window, each)
    oldest = (records[-1].position if records else 0) - WINDOW_POSITIONS
    expected = {
        (each.header.command, each.header.step): each.position
        for each in records
        if each.commit.part == 0 and each.position > oldest
    }
    found = {
        key: window.get(*key) for key in {(bytes([n]) * 16, s) for n in range(5) for s in range(3)}
    }
    assert {key: hit.position for key, hit in found.items() if hit is not None} == expected
    assert len(window) == len(expected)

    resumed = CommandWindow()
    for each in records[:cut]:
        fold(resumed, each)
    for each in records[cut:]:
        fold(resumed, each)
    assert {key: resumed.get(*key) for key in found} == found
