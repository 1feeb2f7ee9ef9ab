"""Where contenders are measured: one stand, put back to the same populated state before each of them.

The state is not a fresh one: some seconds of the scenario have been played in it, so that inboxes and challenges are there.
"""

from __future__ import annotations

import http.client
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import psutil

from backups.postgres.server import DATABASE, Server
from ci.loopback import HOST, free_ports
from ci.stand import Stand
from tests.bench.service.clients import Counted

ROOT = Path(__file__).parents[3]
USERS, TOURNAMENTS, SEED = 1000, 20, 20261123
BASE = "base"
NAIVE = "naive"
READY_TIMEOUT_S = 30.0


class GroundTrouble(Exception):
    """A contender could not be measured: one sentence, with where to look."""

    exit_code = 4


@dataclass(frozen=True, slots=True)
class Load:
    """What the clients are to do."""

    connections: int
    seconds: float
    warm_s: float
    writes: bool = False


@dataclass(frozen=True, slots=True)
class Measured:
    """What a contender did while the clients counted. CPU is of all its processes; the database server's apart."""

    counted: Counted
    cpu_s: float
    server_cpu_s: float

    @property
    def rate(self) -> float:
        """Requests per second."""
        return self.counted.requests / self.counted.seconds

    @property
    def per_cpu_s(self) -> float:
        """Requests per CPU-second of the service."""
        return self.counted.requests / self.cpu_s

    @property
    def per_any_cpu_s(self) -> float:
        """Requests per CPU-second of the service and the database's server together."""
        return self.counted.requests / (self.cpu_s + self.server_cpu_s)


class Production(Stand):
    """A stand whose service has no failpoints, as in production: where they exist, every write looks for them."""

    __slots__ = ()

    def configuration(self, runtime: Path, port: int) -> dict[str, str]:
        """What the service reads from its environment."""
        known = super().configuration(runtime, port)
        return {name: value for name, value in known.items() if name != "GYM_FAILPOINTS"}


@dataclass(slots=True)
class Ground:
    """A stand whose service is not running between two measures."""

    stand: Stand
    users: int = USERS
    tournaments: int = TOURNAMENTS
    _plays: int = field(default=0)

    @property
    def server(self) -> Server | None:
        """The PostgreSQL server, when it is served from one."""
        return None if self.stand.cluster is None else self.stand.cluster.server

    def build(self, history_s: float) -> None:
        """The state that every contender begins with is made, with so many seconds of history, and kept."""
        self.stand.build(users=self.users, tournaments=self.tournaments, matches=self.users, seed=SEED)
        if history_s:
            with self.serving(workers=1) as pids:
                self.busy(self.stand.port, pids, Load(64, history_s, 0.0))
        if self.server is None:
            shutil.copyfile(self.stand.database, self._base)
        else:
            with self.server.connect("postgres") as connection:
                connection.execute(f'ALTER DATABASE "{DATABASE}" RENAME TO "{BASE}"')

    def fresh(self) -> None:
        """The database is as it was made, with nothing of it left to be written by anybody."""
        if self.server is None:
            for end in ("-wal", "-shm"):
                self.stand.database.with_name(f"{self.stand.database.name}{end}").unlink(missing_ok=True)
            shutil.copyfile(self._base, self.stand.database)
            return
        with self.server.connect("postgres") as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{DATABASE}" WITH (FORCE)')
            connection.execute(f'CREATE DATABASE "{DATABASE}" TEMPLATE "{BASE}"')
            connection.execute("CHECKPOINT")

    @contextmanager
    def serving(self, workers: int) -> Iterator[tuple[int, ...]]:
        """Our service with so many HTTP processes, drained and ended after the block; the ids of all its processes."""
        self.stand.environment["GYM_WORKERS"] = str(workers)
        self.stand.start()
        try:
            self.stand.wait_ready()
            yield tuple(int(process["pid"]) for process in self.stand.processes().values())
        finally:
            self.stand.stop()

    @contextmanager
    def serving_naive(self) -> Iterator[tuple[int, tuple[int, ...]]]:
        """The obvious version, ended after the block; its port and its process."""
        (port,) = free_ports(1)
        self.stand.companions.start(
            NAIVE,
            (sys.executable, "-m", "tests.bench.service.naive.app"),
            {"DATABASE_URL": self.stand.database_url, "GYM_HOST": HOST, "GYM_PORT": str(port)},
        )
        try:
            self._wait_for_naive(port)
            yield port, (self._companion(NAIVE),)
        finally:
            self.stand.companions.stop(NAIVE)

    def busy(self, port: int, pids: tuple[int, ...], load: Load) -> Measured:
        """What whoever listens on the port did under that load. Raises GroundTrouble."""
        self._plays += 1
        command = [
            sys.executable, "-m", "tests.bench.service.clients", "--port", str(port), "--population",
            str(self.stand.population), "--run", f"{self.stand.run}.{self._plays}", "--connections", str(load.connections),
            "--seconds", f"{load.seconds:g}", "--warm-seconds", f"{load.warm_s:g}", *(["--writes"] if load.writes else []),
        ]  # fmt: skip
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as clients:
            assert clients.stdout is not None
            try:
                self._expect(clients.stdout.readline(), "began")
                service, server = _cpu_s(pids), self.server_cpu_s()
                self._expect(clients.stdout.readline(), "ended")
                service, server = _cpu_s(pids) - service, self.server_cpu_s() - server
                told = clients.stdout.readline()
            except BaseException:
                clients.kill()
                raise
        if clients.returncode:
            raise GroundTrouble(f"The clients ended with {clients.returncode}; what they said is above.")
        return Measured(msgspec.json.decode(told, type=Counted), service, server)

    def server_cpu_s(self) -> float:
        """CPU that the database's server has taken so far; none when there is no server."""
        if self.server is None:
            return 0.0
        postmaster = psutil.Process(self._companion("postgres"))
        ended = postmaster.cpu_times()
        living = (postmaster.pid, *(child.pid for child in postmaster.children(recursive=True)))
        return _cpu_s(living) + ended.children_user + ended.children_system

    @property
    def _base(self) -> Path:
        return self.stand.directory / "base.db"

    def _companion(self, name: str) -> int:
        known = msgspec.json.decode((self.stand.companions.directory / "processes.json").read_bytes())
        return int(known[name]["pid"])

    def _wait_for_naive(self, port: int) -> None:
        end_t = time.monotonic() + READY_TIMEOUT_S
        while not _answers(port):
            if not self.stand.companions.alive(NAIVE) or time.monotonic() > end_t:
                log = self.stand.directory / "logs" / f"{NAIVE}.log"
                raise GroundTrouble(f"The obvious version did not start; see {log}.")
            time.sleep(0.02)

    def _expect(self, line: str, word: str) -> None:
        if line.strip() != word:
            raise GroundTrouble("The clients ended before they were done; what they said is above.")


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(HOST, port, timeout=1.0)
    try:
        connection.request("GET", "/health/ready")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _cpu_s(pids: tuple[int, ...]) -> float:
    """CPU-seconds that these processes have taken so far; one that has just ended counts for nothing."""
    taken = 0.0
    for pid in pids:
        try:
            times = psutil.Process(pid).cpu_times()
        except psutil.NoSuchProcess:
            continue
        taken += times.user + times.system
    return taken
