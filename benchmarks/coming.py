"""How fast leases are taken over from a Kea file, a Spiderpool dump and an export.

The dump is JSON, the export JSON lines. Each is imported into an empty space as the command does
it: read, planned, written in commits of a thousand. Beside it stand the very same entries, written
without any check. In the end what came from Kea and from Spiderpool is exported, imported into an
empty space, and has the same digest.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any, Final

import ipledger
from benchmarks.bare import BareEvalsha
from benchmarks.harness import Bench, Figure, Options, Report, Timing, main
from engine.stream import PAGE_ENTRIES, NewEntry, Proposal
from ipledger import servers
from ipledger.exporting import KINDS, manifests_of
from ipledger.importing import carry_out, make_plan, read_found
from ipledger.ledger import Ledger
from ipledger.manifests import Source
from projections.content import content_digest

API: Final = "spiderpool.spidernet.io/v2beta1"
A_POOL: Final = 4_000  # leases; Spiderpool's own limit is 5,000


def kea_file(leases: int, now_s: int) -> str:
    """A DHCPv4 lease file, one row a lease, on 10.64.0.0/15."""
    columns = "address,hwaddr,client_id,valid_lifetime,expire,subnet_id,fqdn_fwd,fqdn_rev"
    rows = [f"{columns},hostname,state,user_context,pool_id"]
    for number in range(leases):
        a, b, c = number >> 16, number >> 8 & 255, number & 255
        mac = f"02:00:00:{a:02x}:{b:02x}:{c:02x}"
        expire_s = now_s + 60_000 + number % 1_000
        rows.append(
            f"10.{64 + a}.{b}.{c},{mac},01:{mac},86400,{expire_s},1,0,0,host-{number}.example,0,,0"
        )
    return "\n".join((*rows, ""))


def spiderpool_dump(leases: int) -> str:
    """Pools of a /20 each on 10.128.0.0/9, a reservation, and an endpoint for every Pod."""
    items: list[dict[str, Any]] = []
    for first in range(0, leases, A_POOL):
        name, base = f"pool-{first // A_POOL}", f"10.{128 + (first // A_POOL >> 4)}"
        third = (first // A_POOL & 15) << 4
        held = {}
        for number in range(first, min(first + A_POOL, leases)):
            offset = number - first + 16
            address = f"{base}.{third + (offset >> 8)}.{offset & 255}"
            namespace, pod, uid = f"ns-{number % 50}", f"web-{number}", f"uid-{number:08}"
            held[address] = {"pod": f"{namespace}/{pod}", "podUid": uid}
            nic = {"interface": "eth0", "ipv4": f"{address}/20", "ipv4Pool": name, "vlan": 0}
            current = {"uid": uid, "node": f"node-{number % 200}", "ips": [nic]}
            items.append({
                "apiVersion": API, "kind": "SpiderEndpoint",
                "metadata": {"name": pod, "namespace": namespace,
                             "creationTimestamp": "2026-01-05T08:00:00Z"},
                "status": {"ownerControllerType": "ReplicaSet", "current": current},
            })  # fmt: skip
        spec = {"subnet": f"{base}.{third}.0/20",
                "ips": [f"{base}.{third}.16-{base}.{third + 15}.254"]}  # fmt: skip
        items.append({"apiVersion": API, "kind": "SpiderIPPool", "metadata": {"name": name},
                      "spec": spec, "status": {"allocatedIPs": json.dumps(held)}})  # fmt: skip
    items.append({"apiVersion": API, "kind": "SpiderReservedIP", "metadata": {"name": "kept"},
                  "spec": {"ips": ["10.128.0.20-10.128.0.30"]}})  # fmt: skip
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": items})


class _Turn:
    """An empty space, and one import into it."""

    def __init__(self, bench: Bench, space: str) -> None:
        stream = servers.open_stream(servers.reach(bench.url), space)
        self.ledger = Ledger(stream, space, timeout_s=600)
        self.ledger.create_space()
        self.ledger.apply(*(
            ipledger.pool(f"dhcp-{second}", subnet=f"10.{second}.0.0/16",
                          ips=[f"10.{second}.0.0-10.{second}.255.255"])
            for second in (64, 65)
        ))  # fmt: skip
        self.read, self.planned, self.written = Timing(), Timing(), Timing()

    def take(self, text: str) -> None:
        """Import a file; all of it must be new."""
        self.read, self.planned, self.written = Timing(), Timing(), Timing()
        before_s = time.perf_counter()
        _, found = read_found([Source("file", text)], None, self.ledger.writer.server_now_ms())
        read_s = time.perf_counter()
        plan = make_plan(self.ledger.state, found, self.ledger.writer.server_now_ms())
        planned_s = time.perf_counter()
        done = carry_out(self.ledger, plan, "file")
        written_s = time.perf_counter()
        assert done.leases == len(found.leases), (plan.refused[:3], done.refused[:3])
        for timing, begun_s, ended_s in (
            (self.read, before_s, read_s), (self.planned, read_s, planned_s),
            (self.written, planned_s, written_s),
        ):  # fmt: skip
            timing.items = done.leases
            timing.durations_s.append(ended_s - begun_s)

    def whole(self) -> Timing:
        """All three together."""
        timing = Timing(self.read.items)
        timing.durations_s = [self.read.durations_s[-1] + self.planned.durations_s[-1]
                              + self.written.durations_s[-1]]  # fmt: skip
        return timing


def _bare(bench: Bench, ledger: Ledger) -> Timing:
    """The same entries once more, in scripts that check nothing."""
    scripts = []
    for page in _pages(ledger):
        proposals = [Proposal("", (NewEntry(*raw[2:]),)) for raw in page]
        scripts.append(BareEvalsha(bench.client, "bare", proposals))
    timing = Timing(ledger.position)

    def write() -> None:
        for script in scripts:
            script()

    timing.take(write)
    return timing


def _pages(ledger: Ledger) -> Iterator[list[Any]]:
    ms = position = 0
    while page := ledger.writer.stream.read(ms, position, PAGE_ENTRIES):
        yield page
        ms, position = page[-1].ms, page[-1].position


def measure(options: Options, bench: Bench) -> Report:
    """A file of each kind into an empty space; then both into one, out of it, and in again."""
    report = Report("coming", bench, options)
    leases = 300 if options.quick else 100_000
    kea = kea_file(leases, int(time.time()))
    dump = spiderpool_dump(leases)
    ceiling = "the same entries, written without any check"
    turns = {"a Kea file": _Turn(bench, "kea"), "a Spiderpool dump": _Turn(bench, "spider")}
    for (name, turn), text in zip(turns.items(), (kea, dump), strict=True):
        turn.take(text)
        if not report.figures:
            report.add(Figure(ceiling, _bare(bench, turn.ledger)))
        _tell(report, name, turn, ceiling)
    source = turns["a Kea file"]
    source.take(dump)
    documents = manifests_of(source.ledger.state, KINDS)
    exported = "".join(f"{json.dumps(document)}\n" for document in documents)
    digest = content_digest(source.ledger.state)
    del turns
    copy = _Turn(bench, "copy")
    copy.take(exported)
    assert content_digest(copy.ledger.state) == digest, "the same content"
    _tell(report, "an export of both", copy, ceiling, note=f"the same content: {digest[:12]}…")
    return report


def _tell(report: Report, name: str, turn: _Turn, ceiling: str, note: str = "") -> None:
    report.add(
        Figure(f"{name}, imported", turn.whole(), ceiling, note=note),
        Figure(f"{name}: read", turn.read),
        Figure(f"{name}: held against what is", turn.planned),
        Figure(f"{name}: decided and written", turn.written, ceiling),
    )


if __name__ == "__main__":
    main(__doc__, [measure])
