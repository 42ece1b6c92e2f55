"""What every test shares: how Hypothesis runs, and one real server of each kind for the session.

Under xdist each worker has servers of its own, so that a test may empty "its" server.
"""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import pytest
import redis
from hypothesis import settings

from engine.errors import Unavailable
from tests.servers import bundled_program, serving, system_program

# The machine that runs the tests may be busy with the other worker: an example that is slow there
# says nothing about the code, and pytest-timeout still bounds the whole test. A failure prints the
# blob that reproduces it, so that a report from elsewhere can be run here.
settings.register_profile("ipledger", deadline=None, print_blob=True)
settings.load_profile("ipledger")

# Base classes are no test modules, but their assertions should explain themselves just as well.
pytest.register_assert_rewrite("tests.contracts.stream")


@pytest.fixture(scope="session")
def embedded_url() -> Iterator[str]:
    """The URL of a server of the bundled program; other tests of the session use it, too."""
    try:
        program = bundled_program()
    except Unavailable as error:
        pytest.skip(f"no bundled server here: {error}")
    with serving(program) as served:
        yield served.url


@pytest.fixture(scope="session")
def debian_url() -> Iterator[str]:
    """The URL of a server of the distribution's Redis; other tests of the session use it, too."""
    program = system_program()
    if program is None:
        pytest.skip("no redis-server on PATH")
    with serving(program) as served:
        yield served.url


@pytest.fixture(params=["embedded", "debian"])
def redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of each kind of server in turn, emptied before the test."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def space() -> str:
    """The name of a space that no other test uses."""
    return f"test-{uuid4().hex}"
