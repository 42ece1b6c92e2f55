"""What can be wrong with a history's file, and what a database's error means."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from engine.errors import InvalidInput, ViewDamaged
from replay.history import schema


class NewerHistory(InvalidInput):
    """The file was written by a later release; nothing is done to it."""


class DamagedHistory(ViewDamaged):
    """The file is not what was written; it has lost its name, so the next `load` finds none."""


def is_busy(error: Exception) -> bool:
    """Whether the file may be sound, but cannot be used now."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in {
        sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PERM, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL, sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_IOERR,
    }  # fmt: skip


def newer(path: Path, version: int) -> NewerHistory:
    """A later release has written it."""
    message = (
        f"the history {path} is of version {version}; this release knows {schema.SCHEMA_VERSION}"
    )
    hint = "upgrade ipledger; or, to build it anew for this release, move the file away"
    return NewerHistory(message, hint)
