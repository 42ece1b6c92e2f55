"""Leases and pools of other systems into ours: read, planned, carried out.

Each format has a reader, a pure function from texts to what they say (`found`): `documents`
(Spiderpool's objects and our own manifests), `kea` (its lease files), `table` (plain CSV).
`reading` finds out which one it is. `planning` holds what was found against what is, and
`carrying` writes what is missing, in commits that an interrupted import goes on behind.
"""

from __future__ import annotations

from ipledger.importing.carrying import Imported, carry_out
from ipledger.importing.found import Found, FoundAside, FoundLease
from ipledger.importing.planning import Plan, make_plan
from ipledger.importing.reading import FORMATS, read_found

__all__ = [
    "FORMATS",
    "Found",
    "FoundAside",
    "FoundLease",
    "Imported",
    "Plan",
    "carry_out",
    "make_plan",
    "read_found",
]
