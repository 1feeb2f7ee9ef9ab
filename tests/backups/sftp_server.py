"""Real SFTP servers for tests, killed, stopped and started again at will: Debian's sshd, and asyncssh's own.

python -m tests.backups.sftp_server PORT HOST_KEY AUTHORIZED_KEYS       asyncssh's, in the foreground
"""

from __future__ import annotations

import asyncio
import getpass
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import asyncssh

from ci.loopback import HOST, free_ports

SSHD = Path("/usr/sbin/sshd")
ROOT = Path(__file__).parents[2]
KINDS = ("asyncssh", *(["sshd"] if SSHD.exists() else []))


class SftpServer:
    """One server below a directory, at one port; each `address` is that of an empty store."""

    def __init__(self, directory: Path, kind: str) -> None:
        self.directory = directory
        self.kind = kind
        (self.port,) = free_ports(1)
        self.process: subprocess.Popen[bytes] | None = None
        directory.mkdir(parents=True, exist_ok=True)
        for name in ("host", "client", "stranger"):
            key = asyncssh.generate_private_key("ssh-ed25519")
            key.write_private_key(directory / name)
            key.write_public_key(directory / f"{name}.pub")
            (directory / name).chmod(0o600)
        (directory / "authorized").write_bytes((directory / "client.pub").read_bytes())
        (directory / "known").write_text(f"[{HOST}]:{self.port} {(directory / 'host.pub').read_text()}", "ascii")

    def address(self, key: str = "client", known: str = "known", path: str | None = None) -> str:
        place = path or str(self.directory / f"store-{secrets.token_hex(4)}")
        options = f"key={self.directory / key}&known_hosts={self.directory / known}"
        return f"sftp://{getpass.getuser()}@{HOST}:{self.port}{place}?{options}"

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(self._command(), stderr=log, stdout=log, cwd=ROOT, process_group=0)
        end_t = time.monotonic() + 20
        while not self._answers():
            assert time.monotonic() < end_t, (self.directory / "log").read_text()
            assert self.process.poll() is None, (self.directory / "log").read_text()
            time.sleep(0.02)

    def kill(self) -> None:
        """The server and whatever serves its connections, at once."""
        assert self.process is not None
        self.signal(signal.SIGKILL)
        self.process.wait()

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        for pid in _family(self.process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def _command(self) -> list[str]:
        if self.kind == "asyncssh":
            words = [str(self.port), str(self.directory / "host"), str(self.directory / "authorized")]
            return [sys.executable, "-m", "tests.backups.sftp_server", *words]
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)
        settings = {
            "ListenAddress": f"{HOST}:{self.port}",
            "HostKey": self.directory / "host",
            "AuthorizedKeysFile": self.directory / "authorized",
            "PidFile": self.directory / "pid",
            "StrictModes": "no",
            "UsePAM": "no",
            "PasswordAuthentication": "no",
            "PermitRootLogin": "prohibit-password",
            "Subsystem": "sftp internal-sftp",
        }
        configuration = self.directory / "sshd_config"
        configuration.write_text("".join(f"{name} {value}\n" for name, value in settings.items()), "ascii")
        return [str(SSHD), "-D", "-e", "-f", str(configuration)]

    def _answers(self) -> bool:
        with closing(socket.socket()) as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, self.port)) == 0


def _family(pid: int) -> list[int]:
    """The process and all below it; sshd serves each connection in a process of its own, in a session of its own."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return [pid, *(one for child in children for one in _family(int(child)))]


@contextmanager
def sftp_server(directory: Path, kind: str) -> Iterator[SftpServer]:
    """The server runs for the block."""
    server = SftpServer(directory, kind)
    server.start()
    try:
        yield server
    finally:
        if server.process is not None and server.process.poll() is None:
            server.kill()


async def _serve(port: str, host_key: str, authorized: str) -> None:
    server = await asyncssh.listen(
        HOST, int(port), server_host_keys=[host_key], authorized_client_keys=authorized, sftp_factory=True
    )
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(_serve(*sys.argv[1:]))
