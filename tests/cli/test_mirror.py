"""`mirror` from the command line, and every other command on what it made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from engine.redis_stream import marker_key, stream_key
from tests.cli.conftest import Cli, Result, shown
from tests.cli.test_schemas import hold


class Mirrored:
    """A space with pools and leases, and the command line on the place of its mirror."""

    def __init__(self, web: Cli, target: str) -> None:
        self.web = web
        self.space = web.options[-1]
        self.source, self.target = web.options[1], target
        options = ["--url", target, *web.options[2:]]
        self.at_mirror = Cli(options, web._capsys, web._patch)
        self.ends = ["--from", self.source, "--to", target]

    def __call__(self, *words: str) -> Result:
        """Run `mirror` from the one to the other."""
        return self.web("mirror", *self.ends, *words)

    def data(self, *words: str) -> dict[str, Any]:
        """What it says, having ended well."""
        result = self(*words, "-o", "json")
        assert result.code == 0, result
        found: dict[str, Any] = result.data
        hold("mirror.schema.json", found)
        return found


@pytest.fixture
def mirrored(web: Cli, embedded_url: str) -> Iterator[Mirrored]:
    """Another database of the server is as good as another server, and quicker."""
    target = f"{embedded_url}?db=3"
    for owner in ("a", "b", "c"):
        web.ok("allocate", "--pool", "web", "--owner", owner, "--actor", "me")
    web.ok("release", "--owner", "b")
    made = Mirrored(web, target)
    yield made
    with redis.Redis.from_url(target) as client:
        client.delete(stream_key(made.space), marker_key(made.space))


def test_it_says_what_it_did(mirrored: Mirrored) -> None:
    """How much was copied, how far it is; doing it again copies nothing."""
    told = mirrored.data()
    assert (told["did"], told["position"], told["copied"], told["behind"]) == ("copied", 7, 7, 0)
    assert told["level_at"]
    assert mirrored.data("--once")["copied"] == 0
    compared = mirrored.data("--verify")
    assert (compared["same_entries"], compared["difference"]) == (7, None)
    mirrored.web.ok("allocate", "--pool", "web", "--owner", "d")
    assert mirrored.data("--verify")["behind"] == 1
    assert mirrored().out.endswith("\nThe mirror is level with its source.\n")
    assert "byte for byte" in mirrored("--verify").out


@pytest.mark.parametrize(
    "words",
    [["get", "pools"], ["get", "leases"], ["get", "quarantines"], ["describe", "pool", "web"],
     ["describe", "space", "SPACE"], ["free", "web"], ["history", "ip", "10.0.0.11"],
     ["follow", "--from", "1", "--until-end"], ["replay", "--digest"],
     ["replay", "--to", "4", "--digest"]],
    ids=shown,
)  # fmt: skip
def test_whatever_reads_says_the_same_there(mirrored: Mirrored, words: list[str]) -> None:
    """Word by word what it says of the space itself, digests and actors included."""
    mirrored.data()
    words = [word.replace("SPACE", mirrored.space) for word in words]
    said = [cli(*words, "-o", "json") for cli in (mirrored.web, mirrored.at_mirror)]
    assert said[0].out
    assert said[0] == said[1]


@pytest.mark.parametrize(
    "words",
    [["allocate", "--pool", "web", "--owner", "z"], ["allocate", "--pool", "web", "--owner", "a"],
     ["allocate", "--pool", "nope", "--owner", "z"], ["release", "--owner", "a"],
     ["release", "--owner", "nobody"], ["renew", "4"], ["delete", "pool", "six"], ["sweep"],
     ["quarantine", "10.0.0.15", "--reason", "x"], ["apply", "-f", "FILE"]],
    ids=shown,
)  # fmt: skip
def test_whatever_decides_is_refused_there(
    mirrored: Mirrored, tmp_path: Path, words: list[str]
) -> None:
    """Also what would write nothing: a mirror may lag, and its no is no answer."""
    mirrored.data()
    (tmp_path / "p.yaml").write_text(
        "apiVersion: ipledger/v1\nkind: Pool\nmetadata: {name: n}\n"
        "spec: {subnet: 10.9.0.0/24, ips: [10.9.0.1]}\n"
    )
    words = [word.replace("FILE", str(tmp_path / "p.yaml")) for word in words]
    result = mirrored.at_mirror(*words, "-o", "json")
    assert (result.code, result.error["kind"]) == (4, "forbidden"), result
    assert "is a mirror of" in result.error["message"]
    assert "write to unix:" in result.error["hint"]
    assert mirrored.data("--verify")["behind"] == 0


def test_the_doctor_says_that_it_is_a_mirror(mirrored: Mirrored) -> None:
    """Of what, and when it was level; accepting a shorter history is for the source."""
    mirrored.data()
    told = mirrored.at_mirror.json("doctor").data
    hold("doctor.schema.json", told)
    assert told["mirror_of"] == mirrored.source.replace("unix://", "unix:")
    assert told["level_at"]
    assert mirrored.at_mirror("doctor").out.endswith("This is a mirror: read only. All is well.\n")
    own = mirrored.web.json("doctor").data
    assert (own["mirror_of"], own["level_at"]) == (None, None)
    assert own["digest"] == told["digest"]
    with redis.Redis.from_url(mirrored.target) as client:
        client.xtrim(stream_key(mirrored.space), 6, approximate=False)
        client.xdel(stream_key(mirrored.space), client.xrange(stream_key(mirrored.space))[-1][0])
    result = mirrored.at_mirror("doctor", "-o", "json")
    assert result.code == 8
    assert "mirror --verify" in result.data["hint"]
    result = mirrored("--verify", "-o", "json")
    hold("mirror.schema.json", result.data)
    assert (result.code, result.data["difference"]) == (8, {"position": 1, "field": "missing"})


def test_a_stream_of_its_own_is_left_alone(mirrored: Mirrored) -> None:
    """The target has a space of that name that is none of ours."""
    mirrored.at_mirror.ok("space", "create", mirrored.space)
    before = mirrored.at_mirror.json("replay", "--digest").data
    result = mirrored("-o", "json")
    assert (result.code, result.error["kind"]) == (4, "exists")
    assert mirrored.at_mirror.json("replay", "--digest").data == before


def test_a_space_that_was_made_anew_is_another(mirrored: Mirrored) -> None:
    """The name is the same, the id is not: the mirror of the old one is kept."""
    mirrored.data()
    with redis.Redis.from_url(mirrored.source) as client:
        client.delete(stream_key(mirrored.space))
    mirrored.web.ok("space", "forget", mirrored.space)
    mirrored.web.ok("space", "create", mirrored.space)
    result = mirrored("-o", "json")
    assert (result.code, result.error["kind"]) == (8, "integrity")
    assert "is of another space" in result.error["message"]
    assert mirrored.at_mirror.json("replay").data["position"] == 7


def test_what_the_source_gave_up_is_saved_when_told(mirrored: Mirrored) -> None:
    """It stops with exit code 8; --accept-rollback names the file, and the mirror follows."""
    mirrored.data()
    with redis.Redis.from_url(mirrored.source) as client:
        key = stream_key(mirrored.space)
        given_up = [entry_id.decode() for entry_id, _ in client.xrange(key)[-2:]]
        client.xdel(key, *given_up)
    accept = ["--accept-rollback", "--void-through", "9", "--reason", "failover"]
    assert mirrored.web("doctor", *accept).code == 0
    result = mirrored("-o", "json")
    assert result.code == 8
    assert "--accept-rollback" in result.error["hint"]
    told = mirrored.data("--accept-rollback")
    lines = Path(told["set_aside"]).read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == given_up
    assert (told["position"], told["generation"]) == (10, 1)
    assert mirrored.data("--verify")["same_entries"] == 6
    mirrored.web.ok("allocate", "--pool", "web", "--owner", "z")
    assert mirrored.data()["copied"] == 1


def test_a_mirror_can_take_over(mirrored: Mirrored) -> None:
    """It is written to from then on; positions that the lost one gave out are void for ever."""
    mirrored.data()
    mirrored.web.ok("allocate", "--pool", "web", "--owner", "lost")
    promote = ["mirror", "--to", mirrored.target, "--promote"]
    result = mirrored.web(*promote, "-o", "json")
    assert result.code == 6
    assert "ends at position 7, this machine has seen 8 of its source" in result.error["hint"]
    told = [*promote, "--reason", "fire", "--void-through"]
    result = mirrored.web(*told, "7", "-o", "json")  # this machine knows better
    assert (result.code, result.error["kind"]) == (6, "invalid")
    assert mirrored.at_mirror("sweep").code == 4
    data = mirrored.web.json(*told, "20").data
    hold("mirror.schema.json", data)
    assert (data["did"], data["position"], data["generation"]) == ("promoted", 21, 1)
    lease = mirrored.at_mirror.json("allocate", "--pool", "web", "--owner", "new").data["leases"]
    assert lease[0]["lease"] == 22
    restored = mirrored.at_mirror("follow", "--from", "21", "--until-end").out.splitlines()[0]
    assert json.loads(restored)["reason"] == "fire"
    assert mirrored.at_mirror.json("doctor").data["mirror_of"] is None
    # The old one may be there again: neither is it mirrored over the new one, nor can it be twice.
    assert mirrored().code == 4
    assert mirrored.web(*told, "30").code == 3


def test_a_damaged_mirror_does_not_take_over(mirrored: Mirrored) -> None:
    """What is not sound is not made the truth."""
    mirrored.data()
    with redis.Redis.from_url(mirrored.target) as client:
        key = stream_key(mirrored.space)
        client.xdel(key, client.xrange(key)[3][0])
    told = ["--promote", "--reason", "fire", "--void-through", "20"]
    result = mirrored.web("mirror", "--to", mirrored.target, *told, "-o", "json")
    assert (result.code, result.error["kind"]) == (8, "integrity")
    assert "what is sound ends at position 3" in result.error["hint"]
    assert mirrored.at_mirror("sweep").code == 8  # a hole is no ground to decide on, either
    # The way home that the hint names.
    with redis.Redis.from_url(mirrored.target) as client:
        client.delete(marker_key(mirrored.space))
    accept = ["--accept-rollback", "--void-through", "20", "--reason", "fire"]
    assert mirrored.at_mirror("doctor", *accept).code == 0
    assert mirrored.at_mirror("sweep").code == 0


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [
        ([], 2, "--to is missing"),
        (["--from", "SOURCE"], 2, "--to is missing"),
        (["--to", "TARGET"], 2, "--from is missing"),
        (["--from", "", "--to", "TARGET"], 6, "not a URL scheme"),
        (["--from", "SOURCE", "--to", "SOURCE"], 2, "are the same"),
        (["--from", "SOURCE", "--to", "SOURCE?db=0"], 6, "the same database"),
        (["--from", "SOURCE", "--to", "http://x"], 6, "not a URL scheme"),
        (["--from", "nonsense", "--to", "TARGET"], 6, "not a URL scheme"),
        (["--from", "redis://h:port/0", "--to", "TARGET"], 6, "cannot be understood"),
        (["--from", "redis://[::1/0", "--to", "TARGET"], 6, "cannot be understood"),
        (["--from", "unix:///nope/sock", "--to", "TARGET"], 7, "cannot be reached"),
        (["--from", "SOURCE", "--to", "unix:///nope/sock"], 7, "cannot be reached"),
        (["--from", "SOURCE", "--to", "TARGET", "--follow", "--verify"], 2, "exclude each other"),
        (["--from", "SOURCE", "--to", "TARGET", "--once", "--follow"], 2, "exclude each other"),
        (["--from", "SOURCE", "--to", "TARGET", "--promote"], 2, "--from has no meaning"),
        (["--from", "SOURCE", "--to", "TARGET", "--void-through", "3"], 2, "without --promote"),
        (["--from", "SOURCE", "--to", "TARGET", "--verify", "--accept-rollback"], 2, "no meaning"),
        (["--to", "TARGET", "--promote", "--void-through", "x"], 2, "x"),
        (["--to", "TARGET", "--promote", "--void-through", "0"], 2, "0"),
        (["--to", "TARGET", "--promote", "--void-through", "3", "--reason", "x"], 3, "no mirror"),
        (["--from", "SOURCE", "--to", "TARGET", "--verify"], 3, "no mirror"),
        (["--from", "SOURCE", "--to", "TARGET", "--space", "typo"], 3, "does not exist"),
        (["--from", "SOURCE", "--to", "TARGET", "--space", "a b"], 6, "name"),
        (["--from", "SOURCE", "--to", "TARGET", "surplus"], 2, "surplus"),
    ],
    ids=shown,
)
def test_misuse(mirrored: Mirrored, words: list[str], code: int, told: str) -> None:
    """A clear no, and the target stays empty."""
    names = {"SOURCE": mirrored.source, "TARGET": mirrored.target}
    for name, url in names.items():
        words = [word.replace(name, url) for word in words]
    result = mirrored.web("mirror", *words, "-o", "json")
    assert result.code == code, result
    assert told in result.error["message"]
    with redis.Redis.from_url(mirrored.target) as client:
        assert not client.exists(stream_key(mirrored.space), marker_key(mirrored.space))
