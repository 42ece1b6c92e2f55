"""A stream that somebody damaged: noticed by the next command, and nothing is written to it.

Each damage is done on a real server with the server's own commands. Then a reader and a writer
are run as a user would run them, on a machine that has seen the space before.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

import ipledger
from engine.redis_stream import stream_key
from ipledger.cli import run

Damage = Callable[[redis.Redis, str], None]

COMMITS = 12


def _entries(client: redis.Redis, key: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
    found: Any = client.xrange(key)
    return list(found)


def _delete(position: int) -> Damage:
    def damage(client: redis.Redis, key: str) -> None:
        client.xdel(key, _entries(client, key)[position - 1][0])

    return damage


def _trim(client: redis.Redis, key: str) -> None:
    client.xtrim(key, maxlen=COMMITS // 2, approximate=False)


def _flush(client: redis.Redis, key: str) -> None:
    client.delete(key)


def _rewrite(
    client: redis.Redis,
    key: str,
    change: Callable[[int, dict[bytes, bytes]], None],
    entries: int | None = None,
) -> None:
    """What a restored backup or a hand with a script does: the key anew, almost as it was."""
    kept = _entries(client, key)[:entries]
    client.delete(key)
    for at, (entry_id, fields) in enumerate(kept):
        change(at + 1, fields)
        client.xadd(key, fields, id=entry_id)  # type: ignore[arg-type]


def _restore_older_backup(client: redis.Redis, key: str) -> None:
    _rewrite(client, key, lambda _position, _fields: None, entries=COMMITS // 2)


def _alter(field: bytes, position: int) -> Damage:
    """Flip one bit in the middle of one field of one entry."""

    def change(at: int, fields: dict[bytes, bytes]) -> None:
        if at == position:
            value = bytearray(fields[field])
            value[len(value) // 2] ^= 1
            fields[field] = bytes(value)

    return lambda client, key: _rewrite(client, key, change)


def _swap(client: redis.Redis, key: str) -> None:
    """Two whole entries change places."""
    entries = _entries(client, key)
    texts = [fields for _, fields in entries]
    texts[5], texts[6] = texts[6], texts[5]
    client.delete(key)
    for (entry_id, _), fields in zip(entries, texts, strict=True):
        client.xadd(key, fields, id=entry_id)  # type: ignore[arg-type]


def _append_foreign(client: redis.Redis, key: str) -> None:
    client.xadd(key, {"message": "hello"})


DAMAGES: dict[str, Damage] = {
    **{f"XDEL of entry {position}": _delete(position) for position in range(1, COMMITS + 1)},
    "XTRIM from outside": _trim,
    "a flushed key": _flush,
    "an older backup restored": _restore_older_backup,
    **{
        f"entry 7 altered in {field.decode()}": _alter(field, 7)
        for field in (b"e", b"s", b"t", b"c")
    },
    "the last entry altered in s": _alter(b"s", COMMITS),
    "two entries swapped": _swap,
    "an entry of another program": _append_foreign,
}


@pytest.fixture
def seen(redis_url: str, tmp_path: Path, space: str) -> list[str]:
    """A space of twelve entries that this machine has seen; the global options for it."""
    options = ["--url", redis_url, "--state-dir", str(tmp_path / "state"), "--space", space]
    assert run([*options, "space", "create", space]) == 0
    with ipledger.connect(redis_url, space, state_dir=tmp_path / "state") as ledger:
        ledger.apply(ipledger.pool("p", subnet="10.0.0.0/24", ips=["10.0.0.1-10.0.0.99"]))
        for at in range(COMMITS - 2):
            ledger.allocate("p", owner=f"o{at}")
    assert ledger.position == COMMITS
    return options


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_stops_readers_and_writers(
    damage: str, seen: list[str], redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 8 with a hint, by a reader, a writer and the doctor; nothing is written."""
    key = stream_key(seen[-1])
    with redis.Redis.from_url(redis_url) as client:
        DAMAGES[damage](client, key)
        before = _entries(client, key)
        capsys.readouterr()
        for command in (
            ["get", "pools"],
            ["allocate", "--pool", "p", "--owner", "late"],
            ["replay", "--digest"],
            ["history", "ip", "10.0.0.1"],
            ["delete", "pool", "p"],
        ):
            assert run([*seen, "-o", "json", *command]) == 8, command
            error = json.loads(capsys.readouterr().err)["error"]
            assert error["kind"] == "integrity"
            assert error["hint"]
        assert run([*seen, "-o", "json", "audit"]) == 8
        assert json.loads(capsys.readouterr().out)["breaches"]
        assert run([*seen, "-o", "json", "doctor"]) == 8
        told = json.loads(capsys.readouterr().out)
        assert told["trouble"]
        assert told["hint"]
        assert _entries(client, key) == before


