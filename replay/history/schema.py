"""What the file of a history looks like: its tables, its version, and how a family is kept apart.

A tenure is found by its address: the table itself is the index (WITHOUT ROWID), and the tenures
of one address lie side by side in the order of their beginning. Texts that many tenures share are
kept once (`word`). Nothing here is a promise to other programs: another version is built anew.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from engine.addresses import Address

# Marks the file as ours; SQLite keeps it in the header. "iplH" as a number.
APPLICATION_ID: Final = 0x69706C48
SCHEMA_VERSION: Final = 1

# As many bytes of pages as one process keeps in memory.
_CACHE_KIB: Final = 65_536
BUSY_S: Final = 30.0

TENURE_COLUMNS: Final = (
    "address", "prefix_length", "from_ms", "granted", "granted_ms", "owner", "interface", "uid",
    "labels", "cluster", "pool_id", "supersedes", "source", "granted_by", "grant_reason", "seal",
    "expires_ms", "renewals",
    "to_ms", "ended", "ended_ms", "ended_how", "ended_by", "end_reason", "end_seal",
)  # fmt: skip
# The first so many are known with the grant, two change with renewals, the rest with the end.
GRANT_COLUMNS: Final = 16
END_AT: Final = 18

_TENURE: Final = """
  address BLOB NOT NULL,          -- a family byte, then the address
  prefix_length INTEGER NOT NULL,
  from_ms INTEGER NOT NULL,       -- when it was true
  granted INTEGER NOT NULL,       -- the position of the grant: the lease's id
  granted_ms INTEGER NOT NULL,    -- when it was recorded
  owner TEXT NOT NULL,
  interface INTEGER NOT NULL,     -- a word, as labels, cluster, source, actors and reasons are
  uid TEXT,
  labels INTEGER,                 -- a word: the pairs in JSON
  cluster INTEGER,
  pool_id INTEGER NOT NULL,
  supersedes INTEGER,
  source INTEGER,
  granted_by INTEGER,
  grant_reason INTEGER,
  seal INTEGER NOT NULL,          -- CRC-32 of what is above, in plain values
  expires_ms INTEGER,
  renewals INTEGER NOT NULL,
  to_ms INTEGER,
  ended INTEGER,
  ended_ms INTEGER,
  ended_how INTEGER,
  ended_by INTEGER,
  end_reason INTEGER,
  end_seal INTEGER                -- CRC-32 of the end, in plain values
