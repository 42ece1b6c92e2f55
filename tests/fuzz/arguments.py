"""Command lines: whatever is typed, one of the documented exit codes, and never a traceback.

An input is one argument a line (a unit separator stands for a line feed within one), then a line
`%%`, then the bytes of the file `input` and of standard input. The commands run in this process on
a real server, each on the same small space; what would reach beyond them is taken out first.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

import click
import redis

from docs.make_reference import schema_name, walk
from engine.errors import EXIT_CODES
from ipledger import log
from ipledger.cli import run
from ipledger.cli.root import USAGE, VERBS
from ipledger.cli.settings import OUTPUTS, output_asked
from tests.cli.conftest import deployment_yaml, pool_yaml, reservation_yaml
from tests.cli.test_schemas import COMMANDS, DOCUMENTS, WITHOUT, hold
from tests.fuzz import manifests
from tests.fuzz.mutating import INPUT_BYTES_MAX, changed
from tests.fuzz.target import Target, require
from tests.servers import bundled_program, serving

_SEPARATOR: Final = b"\n%%\n"
_LINE_FEED: Final = "\x1f"
_CODES: Final = frozenset(EXIT_CODES.values()) | {0, USAGE}
_ERROR: Final = re.compile(r"^error \(([a-z_]+)\): ", re.MULTILINE)
_TOLD_MAX: Final = 16_384
# What they print is not ours (flow records as they came), or is for a shell.
_PASSED_ON: Final = frozenset({"attribute", "completion"})
# Exit codes that are an answer: what was asked for was done, and this is what came of it.
_ANSWERS: Final = {
    "import": {4}, "allocate": {3, 4, 5, 6}, "audit": {8}, "replay": {8}, "doctor": {8},
    "mirror": {8},
}  # fmt: skip


class Asked(NamedTuple):
    """What an input says."""

    words: tuple[str, ...]
    content: bytes

    def __bytes__(self) -> bytes:
        lines = "\n".join(word.replace("\n", _LINE_FEED) for word in self.words)
        return lines.encode("utf-8", "surrogateescape") + _SEPARATOR + self.content


def read(data: bytes) -> Asked:
    """An input, whatever it is; as Python reads a command line that is not UTF-8."""
    told, _, content = data.partition(_SEPARATOR)
    text = told.decode("utf-8", "surrogateescape").replace("\0", "")
    return Asked(tuple(w.replace(_LINE_FEED, "\n") for w in text.split("\n")), content)


# ------------------------------------------------------------------------------------- the sandbox


def harmless(words: tuple[str, ...], url: str) -> list[str]:
    """The same without what would go on for ever, or reach other servers, files or programs."""
    kept: list[str] = []
    for word in words:
        name, equals, _ = word.partition("=")
        if name in {"--workers", "--follow"} or (name == "--every" and "sweep" in words):
            continue
        if name == "--server" and equals:
            continue
        kept.append(_within(word, url))
        if word == "attribute":
            kept += ["--workers", "1"]
        if word == "follow":
            kept.append("--until-end")
    return ["demonstrate" if word == "demo" else word for word in kept]


def _within(word: str, url: str) -> str:
    """A word that names no place outside of the sandbox; ``URL`` is the server's."""
    if word in {"URL", "URL?db=4"}:
        return word.replace("URL", url)
    head, equals, tail = word.partition("=")
    if equals and head.startswith("-"):
        return f"{head}={_within(tail, url)}"
    if "://" in word:
        return "unix:///dev/null/none" if word.startswith("unix") else word.replace("://", ":/")
    return word.lstrip("/").replace("..", ".") if word.startswith(("/", ".")) else word


class Sandbox:
    """A server and a directory that are as they were before every command."""

    def __init__(self, url: str, directory: Path) -> None:
        """Make the space that every command is run on."""
        self.url = url
        self._template, self._home = directory / "template", directory / "now"
        self._client = redis.Redis.from_url(url)
        self._keys: dict[bytes, bytes] = {}
        self._template.mkdir()
        for name, text in _FILES.items():
            (self._template / name).write_text(text, "utf-8")
        self._begin()
        for command in _WORLD:
            _, _, told = self._run(command.split(), b"")
            require("error" not in told, told)
        shutil.rmtree(self._template)
        self._home.rename(self._template)
        keys: list[Any] = self._client.keys("*")
        self._keys = {key: self._client.dump(key) for key in keys}  # type: ignore[misc]

    def run(self, words: list[str], content: bytes) -> tuple[int, str, str]:
        """How a command ends, and what it prints."""
        self._begin()
        (self._home / "input").write_bytes(content)
        return self._run(words, content)

    def _begin(self) -> None:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.flushall()
        for key, value in self._keys.items():
            pipeline.restore(key, 0, value)
        pipeline.execute()
        shutil.rmtree(self._home, ignore_errors=True)
        shutil.copytree(self._template, self._home)

    def _run(self, words: list[str], content: bytes) -> tuple[int, str, str]:
        before = Path.cwd()
        streams = sys.stdin, sys.stdout, sys.stderr
        out, err = io.BytesIO(), io.BytesIO()
        os.chdir(self._home)
        sys.stdin = io.TextIOWrapper(io.BytesIO(content), "utf-8")
        # As Python has them: what cannot be encoded is an error on the one, escaped on the other.
        sys.stdout = io.TextIOWrapper(out, "utf-8", write_through=True)
        sys.stderr = io.TextIOWrapper(err, "utf-8", "backslashreplace", write_through=True)
        try:
            code = run(words)
        finally:
            sys.stdout.detach()
            sys.stderr.detach()
            sys.stdin, sys.stdout, sys.stderr = streams
            log._logger.cache_clear()  # it has the stderr of before
            os.chdir(before)
        return code, out.getvalue().decode("utf-8", "replace"), err.getvalue().decode()


