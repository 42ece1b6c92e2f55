"""Forms of output: the same data in each, and nothing that moves a cursor."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ipledger.cli.show import emit, json_line, plain, table, width_of, yaml_text
from tests.cli.conftest import Cli, pool_yaml

NASTY = "\x1b[31m \x7f \x9b \u2028 \u202e\u2066 \U000e0001 名前 é"


def test_the_option_may_stand_anywhere(web: Cli) -> None:
    """Before the verb, behind it, in front of a verb's verb; the last one wins."""
    expected = web("get", "pools", "-o", "json").out
    assert web("-o", "json", "get", "pools").out == expected
    assert web("-o", "yaml", "get", "-o", "json", "pools").out == expected
    assert web("space", "-o", "json", "list").out == web("space", "list", "-o", "json").out


def test_all_forms_are_the_same_data(web: Cli) -> None:
    """JSON, YAML and lines of JSON tell the same items."""
    items = web("get", "pools", "-o", "json").items
    assert yaml.safe_load(web("get", "pools", "-o", "yaml").out) == {"items": items}
    lines = web("get", "pools", "-o", "jsonl").out.splitlines()
    assert [json.loads(line) for line in lines] == items


def test_nothing_is_nothing_in_each_form(cli: Cli) -> None:
    """An empty list: an empty list, no lines, a table of headings."""
    assert cli("get", "leases", "-o", "json").data == {"items": []}
    assert yaml.safe_load(cli("get", "leases", "-o", "yaml").out) == {"items": []}
    assert cli("get", "leases", "-o", "jsonl").out == ""
    assert cli("get", "leases").out.startswith("LEASE   ADDRESS")


@pytest.mark.parametrize("form", ["json", "yaml", "jsonl", "table"])
def test_every_form_is_safe_for_a_terminal(form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a name holds: only printable characters come out, and JSON means the same."""
    data = {"items": [{"name": NASTY}]}
    emit(form, data, table(["name"], [(NASTY,)]))
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.split("\n"))
    assert "名前" in out or form == "yaml"
    if form in {"json", "jsonl"}:
        assert json.loads(out) in (data, data["items"][0])


@given(st.text(st.characters(exclude_categories=())))
def test_json_is_printable_and_unchanged(text: str) -> None:
    """Escaping for the terminal never changes what the JSON says."""
    line = json_line({"text": text})
    assert line.isprintable()
    assert json.loads(line) == {"text": text}


@given(st.text())
def test_yaml_is_printable_and_unchanged(text: str) -> None:
    """As JSON; half of a surrogate pair is no text that could be stored."""
    dumped = yaml_text({"text": text})
    assert all(line.isprintable() for line in dumped.split("\n"))
    assert yaml.safe_load(dumped) == {"text": text}


@given(st.text())
def test_a_cell_is_printable(text: str) -> None:
    """And printable text is shown as it is."""
    cell = plain(text)
    assert cell.isprintable()
    assert cell == text or not text.isprintable()


@pytest.mark.parametrize(
    ("text", "width"),
    [("web", 3), ("名前", 4), ("😀", 2), ("é", 1), ("e\u0301", 1), ("ﾊﾝｶｸ", 4), ("", 0)],
)
def test_width_is_what_a_terminal_gives(text: str, width: int) -> None:
    """Two columns for wide characters, none for combining ones."""
    assert width_of(text) == width


def test_columns_stay_aligned(web: Cli) -> None:
    """Also below an owner with wide characters."""
    for owner in ("名前/😀", "plain"):
        web.ok("allocate", "--pool", "web", "--owner", owner)
    lines = web.ok("get", "leases").splitlines()
    assert len({width_of(line[: line.index("eth0")]) for line in lines[1:]}) == 1


def test_an_owner_of_control_characters_is_escaped(web: Cli) -> None:
    """Characters that reorder or hide text are letters of a lease's owner, not of a terminal."""
    web.ok("allocate", "--pool", "web", "--owner", "a\u202eb")
    for form in ("table", "json", "yaml", "jsonl"):
        assert "\u202e" not in web.ok("get", "leases", "-o", form)
    assert web.json("get", "leases").items[0]["owner"] == "a\u202eb"
    assert "\u202e" not in web.ok("describe", "lease", "4")
    assert "\u202e" not in web.ok("follow", "--from", "4", "--until-end")
    assert "\u202e" not in web.ok("history", "ip", "10.0.0.10")


def test_settings_from_the_environment(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, manifest: Callable[[str], str]
) -> None:
    """Each global option that has a variable takes it; an option on the command line wins."""
    url, states, space = cli.options[1], cli.options[3], cli.options[5]
    cli.options.clear()
    monkeypatch.setenv("IPLEDGER_URL", url)
    monkeypatch.setenv("IPLEDGER_STATE_DIR", states)
    monkeypatch.setenv("IPLEDGER_SPACE", space)
    monkeypatch.setenv("IPLEDGER_ACTOR", "from the environment")
    cli.ok("apply", "-f", manifest(pool_yaml("web", "10.0.0.0/24")))
    cli.ok("apply", "-f", manifest(pool_yaml("b", "10.0.1.0/24")), "--actor", "by hand")
    lines = cli.ok("follow", "--from", "2", "--until-end").splitlines()
    assert [json.loads(line)["actor"] for line in lines] == ["from the environment", "by hand"]
    monkeypatch.setenv("IPLEDGER_SPACE", "elsewhere")
    assert cli("get", "pools").code == 3
    assert cli("get", "pools", "--space", space).code == 0


def test_why_is_recorded(web: Cli) -> None:
    """--reason stands in the event."""
    web.ok("allocate", "--pool", "web", "--owner", "a", "--reason", "ticket 4711")
    event = json.loads(web.ok("follow", "--from", "4", "--until-end"))
    assert event["reason"] == "ticket 4711"
