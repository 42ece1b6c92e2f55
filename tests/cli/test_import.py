"""`ipledger import`: shown first, written once, and nothing of it if a file is not right."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from ipledger.cli import importing
from ipledger.importing import FORMATS
from ipledger.importing.carrying import CHUNK_LEASES
from tests.cli.conftest import Cli, pool_yaml, reservation_yaml

CSV = "address,owner,since,until,labels\n"
SINCE, UNTIL = "2026-01-01T00:00:00Z", "2099-01-01T00:00:00.250Z"
API = "spiderpool.spidernet.io/v2beta1"


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str, str], str]:
    """Write a file; its path."""

    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text, "utf-8")
        return str(tmp_path / name)

    return write


def dump(pods: int) -> str:
    """A dump of Spiderpool: a pool with leases, and a reservation that covers one of them."""
    leases = {f"10.3.0.{n + 1}": {"pod": f"ns/web-{n}", "podUid": f"u{n}"} for n in range(pods)}
    pool = {
        "apiVersion": API, "kind": "SpiderIPPool", "metadata": {"name": "old"},
        "spec": {"subnet": "10.3.0.0/24", "ips": ["10.3.0.1-10.3.0.99"], "disable": True},
        "status": {"allocatedIPs": json.dumps(leases)},
    }  # fmt: skip
    kept = {"apiVersion": API, "kind": "SpiderReservedIP", "metadata": {"name": "kept"},
            "spec": {"ips": ["10.3.0.2", "10.3.0.90"]}}  # fmt: skip
    return json.dumps({"apiVersion": "v1", "kind": "List", "items": [pool, kept]}, indent=1)


def test_a_dry_run_writes_nothing(web: Cli, file: Callable[[str, str], str]) -> None:
    """It says what would be done, on stderr and in the answer."""
    path = file("dump.json", dump(3))
    before = web.json("get", "pools").data
    result = web("import", path, "--dry-run", "-o", "json")
    assert result.code == 0
    assert result.err.endswith("dry run: nothing was changed\n")
    data = result.data
    assert (data["dry_run"], data["imported"], data["source"]) == (True, 3, "dump.json")
    assert {entry["name"]: entry["result"] for entry in data["objects"]} == {
        "old": "created", "kept": "created",
    }  # fmt: skip
    assert web.json("get", "pools").data == before
    assert "3 leases would be imported" in web.ok("import", path, "--dry-run")


def test_a_dump_is_imported_once(web: Cli, file: Callable[[str, str], str]) -> None:
    """A second time nothing is written; events say where the leases are from."""
    path = file("dump.json", dump(3))
    result = web("import", path, "--cluster", "c1", "--source", "c1-spiderpool", "--reason", "move")
    assert result.code == 0
    assert "3 leases imported, 0 here already" in result.out
    assert "ipledger: c1-spiderpool (spiderpool): 2 of 2 definitions to change" in result.err
    position = web.json("import", path, "--cluster", "c1").data["position"]
    again = web.json("import", path, "--cluster", "c1").data
    assert (again["imported"], again["held"], again["position"]) == (0, 3, position)
    (lease,) = [one for one in web.json("get", "leases").items if one["address"] == "10.3.0.2"]
    assert (lease["owner"], lease["uid"], lease["cluster"]) == ("c1/ns/web-1", "u1", "c1")
    event = json.loads(web.ok("follow", "--from", str(lease["lease"]), "--until-end")
                       .splitlines()[0])  # fmt: skip
    assert (event["data"]["source"], event["reason"]) == ("c1-spiderpool", "move")
    assert "No breach" in web.ok("audit")


def test_times_are_those_of_there(web: Cli, file: Callable[[str, str], str]) -> None:
    """A lease began and ends when the file says; the history has it from then on."""
    web.ok("import", file("l.csv", f"{CSV}10.0.0.11,box,{SINCE},{UNTIL},mac=aa:bb\n"))
    (lease,) = web.json("get", "leases").items
    assert (lease["expires_at"], lease["labels"]) == ("2099-01-01T00:00:00.250Z", {"mac": "aa:bb"})
    then = web.json("history", "ip", "10.0.0.11", "--at", "2026-02-01T00:00:00Z").data
    assert "box" in json.dumps(then)


def test_what_cannot_be_imported_is_told_and_the_rest_is(
    web: Cli, file: Callable[[str, str], str]
) -> None:
    """With where it stands and why; the exit code says that something is missing."""
    web.ok("allocate", "--pool", "web", "--owner", "here", "--ip", "10.0.0.12")
    path = file("l.csv", CSV + "".join((
        "10.0.0.11,a,,,\n", "10.0.0.12,b,,,\n", "9.9.9.9,c,,,\n", f"10.0.0.13,d,{UNTIL},,\n",
        "10.0.0.14,e,2020-01-01T00:00:00Z,2021-01-01T00:00:00Z,\n",
    )))  # fmt: skip
    result = web("import", path)
    assert result.code == 4
    assert "1 lease imported, 0 here already" in result.out
    assert "1 lease past its end left out" in result.out
    for told in ("l.csv, line 3", "leased to here", "no pool has 9.9.9.9",
                 "since 2099-01-01T00:00:00.250Z is in the future: it is 2"):  # fmt: skip
        assert told in result.out
    data = web("import", path, "-o", "json").data
    assert [entry["kind"] for entry in data["refused"]] == ["conflict", "not_found", "invalid"]
    assert [entry["owner"] for entry in data["past"]] == ["e"]
    lines = web("import", path, "-o", "jsonl").out.splitlines()
    assert [json.loads(line)["owner"] for line in lines] == ["b", "c", "d"]


def test_kea_and_its_declined_addresses(web: Cli, file: Callable[[str, str], str]) -> None:
    """Leases and quarantines, once; prefixes are told."""
    end = int(time.time()) + 3_600
    kea4 = file("leases4.csv", "address,hwaddr,valid_lifetime,expire,hostname,state\n"
                f"10.0.0.11,02:00:00:00:00:01,7200,{end},h1,0\n"
                f"10.0.0.12,,7200,{end},,1\n")  # fmt: skip
    data = web.json("import", kea4).data
    assert (data["imported"], data["quarantined"]) == (1, ["10.0.0.12"])
    again = web.json("import", kea4).data
    assert (again["held"], again["quarantined"], again["position"]) == (1, [], data["position"])
    kea6 = file("leases6.csv",
                "address,duid,valid_lifetime,expire,lease_type,iaid,prefix_len,hostname\n"
                f"fd00::5,00:01,7200,{end},0,1,128,\n"
                f"fd00::100:0,00:01,7200,{end},2,7,112,\n")  # fmt: skip
    assert web.json("import", kea6).data["imported"] == 2
    assert web.json("import", kea6).data["held"] == 2
    address, prefix = web.json("get", "leases").items[1:]
    assert (address["owner"], address["interface"]) == ("duid/00:01", "na-1")
    assert (prefix["owner"], prefix["interface"]) == ("duid/00:01", "pd-7")
    assert (prefix["address"], prefix["prefix_length"]) == ("fd00::100:0", 112)
    assert "No breach" in web.ok("audit")


def test_an_export_into_an_empty_space_has_the_same_content(
    web: Cli, file: Callable[[str, str], str], tmp_path: Path
) -> None:
    """A dump, a Kea file, what was granted and renewed here: pools, reservations and leases."""
    end = int(time.time()) + 3_600
    web.ok("import", file("dump.json", dump(5)), "--cluster", "c1")
    web.ok("import", file("leases4.csv", "address,hwaddr,valid_lifetime,expire,state\n" + "".join(
        f"10.0.0.{n},02:00:00:00:00:{n:02},7200,{end + n},0\n" for n in range(11, 16)
    )))  # fmt: skip
    web.ok("allocate", "--pool", "six", "--owner", "native", "--ttl", "1h", "--label", "a=b")
    renewed = web.json("allocate", "--pool", "web", "--owner", "r", "--ttl", "1h").data["leases"][0]
    web.ok("renew", str(renewed["lease"]), "--ttl", "2h")
    web.ok("apply", "-f", file("more.yaml", reservation_yaml("own", "fd00::9", more="owner: me")))
    here = web.json("import", file("one.csv", CSV + "10.0.0.19,last,,,\n")).data
    assert web.json("export", "--digest").data["content_digest"] == here["content_digest"]
    space = web.options[-1]
    for form, copy in (("yaml", f"{space}-y"), ("jsonl", f"{space}-l")):
        (tmp_path / form).write_text(web.ok("export", "-o", form), "utf-8")
        web.ok("space", "create", copy)
        there = web.json("import", "--space", copy, str(tmp_path / form)).data
        assert there["format"] == "ipledger"
        assert there["imported"] == 13
        assert there["content_digest"] == here["content_digest"]
        again = web.json("import", "--space", copy, str(tmp_path / form)).data
        assert (again["imported"], again["position"]) == (0, there["position"])


def test_an_import_that_is_killed_goes_on(cli: Cli, file: Callable[[str, str], str]) -> None:
    """Killed between two of its commits: run again, it writes what is missing, and that once."""
    leases = 6 * CHUNK_LEASES
    cli.ok("apply", "-f", file("p.yaml", pool_yaml("wide", "10.8.0.0/16", "10.8.0.0-10.8.255.255")))
    rows = "".join(f"10.8.{n >> 8}.{n & 255},box-{n},,,\n" for n in range(leases))
    path = file("l.csv", CSV + rows)
    space, url = cli.options[-1], cli.options[1]
    client = redis.Redis.from_url(url)
    asked = [sys.executable, "-m", "ipledger", *cli.options, "import", path]
    with subprocess.Popen(asked, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as running:
        while client.xlen(f"ipledger:{{{space}}}:events") < CHUNK_LEASES and running.poll() is None:
            time.sleep(0.005)
        os.kill(running.pid, signal.SIGKILL)
    client.close()
    stood = len(cli.json("get", "leases").items)
    assert stood % CHUNK_LEASES == 0
    data = cli.json("import", path).data
    assert (data["imported"], data["held"]) == (leases - stood, stood)
    assert data["position"] == leases + 2


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.csv", "address,owner\n10.0.0.11,a\n10.0.0.12\n", "a.csv, line 3: 1 columns, not 2"),
        ("a.csv", "address,owner\n10.0.0.11,a\nx,b\n", "a.csv, line 3: address: 'x'"),
        ("a.csv", "address,hwaddr,valid_lifetime,expire\n1,2\n", "a.csv, line 2: 2 columns"),
        ("a.json", '{"apiVersion": "v1", "kind": "List", "items": [{]}', "a.json: line 1"),
        ("a.yaml", "apiVersion: v1\nkind: List\nitems: 5\n", "items: must be a list"),
        ("a.yaml", "apiVersion: ipledger/v1\nkind: Lease\nspec: {owner: a}\n", "spec.pool"),
        ("a.yaml", "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n", "is not known"),
        ("leases", "lease 10.0.0.1 {\n  starts 1 2026/01/01 00:00:00;\n}\n", "ISC's dhcpd"),
        ("a.txt", "hello\n", "its format is not known"),
        ("a.txt", "", "its format is not known"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_whole(
    web: Cli, file: Callable[[str, str], str], name: str, text: str, told: str
) -> None:
    """Exit code 6, the place in the message, no traceback, nothing written."""
    result = web("import", file(name, text), "-o", "json")
    assert result.code == 6, result
    assert told in result.error["message"]
    assert "Traceback" not in result.err
    assert web.json("get", "leases").items == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["import"], 2), (["import", "FILE", "--format", "dhcpd"], 2),
        (["import", ""], 6), (["import", "NOWHERE"], 6), (["import", "FILE", "--source", ""], 6),
        (["import", "FILE", "--cluster", "a\nb"], 6), (["import", "FILE", "--source", "\x07"], 6),
        (["import", "FILE", "--format", "kea4"], 6), (["import", "FILE", "FILE"], 6),
        (["import", "FILE", "--space", "nowhere"], 3),
    ],
)  # fmt: skip
def test_bad_arguments(
    web: Cli, file: Callable[[str, str], str], words: list[str], code: int
) -> None:
    """Each ends with the code of its kind."""
    path = file("l.csv", f"{CSV}10.0.0.11,a,,,\n")
    result = web(*[path if word == "FILE" else word for word in words], "-o", "json")
    assert result.code == code, result
    assert "Traceback" not in result.err


def test_a_pipe_and_bytes_that_are_no_text(web: Cli) -> None:
    """Standard input is named so; what is not UTF-8 is refused."""
    result = web("import", "-", stdin=f"{CSV}10.0.0.11,a,,,\n".encode())
    assert result.code == 0
    assert "ipledger: stdin (csv)" in result.err
    assert web("import", "-", stdin=b"address,owner\n10.0.0.11,\xff\n").code == 6


def test_a_space_of_level_1_is_raised_first(web: Cli, monkeypatch: pytest.MonkeyPatch,
                                            file: Callable[[str, str], str]) -> None:  # fmt: skip
    """Refused before the pools are written."""
    from projections.state import LedgerState

    monkeypatch.setattr(LedgerState, "level", property(lambda _state: 1))
    result = web("import", file("dump.json", dump(2)), "-o", "json")
    assert (result.code, result.error["kind"]) == (4, "forbidden")
    assert "ipledger space raise" in result.error["hint"] or "space raise" in result.error["hint"]
    assert [one["name"] for one in web.json("get", "pools").items] == ["six", "web"]


def test_the_formats_are_those_that_are_read() -> None:
    """The command line knows their names without importing the readers."""
    assert importing._FORMATS == FORMATS
