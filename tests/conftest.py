"""What more than one folder of tests uses: S3, SFTP and PostgreSQL servers, started once for each process that runs tests.

Ctrl-C means something to every process that a test starts, also where the tests themselves run in the background of a
shell, which ignores it and would hand that down.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from backups.postgres.server import Server, running
from ci.loopback import free_ports
from tests.backups.cloud import Cloud, cloud
from tests.backups.sftp_server import KINDS, SftpServer, sftp_server

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A real S3 server. A test that kills it starts it again."""
    with cloud(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture(scope="session")
def sftp_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, SftpServer]]:
    """A real SFTP server of each kind that there is here. A test that kills one starts it again."""
    with ExitStack() as running:
        yield {kind: running.enter_context(sftp_server(tmp_path_factory.mktemp("sftp"), kind)) for kind in KINDS}


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A real PostgreSQL server. A test that ends it starts it again."""
    with running(tmp_path_factory.mktemp("pg") / "server", free_ports(1)[0]) as server:
        yield server
