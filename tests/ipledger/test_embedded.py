"""The embedded server is started once, found again, never loses data and never kills a stranger.

Nothing is simulated: every test runs the bundled server, and Debian's where there is one.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
import redis

from engine.errors import Unavailable
from ipledger import embedded
from ipledger._embedded_paths import make_directories
from tests.privileges import without_privileges

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT: Final = Path(__file__).resolve().parents[2]
PROC: Final = Path("/proc")
SYSTEM_SERVER: Final = shutil.which("redis-server")

needs_proc = pytest.mark.skipif(
    not (PROC / "self" / "cwd").exists(), reason="processes are counted through /proc"
)
needs_system_server = pytest.mark.skipif(
    SYSTEM_SERVER is None, reason="no redis-server on PATH to share data with"
)

# Three entries in one commit, as the append script writes them.
COMMIT: Final = (
    "for i = 1, 3 do redis.call('XADD', KEYS[1], '5-' .. (tonumber(ARGV[1]) + i), 'e', 'x') end"
)


def servers_below(directory: Path) -> list[int]:
    """The living processes that work in ``directory`` or below; a zombie is not alive."""
    found = []
    for process in PROC.glob("[0-9]*"):
        with suppress(OSError):
            state = (process / "stat").read_text().rpartition(")")[2].split()[0]
            where = (process / "cwd").readlink()
            if state != "Z" and (where == directory or directory in where.parents):
                found.append(int(process.name))
    return found


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A short directory; every server started below it is ended when the test is over."""
    monkeypatch.delenv("IPLEDGER_SERVER", raising=False)
    base = Path(tempfile.mkdtemp(prefix="ipl-")).resolve()
    run = base / "run"
    run.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(run))
    yield base
    for data in [data for data in base.rglob("redis") if data.is_dir()]:
        with suppress(Unavailable):
            embedded.stop(data.parent, timeout_s=2)
    for pid in servers_below(base):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(base)


@pytest.fixture
def home(root: Path) -> Path:
    """A home that does not exist yet."""
    return root / "home"


def add(running: embedded.Running, *ids: str) -> None:
    """Append entries to the one stream that these tests use."""
    with redis.Redis.from_url(running.url) as client:
        for entry_id in ids:
            client.xadd("events", {"e": "x"}, id=entry_id)


def ids_in(running: embedded.Running) -> list[str]:
    """The ids of all entries."""
    with redis.Redis.from_url(running.url) as client:
        return [entry_id.decode() for entry_id, _ in client.xrange("events")]


def child(program: str, *arguments: object) -> list[str]:
    """The command line of a fresh interpreter that runs ``program`` against this checkout."""
    opening = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from pathlib import Path\n"
    return [sys.executable, "-c", opening + program, *map(str, arguments)]


def wrapped_server(path: Path, *, before: str = "", options: str = "") -> str:
    """Write a script that is the bundled server, but for what it does first or is also told."""
    bundled = embedded.find_server(None)
    path.write_text(
        f'#!/bin/sh\ncase "$1" in --version) exec {bundled} --version;; esac\n'
        f'{before}\nexec {bundled} "$@" {options}\n'
    )
    path.chmod(0o700)
    return str(path)


def incremental_file(home: Path) -> Path:
    """The part of the append-only file that the server writes to."""
    (found,) = embedded.paths_for(home).data.glob("appendonlydir/*.incr.aof")
    return found


def test_the_first_call_starts_and_the_second_finds(home: Path) -> None:
    """The second call returns the server of the first, which answers under its URL."""
    first = embedded.ensure_running(home)
    second = embedded.ensure_running(home)
    assert first.started
    assert second == first._replace(started=False) == embedded.status(home)
    assert first.url == f"unix://{first.socket}"
    assert first.server.startswith("valkey 9.")
    with redis.Redis.from_url(first.url) as client:
        assert client.info("server")["process_id"] == first.pid


@needs_proc
def test_stop_returns_when_the_process_is_gone(home: Path) -> None:
    """After `stop` no process, no socket and no status is left; a second one finds nothing."""
    running = embedded.ensure_running(home)
    assert servers_below(home) == [running.pid]
    assert embedded.stop(home) is True
    assert servers_below(home) == []
    assert not running.socket.exists()
    assert embedded.status(home) is None
    assert embedded.stop(home) is False


