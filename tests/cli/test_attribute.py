"""`attribute`: a flow file in, the same file with owners out; every way a file can be wrong."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, Result, shown

TIME_AND_SRC = ("--time-column", "t", "--address-column", "src")


@pytest.fixture
def told(web: Cli) -> Cli:
    """A space in which a, then b, held 10.0.0.10, b until now; c holds an address of v6."""
    web.ok("allocate", "--pool", "web", "--owner", "a,1", "--label", "app=web")
    web.ok("release", "--owner", "a,1")
    web.ok("allocate", "--pool", "web", "--owner", "b")
    web.ok("allocate", "--pool", "six", "--owner", "c", "--cluster", "c1")
    return web


def moments(cli: Cli, address: str) -> list[dict[str, str]]:
    """When an address was held from and to, as `history ip` prints it."""
    items: list[dict[str, str]] = cli.json("history", "ip", address).items
    return items


def attribute(cli: Cli, *words: str, stdin: bytes | None = None) -> Result:
    """Run it with JSON for the summary."""
    return cli("attribute", *words, "-o", "json", stdin=stdin)


def test_csv_gets_columns(told: Cli, tmp_path: Path) -> None:
    """By the time of each record, borders half-open; the fields that were there are untouched."""
    first, second = moments(told, "10.0.0.10")
    (six,) = told.json("get", "leases", "--owner", "c").items
    flows = tmp_path / "flows.csv"
    flows.write_text(
        "t,src,dst\n"
        f'{second["from"]},10.0.0.10,"{six["address"].upper()}"\n'
        f"{first['from']},10.0.0.10,-\n{first['to']},10.0.0.11,10.0.0.10\n"
        "2020-01-01T00:00:00Z,10.0.0.10,\n2999-01-01T00:00:00Z,10.0.0.10,10.0.0.10\n"
    )
    result = attribute(told, str(flows), *TIME_AND_SRC, "--address-column", "dst",
                       "--add", "owner,lease,labels,pool,interface,cluster")  # fmt: skip
    assert result.code == 0, result
    lines = result.out.splitlines()
    added = ("status", "owner", "lease", "labels", "pool", "interface", "cluster")
    assert lines[0] == ",".join(["t,src,dst", *(f"{c}_{n}" for c in ("src", "dst") for n in added)])
    b, c = f"held,b,{second['lease']},{{}},web,eth0,", f"held,c,{six['lease']},{{}},six,eth0,c1"
    status_of_six = "held" if six["granted_at"] <= second["from"] else "unheld"
    assert lines[1].startswith(f'{second["from"]},10.0.0.10,"{six["address"].upper()}",{b},')
    assert lines[1].endswith(c if status_of_six == "held" else "unheld,,,,,,")
    assert f',held,"a,1",{first["lease"]},"{{""app"":""web""}}",web,eth0,,none,' in lines[2]
    assert f"{first['to']},10.0.0.11,10.0.0.10,unheld," in lines[3]
    assert '"a,1"' not in lines[3], "the end does not belong to a tenure"
    assert ",unknown,,,,,,,none," in lines[4]
    assert ",unknown,,,,,,,unknown," in lines[5]
    summary = json.loads(result.err)
    assert summary["records"] == 5
    assert [c["unknown"] for c in summary["columns"]] == [2, 1]


def test_json_lines_get_an_object(told: Cli, tmp_path: Path) -> None:
    """Members with a dot are paths; the record is otherwise as it was."""
    second = moments(told, "10.0.0.10")[1]
    record = {"t": second["from"], "net": {"src": "10.0.0.10"}, "more": [1.50, "\u2028"]}
    flows = tmp_path / "flows.jsonl"
    flows.write_text(f"{json.dumps(record)}\n")
    result = attribute(told, str(flows), "--time-column", "t", "--address-column", "net.src")
    answer = {"status": "held", "owner": "b", "lease": int(second["lease"]), "labels": {},
              "pool": "web"}  # fmt: skip
    assert result.out.startswith(json.dumps(record)[:-1])
    assert json.loads(result.out) == {**record, "net.src_attribution": answer}


def test_what_nobody_has_released_is_held_until_the_history_was_read(told: Cli) -> None:
    """Nothing happened since: that is known, and told as such; a moment later is not."""
    until_ms = time.time_ns() // 1_000_000 - 1_000
    early = told("attribute", "-", *TIME_AND_SRC, stdin=b"t,src\n1000000000000,10.0.0.10\n")
    assert ",unknown," in early.out
    while time.time_ns() // 1_000_000 < until_ms + 1_200:
        time.sleep(0.01)
    now_ms = time.time_ns() // 1_000_000
    text = f"t,src\n{now_ms - 5},10.0.0.10\n{now_ms + 60_000},10.0.0.10\n".encode()
    result = attribute(told, "-", *TIME_AND_SRC, stdin=text)
    assert result.out.splitlines()[1].split(",")[2:4] == ["held", "b"]
    assert result.out.splitlines()[2].split(",")[2] == "unknown"


def test_as_the_ledger_knew_it_then(told: Cli, tmp_path: Path) -> None:
    """With --known-at nothing counts that was recorded later, and no later time is known."""
    first, second = moments(told, "10.0.0.10")
    flows = tmp_path / "f.csv"
    flows.write_text(f"t,src\n{first['from']},10.0.0.10\n{second['from']},10.0.0.10\n")
    result = told("attribute", str(flows), *TIME_AND_SRC, "--known-at", first["from"])
    assert [line.split(",")[2] for line in result.out.splitlines()[1:]] == ["held", "unknown"]


def test_broken_records(told: Cli, tmp_path: Path) -> None:
    """They keep their place or are written aside; nothing is lost without being told."""
    at = moments(told, "10.0.0.10")[1]["from"]
    good, bad, short = f"{at},10.0.0.10\r\n", f"{at},10.0.0.010\r\n", "1,2,3\r\n"
    flows, out, aside = (tmp_path / name for name in ("f.csv", "out.csv", "aside.csv"))
    flows.write_bytes(f"t,src\r\n{good}{bad}{short}\r\nx,10.0.0.10\r\n{good}".encode())
    result = attribute(told, str(flows), *TIME_AND_SRC)
    assert [line.split(",")[2:3] for line in result.out.splitlines()] == [
        ["src_status"], ["held"], ["broken"], [], ["broken"], ["held"],
    ]  # fmt: skip
    summary = json.loads(result.err)
    assert (summary["records"], summary["broken"], summary["left_out"]) == (5, 3, 1)
    lines = {f["cause"]: [one["line"] for one in f["first"]] for f in summary["faults"]}
    assert lines == {"address": [3], "fields": [4], "time": [6]}

    told.ok("attribute", str(flows), *TIME_AND_SRC, "--into", str(out), "--rejects", str(aside))
    assert aside.read_bytes() == f"t,src\r\n{bad}{short}x,10.0.0.10\r\n".encode()
    assert b"broken" not in out.read_bytes()
    human = told("attribute", str(flows), *TIME_AND_SRC).err
    assert "1 × the time cannot be read:\n  line 6: 'x' is not a time" in human

    before = out.read_bytes()
    strict = told("attribute", str(flows), *TIME_AND_SRC, "--strict", "--into", str(out))
    assert (strict.code, out.read_bytes()) == (6, before)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "aside.csv", "f.csv", "manifest-0.yaml", "out.csv",
    ]  # fmt: skip


def test_gzip_in_and_out(told: Cli, tmp_path: Path) -> None:
    """Known by its first bytes, also from standard input; written if the name says so."""
    plain = b"t,src\n2020-01-01T00:00:00Z,10.0.0.10\n"
    expected = told("attribute", "-", *TIME_AND_SRC, stdin=plain).out.encode()
    assert (
        told("attribute", "-", *TIME_AND_SRC, stdin=gzip.compress(plain)).out.encode() == expected
    )
    (tmp_path / "f.csv").write_bytes(gzip.compress(plain[:9]) + gzip.compress(plain[9:]))
    out = tmp_path / "o.csv.gz"
    told.ok("attribute", str(tmp_path / "f.csv"), *TIME_AND_SRC, "--into", str(out))
    assert gzip.decompress(out.read_bytes()) == expected


def test_without_a_header_and_with_other_delimiters(told: Cli, tmp_path: Path) -> None:
    """Columns are numbers then; .tsv has tabs."""
    at = moments(told, "10.0.0.10")[1]["from"]
    line = f"{at}|x,y|10.0.0.10\n".encode()
    words = ("--no-header", "--time-column", "1", "--address-column", "3", "--delimiter", "|")
    assert told("attribute", "-", *words, stdin=line).out.startswith(
        line.decode().rstrip() + "|held|b|"
    )
    flows = tmp_path / "f.tsv"
    flows.write_text(f"\ufefft\tsrc\n{at}\t10.0.0.10\n", "utf-8")
    assert told("attribute", str(flows), *TIME_AND_SRC).out.splitlines()[1].split("\t")[3] == "b"
    assert told("attribute", "-", *words, stdin=b"").code == 6
    assert told("attribute", "-", "--format", "jsonl", *TIME_AND_SRC, stdin=b"").code == 0


def test_several_workers_write_what_one_does(told: Cli, tmp_path: Path) -> None:
    """More than one block, unsorted, with quotes and broken lines: byte for byte the same."""
    first, second = moments(told, "10.0.0.10")
    lines = [
        f"{(first, second)[n % 2]['from']},10.0.0.{n % 14},{'x' * (n % 90)}\n"
        + ('oops\n"' if n % 999 == 0 else "") + ('",,\n' if n % 999 == 0 else "")
        for n in range(50_000)
    ]  # fmt: skip
    flows = tmp_path / "f.csv"
    flows.write_text("t,src,more\n" + "".join(lines))
    assert flows.stat().st_size > 3 << 20
    outs = []
    for workers in ("1", "2"):
        out, aside = tmp_path / f"o{workers}", tmp_path / f"r{workers}"
        summary = json.loads(
            attribute(told, str(flows), *TIME_AND_SRC, "--into", str(out), "--rejects", str(aside),
                      "--workers", workers).out
        )  # fmt: skip
        del summary["seconds"], summary["records_per_s"], summary["known_until"]
        outs.append((out.read_bytes(), aside.read_bytes(), summary))
    assert outs[0] == outs[1]
    assert outs[0][2]["broken"] == 102


@pytest.mark.parametrize(
    ("content", "words", "code", "told_of"),
    [
        (None, [], 3, "no such file"),
        (b"", [], 6, "no header"),
        (b"\n", [], 6, "no header"),
        (b"t,src\n", [], 0, ""),
        (b"t,src", [], 0, ""),
        (b"time,src\n", [], 6, "there are: time, src"),
        (b"t,src,src\n", [], 6, "several columns"),
        (b"t,src,src_owner\n", [], 6, "src_owner already"),
        (b"t,src\n", ["--address-column", "src"], 6, "named twice"),
        (b"t,src\n", ["--address-column", "t"], 6, "named twice"),
        (b't,"src\n', [], 6, "never closed"),
        (b"t,src\n" + b"x" * 3_000_000, [], 6, "line 2: the record does not end"),
        (gzip.compress(b"t,src\n" * 9_000, mtime=0)[:-20], [], 6, "breaks off"),
        (gzip.compress(b"t,src\n", mtime=0)[:-8] + b"12345678", [], 6, "damaged"),
        (b"t,src\n", ["--delimiter", "::"], 6, "not one character"),
        (b"t,src\n", ["--add", "owner,nope"], 6, "no field"),
        (b"t,src\n", ["--add", "owner,owner"], 6, "twice"),
        (b"t,src\n", ["--workers", "0"], 6, "--workers"),
        (b"t,src\n", ["--known-at", "2999-01-01T00:00:00Z"], 6, "future"),
        (b"t,src\n", ["--into", "."], 6, "directory"),
        (b"t,src\n", ["--into", "nowhere/out"], 6, "No such file"),
        (b"t,src\n", ["--time-format", "stardate"], 2, ""),
        (b'{"t": 1}\n', ["--no-header"], 6, "JSON lines"),
        (b'{"x": 1}\n{"y": 2}\n', [], 6, "no record can be attributed"),
        (b'[{"t": 1}]\n', ["--format", "jsonl"], 0, ""),
    ],
    ids=shown,
)  # fmt: skip
def test_misuse(
    web: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes | None,
    words: list[str], code: int, told_of: str,
) -> None:  # fmt: skip
    """A clear answer for each, and no file left behind."""
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    if content is not None:
        (tmp_path / "flows").write_bytes(content)
    result = web("attribute", "flows", *TIME_AND_SRC, *words)
    assert result.code == code, result
    assert told_of in result.err
    assert {path.name for path in set(tmp_path.iterdir()) - before} <= {"flows", "state", "home"}


def test_a_directory_and_an_array(web: Cli, tmp_path: Path) -> None:
    """Neither is a file of records."""
    assert web("attribute", str(tmp_path), *TIME_AND_SRC).code == 6
    (tmp_path / "f.json").write_text("[\n{}]")
    assert "jq" in web("attribute", str(tmp_path / "f.json"), *TIME_AND_SRC).err


def started(told: Cli, flows: Path, *words: str) -> subprocess.Popen[bytes]:
    """The command as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "ipledger", *told.options, "attribute", str(flows), *TIME_AND_SRC,
         "--workers", "2", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip


@pytest.fixture
def long_file(tmp_path: Path) -> Path:
    """A file that takes a while."""
    flows = tmp_path / "long.csv"
    flows.write_text("t,src\n" + "2020-01-01T00:00:00Z,10.0.0.10\n" * 400_000)
    return flows


def test_who_reads_the_pipe_may_leave(told: Cli, long_file: Path) -> None:
    """As with `| head`: it ends at once and says nothing."""
    with started(told, long_file) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith(b"t,src,src_status")
        process.stdout.close()
        assert process.wait(30) == 141
        assert process.stderr.read() == b""


def test_ctrl_c(told: Cli, long_file: Path, tmp_path: Path) -> None:
    """A terminal sends it to all processes: one line, no traceback, no half of a file."""
    out = tmp_path / "out"
    with subprocess.Popen(
        [sys.executable, "-m", "ipledger", *told.options, "attribute", "-", *TIME_AND_SRC,
         "--into", str(out), "--workers", "2"],
        stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        # Its input does not end, so the signal always comes in the middle; what it has taken of
        # this is more than a pipe and the blocks that it reads ahead can hold.
        process.stdin.write(long_file.read_bytes())
        process.stdin.flush()
        os.killpg(process.pid, signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read().split() == [b"interrupted"]
        assert process.wait(30) == 130
    assert not out.exists()
    assert not list(tmp_path.glob(".out-*"))
