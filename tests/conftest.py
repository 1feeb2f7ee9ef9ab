"""What more than one folder of tests uses: an S3 server, started once for each process that runs tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.backups.cloud import Cloud, cloud


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A real S3 server. A test that kills it starts it again."""
    with cloud(tmp_path_factory.mktemp("s3")) as running:
        yield running