def test_stop_waits_for_every_process_of_the_server(root: Path, home: Path) -> None:
    """A server is not gone while a child that it left behind may still write to its files."""
    lingering = wrapped_server(root / "lingering", before="sleep 0.6 &")
    running = embedded.ensure_running(home, lingering)
    with pytest.raises(Unavailable, match=f"pid {running.pid}.* has not ended yet"):
        embedded.stop(home, timeout_s=0.2)
    assert embedded.ensure_running(home).started


def test_asking_about_an_unused_home_makes_nothing(home: Path) -> None:
    """`status` and `stop` on a home that was never used leave no directory behind."""
    assert embedded.status(home) is None
    assert embedded.stop(home) is False
    assert not home.exists()


def test_the_settings_that_keep_data_are_in_force(home: Path) -> None:
    """What the guarantees rest on is asked of the server itself, not of our command line."""
    with redis.Redis.from_url(embedded.ensure_running(home).url, decode_responses=True) as client:
        settings = client.config_get()
    wanted = {
        "port": "0",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-use-rdb-preamble": "no",
        "maxmemory-policy": "noeviction",
    }
    assert {name: settings[name] for name in wanted} == wanted


def test_data_outlives_a_stop(home: Path) -> None:
    """What was written before a stop is there after the next start."""
    add(embedded.ensure_running(home), "1-1", "2-2")
    embedded.stop(home)
    assert ids_in(embedded.ensure_running(home)) == ["1-1", "2-2"]


def test_data_outlives_a_kill(home: Path) -> None:
    """A server killed at once after a write is restarted by the next call, with that write."""
    first = embedded.ensure_running(home)
    add(first, "1-1")
    os.kill(first.pid, signal.SIGKILL)
    second = embedded.ensure_running(home)
    assert second.started
    assert second.pid != first.pid
    assert ids_in(second) == ["1-1"]


# A child that announces itself, waits for a file to appear, and then wants the server.
RACER: Final = (
    "from ipledger import embedded\n"
    "import json\n"
    "home, go = map(Path, sys.argv[1:])\n"
    "print('ready', flush=True)\n"
    "while not go.exists(): pass\n"
    "running = embedded.ensure_running(home)\n"
    "print(json.dumps([running.started, running.pid, running.url]))"
)


