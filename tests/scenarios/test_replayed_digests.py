"""One stream, replayed again and again: the same digests, wherever and however it is folded.

The live digests are taken while a real ledger writes to a real server. Then the stream is folded
anew in processes of their own, under two hash seeds, on that server and on entries copied byte for
byte to fakeredis; and the command line checks the digests as an auditor would.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest

import ipledger
from ipledger.cli import run
from replay.digests import Header, Taken, Writing

ENDS: Final = 20
COMMANDS: Final = 300

# Folds the stream anew to each position named and prints the digest there. Its arguments: the URL
# to read from, the space, whether to copy it to fakeredis first, and the positions.
PROGRAM: Final = """
import sys
import fakeredis, redis
from engine.redis_stream import RedisStream, stream_key
from ipledger.servers import make_client
from replay.digests import take_digests
url, space, where, *positions = sys.argv[1:]
client = make_client(url)
client.response_callbacks.clear()
stream = RedisStream(client, space)
if where == "fakeredis":
    fake = fakeredis.FakeRedis()
    for entry_id, fields in redis.Redis.from_url(url).xrange(stream_key(space)):
        fake.xadd(stream_key(space), fields, id=entry_id)
    stream = RedisStream(fake, space)
for reached in take_digests(stream, map(int, positions)):
    print(*reached.taken)
"""


def _life(ledger: ipledger.Ledger, chance: random.Random) -> Iterator[None]:
    """A little of everything that can happen, one command after the other."""
    ledger.create_space()
    ledger.apply(
        ipledger.pool("v4", subnet="10.0.0.0/24", ips=["10.0.0.10-10.0.0.60"], ttl_s=3_600),
        ipledger.pool("v6", subnet="fd00::/64", ips=["fd00::1-fd00::ffff:ffff:ffff:fffe"]),
        ipledger.pool("slow", subnet="10.1.0.0/24", ips=["10.1.0.1-10.1.0.20"], cooldown_s=60),
    )
    yield
    for at in range(COMMANDS):
        owner = f"c{at % 3}/default/web-{chance.randrange(25)}"
        with suppress(ipledger.Refused):  # refusals write nothing, and count as well
            match chance.randrange(9):
                case 0 | 1 | 2:
                    ledger.allocate(["v4", "v6"], owner=owner, uid=f"u{at}", labels={"é": "ü"})
                case 3:
                    ledger.allocate("slow", owner=owner, count=chance.randrange(1, 4))
                case 4:
                    ledger.release(owner=owner)
                case 5:
                    for lease in list(ledger.state.leases_of(owner)):
                        ledger.renew(lease.lease_id, ttl_s=7_200)
                case 6:
                    ips = [f"10.0.0.{chance.randrange(10, 60)}"]
                    ledger.apply(ipledger.reservation(f"r{at % 4}", ips=ips, owner=owner))
                case 7:
                    ledger.quarantine(f"10.0.0.{chance.randrange(10, 60)}", reason="arp")
                case _:
                    target = ipledger.Target("pool", "slow")
                    ledger.delete(target, cascade=bool(at % 2))
                    ledger.apply(
                        ipledger.pool("slow", subnet="10.1.0.0/24", ips=["10.1.0.1-10.1.0.20"])
                    )
        yield


@pytest.fixture
def live(embedded_url: str, space: str, tmp_path: Path) -> list[Taken]:
    """The digests of the engine at 20 random commit ends, taken while it was writing."""
    chance = random.Random("live")  # noqa: S311 - the same history on every run
    taken: dict[int, Taken] = {}
    with ipledger.connect(embedded_url, space, state_dir=tmp_path / "live") as ledger:
        for _ in _life(ledger, chance):
            state = ledger.state
            entry_id = f"{state.ms}-{state.position}"
            taken[state.position] = Taken(state.position, entry_id, ledger.digest())
    return [taken[position] for position in sorted(chance.sample(sorted(taken), ENDS))]


def _replayed(url: str, space: str, live: list[Taken], way: tuple[str, str]) -> list[Taken]:
    where, hash_seed = way
    positions = [str(taken.position) for taken in live]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, url, space, where, *positions],
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path.cwd())},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (line.split() for line in done.stdout.splitlines())
    return [Taken(int(position), entry_id, digest) for position, entry_id, digest in lines]


def test_every_replay_has_the_live_digests(
    embedded_url: str, space: str, live: list[Taken]
) -> None:
    """On both hash seeds, on the server and on fakeredis: equal at each of the commit ends."""
    ways = [(where, seed) for where in ("server", "fakeredis") for seed in ("0", "1")]
    with ThreadPoolExecutor(2) as processes:
        found = list(
            processes.map(lambda way: _replayed(embedded_url, space, live, way), ways)
        )  # fmt: skip
    for way, replayed in zip(ways, found, strict=True):
        assert replayed == live, way


def test_an_auditor_finds_the_live_digests(
    embedded_url: str, space: str, live: list[Taken], tmp_path: Path
) -> None:
    """What the engine noted while it was writing is what `replay --check` finds."""
    with ipledger.connect(embedded_url, space, state_dir=tmp_path / "audit") as ledger:
        created = ledger.state.space
    assert created is not None
    writing = Writing()
    lines = [writing.header(Header(space, created.space_id, 1, "the live engine"))]
    lines += [*map(writing.taken, live), writing.end()]
    path = tmp_path / "live.digests"
    path.write_bytes(b"".join(lines))
    options = ["--url", embedded_url, "--space", space, "--state-dir", str(tmp_path / "audit")]
    assert run([*options, "replay", "--check", str(path)]) == 0
