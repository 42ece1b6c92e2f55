"""A primary and its replica, on loopback, that may be stopped, killed and promoted."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self

import redis

from engine.redis_stream import RedisStream
from ipledger.servers import make_client
from tests.servers import OwnServer

WAIT_S_MAX: Final = 30.0


def free_port() -> int:
    """A port of this machine that nobody uses now. Replicas know no unix sockets."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
        return port


def await_(condition: Callable[[], object], what: str) -> None:
    """Wait until something is so; what takes too long fails."""
    deadline = time.monotonic() + WAIT_S_MAX
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.005)


def _is_written(told: dict[str, Any]) -> bool:
    return not (told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"])


class Pair:
    """Two servers, one address: clients are led to the primary, and after a failover elsewhere."""

    def __init__(self, program: Path, **settings: str) -> None:
        """Start both; the replica has everything that the primary has, which is nothing."""
        common = {"bind": "127.0.0.1", "repl_diskless_sync_delay": "0", **settings}
        self.primary = OwnServer(program, port=str(free_port()), **common)
        self.replica = OwnServer(program, port=str(free_port()), **common)
        self._address = self.primary.base / "at"
        self.url = f"unix://{self._address}"
        self.lead_to(self.primary)
        self.follow()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.replica.remove()
        self.primary.remove()

    def lead_to(self, server: OwnServer) -> None:
        """Let the address lead to a server, from the next connection on."""
        aside = self.primary.base / "aside"
        aside.symlink_to(server.socket)
        aside.replace(self._address)

    def follow(self) -> None:
        """Make the replica one, and wait until it is told by the primary what is new."""
        self.ask(self.replica, "REPLICAOF", "127.0.0.1", str(self.primary.port))
        await_(self._is_followed, "the replica to follow")
        with redis.Redis.from_url(self.replica.url) as client:
            # What it was sent as a whole it writes as a file of its own, in another process.
            await_(lambda: _is_written(client.info("persistence")), "the replica's file")

    def _is_followed(self) -> bool:
        with redis.Redis.from_url(self.primary.url, single_connection_client=True) as client:
            client.set("followed", "")
            client.delete("followed")
            return bool(client.wait(1, 1_000))

    def await_level(self, space: str) -> None:
        """Wait until the replica has all of a space."""
        end = self.position(self.primary, space)
        await_(lambda: self.position(self.replica, space) == end, "the replica")

    def part(self) -> None:
        """Let the replica hear nothing any more; it stays what it is."""
        self.ask(self.replica, "REPLICAOF", "127.0.0.1", "1")  # nobody is there
        with redis.Redis.from_url(self.primary.url) as client:
            await_(lambda: not client.info("replication")["connected_slaves"], "the replica to go")

    def shut_down_primary(self) -> None:
        """End it in good order."""
        with redis.Redis.from_url(self.primary.url) as client:
            client.shutdown()
        assert self.primary.process.wait(20) == 0

    def promote(self) -> None:
        """The primary is killed, and the replica takes its place."""
        assert self.primary.kill() == -signal.SIGKILL
        self.ask(self.replica, "REPLICAOF", "NO", "ONE")
        self.lead_to(self.replica)

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """The replica stands still within the block."""
        os.kill(self.replica.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.replica.process.pid, signal.SIGCONT)

    @staticmethod
    def ask(server: OwnServer, *command: str) -> Any:
        """Ask one of the two something."""
        with redis.Redis.from_url(server.url) as client:
            return client.execute_command(*command)

    @staticmethod
    def position(server: OwnServer, space: str) -> int:
        """Where a space ends on one of the two."""
        with make_client(server.url) as client:
            return RedisStream(client, space).head().position
