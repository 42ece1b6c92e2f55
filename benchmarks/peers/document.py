"""A prefix as one JSON document in Redis, changed with WATCH and MULTI: as go-ipam keeps it.

The same server as ours, so the same durability. Right between processes: whoever was overtaken
starts anew. The document holds every address with its owner, so that each change reads and writes
all of them. It keeps no history. This is the pattern in Python, not go-ipam itself: its code is Go,
reads the document twice, and gives up after ten tries.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from benchmarks.peers.peer import ConflictError, Held, Job, Peer, filler

if TYPE_CHECKING:
    from redis import Redis

_KEY: Final = "peer:10.0.0.0"


class Document(Peer):
    """Read the document, walk to the first address that is not in it, write the document."""

    name = "Redis, a document with WATCH"

    def __init__(self, client: Redis, job: Job, ceiling: str) -> None:
        self.ceiling = ceiling
        self._client: Any = client
        self._job = job
        self._client.set(_KEY, json.dumps({"version": 0, "ips": {}}))

    def acquire(self, owner: str) -> Held:
        """See `Peer.acquire`."""

        def take(ips: dict[str, str]) -> int:
            address = self._job.first
            while str(address) in ips:
                address += 1
            assert address <= self._job.last, "all addresses are taken"
            ips[str(address)] = owner
            return address

        address = self._change(take)
        return Held(address, address)

    def release(self, held: Held) -> None:
        """See `Peer.release`."""
        self._change(lambda ips: ips.pop(str(held.handle)))

    def _change(self, change: Any) -> Any:
        from redis import WatchError

        with self._client.pipeline() as pipeline:
            pipeline.watch(_KEY)
            document = json.loads(pipeline.get(_KEY))
            answer = change(document["ips"])
            document["version"] += 1
            pipeline.multi()
            pipeline.set(_KEY, json.dumps(document))
            try:
                pipeline.execute()
            except WatchError:
                raise ConflictError from None
        return answer

    def fill_to(self, taken: int) -> None:
        """See `Peer.fill_to`: one change writes them all."""

        def fill(ips: dict[str, str]) -> None:
            for address in range(self._job.first, self._job.first + taken):
                ips.setdefault(str(address), filler(address))

        self._change(fill)
