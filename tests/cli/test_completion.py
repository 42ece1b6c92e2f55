"""Shell completion, through the shells' own protocol."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

ROOT = Path(__file__).parents[2]


def _complete(*words: str, **environment: str) -> set[str]:
    """What bash would be offered behind the words; the last one is half-typed."""
    done = subprocess.run(
        [sys.executable, "-m", "ipledger"], capture_output=True, text=True, check=False,
        env={
            **os.environ, "PYTHONPATH": str(ROOT), "_IPLEDGER_COMPLETE": "bash_complete",
            "COMP_WORDS": " ".join(("ipledger", *words)), "COMP_CWORD": str(len(words)),
            **environment,
        },
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    return {line.partition(",")[2] for line in done.stdout.splitlines() if line}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["a"], {"allocate", "apply", "attribute", "audit"}),
        (["get", ""], {"pools", "reservations", "leases", "quarantines", "spaces"}),
        (["get", "-o", "js"], {"json", "jsonl"}),
        (["allocate", "--po"], {"--pool"}),
        (["follow", "--type", "LeaseG"], {"LeaseGranted"}),
        (["space", "f"], {"forget"}),
        (["completion", ""], {"bash", "zsh", "fish"}),
    ],
)
def test_words_are_offered(words: list[str], offered: set[str]) -> None:
    """Verbs, their verbs, options and what they can be."""
    assert _complete(*words) == offered


def test_pools_are_offered(web: Cli) -> None:
    """Wherever a pool is named, also behind a comma, of the space that was typed before."""
    url, space = web.options[1], web.options[-1]
    typed = {"IPLEDGER_URL": url, "IPLEDGER_SPACE": space}
    assert _complete("free", "", **typed) == {"six", "web"}
    assert _complete("get", "pools", "w", **typed) == {"web"}
    assert _complete("delete", "pool", "six", "w", **typed) == {"web"}
    assert _complete("allocate", "--pool", "web,s", **typed) == {"web,six"}
    assert _complete("--url", url, "--space", space, "free", "w") == {"web"}


def test_nothing_is_started_and_nothing_fails(tmp_path: Path) -> None:
    """Without a running server there is nothing to offer, and it stays so."""
    home = tmp_path / "home"
    assert _complete("free", "", IPLEDGER_HOME=str(home)) == set()
    assert _complete("free", "", IPLEDGER_URL="redis://127.0.0.1:1") == set()
    assert _complete("free", "", IPLEDGER_URL="nonsense") == set()
    assert not home.exists()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script(cli: Cli, shell: str) -> None:
    """It names the variable of the protocol."""
    assert "_IPLEDGER_COMPLETE" in cli.ok("completion", shell)


def test_bash_completes(cli: Cli, tmp_path: Path) -> None:
    """In a real bash that has evaluated the script, the verb is completed."""
    program = tmp_path / "ipledger"
    program.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m ipledger "$@"\n')
    program.chmod(0o755)
    script = f"""
        PATH="{tmp_path}:$PATH"
        {cli.ok("completion", "bash")}
        COMP_WORDS=(ipledger desc)
        COMP_CWORD=1
        _ipledger_completion ipledger
        echo "${{COMPREPLY[@]}}"
    """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("describe\n", "")
