"""What is done to the servers while the processes work, and counted when it has struck.

A fault waits for the stream to grow before it strikes and after, so that there is work on both
sides of it whatever the machine's speed.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from tests.checker.ground import SOCKET_TIMEOUT_S, Ground
from tests.servers import OwnServer

GROWTH: Final = 120  # entries between two strikes

Fault = Callable[[Ground, int], None]


def no_fault(ground: Ground, strikes: int) -> None:
    """Nothing: so many times as long."""
    for _ in range(strikes):
        ground.await_growth(GROWTH)


def kill(ground: Ground, strikes: int) -> None:
    """The server is killed, and started again on what it has on disk."""
    for _ in range(strikes):
        ground.await_growth(GROWTH)
        ground.struck["killed"] += ground.truth.kill() == -signal.SIGKILL
        ground.truth.start()


def stop(ground: Ground, strikes: int) -> None:
    """The server stands still for longer than clients wait for an answer, and goes on."""
    for _ in range(strikes):
        ground.await_growth(GROWTH)
        pid = ground.truth.process.pid
        os.kill(pid, signal.SIGSTOP)
        time.sleep(2.5 * SOCKET_TIMEOUT_S)  # the fault itself: that it lasts so long
        os.kill(pid, signal.SIGCONT)
        ground.struck["stopped"] += 1


def restart(ground: Ground, strikes: int) -> None:
    """The server is shut down in good order, and started again."""
    for _ in range(strikes):
        ground.await_growth(GROWTH)
        with ground.client(ground.truth) as client:
            client.shutdown()
        ground.struck["shut down"] += ground.truth.process.wait(20) == 0
        ground.truth.start()


def flush_scripts(ground: Ground, strikes: int) -> None:
    """The server forgets its scripts; counted are the calls that noticed."""
    with ground.client(ground.truth) as client:
        for _ in range(strikes):
            ground.await_growth(GROWTH // 4)
            client.script_flush()
        ground.await_growth(GROWTH // 4)
        ground.struck["no such script"] += _errors(client, "NOSCRIPT")


def kill_clients(ground: Ground, strikes: int) -> None:
    """All connections are cut, in the middle of what they carry; counted are connections."""
    with ground.client(ground.truth) as client:
        for _ in range(strikes):
            ground.await_growth(GROWTH // 4)
            ground.struck["connections cut"] += client.client_kill_filter(
                _type="normal", skipme=True
            )


def fill_memory(ground: Ground, strikes: int) -> None:
    """The server has no more memory, and then it has; counted are the writes that it refused."""
    with ground.client(ground.truth) as client:
        for _ in range(strikes):
            ground.await_growth(GROWTH)
            before = _errors(client, "OOM")
            client.config_set("maxmemory", 1)
            ground.await_(lambda before=before: _errors(client, "OOM") >= before + 5, "no memory")
            at = ground.position()
            refused = _errors(client, "OOM")
            ground.await_(lambda more=refused + 5: _errors(client, "OOM") >= more, "no memory")
            assert ground.position() == at, "it was written without memory"
            client.config_set("maxmemory", 0)
            ground.struck["out of memory"] += _errors(client, "OOM") - before


def promote(ground: Ground, strikes: int) -> None:
    """A replica that has everything takes the place of its primary, which is gone."""
    for _ in range(strikes):
        replica = _replica(ground)
        ground.await_growth(GROWTH)
        _let_follow(ground, replica)
        with ground.client(replica) as client:
            client.replicaof("NO", "ONE")
        before = ground.truth
        ground.lead_to(replica)
        before.kill()  # and with it what waits in it
        ground.truth = replica
        ground.struck["promoted"] += 1


def promote_behind(ground: Ground, _strikes: int) -> None:
    """A replica that was cut off takes its primary's place: what came since is lost."""
    replica = _replica(ground)
    ground.await_growth(GROWTH)
    with ground.client(replica) as client:
        client.replicaof("NO", "ONE")
    ground.await_growth(GROWTH)
    before = ground.truth
    before.kill()
    ground.turn_to(replica, lambda: _started(ground, before))
    _go_on(ground)