@needs_proc
def test_six_first_calls_start_one_server(root: Path, home: Path) -> None:
    """Of six processes racing on an empty directory one starts the server and all can use it."""
    go = root / "go"
    racers = [
        subprocess.Popen(child(RACER, home, go), stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    go.touch()
    answers = [json.loads(racer.communicate(timeout=30)[0]) for racer in racers]
    assert sorted(started for started, _, _ in answers) == [False] * 5 + [True]
    ((pid, _),) = {(pid, url) for _, pid, url in answers}
    assert servers_below(home) == [pid]


def has_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    for link in (PROC / str(pid) / "fd").glob("*"):
        with suppress(FileNotFoundError):  # It was closed meanwhile.
            if link.readlink() == path:
                return True
    return False


@needs_proc
def test_a_caller_kept_waiting_looks_for_the_socket_again(root: Path) -> None:
    """Two first callers with different runtime directories meet on the socket of the first."""
    home, elsewhere = root / ("deep" * 30), root / "elsewhere"
    elsewhere.mkdir()
    paths = embedded.paths_for(home)
    make_directories(paths)
    with embedded._locked(paths.lock_file, time.monotonic()):
        waiting = subprocess.Popen(
            child(RACER, home, root),
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"XDG_RUNTIME_DIR": str(elsewhere)},
        )
        while not has_open(waiting.pid, paths.lock_file):
            assert waiting.poll() is None
        first = embedded._start(paths, embedded.find_server(None), time.monotonic() + 10)
    answer = waiting.communicate(timeout=30)[0].splitlines()[-1]
    assert json.loads(answer) == [False, first.pid, f"unix://{paths.socket}"]


def test_stale_files_are_survived(home: Path) -> None:
    """A left-over socket and a pid file naming a stranger stop nothing and harm nobody."""
    embedded.ensure_running(home)
    embedded.stop(home)
    paths = embedded.paths_for(home)
    with subprocess.Popen(["sleep", "60"]) as stranger:
        paths.pid_file.write_text(f"{stranger.pid}\n")
        with socket.socket(socket.AF_UNIX) as left_over:
            left_over.bind(str(paths.socket))
        assert embedded.status(home) is None
        assert embedded.stop(home) is False
        assert embedded.ensure_running(home).started
        paths.pid_file.write_text(f"{stranger.pid}\n")
        assert embedded.stop(home) is True
        assert stranger.poll() is None
        stranger.kill()


@needs_proc
def test_a_server_without_its_socket_gets_no_rival(home: Path) -> None:
    """When the socket was removed, nobody starts a second server on the same files."""
    running = embedded.ensure_running(home)
    running.socket.unlink()
    with pytest.raises(Unavailable, match="does not listen") as caught:
        embedded.ensure_running(home, start_timeout_s=0.1)
    assert str(embedded.paths_for(home).pid_file) in caught.value.hint
    with pytest.raises(Unavailable, match="does not listen"):
        embedded.stop(home, timeout_s=0.1)
    assert servers_below(home) == [running.pid]
    # As the hint says; the next call waits until it has ended.
    os.kill(running.pid, signal.SIGTERM)
    assert embedded.ensure_running(home).started


def test_the_server_of_another_home_is_neither_used_nor_stopped(root: Path) -> None:
    """A server that answers on our socket, but keeps its data elsewhere, is refused."""
    theirs, ours = root / "theirs", root / "ours"
    embedded.ensure_running(ours)
    embedded.stop(ours)
    running = embedded.ensure_running(theirs)
    place = embedded.paths_for(ours).socket
    running.socket.rename(place)
    for call in (embedded.ensure_running, embedded.status, embedded.stop):
        with pytest.raises(Unavailable, match=f"pid {running.pid}.* keeps its data in '{theirs}"):
            call(ours)
    place.rename(running.socket)
    assert embedded.status(theirs) == running._replace(started=False)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        pytest.param(b"HTTP/1.1 400 Bad Request\r\n", "cannot be used", id="another-protocol"),
        pytest.param(b"-NOAUTH Authentication required.\r\n", "NOAUTH", id="a-password"),
        pytest.param(b"", "does not answer", id="hangs-up"),
        pytest.param(None, "does not answer", id="silence"),
    ],
)
def test_what_is_no_usable_server_is_said_so(
    home: Path, answer: bytes | None, complaint: str
) -> None:
    """A listener that does not answer like our server ends in a clear error, in time."""
    paths = embedded.paths_for(home)
    paths.data.mkdir(parents=True)

    def serve(listener: socket.socket) -> None:
        kept = []
        with suppress(OSError):
            while True:
                connection = listener.accept()[0]
                kept.append(connection)
                connection.recv(1024)
                if answer is not None:
                    connection.sendall(answer)
                    connection.close()
        for connection in kept:
            connection.close()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(paths.socket))
        listener.listen()
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        with pytest.raises(Unavailable, match=complaint):
            embedded.ensure_running(home, start_timeout_s=0.2)
        listener.shutdown(socket.SHUT_RDWR)
        server.join()


def test_a_server_that_is_loading_is_waited_for(root: Path, home: Path) -> None:
    """`ensure_running` returns when the data is there, also when that outlasts the timeout."""
    running = embedded.ensure_running(home)
    with redis.Redis.from_url(running.url) as client, client.pipeline(transaction=False) as pipe:
        for number in range(7_000):
            pipe.set(f"key-{number}", 1)
        pipe.execute()
    embedded.stop(home)
    # The setting is made for tests: 0.1 ms a key.
    slow = wrapped_server(root / "slow", options="--key-load-delay 100")
    begin = time.monotonic()
    running = embedded.ensure_running(home, slow, start_timeout_s=1)
    assert time.monotonic() - begin > 1, "the server was not slow: this test shows nothing"
    with redis.Redis.from_url(running.url) as client:
        assert client.dbsize() == 7_000


