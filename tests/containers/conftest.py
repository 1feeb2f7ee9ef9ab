"""The images and the servers of the tier; without a Docker, each of its tests is skipped with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.containers.daemon import absence
from tests.containers.images import Images, prepared
from tests.containers.servers import Pair, pair


@pytest.fixture(scope="session")
def images() -> Images:
    """What `docker` runs here."""
    if why := absence():
        pytest.skip(why)
    return prepared()


@pytest.fixture
def servers(images: Images) -> Iterator[Pair]:
    """A primary and its standby, of the test's own."""
    with pair(images) as one:
        yield one
