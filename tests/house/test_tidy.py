"""The house stays tidy: rules that a reader relies on and that no linter we use knows.

Each rule is a function from a file to its faults, each fault a message naming file, line and what
to do instead. Each is run over the whole checkout, and over a planted fault, which it must find.
"""

from __future__ import annotations

import ast
import functools
import io
import posixpath
import re
import subprocess
import tokenize
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]

PACKAGES: Final = ("engine", "projections", "replay", "ipledger")
PURE_ROOMS: Final = ("engine", "projections", "replay")
PYTHON_ROOTS: Final = (*PACKAGES, "tests", "benchmarks")

LINE_LENGTH_MAX: Final = 100
FUNCTION_LINES_MAX: Final = 70
MODULE_LINES_MAX: Final = 400
TEST_MODULE_LINES_MAX: Final = 600
FILE_BYTES_MAX: Final = 512 * 1024

# Where output is the purpose. Everything else returns values or logs.
PRINTING_MODULES: Final = ("ipledger/cli", "ipledger/demo", "benchmarks/")

# What a pure room may not touch: the wall clock and chance come in as arguments, so that the same
# code runs live, in replay and in simulation. A name ending in a dot stands for all below it.
IMPURE: Final = (
    "time.time",
    "time.time_ns",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "datetime.date.today",
    "os.urandom",
    "os.getrandom",
    "random.",
    "secrets.",
    "uuid.",
)
# Module → the impure names it may use, and why. An entry that is no longer needed is a fault too.
IMPURE_ALLOWED: Final[dict[str, dict[str, str]]] = {}

# Loading any of these runs code that is in the data.
UNSAFE_LOADERS: Final = frozenset({"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve"})

POSTPONED: Final = re.compile(r"\b(?:TODO|FIXME|XXX)\b")
# Put together here, so that this file holds no such path itself.
MACHINE_ROOTS: Final = ("home", "root", "work", "Users")
MACHINE_PATH: Final = re.compile(rf"(?<![\w.~-])/(?:{'|'.join(MACHINE_ROOTS)})/")

MARKDOWN_LINK: Final = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)")
FENCE: Final = re.compile(r"^ {0,3}(```+|~~~+)")


class File(NamedTuple):
    """A file of the checkout by its path from the root, with forward slashes, and its bytes."""

    name: str
    content: bytes

    @property
    def text(self) -> str:
        """The whole content; only for files that are text."""
        return self.content.decode("utf-8")

    @property
    def lines(self) -> list[str]:
        """The content line by line; ``lines[0]`` is line 1 of a message."""
        return self.text.split("\n")

    @property
    def is_text(self) -> bool:
        """Whether the content is text: UTF-8 without an early zero byte."""
        try:
            self.content.decode("utf-8")
        except UnicodeDecodeError:
            return False
        return b"\0" not in self.content[:8192]


@functools.cache
def parse(text: str) -> ast.Module:
    """The syntax tree of a module; cached, since most rules ask for it."""
    return ast.parse(text)


def within(file: File, roots: Iterable[str]) -> bool:
    """True when the file lies under one of the directories."""
    return file.name.split("/", 1)[0] in roots


def is_python(file: File) -> bool:
    """True for our own Python: the four packages, tests and benchmarks."""
    return file.name.endswith(".py") and within(file, PYTHON_ROOTS)


# --- The rules ------------------------------------------------------------------------------------


def long_lines(file: File) -> Iterator[str]:
    """Lines of Python that a reader would have to scroll for."""
    if is_python(file):
        for number, line in enumerate(file.lines, 1):
            if len(line) > LINE_LENGTH_MAX:
                yield (
                    f"{file.name}:{number}: {len(line)} columns; "
                    f"break the line at {LINE_LENGTH_MAX}"
                )


