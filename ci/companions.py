"""Processes beside the service that a stand needs: its backup scheduler, its object store. Published like the service's own.

    <run>/companions/processes.json    who lives, as faults look it up: {"object-store": {"pid": 17, "start": 1790000000.0}}

Each is under a lease before anybody uses it, so that a watchdog ends it when the runner dies.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chaos.lease import Lease, Leases
from system.supervisor import start_time

STOP_TIMEOUT_S = 10.0
OF_THE_OPERATOR = ("GYM_ALERT_", "GYM_STATUS_DIR")
"""How variables begin that are about somebody's running service, and not about a stand."""


def surroundings() -> dict[str, str]:
    """This process's environment, as a stand's processes get it: none of them alarms anybody, or tells of its backups."""
    return {name: value for name, value in os.environ.items() if not name.startswith(OF_THE_OPERATOR)}


@dataclass(slots=True)
class Companions:
    """The companions of one stand, by name. `close` ends them all."""

    directory: Path
    leases: Leases
    logs: Path
    _running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _leases: dict[str, Lease] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """The command runs under that name; an earlier one of the name is over."""
        self.kill(name)
        with (self.logs / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                env=surroundings() | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._running[name] = process
        self._leases[name] = self.leases.end_process(process.pid, name)
        self._publish()

    def alive(self, name: str) -> bool:
        """Whether that companion runs."""
        process = self._running.get(name)
        return process is not None and process.poll() is None

    def stop(self, name: str) -> int:
        """That companion was asked to end and has; its exit code. Killed when it does not end in time."""
        process = self._running.get(name)
        if process is None:
            return 0
        process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            code = -signal.SIGKILL
        self.kill(name)
        return code

    def kill(self, name: str) -> None:
        """No process of that name is left; one that never ran is no error."""
        process = self._running.pop(name, None)
        if process is not None:
            process.kill()
            process.wait()
            self._leases.pop(name).close()
            self._publish()

    def close(self) -> None:
        """None of them is left."""
        for name in list(self._running):
            self.kill(name)

    def _publish(self) -> None:
        self.directory.mkdir(exist_ok=True)
        pids = {name: process.pid for name, process in self._running.items()}
        living = {name: {"pid": pid, "start": start} for name, pid in pids.items() if (start := start_time(pid))}
        partial = self.directory / "processes.json.partial"
        partial.write_text(json.dumps(living), "ascii")
        partial.replace(self.directory / "processes.json")