def truncate(ground: Ground, _strikes: int) -> None:
    """The server is killed, and the end of its file is gone when it starts again."""
    ground.await_growth(2 * GROWTH)
    server = ground.truth
    server.kill()
    files, whole = server.base / "appendonlydir", ground.directory / "whole"
    shutil.copytree(files, whole)
    newest = max(files.glob("*.incr.aof"), key=lambda path: path.stat().st_mtime_ns)
    size = newest.stat().st_size
    os.truncate(newest, size - ground.random.randrange(1_500, 20_000))

    def old() -> Any:
        server.kill()
        shutil.rmtree(files)
        whole.replace(files)
        return _started(ground, server)

    ground.turn_to(server, old)
    server.start()
    _go_on(ground)


def replica_instead(ground: Ground, strikes: int) -> None:
    """The address leads to a read-only replica, while somebody else writes to the primary."""
    primary, replica = ground.truth, _replica(ground)
    ground.begin_one("beside", primary.url)
    for _ in range(strikes):
        with ground.client(replica) as client:
            client.replicaof("127.0.0.1", str(primary.port))
        ground.await_growth(GROWTH)
        _let_follow(ground, replica)
        with ground.client(primary) as of_primary, ground.client(replica) as client:
            client.replicaof("127.0.0.1", "1")  # nobody is there: it stays a replica, and behind
            copied = len(ground.entries(replica))
            before = _errors(client, "READONLY")
            ground.lead_to(replica)
            of_primary.client_kill_filter(_type="normal", skipme=True)
            of_primary.execute_command("CLIENT", "UNPAUSE")  # type: ignore[no-untyped-call]
            ground.await_growth(GROWTH)  # of the primary: so the replica is behind
            ground.await_(
                lambda client=client, more=before + 50: _errors(client, "READONLY") >= more,
                "writes to the replica",
            )
            assert len(ground.entries(replica)) == copied, "the replica was written to"
            ground.struck["read-only"] += _errors(client, "READONLY") - before
            ground.lead_to(primary)
            client.client_kill_filter(_type="normal", skipme=True)


def _errors(client: Any, kind: str) -> int:
    """How often a server has answered with an error of this kind."""
    told = client.info("errorstats").get(f"errorstat_{kind}", {"count": 0})
    return int(told["count"])


def _replica(ground: Ground) -> OwnServer:
    """A replica of the true server, that has all that was there when it began."""
    replica = ground.new_server()
    with ground.client(replica) as client:
        client.replicaof("127.0.0.1", str(ground.truth.port))
        ground.await_(
            lambda: client.info("replication")["master_link_status"] == "up", "a replica"
        )
    return replica


def _let_follow(ground: Ground, replica: OwnServer) -> None:
    """Hold all writes to the primary until the replica has everything; they stay held."""
    with ground.client(ground.truth) as primary, ground.client(replica) as follower:
        ground.await_(
            lambda: follower.info("replication")["master_link_status"] == "up", "a replica"
        )
        primary.execute_command("CLIENT", "PAUSE", "60000", "WRITE")  # type: ignore[no-untyped-call]
        at = ground.position()
        ground.await_(lambda: len(ground.entries(replica)) >= at, "the replica's end")


def _started(ground: Ground, server: OwnServer) -> Any:
    server.start()
    return ground.entries(server)


def _go_on(ground: Ground) -> None:
    """Somebody who has seen nothing of what was lost writes on, beyond it."""
    ground.struck["entries lost"] += 1
    ground.begin_one("newcomer")
    ground.await_growth(4 * GROWTH)


FAULTS: Final[dict[str, tuple[Fault, int]]] = {  # with how often each strikes in a short run
    "none": (no_fault, 3),
    "kill": (kill, 4),
    "stop": (stop, 2),
    "restart": (restart, 3),
    "promote": (promote, 2),
    "promote-behind": (promote_behind, 1),
    "truncate": (truncate, 1),
    "memory": (fill_memory, 3),
    "flush-scripts": (flush_scripts, 20),
    "kill-clients": (kill_clients, 20),
    "replica-instead": (replica_instead, 2),
}


def bundled_or_system() -> Path:
    """The distribution's Redis if it is there, else the bundled server."""
    from tests.servers import bundled_program, system_program

    return system_program() or bundled_program()
