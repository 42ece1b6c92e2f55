"""One entry is found by its position alone, in few short reads, however long the stream is."""

from __future__ import annotations

from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from engine.entry import RawEntry
from engine.memory_stream import MemoryStream
from engine.reading import find_entry

START_MS: Final = 1_700_000_000_000


class CountingStream(MemoryStream):
    """A stream that counts what is asked of it."""

    calls = 0

    def read(self, after_ms: int, after_position: int, entries_max: int) -> list[RawEntry]:
        """Count, and allow no more than a peek."""
        assert entries_max == 1
        self.calls += 1
        return super().read(after_ms, after_position, entries_max)

    def read_from(self, ms: int, entries_max: int) -> list[RawEntry]:
        """Count, and allow no more than a peek."""
        assert entries_max == 1
        self.calls += 1
        return super().read_from(ms, entries_max)


@given(
    steps=st.lists(
        st.tuples(st.sampled_from([0, 0, 1, 2, 1_000, 10**10]), st.sampled_from([0, 0, 0, 1, 3])),
        max_size=25,
    )
)
def test_any_position_is_found(steps: list[tuple[int, int]]) -> None:
    """The entry at every position, None where it is void or not there; in few short reads."""
    stream = CountingStream(lambda: START_MS)
    ms, position = START_MS, 0
    for later_ms, voided in [(0, 0), *steps]:
        ms += later_ms
        position += 1 + voided
        stream.entries.append(RawEntry(ms, position, b"", b"", b"", b"%d" % position))
    stream.last_generated = (ms, position)
    by_position = {raw.position: raw for raw in stream.entries}
    for wanted in range(-1, position + 3):
        stream.calls = 0
        assert find_entry(stream, wanted) == by_position.get(wanted)
        assert stream.calls <= 45


def test_nothing_is_found_where_nothing_is() -> None:
    """A stream that is empty, or lost every entry, has no entry at any position."""
    stream = MemoryStream(lambda: START_MS)
    assert find_entry(stream, 1) is None
    stream.last_generated = (START_MS, 2)
    assert find_entry(stream, 1) is None
