"""From a URL to a stream: how a server is reached, and what is asked of it first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from engine.errors import InvalidInput, Unavailable

if TYPE_CHECKING:
    from redis import Redis

    from engine.redis_stream import RedisStream

# Longer than any command of ours takes on a busy server, shorter than a caller's patience.
SOCKET_TIMEOUT_S: Final = 5.0
VERSION_LEAST: Final = (7, 0)
_SCHEMES: Final = ("redis", "rediss", "unix")


class Server(NamedTuple):
    """A server that was reached and found fit."""

    client: Redis
    endpoint: str  # the URL without user and password: names the server in messages and files
    version: str

    def close(self) -> None:
        """Give the connection back."""
        self.client.close()


def endpoint_of(url: str) -> str:
    """The URL without credentials.

    Raises:
        InvalidInput: not one of redis://, rediss://, unix://.
    """
    try:
        parts = urlsplit(url)
    except ValueError as error:
        message = f"the URL cannot be understood: {error}"
        raise InvalidInput(message, "use redis://HOST:PORT/DB or unix:///path/to/sock") from error
    if parts.scheme not in _SCHEMES:
        message = f"{parts.scheme or url!r} is not a URL scheme for a server"
        raise InvalidInput(message, "use redis://HOST:PORT/DB, rediss://… or unix:///path/to/sock")
    # The query may hold a password, too; of what it can say, only the database names a server.
    database = "&".join(part for part in parts.query.split("&") if part.startswith("db="))
    netloc = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=netloc, query=database, fragment=""))


def make_client(url: str, socket_timeout_s: float | None = SOCKET_TIMEOUT_S) -> Redis:
    """A client with retries off: a retried append could be written twice.

    Raises:
        InvalidInput: the URL cannot be understood.
    """
    endpoint = endpoint_of(url)
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    options: dict[str, Any] = {
        "retry": Retry(NoBackoff(), 0),
        "socket_timeout": socket_timeout_s,
        "protocol": 2,  # one protocol, so that replies have one shape
        "decode_responses": False,
    }
    if not endpoint.startswith("unix"):
        options["socket_connect_timeout"] = SOCKET_TIMEOUT_S
    try:
        return Redis.from_url(url, **options)
    except (ValueError, TypeError) as error:
        message = f"the URL {endpoint} cannot be understood: {error}"
        raise InvalidInput(message, "use redis://HOST:PORT/DB or unix:///path/to/sock") from error


def reach(url: str) -> Server:
    """Connect, and check that the server is fit to keep a ledger.

    Raises:
        InvalidInput: the URL cannot be understood.
        Unavailable: no server, one that is too old, or one that may evict what is stored.
    """
    endpoint = endpoint_of(url)
    client = make_client(url)
    client.response_callbacks.clear()
    try:
        told = _information(client, endpoint)
        return Server(client, endpoint, _checked(told, endpoint))
    except BaseException:
        client.close()
        raise


def _information(client: Redis, endpoint: str) -> dict[str, str]:
    """What the server tells about itself."""
    from redis.exceptions import BusyLoadingError, RedisError

    try:
        text = client.execute_command("INFO")  # type: ignore[no-untyped-call]
    except BusyLoadingError as error:
        message = f"the server at {endpoint} is still loading its data"
        raise Unavailable(message, "try again in a moment") from error
    except TypeError as error:  # an option in the query that no connection knows
        message = f"the URL {endpoint} cannot be understood: {error}"
        raise InvalidInput(message, "leave its query out") from error
    except (RedisError, OSError) as error:
        message = f"the server at {endpoint} cannot be reached: {error}"
        raise Unavailable(message, "check the URL and that the server runs") from error
    lines = text.decode("utf-8", "replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)


def _checked(told: dict[str, str], endpoint: str) -> str:
    """The version in words, if the server is fit."""
    version = told.get("redis_version", "0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
    if numbers < VERSION_LEAST:
        message = f"the server at {endpoint} has version {version}"
        raise Unavailable(message, "Redis or Valkey from 7.0 is needed")
    policy = told.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        message = f"the server at {endpoint} may evict what it stores (maxmemory-policy {policy})"
        raise Unavailable(message, "set maxmemory-policy noeviction: a ledger must not lose keys")
    if "valkey_version" in told:
        return f"valkey {told['valkey_version']}"
    return f"redis {version}"


def open_stream(server: Server, space: str) -> RedisStream:
    """The stream of a space on a server."""
    from engine.redis_stream import RedisStream

    return RedisStream(server.client, space)
