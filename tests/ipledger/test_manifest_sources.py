"""Files, directories and standard input are read whole or refused by name; the seed is a copy."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from engine.addresses import RangeSet
from engine.commands import PutPool, PutReservation
from engine.errors import InvalidInput
from ipledger.manifests import Source, Workload, parse, read_sources, sources
from ipledger.manifests.annotations import Nic
from tests.privileges import without_privileges

ROOT: Final = Path(__file__).resolve().parents[2]
SEED: Final = ROOT / "ipledger" / "seed"
# The page the tutorial's manifests are from, where the project's notes lie beside the checkout.
SEED_PAGE: Final = ROOT.parent / "shared" / "seeds" / "reserved-ip.md"

MANIFEST: Final = "kind: Pool\n"


def no_stdin(_bytes_max: int) -> bytes:
    """Standard input that must not be read."""
    raise AssertionError("standard input was read")


def refusal(path: object, stdin: Callable[[int], bytes] = no_stdin) -> InvalidInput:
    """The error that a path is refused with; its message begins with the path."""
    with pytest.raises(InvalidInput) as caught:
        read_sources([str(path)], stdin)
    assert caught.value.message.startswith(f"{'<stdin>' if path == '-' else path}: ")
    assert caught.value.hint
    return caught.value


def test_files_and_stdin_are_read_in_the_order_given(tmp_path: Path) -> None:
    """Each path is one source under its own name, standard input too."""
    (tmp_path / "b.txt").write_text("b: 1\n")
    (tmp_path / "a.yaml").write_text("a: é\n", encoding="utf-8")
    paths = [str(tmp_path / "b.txt"), "-", str(tmp_path / "a.yaml")]
    assert read_sources(paths, lambda _: b"from stdin") == [
        Source(paths[0], "b: 1\n"),
        Source("<stdin>", "from stdin"),
        Source(paths[2], "a: é\n"),
    ]
    assert read_sources([], no_stdin) == []


def test_a_directory_stands_for_its_manifests(tmp_path: Path) -> None:
    """Its *.yaml, *.yml and *.json in order; nothing hidden, nothing below, nothing else."""
    for name in ["c.json", "a.yaml", "b.yml", "README.md", ".hidden.yaml", "d.yaml.bak"]:
        (tmp_path / name).write_text(name)
    (tmp_path / "below.yaml").mkdir()
    (tmp_path / "below.yaml" / "e.yaml").write_text("e")
    (tmp_path / ".#lock.yaml").symlink_to("nowhere")
    read = read_sources([str(tmp_path)], no_stdin)
    assert [source.text for source in read] == ["a.yaml", "b.yml", "c.json"]
    assert read[0].name == str(tmp_path / "a.yaml")


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    """Some editors put one in front of UTF-8."""
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read_sources([str(tmp_path / "a.yaml")], no_stdin)[0].text == "a: 1\n"


def test_a_pipe_is_read_as_a_file(tmp_path: Path) -> None:
    """What has no size beforehand, such as a shell's <(command), is read to its end."""
    reader, writer = os.pipe()
    os.write(writer, b"a: 1\n")
    os.close(writer)
    link = tmp_path / "pipe"
    try:
        link.symlink_to(f"/dev/fd/{reader}")
        assert read_sources([str(link)], no_stdin)[0].text == "a: 1\n"
    finally:
        os.close(reader)


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    """Missing, of an impossible name, empty of manifests: each says which path and why."""
    assert "No such file or directory" in refusal(tmp_path / "missing.yaml").message
    assert "it cannot be read" in refusal("a\0b").message
    assert "no file *.yaml, *.yml, *.json" in refusal(tmp_path).message
    (tmp_path / "dangling.yaml").symlink_to("nowhere")
    with pytest.raises(InvalidInput, match=r"dangling\.yaml: it cannot be read"):
        read_sources([str(tmp_path)], no_stdin)


