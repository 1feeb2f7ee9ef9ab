"""A real S3 server for tests, killed and started again at will, and stores in it."""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from backups.stores.buckets import bucket_at
from backups.stores.objects import ObjectStore
from ci.object_server import ObjectServer


class Cloud:
    """One server; each `store` in it is empty. The credentials are in this process's environment while it is used."""

    def __init__(self, directory: Path) -> None:
        self.server = ObjectServer(directory / "cloud")
        self._log = directory / "cloud.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self.server.command(),
                env=os.environ | self.server.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.server.wait_ready()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self.server.tidy()

    def address(self) -> str:
        """The address of an empty store."""
        return self.server.address.replace("/gym?", f"/{secrets.token_hex(4)}?")

    def store(self, address: str | None = None, *, lease_s: float = 30.0) -> ObjectStore:
        address = address or self.address()
        return ObjectStore(address, bucket_at(address), lease_s=lease_s)


@contextmanager
def cloud(directory: Path) -> Iterator[Cloud]:
    """The server runs for the block."""
    running = Cloud(directory)
    before = {name: os.environ.get(name) for name in running.server.environment}
    os.environ.update(running.server.environment)
    try:
        running.start()
        yield running
    finally:
        running.kill()
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
