"""Spiderpool's page on reserved IPs: its YAML applies as it stands and ends as the page says."""

from __future__ import annotations

from pathlib import Path

from ipledger.cli.demo import SEED
from tests.cli.conftest import Cli

RESERVED = str(SEED / "test-ipv4-reservedip.yaml")
POOL = str(SEED / "test-ipv4-ippool.yaml")
DEPLOYMENT = str(SEED / "reservedip-deploy.yaml")


def _addresses(cli: Cli) -> list[str]:
    return [lease["address"] for lease in cli.json("get", "leases").items]


def test_every_manifest_of_the_page_is_there() -> None:
    """All seven of them, with the notice that says whose they are."""
    assert len(list(SEED.glob("*.yaml"))) == 7
    assert "spiderpool" in (SEED / "NOTICE").read_text()


def test_two_spellings_of_one_pool(cli: Cli) -> None:
    """With excludeIPs or without: the same ten addresses, so not side by side."""
    plain, excluding = (
        str(SEED / f"pool-{kind}-excludeips.yaml") for kind in ("not-use", "use")
    )  # fmt: skip
    cli.ok("apply", "-f", plain)
    first = cli.json("free", "not-use-excludeips").data
    assert cli("apply", "-f", excluding).code == 4
    cli.ok("delete", "-f", plain)
    cli.ok("apply", "-f", excluding)
    second = cli.json("free", "use-excludeips").data
    assert (first["items"], first["free"]) == (second["items"], second["free"])
    assert first["free"] == 10


def test_nine_of_ten_are_reserved(cli: Cli) -> None:
    """One Pod of three runs, with .50; when the reservation is deleted, all do."""
    cli.ok("apply", "-f", RESERVED, "-f", POOL)
    result = cli("allocate", "-f", DEPLOYMENT, "-o", "json")
    assert result.code == 5
    assert [lease["address"] for lease in result.data["leases"]] == ["172.18.42.50"]
    assert len(result.data["refused"]) == 2
    cli.ok("delete", "-f", RESERVED)
    cli.ok("allocate", "-f", DEPLOYMENT)
    assert sorted(_addresses(cli)) == ["172.18.42.41", "172.18.42.42", "172.18.42.50"]


def test_reserved_while_leased(cli: Cli) -> None:
    """The holder keeps its address; once released, nobody gets it."""
    cli.ok("apply", "-f", POOL)
    cli.ok("allocate", "-f", DEPLOYMENT)
    cli.ok("apply", "-f", RESERVED)
    assert len(_addresses(cli)) == 3
    cli.ok("release", "--owner", "default/reservedip-deploy-0")
    (lease,) = cli.json("allocate", "--pool", "test-ipv4-ippool", "--owner", "new").data["leases"]
    assert lease["address"] == "172.18.42.50"
    assert cli("allocate", "--pool", "test-ipv4-ippool", "--owner", "newer").code == 5


def test_cleaning_up(cli: Cli) -> None:
    """The page's last command, run twice: the second time there is nothing left to delete."""
    cli.ok("apply", "-f", POOL)
    cli.ok("allocate", "-f", DEPLOYMENT)
    clean = ["delete", "-f", RESERVED, "-f", POOL, "-f", DEPLOYMENT, "--ignore-not-found"]
    assert "deleted" in cli.ok(*clean)
    assert _addresses(cli) == []
    assert "deleted" not in cli.ok(*clean)


def test_the_trap(cli: Cli, tmp_path: Path) -> None:
    """Another pool gives out what one excludes; a reservation holds for both."""
    for name in ("already-in-use", "created-by-someone-else"):
        cli.ok("apply", "-f", str(SEED / f"{name}.yaml"))

    def granted(owner: str) -> str:
        answer = cli.json("allocate", "--pool", "created-by-someone-else", "--owner", owner).data
        return str(answer["leases"][0]["address"])

    assert granted("web") == "172.18.43.31"
    cli.ok("release", "--owner", "web")
    redis_node = tmp_path / "redis-node.yaml"
    redis_node.write_text(
        "apiVersion: spiderpool.spidernet.io/v2beta1\nkind: SpiderReservedIP\n"
        "metadata: {name: redis-node}\nspec: {ips: [172.18.43.31]}\n"
    )
    cli.ok("apply", "-f", str(redis_node))
    assert granted("web") == "172.18.43.32"
