"""The canonical digest of a history: equal events, equal digest, however it was built."""

from __future__ import annotations

from hashlib import sha256

import msgpack

from replay.history import schema
from replay.history.definitions import KINDS
from replay.history.queries import History


def digest_of(history: History) -> str:
    """64 hex digits over every tenure by address, then every definition."""
    checkpoint = history.checkpoint
    hasher = sha256()
    pack = msgpack.Packer().pack
    hasher.update(pack((
        "ipledger history", schema.SCHEMA_VERSION, checkpoint.space_id,
        checkpoint.generation, checkpoint.position,
    )))  # fmt: skip
    for tenure in history.everything():
        hasher.update(pack(tenure))
    for kind in KINDS:
        for row in history.definition_rows(kind):
            hasher.update(pack(row))
    return hasher.hexdigest()
