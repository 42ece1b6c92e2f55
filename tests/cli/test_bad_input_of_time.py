"""What commands of time and trouble refuse: the kind of it, the field, and nothing is written."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Cli, shown

LONG = "x" * (1 << 20)
PAST_A_CENTURY = "9999999999d"

ALLOCATE = ["allocate", "--pool", "web", "--owner", "new"]
ASIDE = ["quarantine", "10.0.0.12", "--reason", "answers ARP"]

# The words, the exit code, and what the message must name. `LEASE` is a lease that there is.
REFUSED: list[tuple[list[str], int, str]] = [
    # unknown pool, owner, lease
    (["allocate", "--pool", "nope", "--owner", "a"], 3, "pool nope"),
    (["allocate", "--pool", "web,nope", "--owner", "a"], 3, "pool nope"),
    (["delete", "pool", "nope", "--cascade"], 3, "pool nope"),
    (["delete", "pool", "web", "nope", "--dry-run"], 3, "pool nope"),
    (["delete", "reservation", "nope"], 3, "reservation nope"),
    (["release", "999999"], 3, "lease 999999"),
    (["release", "999999", "--dry-run"], 3, "lease 999999"),
    (["renew", "999999"], 3, "lease 999999"),
    (["renew", "1"], 3, "lease 1"),
    (["unquarantine", "10.0.0.12"], 3, "10.0.0.12"),
    # times to live: zero, negative, absurd
    *(
        ([*words, option, time], 6, time[:10])
        for words, option in (
            (ALLOCATE, "--ttl"), (["renew", "LEASE"], "--ttl"), (ASIDE, "--for"),
            (["sweep"], "--every"),
        )
        for time in ("0s", "-5s", PAST_A_CENTURY, "soon", "5", "1e3s", "9" * 5_000)
    ),
    # labels
    ([*ALLOCATE, "--label", f"node={LONG}"], 6, "label"),
    ([*ALLOCATE, "--label", f"{LONG}=n7"], 6, "label"),
    (["release", "--label", f"node={LONG}"], 6, "label"),
    (["release", "--label", "node"], 6, "label"),
    (["release", "--label", "a\x1b[31m=b"], 6, "label"),
    (["release", "--label", "a=b\x00"], 6, "label"),
    # names with control characters or braces
    (["allocate", "--pool", "{web}", "--owner", "a"], 6, "pool"),
    (["allocate", "--pool", "web\x1b[31m", "--owner", "a"], 6, "pool"),
    (["allocate", "--pool", "web", "--owner", "a\nb"], 6, "owner"),
    (["allocate", "--pool", "web", "--owner", LONG], 6, "owner"),
    ([*ALLOCATE, "--interface", "net\x07"], 6, "interface"),
    ([*ALLOCATE, "--interface", "eth0", "--interface", "eth0"], 6, "interface"),
    ([*ALLOCATE, "--uid", "u\x00"], 6, "uid"),
    (["delete", "pool", "{web}"], 6, "pool"),
    (["delete", "pool", "we\x1bb", "--cascade"], 6, "pool"),
    (["release", "--owner", "a\x7f"], 6, "owner"),
    (["release", "--owner", "a", "--interface", "e th"], 6, "interface"),
    (["quarantine", "10.0.0.12", "--reason", "a\x1b[31m"], 6, "reason"),
    (["quarantine", "10.0.0.12", "--reason", LONG], 6, "reason"),
    (["unquarantine", "10.0.0.12", "--reason", "a\x1b[31m"], 6, "reason"),
    (["renew", "LEASE", "--ttl", "1h", "--reason", "\x1b"], 6, "reason"),
    # addresses that are none, or of the wrong family
    ([*ALLOCATE, "--ip", "fd00::1"], 6, "fd00::1"),
    (["allocate", "--pool", "six", "--owner", "a", "--ip", "10.0.0.1"], 6, "10.0.0.1"),
    ([*ALLOCATE, "--ip", "10.0.0.300"], 6, "10.0.0.300"),
    (["quarantine", "10.0.0.12", "fd00::1", "--reason", "x"], 6, "fd00::1"),
    (["quarantine", "10.0.0.300", "--reason", "x"], 6, "10.0.0.300"),
    (["quarantine", "10.0.0.9-10.0.0.1", "--reason", "x"], 6, "10.0.0.9-10.0.0.1"),
    (["quarantine", LONG, "--reason", "x"], 6, ""),
    (["unquarantine", "10.0.0.12", "fd00::1"], 6, "fd00::1"),
    (["unquarantine", "{}"], 6, "{}"),
    (["unquarantine", "\x1b[31m"], 6, ""),
    # effective_at: in the future, too early, none
    ([*ALLOCATE, "--effective-at", "2999-01-01T00:00:00Z"], 6, "effective_at"),
    (["release", "LEASE", "--effective-at", "2999-01-01T00:00:00Z"], 6, "effective_at"),
    (["release", "LEASE", "--effective-at", "-1h"], 6, "effective_at"),
    ([*ALLOCATE, "--effective-at", "1901-01-01T00:00:00Z"], 6, "effective_at"),
    (["release", "LEASE", "--effective-at", "1901-01-01T00:00:00Z"], 6, "effective_at"),
    ([*ALLOCATE, "--effective-at", "yesterday"], 6, "yesterday"),
    (["release", "LEASE", "--effective-at", "2026-01-01T00:00:00"], 6, "zone"),
    # no lease at all
    (["renew", "0"], 2, "0"),
    (["renew", "-1"], 2, "-1"),
    (["renew", "{5}"], 2, "{5}"),
    (["renew", "9" * 30], 6, "lease"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "code", "names"), REFUSED, ids=shown)
def test_bad_input(web: Cli, words: list[str], code: int, names: str) -> None:
    """A refusal with its kind that names the field, short and without control characters."""
    lease = web.json("allocate", "--pool", "web", "--owner", "old", "--ttl", "1h").data["leases"]
    length = web.json("replay").data["position"]
    given = [str(lease[0]["lease"]) if word == "LEASE" else word for word in words]
    result = web(*given, "-o", "json")
    assert (result.code, result.out) == (code, "")
    kinds = {2: "usage", 3: "not_found", 6: "invalid"}
    assert result.error["kind"] == kinds[code]
    assert names in result.error["message"]
    assert len(result.err) < 1_000
    assert "\x1b" not in web(*given).err
    assert web.json("replay").data["position"] == length


def test_who_is_unknown_holds_nothing(web: Cli) -> None:
    """An owner is whoever holds something: releasing an unknown one's leases is no error."""
    length = web.json("replay").data["position"]
    assert web.json("release", "--owner", "nobody").items == []
    assert web.json("replay").data["position"] == length
