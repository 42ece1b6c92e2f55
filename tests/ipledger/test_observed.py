"""Reading what is in use: two forms, one meaning; one line that is wrong, and nothing is read."""

from __future__ import annotations

from hashlib import sha256

import pytest

from engine.errors import InvalidInput
from engine.observation import Observation, User
from ipledger.observed import observation, read_observed
from tests.builders import START_MS, address

ONE = User(address("10.0.0.1"), "a", "eth0")
BARE = User(address("10.0.0.2"))
SIX = User(address("fd00::1"), "b")


def read(text: str | bytes) -> Observation:
    """What a file with that text says."""
    data = text.encode() if isinstance(text, str) else text
    return read_observed(data, "seen", START_MS).observation


JSON = """
{"owner": "a", "address": "10.0.0.1", "interface": "eth0"}

{"address": "10.0.0.2", "owner": null}
{"address": "FD00:0::1", "owner": "b"}
"""
CSV = """interface,owner,address
eth0,a,10.0.0.1

,,10.0.0.2
,"b",fd00::1
"""


def test_a_block_may_be_given_as_it_is_printed() -> None:
    """Its first address is enough for the block to be in use."""
    both = read("address,owner\n10.0.0.16/28,a\nfd00:0:0:1::/64,a\n")
    assert both.id == read("address,owner\n10.0.0.16,a\nfd00:0:0:1::,a\n").id


@pytest.mark.parametrize("text", [
    JSON, CSV, JSON.replace("\n", "\r\n"), CSV.replace("\n", "\r\n"), "\ufeff" + CSV,
    JSON + JSON, CSV + "eth0,a,10.0.0.1\n", JSON.rstrip(),
])  # fmt: skip
def test_both_forms_say_the_same(text: str) -> None:
    """In any order, as often as it was seen: it is one observation, with one id."""
    assert read(text).users == (ONE, BARE, SIX)
    assert read(text).id == Observation([SIX, ONE, BARE, ONE], START_MS).id
    told = [{"address": "fd00::1", "owner": "b"}, {"address": "10.0.0.2"}, ONE._asdict()]
    told[2]["address"] = "10.0.0.1"
    assert observation(told, START_MS).id == read(text).id


def test_what_tells_observations_apart() -> None:
    """Who was seen where, and when: the same network a second later is another observation."""
    ids = {
        Observation(users, at_ms).id
        for users in ([ONE], [ONE, SIX], [ONE._replace(interface=None)], [BARE], [])
        for at_ms in (START_MS, START_MS + 1_000)
    }
    assert len(ids) == 10
    assert Observation([ONE, SIX], 5).id.hex() == "3e61152cb808ddd231fdcbe26dfb9022", (
        "it is in streams"
    )


def test_the_evidence_names_the_file() -> None:
    """By its name, its length and its bytes, in what an event has room for."""
    data = CSV.encode()
    told = read_observed(data, "seen.csv", START_MS)
    assert told.evidence == f"seen.csv (3 lines, SHA-256 {sha256(data).hexdigest()})"
    assert told.lines == 3
    assert len(read_observed(data, "ü\n" * 999, START_MS).evidence.encode()) < 300
    assert read_observed(data, "ü\udcff" * 999, START_MS).evidence.isprintable()


@pytest.mark.parametrize(("text", "said"), [
    ('{"address": "10.0.0.1"}\n{"address": "10.0.0.1"', "line 2: it is not a JSON object"),
    ('{"address": "10.0.0.1"}\n[1]', "line 2: it is not a JSON object"),
    ('{"owner": "a"}', "line 1: it has no address"),
    ('{"address": 5}', "line 1: it has no address"),
    ('{"address": "10.0.0.1", "onwer": "a"}', "line 1: 'onwer' is not one of owner, address"),
    ('{"address": "10.0.0.1", "address": "10.0.0.2"}', "line 1: it is not a JSON object"),
    ('{"address": "10.0.0.1", "owner": ""}', "line 1: owner is empty"),
    ('{"address": "10.0.0.1", "owner": 7}', "line 1: owner must be text"),
    ('{"address": "10.0.0.1", "interface": "a b"}', "line 1: interface"),
    ('{"a": ' * 100_000, "line 1: it is not a JSON object"),
    ('\n\n{"address": "10.0.0.256"}', "line 3: '10.0.0.256'"),
    ('{"address": "10.0.0.1/24"}', "line 1: '10.0.0.1/24'"),
    ("owner,addr\na,10.0.0.1\n", "line 1: the header must name address"),
    ("owner,owner,address\n", "line 1: the header must name address"),
    ("10.0.0.1\n10.0.0.2\n", "line 1: the header must name address"),
    ("address,owner\n10.0.0.1\n", "line 2: it has 1 fields, and not 2"),
    ("address,owner\n10.0.0.1,a\n10.0.0.2,b,c\n", "line 3: it has 3 fields, and not 2"),
    ("address,owner\n10.0.0.1,a\n,b\n", "line 3: it has no address"),
    ("address,owner\n10.0.0.1,a\n10.0.0.1", "line 3: it has no end"),
    ('address,owner\n10.0.0.1,"a\n', "line 3: it is not CSV"),
    ('address,owner\n10.0.0.1,"a"b\n', "line 2: it is not CSV"),
    (b"address\n10.0.0.1\n\xff\xfe\n", "line 3: it is not UTF-8"),
])  # fmt: skip
def test_a_line_that_is_wrong_is_named(text: str | bytes, said: str) -> None:
    """With its number; and nothing was done."""
    with pytest.raises(InvalidInput) as caught:
        read(text)
    assert said in caught.value.message
    assert caught.value.message.endswith("; nothing was done")


@pytest.mark.parametrize("text", ["", "\n \n", "address,owner\n"])
def test_nobody_is_an_observation_too(text: str) -> None:
    """Whether that is believed is decided elsewhere."""
    assert read(text).users == ()


def test_users_of_a_block_are_found() -> None:
    """Inside it, from its first address to its last, and no others."""
    there = Observation([User(address(f"10.0.0.{n}")) for n in (15, 16, 20, 31, 32)], 0)
    found = [user.address[-1] for user in there.within(address("10.0.0.16"), 28)]
    assert found == [16, 20, 31]
