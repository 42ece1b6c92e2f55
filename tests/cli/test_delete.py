"""`delete`: by manifest or by name; workloads give back their leases."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.cli.conftest import Cli, deployment_yaml, pool_yaml, reservation_yaml

Manifest = Callable[[str], str]


def test_by_name(web: Cli) -> None:
    """Several of a kind at once, under any name of the kind."""
    assert web.ok("delete", "pools", "web", "six") == "pool/web deleted\npool/six deleted\n"
    assert web.json("get", "pools").items == []


def test_by_the_name_that_was_printed(web: Cli) -> None:
    """``pool/web``, as apply prints it, is understood."""
    assert web.ok("delete", "pool/web") == "pool/web deleted\n"


def test_by_manifest(cli: Cli, manifest: Manifest) -> None:
    """What a file defines is deleted, in the order of the file."""
    path = manifest(pool_yaml("a", "10.0.0.0/24") + reservation_yaml("r", "10.0.0.1"))
    cli.ok("apply", "-f", path)
    assert cli.ok("delete", "-f", path) == "pool/a deleted\nreservation/r deleted\n"


def test_what_is_not_there(web: Cli) -> None:
    """Exit code 3 and nothing is deleted; or, if asked for, no error."""
    result = web("delete", "pool", "web", "nope", "-o", "json")
    assert (result.code, result.error["message"]) == (3, "pool nope does not exist")
    assert len(web.json("get", "pools").items) == 2
    told = web.json("delete", "pool", "web", "nope", "--ignore-not-found").items
    assert [(item["name"], item["result"]) for item in told] == [
        ("web", "deleted"), ("nope", "not found"),
    ]  # fmt: skip


def test_a_pool_with_leases_is_terminating(web: Cli) -> None:
    """It says how many leases are left, gives out nothing, and is gone with the last of them."""
    web.ok("allocate", "--pool", "web", "--owner", "a")
    assert web.ok("delete", "pool", "web") == "pool/web terminating (1 lease left)\n"
    assert web.json("get", "pool", "web").items[0]["state"] == "terminating"
    assert web("allocate", "--pool", "web", "--owner", "b").code == 4
    web.ok("release", "--owner", "a")
    assert web("get", "pool", "web").code == 3


def test_a_workload_gives_back_its_leases_only(web: Cli, manifest: Manifest) -> None:
    """All replicas that it ever had, not those of a workload with a name that begins alike."""
    path = manifest(deployment_yaml("shop", 2, "web"))
    web.ok("allocate", "-f", manifest(deployment_yaml("shop", 3, "web")))
    web.ok("allocate", "-f", manifest(deployment_yaml("shop-x", 1, "web")))
    web.ok("allocate", "--pool", "web", "--owner", "default/shop-7")
    told = web.json("delete", "-f", path).items
    assert [(item["kind"], item["result"]) for item in told] == [("lease", "released")] * 3
    assert sorted(i["owner"] for i in web.json("get", "leases").items) == [
        "default/shop-7", "default/shop-x-0",
    ]  # fmt: skip


def test_labels_cannot_hide_a_workloads_leases(web: Cli, manifest: Manifest) -> None:
    """Whatever --label says, delete -f finds the leases again."""
    path = manifest(deployment_yaml("shop", 1, "web"))
    web.ok("allocate", "-f", path, "--label", "workload=mine", "--label", "node=n1")
    assert web.json("get", "leases").items[0]["labels"]["node"] == "n1"
    assert len(web.json("delete", "-f", path).items) == 1


def test_a_refused_delete_releases_nothing(web: Cli, manifest: Manifest) -> None:
    """If one of several files is refused, the leases of the others stay."""
    deployment = manifest(deployment_yaml("shop", 2, "web"))
    web.ok("allocate", "-f", deployment)
    missing = manifest(reservation_yaml("r", "10.0.0.1"))
    assert web("delete", "-f", deployment, "-f", missing).code == 3
    assert web("delete", "-f", missing, "-f", deployment).code == 3
    assert len(web.json("get", "leases").items) == 2
    never_ran = manifest(deployment_yaml("other", 2, "web"))
    assert web("delete", "-f", deployment, "-f", never_ran).code == 3
    assert len(web.json("get", "leases").items) == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "name what to delete"),
        (["pool"], "name the pools to delete"),
        (["tables", "x"], "'tables' is not one of"),
        (["lease", "5"], "ipledger release"),
        (["pool", "web", "-f", "x.yaml"], "name what to delete"),
        (["space", "x"], "'space' is not one of"),
    ],
)
def test_misuse_is_told(web: Cli, words: list[str], says: str) -> None:
    """Exit code 2, with what to write instead."""
    result = web("delete", *words, "-o", "json")
    assert (result.code, result.error["kind"]) == (2, "usage")
    assert says in result.error["message"]


def test_a_terminating_pool_is_deleted_with_its_leases(web: Cli) -> None:
    """Its leases are revoked, and that is what is said; the dry run says the same."""
    web.ok("allocate", "--pool", "web", "--owner", "a")
    web.ok("allocate", "--pool", "web", "--owner", "b", "--prefix-length", "31")
    web.ok("delete", "pool", "web")
    told = "pool/web deleted (2 leases revoked)\n"
    assert web("delete", "pool", "web", "--cascade", "--dry-run").out == told
    assert len(web.json("get", "leases").items) == 2
    assert web.ok("delete", "pool", "web", "--cascade") == told
    assert web.json("get", "leases").items == []
    assert web.json("get", "pools", "-o", "json").items[0]["name"] != "web"


def test_each_cluster_gives_back_its_own(
    web: Cli, manifest: Manifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of workloads with the same name, those of another cluster, or of none, keep their leases."""
    path = manifest(deployment_yaml("shop", 2, "web"))
    for cluster in ([], ["--cluster", "c1"], ["--cluster", "c2"]):
        web.ok("allocate", "-f", path, *cluster)
    # An owner's name that looks like no cluster's is not enough: the lease is cluster c1's.
    web.ok("allocate", "--pool", "web", "--owner", "default/shop-9", "--cluster", "c1",
           "--label", "workload=deployment/shop")  # fmt: skip

    def owners() -> list[str]:
        return sorted(item["owner"] for item in web.json("get", "leases").items)

    missing = web("delete", "-f", path, "--cluster", "c3")
    assert missing.code == 3
    assert "deployment c3/default/shop holds no lease" in missing.err
    assert len(web.json("delete", "-f", path, "--cluster", "c1", "--dry-run").items) == 2
    assert len(web.json("delete", "-f", path, "--cluster", "c1").items) == 2
    kept = ["c2/default/shop-0", "c2/default/shop-1", "default/shop-9"]
    assert owners() == [*kept[:2], "default/shop-0", "default/shop-1", kept[2]]
    assert len(web.json("delete", "-f", path).items) == 2
    assert owners() == kept
    monkeypatch.setenv("IPLEDGER_CLUSTER", "c2")
    assert len(web.json("delete", "-f", path).items) == 2
    assert owners() == ["default/shop-9"]