"""

_TABLES: Final = f"""
CREATE TABLE checkpoint (
  one INTEGER PRIMARY KEY CHECK (one = 1),
  space_id BLOB NOT NULL, space TEXT NOT NULL, generation INTEGER NOT NULL,
  voided INTEGER NOT NULL, ms INTEGER NOT NULL, position INTEGER NOT NULL, c BLOB NOT NULL,
  first_ms INTEGER NOT NULL,      -- when the first event was recorded
  earliest_ms INTEGER NOT NULL,   -- the earliest time that any event speaks of
  seal INTEGER NOT NULL
);
CREATE TABLE tenure ({_TENURE}, PRIMARY KEY (address, prefix_length, from_ms, granted)
) WITHOUT ROWID;
CREATE TABLE block_size (
  family INTEGER NOT NULL, prefix_length INTEGER NOT NULL, PRIMARY KEY (family, prefix_length)
) WITHOUT ROWID;
CREATE TABLE word (id INTEGER PRIMARY KEY, value TEXT NOT NULL UNIQUE);
CREATE TABLE label (
  key TEXT NOT NULL, value TEXT NOT NULL, labels INTEGER NOT NULL,
  PRIMARY KEY (key, value, labels)
) WITHOUT ROWID;
CREATE TABLE definition (
  kind INTEGER NOT NULL, object_id INTEGER NOT NULL, position INTEGER NOT NULL,
  name TEXT NOT NULL, from_ms INTEGER NOT NULL, body BLOB NOT NULL, actor TEXT, reason TEXT,
  seal INTEGER NOT NULL,
  ended INTEGER, to_ms INTEGER, ended_how TEXT, ended_by TEXT, end_reason TEXT, end_seal INTEGER,
  PRIMARY KEY (kind, object_id, position)
) WITHOUT ROWID;
CREATE INDEX definition_name ON definition (kind, name, position);
"""

# What a rebuild collects before it knows the order of the tenures: written at the end only, and
# found by the lease's id, which ascends: in a file of its own, so that none of it stays behind.
_COLLECTED: Final = f"""
CREATE TABLE collected.granted ({_TENURE}, PRIMARY KEY (granted));
CREATE TABLE collected.renewed (
  granted INTEGER PRIMARY KEY, expires_ms INTEGER, renewals INTEGER NOT NULL
);
CREATE TABLE collected.ended (
  granted INTEGER PRIMARY KEY, address BLOB NOT NULL, prefix_length INTEGER NOT NULL,
  to_ms INTEGER NOT NULL, ended INTEGER NOT NULL, ended_ms INTEGER NOT NULL,
  ended_how INTEGER NOT NULL, ended_by INTEGER, end_reason INTEGER, end_seal INTEGER NOT NULL
);
"""

_INDEXES: Final = """
CREATE INDEX tenure_owner ON tenure (owner, from_ms);
CREATE INDEX tenure_actor ON tenure (granted_by, from_ms);
CREATE INDEX tenure_labels ON tenure (labels, from_ms) WHERE labels IS NOT NULL;
"""


def family_key(address: Address | bytes) -> bytes:
    """An address as the tables keep it: no IPv4 address lies between two of IPv6."""
    return (b"\x04" if len(address) == 4 else b"\x06") + address


def connect(path: Path) -> sqlite3.Connection:
    """Open a database that is there; transactions are begun and ended by hand.

    Raises:
        sqlite3.Error: it cannot be opened.
    """
    database = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=BUSY_S, isolation_level=None
    )
    database.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    # What a torn or altered page says about its own cells is checked before it is believed.
    database.execute("PRAGMA cell_size_check = ON")
    return database


def create(database: sqlite3.Connection, beside: str) -> None:
    """Make the tables of a history that is being built; a rebuild collects in the file `beside`."""
    database.execute("PRAGMA page_size = 4096")
    database.execute("ATTACH ? AS collected", (beside,))
    for name in ("main", "collected"):
        # Nobody sees the files before they are whole: a crash leaves some that are swept away.
        database.execute(f"PRAGMA {name}.journal_mode = OFF")
        database.execute(f"PRAGMA {name}.synchronous = OFF")
    database.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    database.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    database.executescript(_TABLES + _COLLECTED)


def nothing() -> sqlite3.Connection:
    """A history of no events, in memory."""
    database = sqlite3.connect(":memory:", isolation_level=None)
    database.executescript(_TABLES)
    return database


def first_homeless(database: sqlite3.Connection) -> tuple[int, int] | None:
    """Of what a rebuild has collected, an end or a renewal of no lease: its position, the lease."""
    row = database.execute(
        "SELECT e.ended, e.granted FROM ended e LEFT JOIN granted g ON g.granted = e.granted "
        "WHERE g.granted IS NULL OR g.address <> e.address "
        "OR g.prefix_length <> e.prefix_length OR g.ended IS NOT NULL "
        "ORDER BY e.ended LIMIT 1"
    ).fetchone()
    return None if row is None else (row[0], row[1])


def arrange(database: sqlite3.Connection) -> None:
    """Put what a rebuild has collected in its order, once, and make the indexes."""
    grant = ", ".join(f"g.{name}" for name in TENURE_COLUMNS[:GRANT_COLUMNS])
    end = ", ".join(
        f"iif(e.granted IS NULL, g.{name}, e.{name})" for name in TENURE_COLUMNS[END_AT:]
    )
    database.execute(
        f"INSERT INTO tenure SELECT {grant}, "  # noqa: S608 - the names are those above
        "iif(r.granted IS NULL, g.expires_ms, r.expires_ms), g.renewals + coalesce(r.renewals, 0), "
        f"{end} FROM granted g LEFT JOIN renewed r ON r.granted = g.granted "
        "LEFT JOIN ended e ON e.granted = g.granted "
        "ORDER BY g.address, g.prefix_length, g.from_ms, g.granted"
    )
    database.executescript(f"DETACH collected; {_INDEXES}")
