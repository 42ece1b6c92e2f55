"""`allocate`: addresses for an owner, and every way to be refused."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli


def test_the_answer_is_the_leases(web: Cli) -> None:
    """In a table for people, as ``{"leases": […]}`` for programs."""
    table = web.ok("allocate", "--pool", "web", "--owner", "c1/default/web-0")
    assert table.startswith("LEASE   ADDRESS")
    assert "10.0.0.10" in table
    (lease,) = web.json("allocate", "--pool", "web", "--owner", "c1/default/web-0").data["leases"]
    assert (lease["address"], lease["prefix_length"], lease["state"]) == ("10.0.0.10", 32, "active")


def test_asking_again_gives_the_same_lease(web: Cli) -> None:
    """Without an event; another uid gets the same address under a new lease."""
    first = web.json("allocate", "--pool", "web", "--owner", "a", "--uid", "1").data
    assert web.json("allocate", "--pool", "web", "--owner", "a", "--uid", "1").data == first
    (again,) = web.json("allocate", "--pool", "web", "--owner", "a", "--uid", "2").data["leases"]
    assert again["address"] == first["leases"][0]["address"]
    assert again["lease"] > first["leases"][0]["lease"]


def test_both_families_at_once(web: Cli) -> None:
    """A repeated --pool grants from each, together."""
    answer = web.json("allocate", "--pool", "web", "--pool", "six", "--owner", "a").data["leases"]
    assert [lease["address"] for lease in answer] == ["10.0.0.10", "fd00::"]


def test_everything_that_can_be_asked_for(web: Cli) -> None:
    """Address, lease time, labels, interface, uid and cluster are those of the lease."""
    (lease,) = web.json(
        "allocate", "--pool", "web", "--owner", "名前/😀", "--ip", "10.0.0.15", "--ttl", "1h",
        "--label", "a=b=c", "--label", "empty=", "--interface", "net1", "--uid", "u", "--cluster",
        "c1",
    ).data["leases"]  # fmt: skip
    wanted = {
        "owner": "名前/😀", "address": "10.0.0.15", "labels": {"a": "b=c", "empty": ""},
        "interface": "net1", "uid": "u", "cluster": "c1",
    }  # fmt: skip
    assert {key: lease[key] for key in wanted} == wanted
    assert lease["expires_at"] > lease["granted_at"]


def test_exhaustion_keeps_its_wording(web: Cli) -> None:
    """Exit code 5 and "all IP addresses used out", with the figures; nothing is granted."""
    result = web("allocate", "--pool", "web", "--owner", "a", "--count", "11", "-o", "json")
    assert (result.code, result.error["kind"]) == (5, "exhausted")
    assert result.error["message"].startswith("all IP addresses used out: pool web has 10 addr")
    assert web.json("get", "leases").items == []


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--pool", "nope"], 3, "pool nope does not exist"),
        (["--pool", ""], 6, "pool '' is not a name"),
        (["--pool", "web,"], 6, "pool '' is not a name"),
        (["--pool", "web,web"], 6, "named twice"),
        (["--pool", "web", "--count", "0"], 6, "count 0"),
        (["--pool", "web", "--count", "-1"], 6, "count -1"),
        (["--pool", "web", "--count", "1000000000"], 6, "count 1000000000"),
        (["--pool", "web", "--ttl", "garbage"], 6, "'garbage' is not a duration"),
        (["--pool", "web", "--ttl", "5"], 6, "'5' is not a duration"),
        (["--pool", "web", "--ttl", "-5s"], 6, "'-5s' is not a duration"),
        (["--pool", "web", "--ttl", "0s"], 6, "shorter than 1 s"),
        (["--pool", "web", "--ttl", "99999d"], 6, "longer than 100 years"),
        (["--pool", "web", "--ip", "fd00::1"], 6, "fd00::1 is not an address of the pools"),
        (["--pool", "web", "--ip", "10.0.0.99"], 6, "10.0.0.99 is not an address of the pools"),
        (["--pool", "web", "--ip", "10.0.0.300"], 6, "not an IP address"),
        (["--pool", "web", "--label", "x"], 6, "label 'x' is not KEY=VALUE"),
        (["--pool", "web", "--label", "=x"], 6, "label '=x' is not KEY=VALUE"),
        (["--pool", "web", "--label", "a=1", "--label", "a=2"], 6, "its key is given twice"),
        (["--pool", "web", "--label", f"a={'x' * 1_000_000}"], 6, "longer than 512 bytes"),
        (["--pool", "web", "--interface", ""], 6, "interface is empty"),
        (["--pool", "web", "--interface", "eth 0"], 6, "white space"),
        (["--pool", "web", "--uid", ""], 6, "uid is empty"),
    ],
)
def test_a_refusal_says_why_and_grants_nothing(
    web: Cli, words: list[str], code: int, says: str
) -> None:
    """Each with its exit code, one readable message, and no lease."""
    result = web("allocate", *words, "--owner", "a", "-o", "json")
    assert result.code == code
    assert says in result.error["message"]
    assert len(result.error["message"]) < 300
    assert web.json("get", "leases").items == []


@pytest.mark.parametrize(
    ("owner", "says"),
    [
        ("", "owner is empty"), (" ", "owner is empty"), ("a\nb", r"'a\nb' has the control"),
        ("a\x1b[31mb", r"'a\x1b[31mb' has the control"), ("x" * 513, "longer than 512 bytes"),
        ("\udcff", "control character"),
    ],
)  # fmt: skip
def test_an_owner_is_printable_text(web: Cli, owner: str, says: str) -> None:
    """What is refused is shown escaped, in the message as in JSON."""
    result = web("allocate", "--pool", "web", "--owner", owner)
    assert result.code == 6
    assert says in result.err
    assert "\x1b" not in result.err


def test_another_holder_and_another_request_are_conflicts(web: Cli) -> None:
    """Exit code 4, naming the holder; the hint says how to go on."""
    lease = web.json("allocate", "--pool", "web", "--owner", "a", "--ip", "10.0.0.12").data
    number = lease["leases"][0]["lease"]
    result = web("allocate", "--pool", "web", "--owner", "b", "--ip", "10.0.0.12", "-o", "json")
    assert (result.code, result.error["kind"]) == (4, "conflict")
    assert f"leased to a (lease {number})" in result.error["message"]
    result = web("allocate", "--pool", "web", "--owner", "a", "--ttl", "1h", "-o", "json")
    assert (result.code, result.error["kind"]) == (4, "conflict")
    assert f"ipledger --space {web.options[-1]} release {number}" in result.error["hint"]


@pytest.mark.parametrize(
    "words", [[], ["--pool", "web"], ["--owner", "a", "--default-pool", "web"]]
)
def test_an_owner_is_needed_and_options_go_together(web: Cli, words: list[str]) -> None:
    """Exit code 2."""
    assert web("allocate", *words).code == 2


def test_a_command_id_is_answered_from_what_was_committed(web: Cli) -> None:
    """The same answer again, also after the lease has ended; another request is a conflict."""
    ask = ["allocate", "--pool", "web", "--owner", "a", "--command-id", "X"]
    first = web.json(*ask).data
    web.ok("release", "--owner", "a")
    assert web.json(*ask).data["leases"][0]["lease"] == first["leases"][0]["lease"]
    assert web("allocate", "--pool", "web", "--owner", "b", "--command-id", "X").code == 4
