"""Texts that many tenures share, kept once: interfaces, clusters, actors, reasons, label sets."""

from __future__ import annotations

import json
import sqlite3
from typing import Final

from engine.names import Labels

# Enough for what comes again and again; the rest is asked of the table.
_CACHED_MAX: Final = 100_000
# In front of a set of labels: nothing that anybody may type begins so.
_LABELS: Final = "\x01"


class Words:
    """The numbers of texts, and the texts of numbers, of one database."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._ids: dict[str, int] = {}
        self._texts: dict[int, str] = {}
        self._labels: dict[int, Labels] = {}

    def forget(self) -> None:
        """After a rollback: what was added may not be there."""
        self._ids.clear()
        self._texts.clear()
        self._labels.clear()

    def id_of(self, text: str | None) -> int | None:
        """The number of a text, which is given one if it has none. None stays None."""
        if text is None:
            return None
        found = self._ids.get(text)
        if found is None:
            found, _ = self._added(text)
        return found

    def id_of_labels(self, labels: Labels) -> int | None:
        """The number of a set of labels; None for no labels."""
        if not labels:
            return None
        text = _LABELS + labels_text(labels)
        found = self._ids.get(text)
        if found is None:
            found, is_new = self._added(text)
            if is_new:
                self._database.executemany(
                    "INSERT INTO label VALUES (?, ?, ?)",
                    [(key, value, found) for key, value in labels],
                )
        return found

    def _added(self, text: str) -> tuple[int, bool]:
        row = self._database.execute("SELECT id FROM word WHERE value = ?", (text,)).fetchone()
        is_new = row is None
        if is_new:
            done = self._database.execute("INSERT INTO word (value) VALUES (?)", (text,))
            assert done.lastrowid is not None, "an insertion has a row"
            found = done.lastrowid
        else:
            found = row[0]
        if len(self._ids) >= _CACHED_MAX:
            self._ids.clear()
        self._ids[text] = found
        return found, is_new

    def text(self, number: int | None) -> str | None:
        """The text of a number; None stays None.

        Raises:
            sqlite3.DatabaseError: there is no such text, so the file is damaged.
        """
        return None if number is None else self._text_of(number)

    def _text_of(self, number: int) -> str:
        found = self._texts.get(number)
        if found is None:
            row = self._database.execute(
                "SELECT value FROM word WHERE id = ?", (number,)
            ).fetchone()  # fmt: skip
            if row is None:
                message = f"word {number} is missing"
                raise sqlite3.DatabaseError(message)
            found = str(row[0])
            if len(self._texts) >= _CACHED_MAX:
                self._texts.clear()
            self._texts[number] = found
        return found

    def labels(self, number: int | None) -> Labels:
        """The labels of a number.

        Raises:
            sqlite3.DatabaseError: these are none, so the file is damaged.
        """
        if number is None:
            return ()
        found = self._labels.get(number)
        if found is None:
            try:
                pairs = json.loads(self._text_of(number).removeprefix(_LABELS))
                found = tuple((str(key), str(value)) for key, value in pairs)
            except (ValueError, TypeError) as error:
                message = f"word {number} is no set of labels"
                raise sqlite3.DatabaseError(message) from error
            if len(self._labels) >= _CACHED_MAX:
                self._labels.clear()
            self._labels[number] = found
        return found


def labels_text(labels: Labels) -> str:
    """A set of labels as the one text it has."""
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"))
