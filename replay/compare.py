"""Whether a mirror is what its source is, byte by byte; both are read once, in pages."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from engine.entry import FIELDS, ORIGIN, Anchor, RawEntry
from engine.errors import DamagedEntry
from engine.stream import PAGE_ENTRIES, Stream

_ID_PARTS: Final = 2


class Difference(NamedTuple):
    """Where two streams part first.

    ``field`` is ``e``, ``s``, ``t`` or ``c``; ``time`` if the ids differ in it; ``fields`` if the
    mirror's entry does not have just these four; ``missing`` if the mirror has no such entry, and
    ``surplus`` if only the mirror has it.
    """

    position: int
    field: str


class Comparison(NamedTuple):
    """What was found: the entries that are the same, and the first that is not."""

    entries: int
    position: int
    difference: Difference | None


def compare(
    source: Stream, mirror: Stream, *, on_progress: Callable[[int], None] | None = None
) -> Comparison:
    """Compare a mirror with its source, as far as the mirror goes.

    Raises:
        DamagedEntry: an entry of the source does not have the fields of an entry.
        Unavailable: a stream cannot be read.
    """
    head = mirror.head()
    entries, position = 0, 0
    theirs, ours = entries_of(source), entries_of(mirror)
    while True:
        try:
            found = next(ours, None)
        except DamagedEntry as error:
            at = position + 1 if error.position is None else error.position
            return Comparison(entries, position, Difference(at, "fields"))
        if found is None:
            break
        wanted = next(theirs, None)
        if wanted != found:
            return Comparison(entries, position, _difference(wanted, found))
        entries += 1
        position = found.position
        if on_progress is not None and entries % PAGE_ENTRIES == 0:
            on_progress(position)
    if position < head.position:
        wanted = next(theirs, None)
        lost = wanted.position if wanted else position + 1
        return Comparison(entries, position, Difference(lost, "missing"))
    return Comparison(entries, position, None)


def entries_of(stream: Stream, after: Anchor = ORIGIN) -> Iterator[RawEntry]:
    """The entries behind one of them, page by page, up to the first that is none of ours.

    Raises:
        DamagedEntry: this one does not have the fields of an entry.
        Unavailable: the stream cannot be read.
    """
    ms, position = after.ms, after.position
    entries_max = PAGE_ENTRIES
    while True:
        try:
            page = stream.read(ms, position, entries_max)
        except DamagedEntry:
            if entries_max == 1:
                raise
            entries_max = 1  # it is in this page: go up to it
            continue
        if not page:
            return
        yield from page
        ms, position = page[-1][:_ID_PARTS]


def _difference(wanted: RawEntry | None, ours: RawEntry) -> Difference:
    if wanted is None or wanted.position > ours.position:
        return Difference(ours.position, "surplus")
    if wanted.position < ours.position:
        return Difference(wanted.position, "missing")
    if wanted.ms != ours.ms:
        return Difference(ours.position, "time")
    fields = zip(FIELDS, wanted[_ID_PARTS:], ours[_ID_PARTS:], strict=True)
    (first, *_rest) = [name.decode() for name, one, other in fields if one != other]
    return Difference(ours.position, first)
