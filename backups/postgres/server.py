"""A PostgreSQL server of our own: a cluster in one directory, on loopback, started and ended as often as one likes.

<directory>/data        the cluster        <directory>/password   of its superuser
<directory>/pgpass      for libpq          a private directory of its own for the socket: its path must be short
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg

from backups.errors import BackupError
from backups.postgres.binaries import Binaries, binaries, own, unprivileged
from backups.postgres.connection import libpq

HOST: Final = "127.0.0.1"
SUPERUSER: Final = "gym"
DATABASE: Final = "gym"
READY_TIMEOUT_S: Final = 60.0

_CONFIGURATION: Final[Mapping[str, str]] = {
    "listen_addresses": f"'{HOST}'",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "wal_level": "replica",
    "max_wal_senders": "10",
    "max_replication_slots": "10",
    "max_slot_wal_keep_size": "1GB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "5min",
    "hot_standby": "on",
    "log_min_messages": "warning",
    "log_line_prefix": "'%m [%p] %q%a '",
    "log_lock_waits": "on",
    "deadlock_timeout": "200ms",
    "password_encryption": "'scram-sha-256'",
}
_ACCESS: Final = """\
local all         all                    trust
local replication all                    trust
host  all         all       127.0.0.1/32 scram-sha-256
host  replication all       127.0.0.1/32 scram-sha-256
"""


class ServerTrouble(BackupError):
    """The server could not be made or started. One sentence, with what it last said."""

    exit_code = 4


@dataclass(slots=True)
class Server:
    """A server whose cluster lies below `directory`; made by `init`, run by `start` or by whoever runs `command`."""

    directory: Path
    port: int
    programs: Binaries = field(default_factory=binaries)
    process: subprocess.Popen[bytes] | None = None
    _sockets: Path | None = None

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.directory / "server.log"

    @property
    def sockets(self) -> Path:
        """A directory for its socket that only this user can enter."""
        if self._sockets is None:
            self._sockets = Path(tempfile.mkdtemp(prefix="gymkhana-pg-"))
            own(self._sockets)
        return self._sockets

    def url(self, database: str = DATABASE, *, or_at: int | None = None) -> str:
        """What the service is told. It says where the password lies, and not what it is.

        With `or_at` it is the primary that is reached, whichever of the two ports it answers on.
        """
        passfile = quote(str((self.directory / "pgpass").absolute()))
        if or_at is None:
            return f"postgresql+psycopg://{SUPERUSER}@{HOST}:{self.port}/{database}?passfile={passfile}"
        hosts = "&".join(f"host={HOST}:{port}" for port in (self.port, or_at))
        return f"postgresql+psycopg://{SUPERUSER}@/{database}?{hosts}&target_session_attrs=primary&passfile={passfile}"

    def init(self) -> None:
        """A new cluster with data checksums, a superuser with a password, and nothing in it."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.keep_password(secrets.token_hex(16))
        own(self.directory)
        words = [
            "--pgdata", str(self.data), "--username", SUPERUSER, "--pwfile", str(self.directory / "password"),
            "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--data-checksums", "--no-sync",
            "--no-instructions",
        ]  # fmt: skip
        self.run("initdb", *words)
        self.configure()

    def init_standby(self, primary: Server, *, application: str) -> None:
        """A copy of the running primary that will follow it by a slot, under the name `application`.

        Raises ServerTrouble.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self.keep_password((primary.directory / "password").read_text("ascii").strip())
        with primary.connect("postgres") as connection:
            connection.execute(
                "SELECT pg_create_physical_replication_slot(%s, true) WHERE NOT EXISTS"
                " (SELECT 1 FROM pg_replication_slots WHERE slot_name = %s)",
                (application, application),
            )
        reached = libpq(primary.url("postgres"), application_name=application)
        self.run("pg_basebackup", "--pgdata", str(self.data), "--wal-method=stream", "--checkpoint=fast", "--no-sync",
                 "--slot", application, "-d", reached)  # fmt: skip
        quoted = reached.replace("'", "''")
        self.configure(
            primary_conninfo=f"'{quoted}'",
            primary_slot_name=f"'{application}'",
            recovery_target_timeline="'latest'",
            wal_receiver_status_interval="1s",
            wal_retrieve_retry_interval="200ms",
        )
        (self.data / "standby.signal").touch()
        own(self.directory)

    def following(self) -> bool:
        """Whether it is a standby that takes the log as it is written."""
        with self.connect("postgres") as connection:
            row = connection.execute("SELECT count(*) FROM pg_stat_wal_receiver WHERE status = 'streaming'").fetchone()
            return bool(row and row[0])

    def promote(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """The standby is a primary and takes writes. Raises ServerTrouble."""
        with self.connect("postgres") as connection:
            row = connection.execute("SELECT pg_promote(true, %s)", (round(timeout_s),)).fetchone()
            if not row or not row[0]:
                raise ServerTrouble(
                    f"The standby in {self.data} was not promoted in {timeout_s:.0f} s: {self.last_words()}"
                )

    def keep_password(self, password: str) -> None:
        """The password lies where `url` says, for this user's eyes."""
        for name, line in (("password", password), ("pgpass", f"{HOST}:*:*:{SUPERUSER}:{password}")):
            place = self.directory / name
            place.touch(mode=0o600)
            place.write_text(f"{line}\n", "ascii")

    def configure(self, **more: str) -> None:
        """Our settings come after the cluster's own, and `more` after those."""
        settings = {**_CONFIGURATION, **({"summarize_wal": "on"} if self.programs.major >= 17 else {}), **more}
        lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
        with (self.data / "postgresql.conf").open("a", encoding="ascii") as file:
            file.write(f"\n# Gymkhana\n{lines}")
        (self.data / "pg_hba.conf").write_text(_ACCESS, "ascii")
        own(self.data)

    def run(self, program: str, *words: str) -> str:
        """What the program said. Raises ServerTrouble with its last words when it failed."""
        command = unprivileged([self.programs.path(program), *words])
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            said = (done.stderr.strip() or done.stdout.strip() or f"it ended with code {done.returncode}").splitlines()
            raise ServerTrouble(f"{program} failed: {said[-1].removeprefix(f'{program}: ').removeprefix('error: ')}")
        return done.stdout

    def command(self, **settings: str) -> tuple[str, ...]:
        """What runs the server in the foreground. The postmaster is the process that this becomes."""
        known = {"port": str(self.port), "unix_socket_directories": str(self.sockets), **settings}
        words = [word for name, value in known.items() for word in ("-c", f"{name}={value}")]
        return unprivileged([self.programs.path("postgres"), "-D", str(self.data), *words])

    def start(self, **settings: str) -> None:
        """The server answers. Raises ServerTrouble with the last line of its log when it does not."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(**settings), stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
        self.wait_ready()

    def wait_ready(self, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Returns once it takes connections; a standby's take reads."""
        end_t = time.monotonic() + timeout_s
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg.Error as error:
                ended = self.process is not None and self.process.poll() is not None
                if ended or time.monotonic() > end_t:
                    raise ServerTrouble(f"PostgreSQL did not start on {self.data}: {self.last_words()}") from error
            time.sleep(0.02)

    def connect(self, database: str = DATABASE, **more: Any) -> psycopg.Connection[Any]:
        """A connection of the superuser's, in autocommit mode, by the private socket."""
        known = {"host": str(self.sockets), "port": self.port, "user": SUPERUSER, "connect_timeout": 3}
        return psycopg.connect(dbname=database, autocommit=True, **{**known, **more})

    def create_database(self, name: str = DATABASE) -> None:
        """An empty database."""
        with self.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}"')

    def last_words(self) -> str:
        """The last line of its log that says what is wrong."""
        with suppress(OSError):
            lines = self.log.read_text("utf-8", "replace").splitlines()
            wrong = [line for line in lines[-50:] if any(word in line for word in ("FATAL", "PANIC", "ERROR"))]
            return (wrong or lines or ["it said nothing."])[-1]
        return "it left no log."

    def stop(self, *, at_once: bool = False) -> None:
        """It has ended: after the transactions under way were rolled back and a checkpoint, or `at_once` as in a crash."""
        self.end(signal.SIGQUIT if at_once else signal.SIGINT)

    def kill(self) -> None:
        """The postmaster is gone by SIGKILL, and so are its children, which notice."""
        self.end(signal.SIGKILL)

    def end(self, with_signal: signal.Signals, timeout_s: float = 30.0) -> None:
        """The postmaster that `start` started has ended after that signal."""
        process, self.process = self.process, None
        if process is None or process.poll() is not None:
            return
        group = process.pid
        process.send_signal(with_signal)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        end_t = time.monotonic() + timeout_s
        while _group_lives(group) and time.monotonic() < end_t:
            time.sleep(0.01)

    def close(self) -> None:
        """It has ended, and its socket's directory is gone."""
        self.stop(at_once=True)
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)
            self._sockets = None


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@contextmanager
def running(directory: Path, port: int, programs: Binaries | None = None) -> Iterator[Server]:
    """A new cluster with an empty database, running for the block."""
    server = Server(directory, port, programs or binaries())
    server.init()
    try:
        server.start()
        server.create_database()
        yield server
    finally:
        server.close()
