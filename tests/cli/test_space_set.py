"""`space set` and `space create --durability`: what a space promises, set, shown, and refused."""

from __future__ import annotations

import pytest
import yaml

from tests.cli.conftest import Cli
from tests.cli.test_schemas import hold

LOCAL = {"mode": "local"}


def shown(cli: Cli, name: str) -> object:
    """The durability that a space is shown with, everywhere alike."""
    (item,) = cli.json("get", "space", name).items
    (listed,) = (item for item in cli.json("space", "list").items if item["name"] == name)
    described = cli.json("describe", "space", name).items[0]
    promised = cli.json("--space", name, "doctor").data["promised"]
    assert item["durability"] == listed["durability"] == described["durability"] == promised
    return promised


def test_a_space_is_local_until_it_says_otherwise(cli: Cli) -> None:
    """Setting what is so already changes nothing, and says so."""
    name = cli.options[-1]
    cli.ok("space", "create", f"{name}-x")
    told = cli.json("space", "set", f"{name}-x", "--durability", "local").data
    hold("space-set.schema.json", told)
    assert told["changed"] is False
    assert told["items"][0]["position"] == 1
    assert cli.ok("space", "set", f"{name}-x", "--durability", "local") == (
        f"space/{name}-x has durability local already\n"
    )
    assert shown(cli, f"{name}-x") == LOCAL
    assert cli.json("--space", f"{name}-x", "doctor").data["replicas"] == 0


def test_without_replicas_it_is_not_set(cli: Cli) -> None:
    """It would only make every answer unknown: it is refused, and nothing is written."""
    name = f"{cli.options[-1]}-x"
    cli.ok("space", "create", name)
    replicated = ("space", "set", name, "--durability", "replicated", "--ack-timeout", "50ms")
    told = cli(*replicated, "-o", "json")
    assert (told.code, told.error["kind"]) == (7, "unavailable")
    assert "nothing was changed: 0 of 1 replicas" in told.error["message"]
    assert "doctor" in told.error["hint"]
    assert cli(*replicated, "--dry-run").code == 7
    assert shown(cli, name) == LOCAL


def test_a_space_that_is_made_so_is_unknown_and_stands(cli: Cli) -> None:
    """Exit code 9 for it and for what is written to it; `local` is the way out."""
    name = f"{cli.options[-1]}-x"
    made = cli("space", "create", name, "--durability", "replicated", "--replicas", "2",
               "--ack-timeout", "50ms", "-o", "json")  # fmt: skip
    assert (made.code, made.error["kind"]) == (9, "unknown")
    assert "0 of 2 replicas" in made.error["message"]
    assert shown(cli, name) == {
        "mode": "replicated", "replicas": 2, "fsync": False, "ack_timeout_ms": 50,
    }  # fmt: skip
    assert "replicated (2, 50 ms)" in cli.ok("get", "spaces")
    assert "replicated (2, 50 ms)" in cli.ok("describe", "space", name)
    assert "replicated (2, 50 ms)" in cli.ok("--space", name, "doctor")
    late = cli("--space", name, "quarantine", "10.0.0.1", "--reason", "r", "--command-id", "c 1")
    assert late.code == 9
    assert "c 1" in late.err
    assert cli("--space", name, "allocate", "--pool", "p", "--owner", "o").code == 3, "a refusal"
    dry = cli.json("space", "set", name, "--durability", "local", "--dry-run").data
    assert (dry["changed"], dry["items"][0]["durability"]) == (True, LOCAL)
    assert shown(cli, name) != LOCAL
    cli.ok("space", "set", name, "--durability", "local")
    assert shown(cli, name) == LOCAL
    again = cli("--space", name, "quarantine", "10.0.0.1", "--reason", "r", "--command-id", "c 1")
    assert again.code == 0
    assert cli("--space", name, "audit").code == 0
    documents = yaml.safe_load_all(cli.ok("--space", name, "export"))
    assert next(iter(documents))["spec"] == {"formatLevel": 3}, "it is of the place, not of what is"


@pytest.mark.parametrize(
    ("words", "code"),
    [((), 2), (("--durability", "eventual"), 2), (("--durability", "local", "--replicas", "1"), 6),
     (("--durability", "local", "--fsync"), 6),
     (("--durability", "replicated", "--replicas", "0"), 2),
     (("--durability", "replicated", "--replicas", "256"), 6),
     (("--durability", "replicated", "--ack-timeout", "5s"), 6),
     (("--durability", "replicated", "--ack-timeout", "0ms"), 6),
     (("--durability", "replicated", "--ack-timeout", "soon"), 6)],
)  # fmt: skip
def test_what_cannot_be_promised(cli: Cli, words: tuple[str, ...], code: int) -> None:
    """It is refused before anything is asked of the server."""
    name = f"{cli.options[-1]}-x"
    assert cli("space", "create", name, *words).code == (code if words else 0)
    assert cli("space", "set", name, *words).code == code


def test_a_space_that_is_not_there(cli: Cli) -> None:
    """Nothing is made by setting something."""
    assert cli("space", "set", "nowhere", "--durability", "local").code == 3
