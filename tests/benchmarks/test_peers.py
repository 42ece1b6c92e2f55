"""The peers do the job that they are measured at: otherwise their figures would say nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any, Final

import pytest

from benchmarks.harness import Bench, private_server
from benchmarks.peers.document import Document
from benchmarks.peers.job import ROUND_TRIP
from benchmarks.peers.memory import FreeSet, HostScan
from benchmarks.peers.ours import Ours
from benchmarks.peers.peer import ConflictError, Job, Peer
from benchmarks.peers.sqlite import FreeTable, LockAndScan
from tests.benchmarks.running import ROOT, run

JOB: Final = Job(IPv4Network("10.0.0.0/28"))

Make = Callable[[Bench, Path], Peer]
MAKERS: Final[dict[str, Make]] = {
    "ours": lambda bench, _: Ours(bench, JOB, ROUND_TRIP),
    "lock and scan": lambda _, home: LockAndScan(home / "scan.sqlite3", JOB),
    "free table": lambda _, home: FreeTable(home / "free.sqlite3", JOB),
    "document": lambda bench, _: Document(bench.client, JOB, ROUND_TRIP),
    "ipaddress": lambda _, _home: HostScan(JOB),
    "netaddr": lambda _, _home: FreeSet(JOB),
}


@pytest.fixture
def bench(server: str) -> Iterator[Bench]:
    """A server of its own for each: ours remembers a history, and would miss it."""
    with private_server(server) as started:
        yield started


@pytest.fixture(
    params=[
        pytest.param(name, marks=[pytest.mark.bench] if name == "netaddr" else [])
        for name in MAKERS
    ]
)
def peer(request: pytest.FixtureRequest, bench: Bench, tmp_path: Path) -> Iterator[Peer]:
    """Each of the peers, with nothing taken."""
    made = MAKERS[request.param](bench, tmp_path)
    with ExitStack() as stack:
        stack.callback(made.close)
        yield made


def test_the_lowest_free_address_is_given_out(peer: Peer) -> None:
    """From the first host to the last, each once; what comes back is given out next."""
    held = [peer.acquire(f"owner-{index}") for index in range(JOB.size)]
    assert [one.address for one in held] == list(range(JOB.first, JOB.last + 1))
    peer.release(held[5])
    peer.release(held[3])
    assert peer.acquire("back-1").address == JOB.first + 3
    assert peer.acquire("back-2").address == JOB.first + 5


def test_a_fill_is_as_if_it_had_been_asked_for(peer: Peer) -> None:
    """After a fill the next address is the one behind it; what was held before stays held."""
    first = peer.acquire("before")
    peer.fill_to(7)
    assert first.address == JOB.first
    assert peer.acquire("next").address == JOB.first + 7
    peer.fill_to(JOB.size)
    with pytest.raises(Exception):  # noqa: B017, PT011 - each refuses in its own way
        peer.acquire("one too many")


def test_who_is_overtaken_is_told(bench: Bench) -> None:
    """A document that was changed since it was read is not written: the caller asks again."""
    document = Document(bench.client, JOB, ROUND_TRIP)
    other = Document(bench.client, JOB, ROUND_TRIP)

    def overtaken(ips: dict[str, str]) -> None:
        other.acquire("quicker")
        ips["1"] = "slower"

    with pytest.raises(ConflictError):
        document._change(overtaken)
    assert document.acquire("after").address == JOB.first + 1


@pytest.mark.bench
def test_the_published_library_does_the_job(server: str, tmp_path: Path) -> None:
    """openwisp-ipam in a process of its own, since Django is set up once in a process."""
    script = """
import sys
from pathlib import Path
from tests.benchmarks.test_peers import JOB
from benchmarks.peers.openwisp import Openwisp
peer = Openwisp(Path(sys.argv[1]), JOB)
held = [peer.acquire(f"owner-{index}") for index in range(3)]
peer.fill_to(7)
held.append(peer.acquire("next"))
peer.release(held[1])
held.append(peer.acquire("back"))
print([one.address - JOB.first for one in held])
peer.close()
"""
    asked = [sys.executable, "-c", script, str(tmp_path / "openwisp.sqlite3")]
    said = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, check=False)
    assert said.stdout == "[0, 1, 2, 7, 1]\n", said.stderr
    printed, (report,) = run("benchmarks.peers", server, tmp_path / "figures.json")
    names: list[Any] = [figure["name"] for figure in report["figures"]]
    assert "openwisp-ipam, Subnet.request_ip: acquire at 99 %" in names
    assert "not installed" not in printed
