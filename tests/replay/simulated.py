"""A history of three clusters by chance: what a seed draws is the same on every machine.

Grants, renewals, expiries, new incarnations, re-used names, pools deleted and made again, blocks,
both families, late news of both kinds, and many events in one millisecond. The records are made
directly, so that a million of them take seconds; they keep the rules that the engine keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Final, NamedTuple

from engine import events as ev
from engine.entry import Anchor, Commit, Header, Record
from engine.model import ENDINGS
from engine.reading import Checkpoint

START_MS: Final = 1_700_000_000_000
SPACE_ID: Final = bytes(range(16))
CLUSTERS: Final = ("ams", "fra", "iad")
_OWNERS: Final = 400
_ADDRESSES: Final = 150  # in each pool
_LATE: Final = 0.15


@dataclass
class _Lease:
    lease_id: int
    pool: _Pool
    address: bytes
    prefix_length: int
    owner: str
    labels: tuple[tuple[str, str], ...]
    from_ms: int
    ttl_s: int | None


@dataclass
class _Pool:
    name: str
    cluster: str
    pool_id: int
    blocks: list[tuple[bytes, int]]
    free: list[tuple[bytes, int]]


class Change(NamedTuple):
    """What a simulation does in one step: an event with what is sealed, and since when."""

    event: ev.Event
    sealed: ev.Sealed
    effective_at_ms: int | None = None


class Simulation:
    """Draws one commit after another."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._random = Random(seed)  # noqa: S311 - the same history on every run
        self.position = 0
        self.ms = START_MS
        self._pools: list[_Pool] = []
        self._leases: list[_Lease] = []
        self._over_ms: dict[tuple[bytes, int], int] = {}
        self._begun = False

    def commits(self, events: int) -> Iterator[list[Record]]:
        """Commits of about so many events altogether."""
        while self.position < events:
            yield self._commit(self._step())

    def checkpoint(self) -> Checkpoint:
        """Where a reader would stand that has read everything until now."""
        anchor = Anchor(self.ms, self.position, b"c%d" % self.position)
        return Checkpoint(SPACE_ID, "default", 0, 0, anchor)

    def _commit(self, changes: list[Change]) -> list[Record]:
        records = []
        for part, change in enumerate(changes):
            self.position += 1
            header = Header(self.position.to_bytes(16), effective_at_ms=change.effective_at_ms)
            commit = Commit(bytes(8), part, len(changes), 0, 0, bytes(16))
            records.append(
                Record(self.position, self.ms, change.event, change.sealed, header, commit)
            )
        return records

    def _step(self) -> list[Change]:
        draw = self._random
        if not self._begun:
            self._begun = True
            return [Change(ev.SpaceCreated(SPACE_ID, "default", 1), _sealed())]
        if len(self._pools) < len(CLUSTERS) * 2:
            return [self._make_pool(len(self._pools))]
        self.ms += draw.choice((0, 0, 1, 40, 900, 5_000))
        kind = draw.random()
        if kind < 0.5 or not self._leases:
            return self._grant()
        lease = self._leases[draw.randrange(len(self._leases))]
        if kind < 0.85:
            return [self._end(lease, draw.choice(("released", "released", "expired", "revoked")))]
        if kind < 0.95:
            return [self._renew(lease)]
        if kind < 0.995:
            return self._supersede(lease)
        return self._remake(lease.pool)

    def _make_pool(self, number: int) -> Change:
        cluster = CLUSTERS[number % len(CLUSTERS)]
        width, bits = (16, 128) if number == 5 else (4, 32)
        base = (0xFD << 120 | number) if width == 16 else (10 << 24 | number << 16)
        blocks = [((base + 16 * i).to_bytes(width), bits) for i in range(_ADDRESSES)]
        if number == 4:  # a pool that gives out blocks as well as addresses
            blocks = [((base + 16 * i).to_bytes(width), 32 if i % 3 else 28) for i in range(90)]
        pool = _Pool(f"pool-{number}", cluster, self.position + 1, blocks, list(blocks))
        self._pools.append(pool)
        return Change(_pool_event(pool), _sealed(actor="engineer"))

    def _grant(self) -> list[Change]:
        draw = self._random
        pools = [pool for pool in self._pools if pool.free]
        if not pools:
            return [self._end(self._leases[0], "expired")]
        pool = pools[draw.randrange(len(pools))]
        block = pool.free.pop(draw.randrange(len(pool.free)))
        owner = f"{pool.cluster}/default/pod-{draw.randrange(_OWNERS)}"
        return [self._begin(pool, block, owner, None, self._since(self._over_ms.get(block, 0)))]

    def _since(self, least_ms: int) -> int | None:
        """When it was true: now, or some time that has passed but not before `least_ms`."""
        if self._random.random() > _LATE:
            return None
        return self._random.randint(max(least_ms, self.ms - 600_000), self.ms)

    def _begin(
        self, pool: _Pool, block: tuple[bytes, int], owner: str, supersedes: int | None,
        since_ms: int | None,
    ) -> Change:  # fmt: skip
        draw = self._random
        labels = (("app", draw.choice(("web", "db"))), ("node", f"n{draw.randrange(30)}"))
        ttl_s = draw.choice((None, 60, 3_600))
        lease = _Lease(
            self.position + 1 + (supersedes is not None), pool, *block, owner, labels,
            self.ms if since_ms is None else since_ms, ttl_s,
        )  # fmt: skip
        self._leases.append(lease)
        event = ev.LeaseGranted(
            pool.pool_id, *block, "eth0", ttl_s, pool.cluster, supersedes, (), None,
            draw.choice((None, None, "old-ipam")),
        )  # fmt: skip
        uid = f"u{draw.randrange(10**6)}"
        return Change(event, _sealed(owner, uid, labels, f"{pool.cluster}-cni"), since_ms)

    def _end(self, lease: _Lease, how: str) -> Change:
        self._leases.remove(lease)
        block = (lease.address, lease.prefix_length)
        late = self._since(lease.from_ms) if how != "superseded" else None
        self._over_ms[block] = self.ms if late is None else late
        if how != "superseded":
            lease.pool.free.append(block)
        event = ev.LeaseEnded(
            lease.lease_id, lease.pool.pool_id, *block, "eth0",
            ENDINGS.index(how),
        )  # fmt: skip
        actor = self._random.choice(("sweeper", "operator", None))
        sealed = _sealed(lease.owner, None, lease.labels, actor)._replace(reason=f"it {how}")
        return Change(event, sealed, late)

    def _renew(self, lease: _Lease) -> Change:
        event = ev.LeaseRenewed(
            lease.lease_id, lease.pool.pool_id, lease.address, lease.prefix_length, "eth0",
            lease.ttl_s,
        )  # fmt: skip
        return Change(event, _sealed(lease.owner, None, lease.labels, "cni"))

    def _supersede(self, lease: _Lease) -> list[Change]:
        block = (lease.address, lease.prefix_length)
        ended = self._end(lease, "superseded")
        return [ended, self._begin(lease.pool, block, lease.owner, lease.lease_id, None)]

    def _remake(self, pool: _Pool) -> list[Change]:
        """Delete a pool with its leases, and make it again under the same name."""
        mine = [lease for lease in self._leases if lease.pool is pool]
        changes = [self._end(lease, "revoked") for lease in mine]
        changes.append(Change(ev.PoolDeleted(pool.pool_id, pool.name), _sealed(actor="engineer")))
        pool.pool_id = self.position + len(changes) + 1
        pool.free = list(pool.blocks)
        changes.append(Change(_pool_event(pool), _sealed(actor="engineer")))
        return changes


def _pool_event(pool: _Pool) -> ev.PoolCreated:
    width = len(pool.blocks[0][0])
    subnet = (pool.blocks[0][0][: width // 2] + bytes(width - width // 2), width * 4)
    ips = b"".join(first * 2 for first, _ in pool.blocks)
    return ev.PoolCreated(
        pool.name, subnet, ips, b"", None, (), False, False, (None, None, None, (), (), ()),
        0, 0, None, None,
    )  # fmt: skip


def _sealed(
    owner: str | None = None,
    uid: str | None = None,
    labels: tuple[tuple[str, str], ...] = (),
    actor: str | None = None,
) -> ev.Sealed:
    return ev.Sealed(bytes(16), owner, uid, labels, actor)