def test_a_deep_directory_gets_a_short_socket(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A path of more than 200 characters works, and is found from another environment too."""
    home = root.joinpath(*["deep" * 10] * 5)
    assert len(str(home)) > 200
    running = embedded.ensure_running(home)
    assert running.socket.parent == root / "run" / f"ipledger-{os.getuid()}"
    assert stat.S_IMODE(running.socket.parent.stat().st_mode) == 0o700
    add(running, "1-1")
    # As a cron job, which knows of no runtime directory.
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert embedded.ensure_running(home) == running._replace(started=False)
    assert embedded.stop(home) is True
    assert ids_in(embedded.ensure_running(home)) == ["1-1"]


def test_a_copied_deep_directory_does_not_lead_to_the_original(root: Path) -> None:
    """The link in a copy names the server of the original, and is not followed."""
    original, copy = (root.joinpath(name, "deep" * 30) for name in ("original", "copy"))
    used = embedded.paths_for(original).socket
    copied = embedded.paths_for(copy)
    copied.data.mkdir(parents=True)
    used.parent.mkdir()
    copied.socket_link.symlink_to(used)
    assert embedded.paths_for(copy).socket == copied.socket != used


def open_to_all(place: Path) -> None:
    """Make a directory that every user can write to."""
    place.mkdir()
    place.chmod(0o777)


def someone_elses(place: Path) -> None:
    """Make a directory that belongs to another user."""
    place.mkdir(mode=0o700)
    os.chown(place, 12345, 12345)


def linked(place: Path) -> None:
    """Make a link, which may lead anywhere."""
    place.symlink_to(place.parent)


def a_file(place: Path) -> None:
    """Make a file where the directory should be."""
    place.touch()


needs_root = pytest.mark.skipif(os.getuid() != 0, reason="only root can give files away")


@pytest.mark.parametrize(
    "prepare", [open_to_all, linked, a_file, pytest.param(someone_elses, marks=needs_root)]
)
def test_a_place_that_others_prepared_is_refused(
    root: Path, prepare: Callable[[Path], None]
) -> None:
    """No socket is looked for or made in a shared directory that others can reach into."""
    prepare(root / "run" / f"ipledger-{os.getuid()}")
    with pytest.raises(Unavailable, match="only you can write"):
        embedded.ensure_running(root / ("deep" * 30))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("a b\"c'd", id="space-and-quotes"),
        pytest.param("back\\slash %41?#[x]&@ ü\n$(x) line", id="url-config-and-shell"),
        pytest.param(
            os.fsdecode(b"caf\xe9"),
            id="not-utf-8",
            marks=pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no such names"),
        ),
    ],
)
def test_a_directory_may_have_any_name(root: Path, name: str) -> None:
    """Odd names survive the configuration, the URL and the check of the data directory."""
    home = root / name
    add(embedded.ensure_running(home), "1-1")
    assert not embedded.ensure_running(home).started
    assert incremental_file(home).is_relative_to(home)
    assert embedded.stop(home)
    assert ids_in(embedded.ensure_running(home)) == ["1-1"]


def test_a_link_to_a_home_is_the_same_home(root: Path, home: Path) -> None:
    """Two spellings of one directory find one server."""
    running = embedded.ensure_running(home)
    (root / "link").symlink_to(home)
    assert embedded.ensure_running(root / "link") == running._replace(started=False)


def test_only_the_user_can_reach_anything(home: Path) -> None:
    """Directories and socket are 0700, the data is 0600, whatever stood there before."""
    paths = embedded.paths_for(home)
    embedded.ensure_running(home)
    for place in (paths.home, paths.data, paths.socket, paths.data / "appendonlydir"):
        assert stat.S_IMODE(place.stat().st_mode) == 0o700, place
    assert stat.S_IMODE(incremental_file(home).stat().st_mode) == 0o600
    embedded.stop(home)
    paths.data.chmod(0o755)
    embedded.ensure_running(home)
    assert stat.S_IMODE(paths.data.stat().st_mode) == 0o700


def test_a_caller_read_through_a_pipe_ends(home: Path) -> None:
    """The server keeps no descriptor of the caller: who waits for the end of its output gets it."""
    program = (
        "import os\n"
        "from ipledger import embedded\n"
        "os.set_inheritable(int(sys.argv[2]), True)\n"
        "print(embedded.ensure_running(Path(sys.argv[1])).started)"
    )
    reader, writer = os.pipe()
    done = subprocess.run(
        child(program, home, writer),
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
        pass_fds=(writer,),
    )
    os.close(writer)
    assert (done.stdout, done.stderr) == ("True\n", "")
    os.set_blocking(reader, False)
    assert os.read(reader, 1) == b"", "the server holds the caller's pipe open"
    os.close(reader)
    assert embedded.status(home) is not None


@needs_system_server
def test_the_server_of_the_system_is_used_when_asked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name on PATH, given or in IPLEDGER_SERVER, is started instead of the bundled one."""
    assert embedded.ensure_running(home, "redis-server").server.startswith("redis ")
    embedded.stop(home)
    monkeypatch.setenv("IPLEDGER_SERVER", "redis-server")
    running = embedded.ensure_running(home)
    assert running.started
    assert running.server.startswith("redis ")


@needs_system_server
@pytest.mark.parametrize(
    ("writer", "reader"),
    [
        pytest.param(None, "redis-server", id="valkey-then-redis"),
        pytest.param("redis-server", None, id="redis-then-valkey"),
    ],
)
def test_one_server_opens_what_another_wrote(
    home: Path, writer: str | None, reader: str | None
) -> None:
    """Users may change servers: the data opens, rewritten or not, with its last id."""
    first = embedded.ensure_running(home, writer)
    add(first, "1-1", "2-2")
    with redis.Redis.from_url(first.url) as client:
        client.bgrewriteaof()
        while client.info("persistence")["aof_rewrite_in_progress"]:
            time.sleep(0.01)
        client.eval(COMMIT, 1, "events", 2)
        client.xdel("events", "5-5")
    embedded.stop(home)
    second = embedded.ensure_running(home, reader)
    assert second.server.split()[0] != first.server.split()[0]
    assert ids_in(second) == ["1-1", "2-2", "5-3", "5-4"]
    with redis.Redis.from_url(second.url) as client:
        assert client.xinfo_stream("events")["last-generated-id"] == b"5-5"


def test_a_torn_commit_goes_as_a_whole(home: Path) -> None:
    """When power fails in the middle of a commit, none of it is there: it was not acknowledged."""
    running = embedded.ensure_running(home)
    with redis.Redis.from_url(running.url) as client:
        client.eval(COMMIT, 1, "events", 0)
        client.eval(COMMIT, 1, "events", 3)
    embedded.stop(home)
    written = incremental_file(home)
    os.truncate(written, written.stat().st_size - 30)
    assert ids_in(embedded.ensure_running(home)) == ["5-1", "5-2", "5-3"]


def test_damaged_data_is_refused_with_the_log(home: Path) -> None:
    """Damage that is no torn end keeps the server from starting; the hint quotes its log."""
    add(embedded.ensure_running(home), "1-1", "2-2", "3-3")
    embedded.stop(home)
    written = incremental_file(home)
    content = written.read_bytes()
    written.write_bytes(content.replace(b"XADD", b"\0\0\0\0\0\0", 1))
    with pytest.raises(Unavailable, match=r"did not start|ended while") as caught:
        embedded.ensure_running(home)
    assert "Bad file format" in caught.value.hint
    assert embedded.status(home) is None


@pytest.mark.parametrize("name", ["home", "home/redis", "home/redis/start.lock/x"])
def test_a_place_that_cannot_be_used_is_named(root: Path, name: str) -> None:
    """Where a file stands for a directory, or the reverse, the error says which."""
    place = root / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    with pytest.raises(Unavailable, match=r"cannot use .*/home"):
        embedded.ensure_running(root / "home")


def test_a_server_that_cannot_write_says_why(home: Path) -> None:
    """A fault that only the server meets is reported in its own words."""
    data = embedded.paths_for(home).data
    data.mkdir(parents=True)
    (data / "appendonlydir").touch()
    with pytest.raises(Unavailable, match="did not start") as caught:
        embedded.ensure_running(home)
    assert "append-only" in caught.value.hint


def test_a_read_only_directory_is_named(home: Path) -> None:
    """A directory without write permission is an error that names it."""
    home.mkdir(mode=0o500)
    with (
        without_privileges(home),
        pytest.raises(Unavailable, match=f"cannot use {home}.*Permission denied"),
    ):
        embedded.ensure_running(home)


def test_loading_the_module_stays_cheap() -> None:
    """Every command loads it, and most find a server running: no client, nothing to start one."""
    program = (
        "before = set(sys.modules)\nimport ipledger.embedded\nprint(*set(sys.modules) - before)"
    )
    loaded = subprocess.run(
        child(program), capture_output=True, text=True, check=True
    ).stdout.split()
    assert "ipledger.embedded" in loaded
    assert {"redis", "asyncio", "subprocess", "tempfile", "hashlib"}.isdisjoint(loaded)
