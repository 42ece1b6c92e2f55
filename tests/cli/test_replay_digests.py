"""`replay --digests` and `--check`: where two replays of a history part."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import redis

import ipledger
from engine.entry import RawEntry
from engine.redis_stream import stream_key
from engine.wire import decode_entry, encode_commit, encode_entry
from tests.cli.conftest import Cli
from tests.cli.test_schemas import hold


@pytest.fixture
def busy(web: Cli) -> Cli:
    """A space with ten leases."""
    for at in range(10):
        web.ok("allocate", "--pool", "web", "--owner", f"o{at}")
    return web


def _forge(cli: Cli, position: int) -> None:
    """Give a lease another owner, with every check made right again."""
    key = stream_key(cli.options[-1])
    with redis.Redis.from_url(cli.options[1]) as client:
        entries = client.xrange(key)
        client.delete(key)
        for entry_id, fields in entries:
            ms, at = map(int, entry_id.split(b"-"))
            raw = RawEntry(ms, at, *(fields[name] for name in (b"e", b"s", b"t", b"c")))
            if at == position:
                record = decode_entry(raw)
                sealed = record.sealed._replace(owner="mallory")
                e, s, t = encode_entry(record.event, sealed, record.header)
                raw = RawEntry(ms, at, e, s, t, encode_commit(record.commit, e, s)[1])
            client.xadd(key, dict(zip((b"e", b"s", b"t", b"c"), raw[2:], strict=True)), id=entry_id)


def test_a_replay_agrees_with_another(busy: Cli, tmp_path: Path) -> None:
    """The file is as promised, ends with the live digest, and still fits when events follow."""
    path = str(tmp_path / "digests")
    data = busy.json("replay", "--digests", path, "--every", "4", "--digest").data
    assert data["digests"] == {"file": path, "every": 4, "count": 4}
    lines = [json.loads(line) for line in Path(path).read_text().splitlines()]
    for line in lines:
        hold("digests.schema.json", line)
    assert [line["position"] for line in lines[1:-1]] == [4, 8, 12, 13]
    assert lines[-2]["digest"] == data["digest"]
    assert lines[0]["tool"] == f"ipledger {ipledger.__version__}"
    busy.ok("release", "--owner", "o3")
    said = busy("replay", "--check", path)
    assert (said.code, said.out) == (
        0, f"{path} and this replay agree through position 13 (4 digests)\n"
    )  # fmt: skip
    answer = busy.json("replay", "--check", path).data
    hold("replay-check.schema.json", answer)
    assert (answer["agrees"], answer["compared"]) == (True, 4)
    assert list(tmp_path.glob("digests*")) == [tmp_path / "digests"]


def test_two_replays_that_part(busy: Cli, tmp_path: Path) -> None:
    """Exit code 8, the last agreement and the first difference, and how to look closer."""
    path = str(tmp_path / "digests")
    busy.ok("replay", "--digests", path, "--every", "4")
    _forge(busy, 10)
    said = busy("replay", "--check", path)
    assert said.code == 8
    assert "agree last at position 8 and differ first at position 12" in said.out
    assert "`ipledger replay --diff 8 12`" in said.out
    result = busy("replay", "--check", path, "-o", "json")
    assert result.code == 8
    hold("replay-check.schema.json", result.data)
    assert result.data["last_agreement"]["position"] == 8
    assert result.data["first_difference"]["digest"] != result.data["instead"]["digest"]


def test_a_digest_file_to_an_earlier_moment(busy: Cli, tmp_path: Path) -> None:
    """It ends there; an existing file is replaced as a whole."""
    path = tmp_path / "digests"
    path.write_text("of no use\n")
    busy.ok("replay", "--digests", str(path), "--to", "5")
    assert json.loads(path.read_text().splitlines()[-1])["end"] == 5


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "No such file"), (b"", "is empty"), (b"PK\x03\x04\xff\n", "no JSON"),
     (b"x" * 100_000, "too long"), (b'{"ipledger":"digests","form":7}\n', "form 7")],
    ids=["missing", "empty", "binary", "long", "newer"],
)  # fmt: skip
def test_a_file_that_is_none(busy: Cli, tmp_path: Path, content: bytes | None, told: str) -> None:
    """Told in one line, before anything is replayed."""
    path = tmp_path / "digests"
    if content is not None:
        path.write_bytes(content)
    result = busy("replay", "--check", str(path), "-o", "json")
    assert result.code == 6
    assert told in result.error["message"]


def test_a_file_of_another_space(busy: Cli, tmp_path: Path) -> None:
    """Two spaces are not compared, whatever their names."""
    path, other = str(tmp_path / "digests"), f"{busy.options[-1]}-other"
    busy.ok("replay", "--digests", path)
    busy.ok("space", "create", other)
    result = busy("replay", "--space", other, "--check", path, "-o", "json")
    assert result.code == 6
    assert f"not of {other}" in result.error["message"]


def test_a_file_that_cannot_be_written(busy: Cli, tmp_path: Path) -> None:
    """Nothing is left behind."""
    result = busy("replay", "--digests", str(tmp_path / "no" / "digests"), "-o", "json")
    assert result.code == 6
    assert "cannot be written" in result.error["message"]
    (tmp_path / "directory").mkdir()
    result = busy("replay", "--digests", str(tmp_path / "directory"), "-o", "json")
    assert result.code == 6
    assert list(tmp_path.glob("d*")) == [tmp_path / "directory"]
