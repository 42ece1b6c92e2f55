"""Manifests, the text of YAML and JSON files, into our commands: strictly, and all or nothing.

What a file says is read in four steps, each in a module of its own: `sources` (files to texts),
`yaml_text` (texts to plain data), `parsing` (documents to kinds), and per kind `definitions` (pools
and reservations), `stated` (a space, leases, quarantines), `workloads` (who asks for addresses) or
`surroundings` (what is told of where they run). From the latter two `choosing` says which pools a
workload draws from. The way back, of our own kinds, is `documents` (what is, as manifests) and
`yaml_out` (as YAML).
"""

from __future__ import annotations

from ipledger.manifests.parsing import Parsed, parse
from ipledger.manifests.sources import Source, read_sources
from ipledger.manifests.stated import StatedLease, StatedQuarantine, StatedSpace
from ipledger.manifests.workloads import Workload

__all__ = [
    "Parsed",
    "Source",
    "StatedLease",
    "StatedQuarantine",
    "StatedSpace",
    "Workload",
    "parse",
    "read_sources",
]
