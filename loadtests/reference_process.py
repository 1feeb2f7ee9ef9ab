"""The reference server as whoever needs one holds it: a process of its own, gone when the block is left."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtests import leash
from loadtests.errors import ToolError
from loadtests.reference import HOST


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference server that runs as `pid` on `port`."""

    port: int
    pid: int

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://{HOST}:{self.port}"


@contextmanager
def serving(scenario: Path, population: Path, seed: int, log: Path) -> Iterator[Reference]:
    """A reference server while the block runs; what it says goes to `log`. Raises ToolError when it does not start."""
    command = [sys.executable, "-m", "loadtests.leash", sys.executable, "-m", "loadtests.reference"]
    command += ["--scenario", str(scenario), "--population", str(population), "--seed", str(seed)]
    environment = os.environ | {leash.STARTER: str(os.getpid())}
    with (
        log.open("wb") as said,
        subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said
        ) as process,
    ):
        try:
            if process.stdout is None or not (port := process.stdout.readline().strip()):
                raise ToolError(f"The reference server did not start; see {log}.")
            yield Reference(int(port), process.pid)
        finally:
            process.kill()