@pytest.mark.parametrize(
    "damage", ["XDEL of entry 7", "XDEL of entry 12", "an older backup restored",
               "entry 7 altered in e", "an entry of another program"],
)  # fmt: skip
def test_an_operator_accepts_what_is_left(
    damage: str,
    seen: list[str],
    redis_url: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """After `doctor --accept-rollback` life goes on behind the voided positions, for everybody."""
    space = seen[-1]
    key = stream_key(space)
    with redis.Redis.from_url(redis_url) as client:
        DAMAGES[damage](client, key)
        before = _entries(client, key)
    capsys.readouterr()
    accept = ["doctor", "--accept-rollback", "--reason", "the backup of noon"]
    assert run([*seen, "-o", "json", *accept, "--void-through", "3"]) == 6, "too low"
    run([*seen, "-o", "json", "doctor"])
    sound = json.loads(capsys.readouterr().out)["sound_through"]
    least = max(COMMITS, int(before[-1][0].split(b"-")[1]))
    # An entry that somebody else wrote may have claimed any position.
    if damage == "an entry of another program":
        least = max(least, COMMITS)

    assert run([*seen, "-o", "json", *accept, "--void-through", str(least + 3)]) == 0

    told = json.loads(capsys.readouterr().out)
    assert told["generation"] == 1
    assert told["position"] == least + 4
    assert run([*seen, "-o", "json", "allocate", "--pool", "p", "--owner", "after"]) == 0
    lease = json.loads(capsys.readouterr().out)["leases"][0]
    assert lease["lease"] == least + 5, "no lease id means two things"
    with ipledger.connect(redis_url, space, state_dir=tmp_path / "elsewhere") as ledger:
        assert ledger.state.generation == 1
        assert len(ledger.state.lease_table) == sound - 2 + 1
    if before[-1][0].split(b"-")[1] != str(sound).encode():
        aside = Path(told["set_aside"]).read_text().splitlines()
        assert len(aside) == len(before) - sound


def test_a_running_writer_notices_too(seen: list[str], redis_url: str, tmp_path: Path) -> None:
    """A ledger that is open while an old entry is deleted stops before its next write."""
    key = stream_key(seen[-1])
    with (
        ipledger.connect(redis_url, seen[-1], state_dir=tmp_path / "other") as ledger,
        redis.Redis.from_url(redis_url) as client,
    ):
        client.xdel(key, _entries(client, key)[3][0])
        with pytest.raises(ipledger.IntegrityError):
            ledger.allocate("p", owner="late")
        with pytest.raises(ipledger.IntegrityError):
            ledger.allocate("p", owner="later")
        assert len(_entries(client, key)) == COMMITS - 1


def test_a_replaced_space_is_accepted_by_forgetting_it(
    seen: list[str], redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another space under the same name is refused until `space forget` says that it is right."""
    space = seen[-1]
    with redis.Redis.from_url(redis_url) as client:
        client.delete(stream_key(space))
    # Somebody else, who has not seen the old one, makes a new one.
    elsewhere = [*seen[:3], f"{seen[3]}-elsewhere", *seen[4:]]
    assert run([*elsewhere, "space", "create", space]) == 0
    for at in range(COMMITS):
        assert run([*elsewhere, "apply", "-f", _pool_file(seen, at)]) == 0
    capsys.readouterr()
    assert run([*seen, "get", "pools"]) == 8
    assert "space forget" in capsys.readouterr().err
    assert run([*seen, "space", "forget", space]) == 0
    assert run([*seen, "get", "pools"]) == 0


def _pool_file(seen: list[str], at: int) -> str:
    path = Path(seen[3]).parent / f"pool-{at}.yaml"
    path.write_text(
        "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderIPPool\n"
        f"metadata: {{name: p{at}}}\nspec: {{subnet: 10.{at}.0.0/24, ips: [10.{at}.0.1]}}\n"
    )
    return str(path)
