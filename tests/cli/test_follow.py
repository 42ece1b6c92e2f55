"""`follow`: events as JSON lines, commit by commit, whatever becomes of the server."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pytest
import redis

from ipledger import embedded
from ipledger.ledger import connect
from tests.cli.conftest import Cli, pool_yaml

ROOT = Path(__file__).parents[2]


def _events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_from_a_position_to_the_end(web: Cli) -> None:
    """--from includes; positions are gapless; a commit is told whole."""
    events = _events(web.ok("follow", "--from", "1", "--until-end"))
    assert [event["position"] for event in events] == [1, 2, 3]
    assert [event["type"] for event in events] == ["SpaceCreated", "PoolCreated", "PoolCreated"]
    assert _events(web.ok("follow", "--from", "2", "--until-end")) == events[1:]
    assert web.ok("follow", "--from", "4", "--until-end") == ""
    assert web.ok("follow", "--until-end") == ""


def test_from_a_time(web: Cli) -> None:
    """A time that was printed includes the event that it was printed for."""
    events = _events(web.ok("follow", "--from", "-1h", "--until-end"))
    since = events[1]["time"]
    after = _events(web.ok("follow", "--from", since, "--until-end"))
    assert after == [event for event in events if event["time"] >= since]


def test_a_position_inside_a_commit_is_refused(web: Cli) -> None:
    """Naming where the commit begins, and where the next one does."""
    result = web("follow", "--from", "3", "--until-end", "-o", "json")
    assert (result.code, result.out) == (6, "")
    assert result.error["hint"] == "it begins at 2, and the next one at 4"


def test_types_are_chosen(web: Cli) -> None:
    """In any case of letters; an unknown one is told the known ones."""
    web.ok("allocate", "--pool", "web", "--owner", "a")
    asked = ["--from", "1", "--until-end", "--type", "leasegranted", "--type", "SpaceCreated"]
    assert [e["type"] for e in _events(web.ok("follow", *asked))] == [
        "SpaceCreated", "LeaseGranted",
    ]  # fmt: skip
    result = web("follow", "--type", "Nope")
    assert result.code == 6
    assert "LeaseGranted" in result.err


def test_yaml_documents(web: Cli) -> None:
    """With -o yaml, each event is a document of its own."""
    assert web.ok("follow", "--from", "2", "--until-end", "-o", "yaml").count("---\n") == 2


@pytest.mark.parametrize(
    ("start", "code"), [("0", 6), ("99", 6), ("9" * 5_000, 6), ("garbage", 6), ("", 6)],
    ids=["zero", "beyond", "digits", "garbage", "empty"],
)  # fmt: skip
def test_a_bad_start_is_refused(web: Cli, start: str, code: int) -> None:
    """Before anything is printed."""
    result = web("follow", "--from", start, "--until-end")
    assert (result.code, result.out) == (code, "")


def test_looking_does_not_write(at_home: Cli) -> None:
    """Following a space that nobody has used yet does not make it."""
    assert at_home.ok("follow", "--from", "1", "--until-end") == ""
    assert at_home.json("get", "spaces").items == []


class Follower:
    """`ipledger follow` in a process of its own; its lines as they come."""

    def __init__(self, home: Path, *words: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ipledger", "--data-dir", str(home), "follow", *words],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self.said: list[str] = []
        assert self.process.stderr is not None
        threading.Thread(target=self._listen, args=(self.process.stderr,), daemon=True).start()

    def _listen(self, pipe: IO[str]) -> None:
        self.said.extend(pipe)

    def line(self) -> dict[str, Any]:
        """The next event."""
        assert self.process.stdout is not None
        event: dict[str, Any] = json.loads(self.process.stdout.readline())
        return event

    def wait_for(self, words: str) -> None:
        """Until stderr has said so."""
        deadline = time.monotonic() + 20
        while not any(words in line for line in self.said):
            assert time.monotonic() < deadline, self.said
            time.sleep(0.01)


@pytest.fixture
def follower(home: Path) -> Iterator[Callable[..., Follower]]:
    """Start followers of the module's embedded server; none is left behind."""
    started: list[Follower] = []

    def start(*words: str) -> Follower:
        started.append(Follower(home, *words))
        return started[-1]

    yield start
    for follower in started:
        follower.process.kill()
        follower.process.communicate()


def test_it_goes_on_when_the_server_is_back(
    home: Path, at_home: Cli, follower: Callable[..., Follower], manifest: Callable[[str], str]
) -> None:
    """Stopped and started anew, the server is waited for; nothing is lost or told twice."""
    at_home.ok("apply", "-f", manifest(pool_yaml("web", "10.0.0.0/24", "10.0.0.1-10.0.0.9")))
    following = follower("--from", "1")
    assert [following.line()["position"] for _ in range(2)] == [1, 2]
    assert embedded.stop(home)
    following.wait_for("waiting for it")
    at_home.ok("allocate", "--pool", "web", "--owner", "a")
    event = following.line()
    assert (event["position"], event["data"]["owner"]) == (3, "a")
    following.wait_for("is back")
    assert len(following.said) == 2


def _await_blocked_client(home: Path) -> None:
    """Until a client of the server waits for new entries."""
    running = embedded.status(home)
    assert running is not None
    with redis.Redis.from_url(running.url) as client:
        while int(client.info("clients")["blocked_clients"]) == 0:
            time.sleep(0.005)


def test_control_c_ends_it(home: Path, follower: Callable[..., Follower]) -> None:
    """Exit code 130 and one word, no traceback."""
    with connect(home=home) as ledger:
        ledger.ensure_space()
    following = follower("--from", "1")
    following.line()
    _await_blocked_client(home)
    following.process.send_signal(signal.SIGINT)
    assert following.process.wait(timeout=20) == 130
    following.wait_for("interrupted")
    assert not any("Traceback" in line for line in following.said)


def test_a_closed_pipe_ends_it(
    home: Path, at_home: Cli, follower: Callable[..., Follower], manifest: Callable[[str], str]
) -> None:
    """As in ``| head -1``: silently, with the code that a shell gives to SIGPIPE."""
    with connect(home=home) as ledger:
        ledger.ensure_space()
    following = follower("--from", "1")
    following.line()
    assert following.process.stdout is not None
    following.process.stdout.close()
    at_home.ok("apply", "-f", manifest(pool_yaml("pipe", "10.7.0.0/24")))
    assert following.process.wait(timeout=20) == 141
    assert following.said == []
