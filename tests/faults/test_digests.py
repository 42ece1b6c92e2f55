"""The same events give the same digest: on every backend, live or replayed, any hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import fakeredis
import redis

import ipledger
from engine.redis_stream import RedisStream, stream_key
from replay.rebuild import rebuild

PROGRAM = """
import sys, ipledger
with ipledger.connect(sys.argv[1], sys.argv[2], state_dir=sys.argv[3]) as ledger:
    print(ledger.position, ledger.digest())
"""


def _some_history(ledger: ipledger.Ledger) -> None:
    """A little of everything that this release can do."""
    ledger.create_space()
    ledger.apply(
        ipledger.pool(
            "v4", subnet="10.0.0.0/24", ips=["10.0.0.10-10.0.0.99"], exclude_ips=["10.0.0.20"],
            gateway="10.0.0.1", routes=[("10.9.0.0/16", "10.0.0.2")], labels={"zone": "é", "a": ""},
        ),
        ipledger.pool("v6", subnet="fd00::/64", ips=["fd00::1-fd00::ffff:ffff:ffff:fffe"]),
        ipledger.reservation("r", ips=["10.0.0.10-10.0.0.12"], reason="printers"),
    )  # fmt: skip
    for at in range(20):
        ledger.allocate(
            ["v4", "v6"], owner=f"c1/default/web-{at}", labels={"node": f"n{at % 3}", "app": "w"}
        )
    ledger.release(owner="c1/default/web-3")
    ledger.allocate(["v4", "v6"], owner="c1/default/web-4", uid="second")
    ledger.apply(ipledger.reservation("r", ips=["10.0.0.10-10.0.0.13"], owner="c1/default/x"))
    ledger.delete(ipledger.Target("pool", "v4"))


def test_one_history_has_one_digest_everywhere(
    embedded_url: str, debian_url: str, space: str, tmp_path: Path
) -> None:
    """Live, replayed, copied to each other backend, under two hash seeds: one digest."""
    with ipledger.connect(embedded_url, space, state_dir=tmp_path / "live") as ledger:
        _some_history(ledger)
        live = ledger.digest()
        replayed = rebuild(ledger.writer.stream).state
        assert replayed.position == ledger.position
    digests = {live, ipledger.Ledger(_copy_to_fake(embedded_url, space), space).digest()}
    _copy(embedded_url, debian_url, space)
    for url in (embedded_url, debian_url):
        for seed in ("0", "1"):
            digests.add(_digest_in_another_process(url, space, seed))

    assert digests == {live}


def _copy(source_url: str, target_url: str, space: str) -> None:
    key = stream_key(space)
    with redis.Redis.from_url(source_url) as source, redis.Redis.from_url(target_url) as target:
        _copy_entries(source, target, key)


def _copy_entries(source: redis.Redis, target: redis.Redis, key: str) -> None:
    entries = source.xrange(key)
    for entry_id, fields in entries:  # type: ignore[union-attr]
        target.xadd(key, fields, id=entry_id)  # type: ignore[arg-type]


def _copy_to_fake(source_url: str, space: str) -> RedisStream:
    fake = fakeredis.FakeRedis()
    with redis.Redis.from_url(source_url) as source:
        _copy_entries(source, fake, stream_key(space))
    return RedisStream(fake, space)


def _digest_in_another_process(url: str, space: str, hash_seed: str) -> str:
    with tempfile.TemporaryDirectory() as states:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, url, space, states],
            env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(Path.cwd())},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
    return done.stdout.split()[1]


def test_the_live_state_is_the_replayed_one_at_every_commit(
    embedded_url: str, space: str, tmp_path: Path
) -> None:
    """A ledger that folds as it writes and one that only reads agree after every command."""
    with (
        ipledger.connect(embedded_url, space, state_dir=tmp_path / "a") as writing,
        ipledger.connect(embedded_url, space, state_dir=tmp_path / "b") as reading,
    ):
        writing.create_space()
        writing.apply(ipledger.pool("p", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.9"]))
        for at in range(12):
            with suppress(ipledger.Refused):  # refusals write nothing, and count as well
                writing.allocate("p", owner=f"o{at % 5}", uid=f"u{at}", count=1 + at % 2)
            reading.refresh()
            assert reading.digest() == writing.digest()
            assert rebuild(writing.writer.stream).state.position == writing.position