@contextmanager
def server() -> Iterator[str]:
    """A server of its own, and its URL."""
    with serving(bundled_program()) as served:
        yield served.url


@contextmanager
def opened(url: str) -> Iterator[Target]:
    """The target, on the server at a URL, which is emptied before every command."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("IPLEDGER_")}
    with TemporaryDirectory(prefix="ipl-") as directory:
        os.environ |= {
            "IPLEDGER_URL": url,
            "IPLEDGER_HOME": "home",
            "IPLEDGER_ACTOR": "fuzz",
            "IPLEDGER_SERVER": "nothing",
        }
        try:
            sandbox = Sandbox(url, Path(directory))
            yield Target("arguments", lambda data: check(sandbox, data), mutate, seeds)
        finally:
            for name in [name for name in os.environ if name.startswith("IPLEDGER_")]:
                del os.environ[name]
            os.environ |= kept


# ---------------------------------------------------------------------------------- what must hold


def check(sandbox: Sandbox, data: bytes) -> None:
    """Run it, and look at how it ended."""
    asked = read(data)
    words = harmless(asked.words, sandbox.url)
    code, out, err = sandbox.run(words, asked.content)
    require(code in _CODES and code != EXIT_CODES["unexpected"], f"exit code {code}: {err}")
    require("Traceback" not in err, f"a traceback: {err}")
    require(len(err) < _TOLD_MAX, f"stderr has no bound: {err[:200]}…")
    path = verb_of(words)
    _check_shown(err)
    if not _PASSED_ON & set(words):
        _check_shown(out)
    if code:
        _check_error(code, out, err, words)
    elif {"-h", "--help", "--version"}.isdisjoint(words) and path and path not in WITHOUT:
        _check_answer(path, out, words)


def verb_of(words: list[str]) -> tuple[str, ...]:
    """The verb of a command line that begins with it; nothing if an option is in front."""
    for length in (2, 1):
        if tuple(words[:length]) in _PARAMETERS:
            return tuple(words[:length])
    return ()


def _check_shown(text: str) -> None:
    lines = text.split("\n")
    bad = [line for line in lines if not line.replace("\t", " ").isprintable()]
    require(not bad, f"a control character is printed: {bad[:1]!r}")


def _check_error(code: int, out: str, err: str, words: list[str]) -> None:
    form = output_asked(words)
    if form in {"json", "jsonl"}:
        last = err.rstrip("\n").split("\n")[-1]
        kind = _json_kind(last)
    else:
        found = _ERROR.search(err)
        kind = found[1] if found else None
    if kind is None:
        is_answer = any(verb in words and code in _ANSWERS[verb] for verb in _ANSWERS)
        require(is_answer and (out or err), f"exit code {code} without an error: {err!r}")
    else:
        wanted = USAGE if kind == "usage" else EXIT_CODES.get(kind)  # type: ignore[call-overload]
        require(code == wanted, f"exit code {code} of an error of kind {kind}")


def _json_kind(line: str) -> str | None:
    try:
        error = json.loads(line)
    except ValueError:
        return None
    hold("error.schema.json", error)
    kind: str = error["error"]["kind"]
    return kind


def _check_answer(path: tuple[str, ...], out: str, words: list[str]) -> None:
    """In JSON it is of the schema of its verb."""
    if output_asked(words) != "json" or words.count("-o") + words.count("--output") != 1 or not out:
        return
    name = schema_name(path)
    if path in {("follow",), ("views", "follow"), ("attribute",)} or name not in DOCUMENTS:
        return
    hold(name, json.loads(out))


# --------------------------------------------------------------------------------------- mutations

_FILES: Final = {
    "pools.yaml": pool_yaml("web", "10.0.0.0/24", "10.0.0.10-10.0.0.12")
    + pool_yaml("full", "fd00::/64", "fd00::5-fd00::9", more="disable: true")
    + reservation_yaml("kept", "10.0.0.12", more="owner: me, reason: why, for: 1h"),
    "new.yaml": pool_yaml("new", "10.2.0.0/24"),
    "shop.yaml": deployment_yaml("shop", 3, "web"),
    "flows.csv": "t,a\n2026-01-01T00:00:00Z,10.0.0.10\nx,y\n1\n",
    "seen": "address,owner\n10.0.0.11,x\n10.0.0.12,y\n",
    "leases.csv": "address,owner,since,ttl\n10.0.0.11,x,,\n9.9.9.9,y,,\n",
}
_WORLD: Final = (
    "apply -f pools.yaml",
    "allocate --pool web --owner a --ttl 1h --uid u --label k=v --cluster c",
    "allocate --pool web --owner a --uid v --label k=v",
    "quarantine fd00::8 --reason arp --for 1h",
    "allocate --pool web --owner me",
    "follow --consumer dns --shard 1/2 --until-end --from 1",
)
_VALUES: Final = (
    "web", "full", "web,full", "w*", "[", "a", "me", "kept", "nope", "10.0.0.10", "10.0.0.12",
    "fd00::8", "10.0.0.0/24", "fd00::/64", "10.0.0.9-10.0.0.3", "::ffff:1.2.3.4", "0.0.0.0/0", "1",
    "0", "-1", "4", "6", "8", "9999999999999999999999", "\u0661", "1_0", "+1", "1e3", "30s", "1h",
    "0s", "9999999999d", "-2h", "now", "2026-01-01T00:00:00Z", "2026-13-45T99:99:99Z",
    "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59.999Z", "-99999999d", "k=v", "k=", "=v",
    "a=b=c", "1/2", "2/1", "0/0", "json", "yaml", "jsonl", "table", "input", "-", "", " ", "--",
    "\x1b[31m", "a\nb", "ä", "e\u0301", "\udcff", "\u202e", "x" * 300, "default", "pool", "pools",
    "lease", "leases", "pool/web", "space", "URL", "URL?db=4", "t", "LeaseGranted", "nodes",
    "pools.yaml", "new.yaml", "shop.yaml", "flows.csv", "seen", "leases.csv", "csv", "kea4",
    "spiderpool", "random", ".", "unix://x", "redis://", "owner,lease", "18446744073709551616",
    "128", "64", "31", "bash", "missing/file", "0x10", "nan", "true",
)  # fmt: skip
_WORDS: Final = tuple(
    word.encode("utf-8", "surrogateescape") for word in (*_VALUES, *sorted(VERBS)) if word
)


def _parameters(command: click.Command) -> list[tuple[str, bool]]:
    """The options of a command, each with whether it takes a value."""
    return [
        (name, not parameter.is_flag)
        for parameter in command.params
        if isinstance(parameter, click.Option)
        for name in parameter.opts
    ]


_PARAMETERS: Final = {path: _parameters(command) for path, command in walk()}


def mutate(data: bytes, random: Random) -> bytes:
    """Another command line: an option more or less, another value, other bytes, another file."""
    asked = read(data)
    words = list(asked.words)
    for _ in range(random.choice((1, 1, 2, 3))):
        # Values are changed far more often than verbs and options, which are mostly refused then.
        values = [at for at, word in enumerate(words) if at > 1 and word[:1] != "-"]
        at = random.choice(values) if values else random.randrange(len(words) + 1)
        match random.randrange(12):
            case 0 | 1 if asked.content:
                content = manifests.changed_content(asked.content, random)
                asked = asked._replace(content=content)
            case 2:
                where = random.randrange(len(words) + 1)
                del words[where : where + 1]
            case 3:
                words.insert(random.randrange(len(words) + 1), random.choice(_VALUES))
            case 4 | 5 if words[at:]:
                raw = words[at].encode("utf-8", "surrogateescape")
                words[at] = read(changed(raw, random, _WORDS)).words[0]
            case 6 | 7 | 8 if words[at:]:
                words[at] = random.choice(_VALUES)
            case _:
                words += _drawn_option(words, random)
    return bytes(Asked(tuple(words), asked.content))[:INPUT_BYTES_MAX]


def _drawn_option(words: list[str], random: Random) -> list[str]:
    """An option that the verb has, with a value if it takes one."""
    known = _PARAMETERS.get(verb_of(words)) or _PARAMETERS[("allocate",)]
    name, takes_value = random.choice(known)
    if not takes_value:
        return [name]
    value = random.choice(OUTPUTS if name in {"-o", "--output"} else _VALUES)
    return [f"{name}={value}"] if name[:2] == "--" and random.randrange(4) == 0 else [name, value]


def seeds() -> list[bytes]:
    """What every verb is asked in the test of the schemas, as JSON and as a table."""
    found = []
    for command in (command for commands in COMMANDS.values() for command in commands):
        words = command.replace("FILES/", "").replace("SPACE", "default").split()
        content = next((_FILES[word] for word in words if word in _FILES), "").encode()
        words = ["input" if word in _FILES else word for word in words]
        found += [bytes(Asked((*words, *form), content)) for form in ((), ("-o", "json"))]
    return found
