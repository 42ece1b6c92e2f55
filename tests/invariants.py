"""What must be true of every history that a test has made: the product's own audit finds nothing.

The audit shares nothing with `projections`, which it compares with what it has counted itself.
"""

from __future__ import annotations

from engine.entry import Record
from engine.reading import Continuity, read_commits
from engine.stream import Stream
from replay.audit import Options, audit


def check_stream(stream: Stream, *digests: str) -> list[Record]:
    """Check everything that a stream has ever held; return its records.

    Raises:
        AssertionError: an invariant is broken, at any commit end, or a live state's digest among
            `digests` is not that of the history.
    """
    found = audit(stream, Options(count_every=1))
    assert not found.total, found.breaches
    for digest in digests:
        assert digest == found.digest, "a live state differs from the replayed one"
    return [record for page in read_commits(stream, Continuity()) for record in page]
