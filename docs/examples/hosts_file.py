"""Keep a hosts file of everything that is leased, as a name server reads it.

    python docs/examples/hosts_file.py HOSTS [--url URL] [--space NAME] [--until-end]

The file is this program's whole memory: the lines, and in a comment the cursor behind the events
that they were made of. Both are replaced in one step, so it may be killed at any moment and started
again. Remove the file to have it built from the first event on.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import sys
from pathlib import Path

import ipledger

HEAD = "# Kept by hosts_file.py; changes by hand are lost."
CURSOR = "# cursor: "
LINE = re.compile(r"(\S+)\t(\S+)\t# lease ([0-9]+)")
UNWRITTEN_MAX = 5_000  # events between two writes while there is much to catch up with


class HostsFile:
    """A hosts file and where it stands in the stream."""

    def __init__(self, path: Path) -> None:
        """Read what the last run left."""
        self.path = path
        self.cursor: str | None = None
        self.leases: dict[int, tuple[str, str]] = {}  # lease: address and name
        self.written = path.read_text("utf-8") if path.exists() else ""
        for line in self.written.splitlines():
            if line.startswith(CURSOR):
                self.cursor = line.removeprefix(CURSOR)
            elif match := LINE.fullmatch(line):
                self.leases[int(match[3])] = (match[1], match[2])

    def apply(self, event: ipledger.StreamEvent) -> None:
        """Take one event: a lease begins or ends."""
        assert event.lease is not None, "only events of leases are asked for"
        if event.type == "LeaseGranted":
            assert event.address is not None, "a lease has an address"
            self.leases[event.lease] = (event.address, host_name(event))
        else:
            self.leases.pop(event.lease, None)

    def write(self) -> None:
        """Replace the file as a whole, if there is anything new."""
        lines = [f"{address}\t{name}\t# lease {lease}"
                 for lease, (address, name) in sorted(self.leases.items())]  # fmt: skip
        text = "\n".join([HEAD, f"{CURSOR}{self.cursor}", *lines]) + "\n"
        if text == self.written:
            return
        beside = self.path.with_name(f"{self.path.name}.new")
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)
        self.written = text


def host_name(event: ipledger.StreamEvent) -> str:
    """The label `hostname`, or the last part of the owner, as a name server takes it."""
    name = event.labels.get("hostname") or (event.owner or "").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9.-]", "-", name) or "unnamed"


def keep(path: Path, url: str | None, space: str, *, until_end: bool) -> None:
    """Bring the file up to date, and then keep it so."""
    hosts = HostsFile(path)
    unwritten = 0
    with ipledger.Consumer(
        url=url, space=space, start=hosts.cursor or 1, types=["LeaseGranted", "LeaseEnded"],
        until_end=until_end, heartbeats=True,
    ) as consumer:  # fmt: skip
        signal.signal(signal.SIGTERM, lambda *_: consumer.stop())
        for commit in consumer:
            for event in commit.events:
                hosts.apply(event)
            hosts.cursor = commit.cursor
            unwritten += len(commit.events)
            # A commit without events is a heartbeat: everything there is has been read.
            if not commit.events or unwritten >= UNWRITTEN_MAX:
                hosts.write()
                unwritten = 0
    if hosts.cursor is not None:
        hosts.write()


def main() -> None:
    """Read the command line, and tell errors in words."""
    parser = argparse.ArgumentParser(description="keep a hosts file of everything that is leased")
    parser.add_argument("hosts", type=Path, metavar="HOSTS")
    parser.add_argument("--url", default=os.environ.get("IPLEDGER_URL"))
    parser.add_argument("--space", default="default")
    parser.add_argument("--until-end", action="store_true", help="stop when it is up to date")
    asked = parser.parse_args()
    try:
        keep(asked.hosts, asked.url, asked.space, until_end=asked.until_end)
    except ipledger.LedgerError as error:
        # Such as: the history that the file was made of is void. Whoever runs this decides.
        sys.exit(f"{error}\n{error.hint}")


if __name__ == "__main__":
    main()
