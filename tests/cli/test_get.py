"""`get` and `describe`: what is, in full, in part, and one of it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Cli, pool_yaml, reservation_yaml

Manifest = Callable[[str], str]


@pytest.mark.parametrize(
    ("alias", "kind"),
    [
        ("pool", "pools"), ("POOLS", "pools"), ("sp", "pools"), ("spiderippool", "pools"),
        ("reservation", "reservations"), ("sr", "reservations"), ("lease", "leases"),
        ("space", "spaces"),
    ],
)  # fmt: skip
def test_a_kind_has_several_names(web: Cli, alias: str, kind: str) -> None:
    """Singular, plural, any case, and the names that Spiderpool's users type."""
    assert web.json("get", alias).data == web.json("get", kind).data


def test_an_unknown_kind_is_told_the_known_ones(web: Cli) -> None:
    """Exit code 2."""
    result = web("get", "pods")
    assert result.code == 2
    assert "pools, reservations, leases, quarantines, spaces" in result.err


@pytest.mark.parametrize("kind", ["pool", "reservation", "lease", "space"])
@pytest.mark.parametrize("name", ["nope", "9", "a{b", "9" * 5_000, "\udcff", "x\x1b[31m"])
@pytest.mark.parametrize("verb", ["get", "describe"])
def test_an_unknown_name_is_not_found(web: Cli, verb: str, kind: str, name: str) -> None:
    """Exit code 3, whatever the name looks like; the hint says where to look."""
    result = web(verb, kind, name, "-o", "json")
    assert (result.code, result.error["kind"]) == (3, "not_found")
    assert result.error["hint"].endswith(f"get {kind}s`")
    assert len(result.error["message"]) < 120


def test_an_unknown_space_is_not_found(cli: Cli) -> None:
    """Also to look at: a typing error must not look like an empty space."""
    result = cli("--space", "typo", "get", "pools", "-o", "json")
    assert (result.code, result.error["kind"]) == (3, "not_found")
    assert result.error["hint"].startswith("`ipledger space create typo`")


def test_hints_speak_of_the_same_space(web: Cli) -> None:
    """A command in a hint can be copied as it stands."""
    hint = web("get", "pool", "nope", "-o", "json").error["hint"]
    assert hint == f"see `ipledger --space {web.options[-1]} get pools`"


def test_one_of_a_kind(web: Cli) -> None:
    """By name, as one item; also by the name as other commands print it."""
    assert [pool["name"] for pool in web.json("get", "pool", "six").items] == ["six"]
    assert web.json("get", "pool/six").data == web.json("get", "pool", "six").data
    assert web("get", "pool/six", "web").code == 2


def test_counts_are_exact_at_any_size(web: Cli) -> None:
    """A whole /64 counts to 2^64 in JSON and in the table."""
    counts = web.json("get", "pool", "six").items[0]["counts"]
    assert counts["total"] == counts["free"] == 2**64
    assert str(2**64) in web.ok("get", "pools")


def test_leases_are_narrowed(web: Cli) -> None:
    """By owner, by pool and by label, also together."""
    web.ok("allocate", "--pool", "web", "--pool", "six", "--owner", "a", "--label", "node=n1")
    web.ok("allocate", "--pool", "web", "--owner", "b", "--label", "node=n2")

    def owners(*words: str) -> list[tuple[str, str]]:
        return [(i["owner"], i["pool"]) for i in web.json("get", "leases", *words).items]

    assert owners("--owner", "a") == [("a", "web"), ("a", "six")]
    assert owners("--pool", "web") == [("a", "web"), ("b", "web")]
    assert owners("--label", "node=n1", "--pool", "six") == [("a", "six")]
    assert owners("--owner", "nobody") == []
    assert web("get", "leases", "--pool", "nope").code == 3
    assert web("get", "leases", "--label", "node").code == 6


def test_only_leases_are_narrowed(web: Cli) -> None:
    """An option that would be ignored is refused."""
    assert web("get", "pools", "--owner", "a").code == 2


def test_a_long_list_is_cut_in_the_table_only(cli: Cli, manifest: Manifest) -> None:
    """The table shows the first ranges and their number; JSON and describe show all."""
    ips = [f"10.0.0.{last}" for last in range(2, 40, 2)]
    cli.ok("apply", "-f", manifest(pool_yaml("web", "10.0.0.0/24", *ips)))
    assert "10.0.0.2,10.0.0.4,10.0.0.6,… (19)" in cli.ok("get", "pools")
    assert cli.json("get", "pools").items[0]["ips"] == ips
    assert "10.0.0.38" in cli.ok("describe", "pool", "web")


def test_describe_tells_a_pool_in_words(cli: Cli, manifest: Manifest) -> None:
    """Durations as manifests write them, routes and selectors readable, buckets below."""
    cli.ok("apply", "-f", manifest(
        pool_yaml("web", "10.0.0.0/24", "10.0.0.10-10.0.0.19", more=(
            "ttl: 1h30m, gateway: 10.0.0.1, routes: [{dst: 10.9.0.0/16, gw: 10.0.0.2}], "
            "podAffinity: {matchExpressions: [{key: app, operator: In, values: [a, b]}]}, "
            "nodeName: [n1]"
        ))
        + reservation_yaml("printers", "10.0.0.12", more="owner: me, reason: 'a, b', for: 7d")
    ))  # fmt: skip
    said = " ".join(cli.ok("describe", "pool", "web").split())
    for told in (
        "pool web", "subnet 10.0.0.0/24 (IPv4)", "route 10.9.0.0/16 via 10.0.0.2",
        "lease time 1h30m", "pod affinity app In (a, b)", "node name n1", "addresses 10",
        "reserved 1", "free 9",
    ):  # fmt: skip
        assert told in said
    said = " ".join(cli.ok("describe", "reservation", "printers").split())
    for told in ("kept for me", "reason a, b", "lasts 7d", "addresses 1"):
        assert told in said


def test_describe_tells_leases_and_spaces(web: Cli) -> None:
    """Whoever holds it, how long; which space it is."""
    lease = web.json("allocate", "--pool", "web", "--owner", "a").data["leases"][0]["lease"]
    said = web.ok("describe", "lease", str(lease))
    assert "owner" in said
    assert "never" in said
    assert web.options[-1] in web.ok("describe", "space", web.options[-1])


def test_describe_needs_a_name(web: Cli) -> None:
    """Exit code 2, not everything there is."""
    assert web("describe", "pools").code == 2


def test_spaces_are_listed(web: Cli) -> None:
    """With their last position; `space list` says the same."""
    name = web.options[-1]
    (listed,) = [item for item in web.json("get", "spaces").items if item["name"] == name]
    assert listed["position"] == web.json("replay").data["position"]
    assert listed in web.json("space", "list").items
