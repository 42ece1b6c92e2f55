"""`space`: address spaces are made on purpose, and stand beside each other."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Cli, pool_yaml


def test_spaces_do_not_see_each_other(cli: Cli, manifest: Callable[[str], str]) -> None:
    """The same pool, the same address, once in each."""
    other = f"{cli.options[-1]}.other"
    path = manifest(pool_yaml("web", "10.0.0.0/24", "10.0.0.1"))
    assert cli.ok("space", "create", other) == f"space/{other} created\n"
    for space in (cli.options[-1], other):
        cli.ok("--space", space, "apply", "-f", path)
        (lease,) = cli.json(
            "--space", space, "allocate", "--pool", "web", "--owner", "a"
        ).data["leases"]  # fmt: skip
        assert (lease["address"], lease["space"]) == ("10.0.0.1", space)


def test_a_space_is_made_once(cli: Cli) -> None:
    """The second time is exit code 4; the first tells its id."""
    (made,) = cli.json("space", "create", f"{cli.options[-1]}-2").items
    assert (made["position"], made["generation"], len(made["space_id"])) == (1, 0, 32)
    result = cli("space", "create", f"{cli.options[-1]}-2", "-o", "json")
    assert (result.code, result.error["kind"]) == (4, "exists")


@pytest.mark.parametrize("name", ["a{b}", "a b", "", "x" * 254, "ü", "a/b", "\x1b[31m"])
def test_a_space_has_a_plain_name(cli: Cli, name: str) -> None:
    """Anything that could break out of a key is refused, also as --space."""
    assert cli("space", "create", name).code == 6
    assert cli("space", "forget", name).code == 6
    assert cli("--space", name, "get", "pools").code == 6


def test_forgetting(cli: Cli) -> None:
    """What this machine remembers goes; the space itself stays."""
    assert cli.json("space", "forget", cli.options[-1]).items[0]["result"] == "forgotten"
    again = cli.json("space", "forget", cli.options[-1]).items[0]["result"]
    assert again == "nothing was remembered"
    assert cli.json("get", "space", cli.options[-1]).items[0]["position"] == 1
