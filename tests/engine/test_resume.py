"""A reader goes on behind its checkpoint, or learns that this is not its stream any more."""

from __future__ import annotations

import pytest

from engine.errors import (
    HistoryDiverged,
    MissingEntries,
    SpaceReplaced,
)
from engine.reading import Checkpoint, Continuity, HighWater, read_commits, resume
from tests.engine.book import SPACE_ID, Book, filler


class TestResume:
    """A reader goes on behind its checkpoint, or learns that this is not its stream any more."""

    @staticmethod
    def checkpoint_at(book: Book, position: int) -> Checkpoint:
        """Where a reader of whole commits stands that has read up to a position."""
        continuity = Continuity()
        for raw in book.stream.read(0, 0, position):
            continuity.admit(raw)
        return continuity.checkpoint()

    def test_it_reads_on_what_is_behind_the_checkpoint(self) -> None:
        """Neither an entry twice nor one too few, and the end is checked as ever."""
        book = Book(2, 3, 1)
        checkpoint = self.checkpoint_at(book, 3)
        continuity = resume(book.stream, checkpoint)
        pages = list(read_commits(book.stream, continuity))
        assert [record.position for page in pages for record in page] == [4, 5, 6, 7]
        assert continuity.checkpoint() == self.checkpoint_at(book, 7)

    def test_a_shorter_stream_is_noticed(self) -> None:
        """The checkpoint's entry is gone with all behind it."""
        checkpoint = self.checkpoint_at(Book(2, 3, 1), 7)
        with pytest.raises(HistoryDiverged, match="position 7 is not the entry"):
            resume(Book(2, 3).stream, checkpoint)

    def test_another_entry_at_the_checkpoint_is_noticed(self) -> None:
        """Same position and time, other bytes."""
        checkpoint = self.checkpoint_at(Book(2, 3, 1), 6)
        altered = checkpoint._replace(anchor=checkpoint.anchor._replace(c=b"else"))
        with pytest.raises(HistoryDiverged, match="position 6"):
            resume(Book(2, 3, 1).stream, altered)

    def test_another_entry_that_is_remembered_is_noticed(self) -> None:
        """What is remembered from before the checkpoint is compared, too."""
        book = Book(2, 3, 1)
        checkpoint = self.checkpoint_at(book, 6)
        older = self.checkpoint_at(book, 3).anchor._replace(c=b"else")
        with pytest.raises(HistoryDiverged, match="position 3"):
            resume(book.stream, checkpoint, HighWater(SPACE_ID, 0, (older,)))

    def test_another_space_is_noticed(self) -> None:
        """Its name is the same; the checkpoint's id or the remembered one is not."""
        book = Book(2)
        checkpoint = self.checkpoint_at(book, 3)
        with pytest.raises(SpaceReplaced):
            resume(book.stream, checkpoint._replace(space_id=bytes(16)))
        with pytest.raises(SpaceReplaced):
            resume(book.stream, checkpoint, HighWater(bytes(16), 0, ()))

    def test_an_entry_missing_before_the_checkpoint_is_noticed_at_the_end(self) -> None:
        """It is not read again, but it is counted."""
        book = Book(2, 3, 1)
        checkpoint = self.checkpoint_at(book, 6)
        book.delete(2)
        with pytest.raises(MissingEntries):
            list(read_commits(book.stream, resume(book.stream, checkpoint)))

    def test_what_a_restoration_gave_up_is_not_missed(self) -> None:
        """An operator accepted that; what was kept is still compared."""
        book = Book(1, 1, 1, 1, 1, 1)
        seen = [self.checkpoint_at(book, position).anchor for position in (3, 5, 7)]
        book.restore(4, 7)
        book.write(filler())
        checkpoint = self.checkpoint_at(book, 9)
        resume(book.stream, checkpoint, HighWater(SPACE_ID, 1, (*seen, checkpoint.anchor)))
        kept = seen[0]._replace(c=b"else")
        with pytest.raises(HistoryDiverged, match="position 3"):
            resume(book.stream, checkpoint, HighWater(SPACE_ID, 1, (kept, checkpoint.anchor)))
