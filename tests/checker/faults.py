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
from typing import Any, Final, NamedTuple

from tests.checker.ground import SOCKET_TIMEOUT_S, Ground, Settings
from tests.servers import OwnServer, bundled_program, system_program

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


def kill_writers(ground: Ground, strikes: int) -> None:
    """A process that writes is killed, and another one goes on with what it had on its disk."""
    for number in range(strikes):
        ground.await_growth(GROWTH)
        ground.struck["writers killed"] += ground.kill_one(f"heir-{number}") == -signal.SIGKILL


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
            _await_errors(ground, client, "OOM", 5)
            at = ground.position()
            _await_errors(ground, client, "OOM", 5)
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
    before, end = ground.truth, ground.position()
    before.kill()
    ground.turn_to(replica, lambda: _started(ground, before), gone_ns=time.monotonic_ns())
    _go_on(ground, end)


def truncate(ground: Ground, _strikes: int) -> None:
    """The server is killed, and the end of its file is gone when it starts again."""
    ground.await_growth(2 * GROWTH)
    server, end = ground.truth, ground.position()
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

    ground.turn_to(server, old, gone_ns=time.monotonic_ns())
    server.start()
    _go_on(ground, end)


def kill_everysec(ground: Ground, _strikes: int) -> None:
    """The server is killed; it may have answered what it had not written to its file yet."""
    ground.await_growth(2 * GROWTH)
    server, end = ground.truth, ground.position()
    ground.lead_nowhere()
    ground.struck["killed"] += server.kill() == -signal.SIGKILL
    gone_ns = time.monotonic_ns()
    server.start()
    entries = ground.entries(server)
    ground.turn_to(server, lambda: entries, gone_ns=gone_ns, torn=True)
    _write_beyond(ground, end)


def kill_in_memory(ground: Ground, _strikes: int) -> None:
    """The server is killed, and had written nothing to disk."""
    ground.await_growth(GROWTH)
    server = ground.truth
    _hold_writes(ground)
    entries = ground.entries(server)
    server.kill()
    ground.turn_to(server, lambda: entries, gone_ns=time.monotonic_ns())
    server.start()
    _go_on(ground, len(entries))


def replica_instead(ground: Ground, strikes: int) -> None:
    """The address leads to a read-only replica, while somebody else writes to the primary."""
    primary, replica = ground.truth, _replica(ground)
    ground.begin_one("beside", url=primary.url)
    # Whoever is alone on a connection is refused without anything to be written beside it.
    ground.begin_one("alone", threads=1, waits_s=(0.1,))
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
            of_primary.execute_command("CLIENT", "UNPAUSE")
            ground.await_growth(GROWTH)  # of the primary: so the replica is behind
            _await_errors(ground, client, "READONLY", 50)
            assert len(ground.entries(replica)) == copied, "the replica was written to"
            ground.struck["read-only"] += _errors(client, "READONLY") - before
            ground.lead_to(primary)
            client.client_kill_filter(_type="normal", skipme=True)


def _errors(client: Any, kind: str) -> int:
    """How often a server has answered with an error of this kind."""
    told = client.info("errorstats").get(f"errorstat_{kind}", {"count": 0})
    return int(told["count"])


def _await_errors(ground: Ground, client: Any, kind: str, number: int) -> None:
    """Wait until a server has answered with so many more errors of this kind."""
    wanted = _errors(client, kind) + number
    ground.await_(lambda: _errors(client, kind) >= wanted, f"{number} errors {kind}")


def _replica(ground: Ground) -> OwnServer:
    """A replica of the true server, that has all that was there when it began."""
    replica = ground.new_server()
    with ground.client(replica) as client:
        client.replicaof("127.0.0.1", str(ground.truth.port))
        ground.await_(lambda: client.info("replication")["master_link_status"] == "up", "a replica")
    return replica


def _let_follow(ground: Ground, replica: OwnServer) -> None:
    """Hold all writes to the primary until the replica has everything; they stay held."""
    with ground.client(replica) as follower:
        ground.await_(
            lambda: follower.info("replication")["master_link_status"] == "up", "a replica"
        )
        at = _hold_writes(ground)
        ground.await_(lambda: len(ground.entries(replica)) >= at, "the replica's end")


def _hold_writes(ground: Ground) -> int:
    """From now on the true stream does not grow; return where it ends."""
    with ground.client(ground.truth) as client:
        client.execute_command("CLIENT", "PAUSE", "60000", "WRITE")
    return ground.position()


def _started(ground: Ground, server: OwnServer) -> Any:
    server.start()
    return ground.entries(server)


def _go_on(ground: Ground, end: int) -> None:
    """What is lost was seen by some; somebody who has not writes on, beyond it."""
    ground.struck["entries lost"] += 1
    _write_beyond(ground, end)


def _write_beyond(ground: Ground, end: int) -> None:
    """Somebody who has seen nothing so far writes on; wait until that is more than there was."""
    ground.set_up("newcomer's setup")
    ground.begin_one("newcomer")
    ground.await_(lambda: ground.position() > end + GROWTH, "entries beyond those that were lost")


class Struck(NamedTuple):
    """A fault, how often it strikes in a short run, and what is special about the servers."""

    strike: Fault
    times: int = 1
    settings: Settings | None = None


FAULTS: Final[dict[str, Struck]] = {
    "none": Struck(no_fault, 3),
    "kill": Struck(kill, 4),
    "kill-everysec": Struck(kill_everysec, 1, {"appendfsync": "everysec"}),
    "kill-in-memory": Struck(kill_in_memory, 1, {"appendonly": "no"}),
    "kill-writers": Struck(kill_writers, 4),
    "stop": Struck(stop, 2),
    "restart": Struck(restart, 3),
    "promote": Struck(promote, 2),
    "promote-behind": Struck(promote_behind),
    "truncate": Struck(truncate),
    "memory": Struck(fill_memory, 3),
    "flush-scripts": Struck(flush_scripts, 20),
    "kill-clients": Struck(kill_clients, 20),
    "replica-instead": Struck(replica_instead, 2),
}


def server_program(*, bundled: bool = False) -> Path:
    """The distribution's Redis if it is there, else, or if asked for, the bundled server."""
    found = None if bundled else system_program()
    return found or bundled_program()
