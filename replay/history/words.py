"""Texts that many tenures share, kept once: interfaces, clusters, actors, reasons, label sets."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from typing import Final, TypeVar

from engine.names import Labels

Value = TypeVar("Value")

# Enough for what comes again and again; the rest is asked of the table.
_CACHED_MAX: Final = 100_000
# In front of a set of labels: nothing that anybody may type begins so.
_LABELS: Final = "\x01"


class _Kept(dict[int | None, Value]):
    """What was looked up once; what is not here is looked up. None is always here."""

    def __init__(self, look_up: Callable[[int], Value], nothing: Value) -> None:
        super().__init__({None: nothing})
        self._look_up = look_up
        self._nothing = nothing

    def __missing__(self, number: int | None) -> Value:
        assert number is not None, "None is always here"
        if len(self) >= _CACHED_MAX:
            self.forget()
        found = self[number] = self._look_up(number)
        return found

    def forget(self) -> None:
        """Look everything up again."""
        self.clear()
        self[None] = self._nothing


class Words:
    """The numbers of texts, and the texts of numbers, of one database.

    ``texts`` and ``label_sets`` are asked with ``[number]``: a number that is not there raises
    `sqlite3.DatabaseError`, since the file is damaged then. The text of None is None, its labels
    are none.
    """

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database
        self._ids: dict[str, int] = {}
        self.texts: _Kept[str | None] = _Kept(self._text, None)
        self.label_sets: _Kept[Labels] = _Kept(self._label_set, ())

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

    def _text(self, number: int) -> str:
        row = self._database.execute("SELECT value FROM word WHERE id = ?", (number,)).fetchone()
        if row is None:
            message = f"word {number} is missing"
            raise sqlite3.DatabaseError(message)
        return str(row[0])

    def _label_set(self, number: int) -> Labels:
        try:
            pairs = json.loads(self._text(number).removeprefix(_LABELS))
            return tuple((str(key), str(value)) for key, value in pairs)
        except (ValueError, TypeError) as error:
            message = f"word {number} is no set of labels"
            raise sqlite3.DatabaseError(message) from error


def labels_text(labels: Labels) -> str:
    """A set of labels as the one text it has."""
    return json.dumps(labels, ensure_ascii=False, separators=(",", ":"))