def test_what_may_not_be_read_is_refused_by_name(tmp_path: Path) -> None:
    """A file or directory without permission says so."""
    secret = tmp_path / "secret.yaml"
    secret.write_text(MANIFEST)
    secret.chmod(0)
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o100)
    with without_privileges(secret, closed):
        assert "Permission denied" in refusal(secret).message
        assert "Permission denied" in refusal(closed).message


def test_what_is_not_utf8_is_refused(tmp_path: Path) -> None:
    """The first byte that is wrong is counted from 1; standard input is no exception."""
    latin = tmp_path / "latin.yaml"
    latin.write_bytes("name: é".encode("latin-1"))
    assert "it is not UTF-8 text (byte 7)" in refusal(latin).message
    wide = tmp_path / "wide.yaml"
    wide.write_bytes("a: 1".encode("utf-16"))
    assert "it is not UTF-8 text (byte 1)" in refusal(wide).message
    assert "not UTF-8" in refusal("-", lambda _: b"\xff").message


def test_stdin_that_fails_is_refused() -> None:
    """A closed or broken standard input is an error of the caller's, not a crash."""

    def broken(_bytes_max: int) -> bytes:
        raise OSError(5, "Input/output error")

    assert "Input/output error" in refusal("-", broken).message


def test_what_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file up to the bound is read, one byte more is not, wherever it comes from."""
    assert sources.SOURCE_BYTES_MAX == 64 * 1024 * 1024
    monkeypatch.setattr(sources, "SOURCE_BYTES_MAX", 1024**2)
    file = tmp_path / "large.yaml"
    file.write_bytes(b"#" * 1024**2)
    assert len(read_sources([str(file)], no_stdin)[0].text) == 1024**2
    file.write_bytes(b"#" * (1024**2 + 1))
    assert "larger than 1 MiB" in refusal(file).message
    assert "larger than 1 MiB" in refusal("-", lambda most: b"#" * (most + 1)).message
    # Bytes are counted, and the last may be half a letter: so that is told before it is decoded.
    cut_off = "é".encode() * 1024**2
    assert "larger than 1 MiB" in refusal("-", lambda most: cut_off[: most + 1]).message


def test_the_seed_is_read() -> None:
    """All manifests of the tutorial mean what its page says."""
    parsed = parse(read_sources([str(SEED)], no_stdin))
    assert not parsed.warnings
    pools = {put.name: put.spec for put in parsed.objects if isinstance(put, PutPool)}
    reserved = {put.name: put.spec for put in parsed.objects if isinstance(put, PutReservation)}
    effective = {name: spec.effective().texts() for name, spec in pools.items()}
    two_ranges = ["172.18.41.40-172.18.41.44", "172.18.41.46-172.18.41.50"]
    assert effective == {
        "not-use-excludeips": two_ranges,
        "use-excludeips": two_ranges,
        "test-ipv4-ippool": ["172.18.42.41-172.18.42.50"],
        "already-in-use": ["172.18.43.1-172.18.43.30"],
        "created-by-someone-else": ["172.18.43.31-172.18.43.50"],
    }
    assert list(reserved) == ["test-ipv4-reservedip"]
    assert reserved["test-ipv4-reservedip"].ips == RangeSet.parse(["172.18.42.41-172.18.42.49"])
    labels = {
        "app": "reservedip-deploy",
        "namespace": "default",
        "workload": "deployment/reservedip-deploy",
    }
    nic = Nic(None, (("test-ipv4-ippool",),), (4,))
    assert parsed.workloads == (
        Workload("Deployment", "default", "reservedip-deploy", 3, (nic,), labels),
    )


@pytest.mark.skipif(not SEED_PAGE.exists(), reason="the tutorial's page is not beside the checkout")
def test_the_seed_is_the_page_word_for_word() -> None:
    """Every block of YAML on the page is one of our files, and every file is such a block."""
    page = SEED_PAGE.read_text(encoding="utf-8")
    blocks = re.findall(r"^apiVersion: .*\n(?:.+\n)*", page, re.MULTILINE)
    assert len(blocks) == 7
    files = [file.read_text(encoding="utf-8") for file in SEED.glob("*.yaml")]
    assert sorted(files) == sorted(blocks)
