"""`release`: leases end, by number or by owner, and never somebody else's."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli, shown


def _lease(web: Cli, owner: str, *more: str) -> str:
    answer = web.json("allocate", "--pool", "web", "--owner", owner, *more).data
    return str(answer["leases"][-1]["lease"])


def test_by_number(web: Cli) -> None:
    """Several at once; one that has ended already is no error."""
    first, second = _lease(web, "a"), _lease(web, "b")
    assert web.ok("release", first) == f"lease/{first} released\n"
    again = f"lease/{first} already released (nobody holds 10.0.0.10 now)\n"
    assert web.ok("release", first) == again
    told = web.json("release", first, second, first).items
    assert told == [
        {"lease": int(second), "result": "released", "detail": None},
        {
            "lease": int(first),
            "result": "already released",
            "detail": "nobody holds 10.0.0.10 now",
        },
    ]


def test_by_owner(web: Cli) -> None:
    """All of it, or only on an interface, with a label, or one address."""
    for last, label in (("10", "n1"), ("11", "n2"), ("12", "n2")):
        _lease(web, "a", "--interface", f"net{last}", "--label", f"node={label}",
               "--ip", f"10.0.0.{last}")  # fmt: skip
    _lease(web, "b")

    def ended(*words: str) -> int:
        return len(web.json("release", "--owner", "a", *words).items)

    assert ended("--interface", "net9") == 0
    assert ended("--interface", "net10") == 1
    assert ended("--label", "node=n1") == 0
    assert ended("--ip", "10.0.0.11") == 1
    assert ended() == 1
    assert ended() == 0
    assert [lease["owner"] for lease in web.json("get", "leases").items] == ["b"]


def test_who_holds_nothing_is_told_so(web: Cli) -> None:
    """That is no error."""
    assert "nothing to release" in web.ok("release", "--owner", "nobody")


def test_an_address_is_released_by_its_holder_only(web: Cli) -> None:
    """Naming another owner's address is a conflict; without an owner it is invalid."""
    _lease(web, "a", "--ip", "10.0.0.12")
    assert web("release", "--owner", "b", "--ip", "10.0.0.12").code == 4
    assert web("release", "--ip", "10.0.0.12").code == 6
    assert len(web.json("get", "leases").items) == 1


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ([], 2), (["--label", "x"], 6), (["--interface", "eth0"], 2), (["5", "--owner", "a"], 2),
        (["5", "--label", "a=b"], 2), (["--owner", "a", "--ip", "10.0.0.1", "--label", "a=b"], 2),
        (["abc"], 6), (["-1"], 2), (["0"], 6), (["1.5"], 6), (["9" * 5_000], 6), (["99"], 3),
        (["1"], 3), (["--owner", ""], 6), (["--owner", "a", "--label", "x"], 6), (["\x1b[31m"], 6),
    ],
    ids=shown,
)  # fmt: skip
def test_misuse_releases_nothing(web: Cli, words: list[str], code: int) -> None:
    """What is contradictory or no lease at all is refused as a whole."""
    lease = _lease(web, "a")
    result = web("release", *words)
    assert (result.code, result.out) == (code, "")
    assert "\x1b" not in result.err
    assert web("release", lease, "99").code == 3
    assert len(web.json("get", "leases").items) == 1