def long_functions(file: File) -> Iterator[str]:
    """Functions that do not fit on a screen."""
    if is_python(file):
        for node in ast.walk(parse(file.text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > FUNCTION_LINES_MAX:
                    yield (
                        f"{file.name}:{node.lineno}: {node.name} has {length} lines; "
                        f"split it at {FUNCTION_LINES_MAX} into steps with names"
                    )


def long_modules(file: File) -> Iterator[str]:
    """Modules that hold more than one idea."""
    if is_python(file):
        allowed = TEST_MODULE_LINES_MAX if within(file, ["tests"]) else MODULE_LINES_MAX
        length = file.text.count("\n")
        if length > allowed:
            yield (
                f"{file.name}:{allowed + 1}: the module has {length} lines; "
                f"give its second idea a room of its own (at most {allowed})"
            )


def silent_modules(file: File) -> Iterator[str]:
    """Modules that do not say what they are for."""
    if is_python(file):
        docstring = ast.get_docstring(parse(file.text))
        if not docstring or not docstring.split("\n", 1)[0].strip():
            yield f"{file.name}:1: no docstring; say in one line the module's one reason to change"


def postponed_work(file: File) -> Iterator[str]:
    """Comments that promise to do it later."""
    if is_python(file):
        for token in tokenize.generate_tokens(io.StringIO(file.text).readline):
            if token.type == tokenize.COMMENT and POSTPONED.search(token.string):
                yield (
                    f"{file.name}:{token.start[0]}: work put off in a comment; "
                    f"do it now or open an issue"
                )


def printing(file: File) -> Iterator[str]:
    """Library code that writes to the caller's terminal."""
    in_library = is_python(file) and not within(file, ["tests"])
    if in_library and not file.name.startswith(PRINTING_MODULES):
        for node in ast.walk(parse(file.text)):
            if isinstance(node, ast.Name) and node.id == "print":
                yield f"{file.name}:{node.lineno}: prints; return a value, or log with structlog"


def imported_names(tree: ast.Module) -> dict[str, str]:
    """Local name → the dotted name it stands for, over every import of a module."""
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                names[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            for alias in node.names:
                names[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    return names


def dotted_name(node: ast.AST, names: dict[str, str]) -> str:
    """What an expression such as ``dt.now`` names in full, or nothing if it is no import."""
    if isinstance(node, ast.Name):
        return names.get(node.id, "")
    if isinstance(node, ast.Attribute) and (base := dotted_name(node.value, names)):
        return f"{base}.{node.attr}"
    return ""


def impure_uses(file: File) -> Iterator[tuple[int, str]]:
    """Each line of a pure room that reads a clock or draws a random number, and what it uses."""
    if not (is_python(file) and within(file, PURE_ROOMS)):
        return
    tree = parse(file.text)
    names = imported_names(tree)
    for node in ast.walk(tree):
        used = dotted_name(node, names)
        for impure in IMPURE:
            if used == impure or (impure.endswith(".") and used.startswith(impure)):
                assert isinstance(node, ast.expr)
                yield node.lineno, used


def impurity(file: File) -> Iterator[str]:
    """Pure rooms that read a clock or draw a random number themselves."""
    for line, used in impure_uses(file):
        if used not in IMPURE_ALLOWED.get(file.name, {}):
            yield f"{file.name}:{line}: uses {used}; take the time or the random bytes as arguments"


def unsafe_loaders(file: File) -> Iterator[str]:
    """Imports of modules whose loading runs what the data says."""
    if is_python(file):
        for node in ast.walk(parse(file.text)):
            imported: list[str] = []
            if isinstance(node, ast.Import):
                imported = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                imported = [node.module or ""]
            for name in imported:
                if name.split(".")[0] in UNSAFE_LOADERS:
                    assert isinstance(node, ast.stmt)
                    yield f"{file.name}:{node.lineno}: imports {name}; store msgpack, JSON or SQL"


def prose(file: File) -> Iterator[tuple[int, str]]:
    """The numbered lines of a Markdown file that are not inside a code fence."""
    fence = ""
    for number, line in enumerate(file.lines, 1):
        if found := FENCE.match(line):
            if not fence:
                fence = found[1]
            elif found[1].startswith(fence):
                fence = ""
        elif not fence:
            yield number, line


def headings(file: File) -> Iterator[str]:
    """Markdown files without a title, or with two."""
    if file.name.endswith(".md"):
        titles = [number for number, line in prose(file) if line.startswith("# ")]
        if len(titles) != 1:
            line = titles[1] if titles else 1
            yield f"{file.name}:{line}: {len(titles)} titles; a page has exactly one line '# …'"


def broken_links(file: File) -> Iterator[str]:
    """Relative links of Markdown files that lead nowhere in the checkout."""
    if file.name.endswith(".md"):
        for number, line in prose(file):
            for target in MARKDOWN_LINK.findall(re.sub(r"`[^`]*`", "", line)):
                path = target.split("#", 1)[0]
                if not path or re.match(r"[a-z][a-z0-9+.-]*:", path):
                    continue
                place = posixpath.join(posixpath.dirname(file.name), path)
                if posixpath.normpath(place) not in places():
                    yield f"{file.name}:{number}: {target} is not there; link relative to this page"


def machine_paths(file: File) -> Iterator[str]:
    """Paths that exist on one developer's machine only."""
    if file.is_text:
        for number, line in enumerate(file.lines, 1):
            if MACHINE_PATH.search(line):
                yield f"{file.name}:{number}: a path of somebody's machine; make it relative"


def big_files(file: File) -> Iterator[str]:
    """Files that everybody would clone and nobody would read."""
    if len(file.content) > FILE_BYTES_MAX:
        yield (
            f"{file.name}:1: {len(file.content)} bytes; generate it in the test, "
            f"or keep it under {FILE_BYTES_MAX}"
        )


def unreleased(file: File) -> Iterator[str]:
    """A changelog with no place for the next change."""
    if file.name == "CHANGELOG.md" and "## [Unreleased]" not in file.lines:
        yield f"{file.name}:1: no section '## [Unreleased]'; add it above the newest release"


# --- The rules, held over the checkout ------------------------------------------------------------


@functools.cache
def checkout() -> tuple[File, ...]:
    """Every file that is tracked or would be; without git (an sdist), every file not hidden."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT,
            check=True,
            capture_output=True,
            text=True,
        ).stdout.split("\0")
        paths = [ROOT / name for name in listed if name]
    except (FileNotFoundError, subprocess.CalledProcessError):
        seen = (path for path in ROOT.rglob("*") if "__pycache__" not in path.parts)
        paths = [
            path for path in seen if not any(p[0] == "." for p in path.relative_to(ROOT).parts)
        ]
    files = sorted({path for path in paths if path.is_file()})
    return tuple(File(path.relative_to(ROOT).as_posix(), path.read_bytes()) for path in files)


@functools.cache
def places() -> frozenset[str]:
    """What a link may lead to: every file of the checkout, and every directory that holds one."""
    names = [PurePosixPath(file.name) for file in checkout()]
    return frozenset(str(place) for name in names for place in (name, *name.parents))


def hold(rule: Callable[[File], Iterable[str]]) -> None:
    """Fail with every fault that a rule finds in the checkout."""
    faults = [fault for file in checkout() for fault in rule(file)]
    assert not faults, "\n" + "\n".join(faults)


def test_the_checkout_is_seen() -> None:
    """The rules look at all roots: a rule over an empty list would always hold."""
    assert {file.name.split("/", 1)[0] for file in checkout() if is_python(file)} == set(
        PYTHON_ROOTS
    )


def test_lines_are_short() -> None:
    """A line of Python has at most 100 columns."""
    hold(long_lines)


def test_functions_fit_on_a_screen() -> None:
    """A function has at most 70 lines, docstring included."""
    hold(long_functions)


def test_modules_hold_one_idea() -> None:
    """A module has at most 400 lines, a test module at most 600."""
    hold(long_modules)


def test_modules_say_what_they_are_for() -> None:
    """A module opens with a docstring."""
    hold(silent_modules)


def test_nothing_is_put_off_in_a_comment() -> None:
    """No comment holds a mark for later work."""
    hold(postponed_work)


def test_the_library_does_not_print() -> None:
    """Only the command line, the demo and the benchmarks print."""
    hold(printing)


def test_pure_rooms_take_time_and_chance_as_arguments() -> None:
    """The pure rooms read no wall clock and draw no random number."""
    hold(impurity)


def test_no_exception_to_purity_is_stale() -> None:
    """Every entry of the allow-list is still used by the module it is for."""
    used = {(file.name, name) for file in checkout() for _, name in impure_uses(file)}
    allowed = {(module, name) for module, names in IMPURE_ALLOWED.items() for name in names}
    assert allowed <= used, f"remove from IMPURE_ALLOWED: {sorted(allowed - used)}"


def test_nothing_unpickles() -> None:
    """No module imports pickle or its kin."""
    hold(unsafe_loaders)


def test_pages_have_one_title() -> None:
    """A Markdown file has exactly one first-level heading."""
    hold(headings)


def test_links_lead_somewhere() -> None:
    """A relative link in a Markdown file names a file that exists."""
    hold(broken_links)


def test_no_path_of_a_machine() -> None:
    """No text file holds an absolute path of a developer's machine."""
    hold(machine_paths)


def test_files_are_small() -> None:
    """No file is larger than 512 KiB."""
    hold(big_files)


def test_the_changelog_has_a_place_for_the_next_change() -> None:
    """CHANGELOG.md exists and has an Unreleased section."""
    assert any(file.name == "CHANGELOG.md" for file in checkout())
    hold(unreleased)


# --- The rules, held against planted faults -------------------------------------------------------

LONG_FUNCTION: Final = "def f():\n" + "    pass\n" * FUNCTION_LINES_MAX
CLOCK_BY_ALIAS: Final = "from datetime import datetime as d\nx = d.now()\n"


@pytest.mark.parametrize(
    ("rule", "name", "text", "line"),
    [
        (long_lines, "engine/a.py", "x\n" + "y" * 101, 2),
        (long_functions, "tests/a.py", LONG_FUNCTION, 1),
        (long_functions, "replay/a.py", "async " + LONG_FUNCTION, 1),
        (long_modules, "engine/a.py", "\n" * 401, 401),
        (long_modules, "benchmarks/a.py", "\n" * 401, 401),
        (long_modules, "tests/a.py", "\n" * 601, 601),
        (silent_modules, "engine/a.py", "x = 1\n", 1),
        (silent_modules, "engine/a.py", "", 1),
        (postponed_work, "engine/a.py", "x = 1\n# FIXME: later\n", 2),
        (postponed_work, "tests/a.py", "x = 1  # TODO\n", 1),
        (printing, "engine/a.py", "print('x')", 1),
        (printing, "ipledger/api.py", "\nshow = print", 2),
        (impurity, "engine/a.py", "import time\ntime.time()", 2),
        (impurity, "engine/a.py", "from time import time_ns\ntime_ns()", 2),
        (impurity, "projections/a.py", CLOCK_BY_ALIAS, 2),
        (impurity, "replay/a.py", "import datetime as d\nd.date.today()", 2),
        (impurity, "engine/a.py", "def f():\n  import random\n  random.Random(1)", 3),
        (impurity, "engine/a.py", "from os import urandom as u\nx = u", 2),
        (impurity, "engine/a.py", "from uuid import uuid4\nx = uuid4()", 2),
        (unsafe_loaders, "engine/a.py", "import json, pickle", 1),
        (unsafe_loaders, "tests/a.py", "def f():\n  from marshal import loads", 2),
        (headings, "docs/a.md", "text\n", 1),
        (headings, "docs/a.md", "# A\n\n# B\n", 3),
        (headings, "docs/a.md", "```\n# only code\n```\n", 1),
        (broken_links, "docs/a.md", "# A\n[b](nowhere.md)", 2),
        (broken_links, "CONTRIBUTING.md", "[b](docs/nowhere.md#part)", 1),
        (broken_links, "docs/a.md", "[b](/LICENSE)", 1),
        *((machine_paths, "docs/a.md", f"see /{top}/me/x", 1) for top in MACHINE_ROOTS),
        (machine_paths, ".ci/run", f"\ncd '/{MACHINE_ROOTS[0]}/x'", 2),
        (big_files, "docs/a.png", "x" * (FILE_BYTES_MAX + 1), 1),
        (unreleased, "CHANGELOG.md", "# Changelog\n## [0.1.0]\n", 1),
    ],
)
def test_a_planted_fault_is_found(
    rule: Callable[[File], Iterable[str]], name: str, text: str, line: int
) -> None:
    """Each rule finds the fault planted for it, once, and names its file and line."""
    (fault,) = rule(File(name, text.encode()))
    assert fault.startswith(f"{name}:{line}: ")


@pytest.mark.parametrize(
    ("rule", "name", "text"),
    [
        (long_lines, "engine/a.py", "y" * LINE_LENGTH_MAX),
        (long_functions, "engine/a.py", LONG_FUNCTION.removesuffix("    pass\n")),
        (long_modules, "engine/a.py", "\n" * MODULE_LINES_MAX),
        (postponed_work, "engine/a.py", "x = 'TODO'\n"),
        (printing, "ipledger/cli.py", "print(1)"),
        (printing, "tests/a.py", "print(1)"),
        (printing, "engine/a.py", "pprint(1)  # print(1)"),
        (impurity, "ipledger/a.py", "import time\ntime.time()"),
        (impurity, "engine/a.py", "import time\ntime.monotonic()"),
        (impurity, "engine/a.py", "def f(random, time):\n  random.random(time.time())"),
        (headings, "docs/a.md", "# A\n\n```sh\n# a comment\n```\n\n## B\n"),
        (broken_links, "docs/a.md", "[a](https://example.com/x) [b](#part) [c](../LICENSE)"),
        (broken_links, "docs/a.md", "```\n[b](nowhere.md)\n```\nand `[c](nowhere.md)`"),
        (machine_paths, "docs/a.md", "https://example.com/work/x and ~/work/x"),
    ],
)
def test_what_is_allowed_raises_no_fault(
    rule: Callable[[File], Iterable[str]], name: str, text: str
) -> None:
    """Each rule leaves alone what only resembles its fault, up to the very limit."""
    assert list(rule(File(name, text.encode()))) == []
