"""A connection of a client's pool on which a command is sent now and its answer read later.

The client itself has nothing for that but pipelines, which wait at once; and for each command it
takes a connection from its pool and puts it back, which costs a lone writer a tenth of its time.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, Final

from hiredis import pack_command
from redis.exceptions import RedisError, ResponseError

if TYPE_CHECKING:
    from redis import Redis


# So long after an answer a connection is not asked whether it is still open: to ask takes a lone
# caller as long as deciding. If it is not, the append is found out about, as any that is lost.
_FRESH_S: Final = 0.002


class Line:
    """A way to the server that is kept open, for one command at a time.

    A second thread, or a process that was forked, gets a connection of its own.
    """

    def __init__(self, client: Redis) -> None:
        self._pool = client.connection_pool
        self._idle: list[tuple[Any, float]] = []  # each with the time since when

    def send(
        self, command: tuple[str | bytes, ...], behind: Sequence[tuple[str, ...]] = ()
    ) -> Callable[[], Any]:
        """Send a command; the function that is returned reads its answer, and is called once.

        With commands that wait for it `behind`, on the same connection and in the same write, it
        returns a pair: its answer, and that to the last of them, which may be an error.

        Whatever goes wrong, on the way there too, is raised by that function, as the client's.
        """
        try:
            connection = self._take()
        except (RedisError, OSError) as error:
            return _raising(error)
        try:
            # As the client would, but that it looks at each argument first.
            packed = b"".join(map(pack_command, (command, *behind)))  # type: ignore[arg-type]
            connection.send_packed_command((packed,))
        except (RedisError, OSError) as error:
            self._give_up(connection)
            return _raising(error)
        except BaseException:
            self._give_up(connection)
            raise

        def fetch() -> Any:
            try:
                replies = [_answer_on(connection) for _ in range(1 + len(behind))]
            except BaseException:
                self._give_up(connection)
                raise
            self._idle.append((connection, monotonic()))
            if isinstance(replies[0], ResponseError):
                raise replies[0]
            return (replies[0], replies[-1]) if behind else replies[0]

        return fetch

    def close(self) -> None:
        """Give back what is kept open."""
        while self._idle:
            self._give_up(self._idle.pop()[0])

    def _take(self) -> Any:
        """A connection on which nothing is under way."""
        while self._idle:
            connection, since_s = self._idle.pop()
            with suppress(RedisError, OSError):  # the server has closed it
                if connection.pid == os.getpid() and (
                    monotonic() - since_s < _FRESH_S or not connection.can_read()
                ):
                    return connection
            self._give_up(connection)
        return self._pool.get_connection()

    def _give_up(self, connection: Any) -> None:
        if connection.pid == os.getpid():
            connection.disconnect()
        self._pool.release(connection)


def _answer_on(connection: Any) -> Any:
    """The next answer on a connection; an error is one, too."""
    try:
        return connection.read_response()
    except ResponseError as error:
        return error


def _raising(error: Exception) -> Callable[[], Any]:
    def fetch() -> Any:
        raise error

    return fetch
