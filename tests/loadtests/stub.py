"""The stub service as tests hold it: a process that is started, killed and started again, always on the same port."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

SERVICE = Path(__file__).with_name("stub_service.py")


class Stub:
    """The stub service: killed and started again at will, always on the same port."""

    def __init__(self, applied: Path) -> None:
        self.applied_file = applied
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that serves."""
        assert self._process is not None
        return self._process.pid

    def start(self, *options: str) -> None:
        command = [
            sys.executable,
            str(SERVICE),
            "--port",
            str(self.port),
            "--applied",
            str(self.applied_file),
            *options,
        ]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            assert self._process.stdout is not None
            self._process.stdout.close()
            self._process = None

    def applied(self) -> dict[str, str]:
        """Digest by operation id, of every write it applied."""
        return dict(line.split() for line in self.applied_file.read_text().splitlines())
