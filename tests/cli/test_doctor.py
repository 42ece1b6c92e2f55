"""`doctor` on a healthy stream, and on what this machine remembers; damage is in tests/faults."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def _state_file(web: Cli) -> Path:
    (path,) = Path(web.options[3]).glob(f"{web.options[-1]}-*.json")
    return path


def test_all_is_well(web: Cli) -> None:
    """Exit code 0, the verdict last, and the digest that replay has."""
    assert web.ok("doctor").endswith("\nAll is well.\n")
    told = web.json("doctor").data
    assert (told["trouble"], told["hint"], told["set_aside"]) == (None, None, None)
    assert told["digest"] == web.json("replay", "--digest").data["digest"]
    assert told["position"] == told["entries"] == told["sound_through"] == told["seen_before"] == 3


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{}", b"[]", b"null", b"\xff", b'{"format": 9}',
     b'{"format": 1, "space_id": "zz", "generation": 0, "anchors": []}',
     b'{"format": 1, "space_id": "00", "generation": 0, "anchors": [[1]]}'],
)  # fmt: skip
def test_a_damaged_state_file_is_trouble(web: Cli, content: bytes) -> None:
    """Every command stops with exit code 8; the doctor says what is sound, and how to go on."""
    path = _state_file(web)
    path.write_bytes(content)
    for command in (["get", "pools"], ["allocate", "--pool", "web", "--owner", "a"]):
        result = web(*command, "-o", "json")
        assert (result.code, result.error["kind"]) == (8, "integrity")
    result = web("doctor", "-o", "json")
    assert result.code == 8
    assert result.data["sound_through"] == 3
    assert result.data["digest"]
    assert str(path) in result.data["trouble"]
    assert f"space forget {web.options[-1]}" in result.data["hint"]
    assert "Trouble: " in web("doctor").out
    web.ok("space", "forget", web.options[-1])
    web.ok("allocate", "--pool", "web", "--owner", "a")


def test_nothing_is_accepted_when_the_stream_is_sound(web: Cli) -> None:
    """Neither on a healthy machine, nor where only the state file is damaged."""
    accept = ["doctor", "--accept-rollback", "--void-through", "9", "--reason", "x"]
    assert web(*accept).code == 6
    _state_file(web).write_bytes(b"{")
    assert web(*accept).code == 6
    web.ok("space", "forget", web.options[-1])
    assert web.json("replay").data["position"] == 3


def test_an_unknown_space_is_not_found(cli: Cli) -> None:
    """A typing error is no healthy space."""
    assert cli("--space", "typo", "doctor").code == 3


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--accept-rollback"], 6), (["--accept-rollback", "--void-through", "5"], 6),
        (["--void-through", "5"], 6), (["--void-through", "-5"], 2), (["--void-through", "x"], 2),
    ],
)  # fmt: skip
def test_misuse(web: Cli, words: list[str], code: int) -> None:
    """Accepting needs a position and a reason; a position alone does nothing."""
    assert web("doctor", *words).code == code
