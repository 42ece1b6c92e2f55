"""The example that keeps a hosts file: right at the end, wherever it was killed."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from random import Random
from threading import Event, Thread
from typing import Final

import ipledger

ROOT: Final = Path(__file__).parents[2]
PROGRAM: Final = ROOT / "docs" / "examples" / "hosts_file.py"
KILLS: Final = 8
SEED: Final = 7


def _start(hosts: Path, url: str, space: str, *words: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, str(PROGRAM), str(hosts), "--url", url, "--space", space, *words]
    environment = {"PYTHONPATH": str(ROOT), "IPLEDGER_HOME": str(hosts.parent)}
    return subprocess.Popen(command, env=environment)


def _lines(hosts: Path) -> set[str]:
    text = hosts.read_text("utf-8")
    return {line for line in text.splitlines() if not line.startswith("#")}


def _work(done: Event, url: str, space: str, states: Path) -> None:
    random = Random(SEED)  # noqa: S311 - the same commands on every run
    with ipledger.connect(url, space, state_dir=states) as ledger:
        live: list[int] = []
        number = 0
        while not done.is_set():
            number += 1
            if live and (random.random() < 0.5 or len(live) > 100):
                ledger.release(live.pop(random.randrange(len(live))))
            else:
                labels = {"hostname": f"host {number}"} if number % 2 else {}
                answer = ledger.allocate("web", owner=f"east/ns/o-{number}", labels=labels)
                live.append(answer.granted[0].lease_id)
            done.wait(0.002)


def test_killed_at_random_it_ends_right(embedded_url: str, space: str, tmp_path: Path) -> None:
    """The file is whole after each kill, and in the end it says what is leased."""
    hosts = tmp_path / "hosts"
    with ipledger.connect(embedded_url, space, state_dir=tmp_path / "s") as ledger:
        ledger.create_space()
        ledger.apply(ipledger.pool("web", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.250"]))
    done = Event()
    writer = Thread(target=_work, args=(done, embedded_url, space, tmp_path / "s"))
    writer.start()
    random = Random(SEED)  # noqa: S311 - the same pauses on every run
    try:
        for _ in range(KILLS):
            running = _start(hosts, embedded_url, space)
            time.sleep(random.uniform(0.2, 0.8))
            assert running.poll() is None, f"seed {SEED}: it ended by itself"
            running.kill()
            running.wait()
            assert not hosts.exists() or "# cursor: {" in hosts.read_text("utf-8")
    finally:
        done.set()
        writer.join(60)
    last = _start(hosts, embedded_url, space, "--until-end")
    assert last.wait(60) == 0
    with ipledger.connect(embedded_url, space, state_dir=tmp_path / "s") as ledger:
        expected = set()
        for lease in ledger.state.leases():
            hostname = dict(lease.labels).get("hostname", lease.owner.rpartition("/")[2])
            name = hostname.replace(" ", "-")  # or one line would say two names
            expected.add(f"{lease.text}\t{name}\t# lease {lease.lease_id}")
    assert _lines(hosts) == expected
    assert expected


def test_it_says_in_words_what_is_wrong(embedded_url: str, space: str, tmp_path: Path) -> None:
    """No traceback: the error and what to do."""
    failed = _start(tmp_path / "hosts", embedded_url, space)
    assert failed.wait(60) == 1
    assert not (tmp_path / "hosts").exists()
