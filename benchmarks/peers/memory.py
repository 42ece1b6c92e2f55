"""Addresses kept in the process and nowhere else: the floor, which nobody can go on from.

Nothing is written. When the process ends all of it is gone, and two processes give the same
addresses out. A lock lets threads share it.
"""

from __future__ import annotations

import importlib
import threading
from typing import Any

from benchmarks.peers.peer import Held, Job, Peer, filler


class HostScan(Peer):
    """`ipaddress` alone: the first of `hosts()` that is not in a dictionary."""

    name = "ipaddress in memory, scan"

    def __init__(self, job: Job) -> None:
        self._job = job
        self._owners: dict[Any, str] = {}
        self._lock = threading.Lock()

    def acquire(self, owner: str) -> Held:
        """See `Peer.acquire`."""
        with self._lock:
            address = next(host for host in self._job.prefix.hosts() if host not in self._owners)
            self._owners[address] = owner
        return Held(int(address), address)

    def release(self, held: Held) -> None:
        """See `Peer.release`."""
        with self._lock:
            del self._owners[held.handle]

    def fill_to(self, taken: int) -> None:
        """See `Peer.fill_to`."""
        for index, address in enumerate(self._job.prefix.hosts()):
            if index == taken:
                break
            self._owners.setdefault(address, filler(index))


class FreeSet(Peer):
    """`netaddr.IPSet` of what is free, which it keeps as prefixes."""

    name = "netaddr in memory, set of free"
    flat = True
    needs = "netaddr"

    def __init__(self, job: Job) -> None:
        """Make the set."""
        self._netaddr: Any = importlib.import_module("netaddr")
        self._job = job
        self._free: Any = self._netaddr.IPSet(self._netaddr.IPRange(job.first, job.last))
        self._owners: dict[Any, str] = {}
        self._lock = threading.Lock()

    def acquire(self, owner: str) -> Held:
        """See `Peer.acquire`."""
        with self._lock:
            address = next(iter(self._free))
            self._free.remove(address)
            self._owners[address] = owner
        return Held(int(address), address)

    def release(self, held: Held) -> None:
        """See `Peer.release`."""
        with self._lock:
            del self._owners[held.handle]
            self._free.add(held.handle)

    def fill_to(self, taken: int) -> None:
        """See `Peer.fill_to`: the owners as they would be, what is free in one step."""
        for number in range(self._job.first, self._job.first + taken):
            self._owners.setdefault(self._netaddr.IPAddress(number), filler(number))
        self._free -= self._netaddr.IPSet(self._owners)
