"""What more than one folder of tests uses: an S3 server, started once for each process that runs tests.

Ctrl-C means something to every process that a test starts, also where the tests themselves run in the background of a
shell, which ignores it and would hand that down.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.backups.cloud import Cloud, cloud

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A real S3 server. A test that kills it starts it again."""
    with cloud(tmp_path_factory.mktemp("s3")) as running:
        yield running
