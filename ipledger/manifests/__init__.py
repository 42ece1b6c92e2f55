"""Manifests, the text of YAML and JSON files, into our commands: strictly, and all or nothing.

What a file says is read in four steps, each in a module of its own: `sources` (files to texts),
`yaml_text` (texts to plain data), `parsing` (documents to kinds), and per kind `definitions` (pools
and reservations), `workloads` (who asks for addresses) or `surroundings` (what is told of where
they run). From all of it `choosing` says which pools a workload draws from.
"""

from __future__ import annotations

from ipledger.manifests.parsing import Parsed, parse
from ipledger.manifests.sources import Source, read_sources
from ipledger.manifests.workloads import Workload

__all__ = ["Parsed", "Source", "Workload", "parse", "read_sources"]
