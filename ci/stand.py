"""One disposable stand: a database, a store, a service and its users, everything under one run directory.

    <run>/db/gym.db      the SQLite database; <run>/db/gym.runtime/ is where the service's processes meet
    <run>/pg/            the PostgreSQL cluster, when the service is served from one
    <run>/store/         backups; on the same disk, which only a demonstration may do
    <run>/failpoints/    where failpoints are armed
    <run>/leases/        what must be undone or ended when the runner is killed
    <run>/companions/    processes beside the service: a scheduler, an object store
    <run>/logs/          what every child printed

Every process the stand starts is put under a lease before it is used, so that a watchdog ends it when the runner dies.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from chaos.lease import Lease, Leases
from chaos.target import MARKER, Target
from ci.cluster import Cluster
from ci.companions import Companions, surroundings
from ci.front import Front
from ci.loopback import HOST, free_ports
from system.supervisor import start_time

SUPERVISOR = (sys.executable, "-m", "system.supervisor")
TOOL = (sys.executable, "-m", "ci.cli")
READY_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 20.0


class StandError(Exception):
    """The stand could not be built or kept: the harness broke, not the service. One sentence with the log to read."""

    exit_code = 4


@dataclass(slots=True)
class Stand:
    """A stand in `directory`. `service` is the command that runs the supervisor, `tool` is `gymkhana` itself.

    Tests put sabotaged ones there.
    """

    directory: Path
    service: Sequence[str] = SUPERVISOR
    tool: Sequence[str] = TOOL
    environment: dict[str, str] = field(default_factory=dict)
    port: int = 0
    cluster: Cluster | None = None
    front: Front | None = None
    """What listens on `port` before services that come and go; this stand's own is behind it, on `own_port`."""
    own_port: int = 0
    _serving: subprocess.Popen[bytes] | None = None
    _leases: list[Lease] = field(default_factory=list)
    _companions: Companions | None = None

    @property
    def database(self) -> Path:
        """The database file."""
        return self.directory / "db" / "gym.db"

    @property
    def store(self) -> Path:
        """The directory store."""
        return self.directory / "store"

    @property
    def runtime(self) -> Path:
        """Where the service's processes meet."""
        return self.directory / "db" / "gym.runtime"

    @property
    def failpoints(self) -> Path:
        """Where failpoints are armed."""
        return self.directory / "failpoints"

    @property
    def leases(self) -> Leases:
        """The leases of this stand."""
        return Leases(self.directory / "leases")

    @property
    def companions(self) -> Companions:
        """The processes beside the service."""
        if self._companions is None:
            self._companions = Companions(self.directory / "companions", self.leases, self.directory / "logs")
        return self._companions

    @property
    def population(self) -> Path:
        """The file of the stand's users, their tokens included."""
        return self.directory / "population.json"

    @property
    def url(self) -> str:
        """The service's address."""
        return f"http://{HOST}:{self.port}"

    def target(self) -> Target:
        """The stand as faults see it."""
        return Target(
            directory=self.directory,
            database=self.database,
            store=self.store,
            runtime=self.runtime,
            failpoints=self.failpoints,
            leases=self.directory / "leases",
            server=self.cluster.directory if self.cluster else None,
        )

    def build(self, *, users: int, tournaments: int, matches: int, seed: int) -> None:
        """An empty directory becomes a stand: marked, migrated, and populated through the service's own rules."""
        for name in ("db", "store", "failpoints", "leases", "logs"):
            (self.directory / name).mkdir(parents=True)
        (self.directory / MARKER).write_text("Made by gymkhana; faults may break what is in here.\n", "utf-8")
        if self.cluster is not None:
            self.cluster.build(self.companions)
        self.run_tool("migrate", "up", "--database", self.database_url)
        self.run_tool(
            "seed", "--database", self.database_url, "--users", str(users), "--tournaments", str(tournaments),
            "--matches", str(matches), "--population", str(self.population), "--seed", str(seed), "--run", self.run,
        )  # fmt: skip

    @property
    def database_url(self) -> str:
        """The database as the service's configuration names it."""
        return self.cluster.url if self.cluster else f"sqlite:///{self.database}"

    @property
    def run(self) -> str:
        """The run's id, which every operation id begins with."""
        return self.directory.name

    def start(self) -> None:
        """The service is started; `wait_ready` says when it takes work. The port stays the same over restarts."""
        if self.port == 0:
            (self.port,) = free_ports(1)
        environment = surroundings() | self.configuration(self.runtime, self.own_port or self.port)
        with (self.directory / "logs" / "service.log").open("ab") as log:
            self._serving = subprocess.Popen(
                [*self.service, "--runtime", str(self.runtime)],
                env=environment | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self.lease_process(self._serving.pid, "service")

    def configuration(self, runtime: Path, port: int) -> dict[str, str]:
        """What a service of this stand's database reads from its environment."""
        return {
            "DATABASE_URL": self.database_url,
            "GYM_RUNTIME": str(runtime),
            "GYM_FAILPOINTS": str(self.failpoints),
            "GYM_HOST": HOST,
            "GYM_PORT": str(port),
        }

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Returns once the service wrote and read a row. Raises StandError when it ended or took too long."""
        deadline = time.monotonic() + timeout_s
        while not self.ready():
            if self._serving is None or self._serving.poll() is not None:
                raise StandError(
                    f"The service ended before it was ready; see {self.directory / 'logs' / 'service.log'}."
                )
            if time.monotonic() > deadline:
                raise StandError(
                    f"The service was not ready after {timeout_s:.0f} s; see {self.directory / 'logs' / 'service.log'}."
                )
            time.sleep(0.02)

    def ready(self) -> bool:
        """Whether `/health/ready` says pass now."""
        return self.get("/health/ready")[0] == 200

    def fenced(self) -> bool:
        """Whether the service says that it will not touch its database again."""
        _, body = self.get("/health/live")
        try:
            return bool(json.loads(body)["checks"].get("fence"))
        except (ValueError, KeyError):
            return False

    @property
    def started(self) -> bool:
        """Whether the service was started and nobody has killed it since."""
        return self._serving is not None and self._serving.poll() is None

    def get(self, path: str, token: str = "") -> tuple[int, bytes]:
        """Status and body of a GET; status 0 when there was no answer within a second."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=1.0)
        try:
            connection.request("GET", path, headers={"Authorization": f"Bearer {token}"} if token else {})
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            return 0, b""
        finally:
            connection.close()

    def kill(self) -> None:
        """Every process of the service is gone when this returns; nothing was drained. Fences writers for a restore."""
        for process in self.processes().values():
            _kill(int(process["pid"]), float(process["start"]))
        if self._serving is not None:
            self._serving.kill()
            self._serving.wait()
        _wait(lambda: not self.processes_alive(), 5.0, "The service's processes did not end after SIGKILL.")

    def stop(self) -> int:
        """The service drained and ended; its exit code. Killed when it does not end in time."""
        if self._serving is None:
            return 0
        self._serving.send_signal(signal.SIGTERM)
        try:
            return self._serving.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL

    def processes(self) -> dict[str, dict[str, float]]:
        """The service's processes as it publishes them; empty when it publishes nothing."""
        try:
            return msgspec.json.decode((self.runtime / "processes.json").read_bytes(), type=dict[str, dict[str, float]])
        except FileNotFoundError:
            return {}

    def pids(self) -> dict[str, int]:
        """The pids of the published processes by their names."""
        return {name: int(one["pid"]) for name, one in self.processes().items()}

    def processes_alive(self) -> list[str]:
        """Names of the published processes that still run (zombies do not)."""
        return [name for name, one in self.processes().items() if start_time(int(one["pid"])) == one["start"]
                and not _zombie(int(one["pid"]))]  # fmt: skip

    def lease_process(self, pid: int, what: str) -> Lease:
        """From now on a watchdog ends `pid` if this runner dies."""
        lease = self.leases.end_process(pid, what)
        self._leases.append(lease)
        return lease

    def run_tool(self, *arguments: str, timeout_s: float = 120.0, expect: Sequence[int] = (0,)) -> str:
        """Runs `gymkhana ARGUMENTS` as an operator would; what it printed. Raises StandError on another exit code."""
        result = subprocess.run(
            [*self.tool, *arguments],
            env=surroundings() | self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=timeout_s,
            check=False,
            text=True,
        )
        with (self.directory / "logs" / "tools.log").open("a", encoding="utf-8") as log:
            log.write(f"$ gymkhana {' '.join(arguments)}\n{result.stdout}{result.stderr}\n")
        if result.returncode not in expect:
            said = (result.stderr.strip() or result.stdout.strip()).splitlines()
            raise StandError(
                f"`gymkhana {' '.join(arguments[:2])}` ended with {result.returncode}: {said[-1] if said else 'no word'}"
            )
        return result.stdout

    def tool_json(self, *arguments: str, expect: Sequence[int] = (0,)) -> Any:
        """As `run_tool` with `--json`; the document it printed."""
        return json.loads(self.run_tool(*arguments, "--json", expect=expect))


@contextlib.contextmanager
def standing(stand: Stand) -> Iterator[Stand]:
    """The stand for as long as the block runs; afterwards none of its processes is left, however the block ended."""
    try:
        yield stand
    finally:
        if stand._serving is not None:
            stand.kill()
        if stand._companions is not None:
            stand._companions.close()
        if stand.front is not None:
            stand.front.close()
        if stand.cluster is not None:
            stand.cluster.close()
        for lease in stand._leases:
            lease.close()


def new_run_id(drill: str, now: float) -> str:
    """A run id that sorts by time: `20261123T091400Z-crash-4f2a`."""
    return f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime(now))}-{drill}-{secrets.token_hex(2)}"


def _kill(pid: int, start: float) -> None:
    if start_time(pid) == start:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _wait(condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise StandError(otherwise)
        time.sleep(0.01)
