"""A server of our own on a data directory, to recover it, look at it, and end again.

Nobody else can reach it: it listens on a socket in a private directory and on no port, trusts whoever gets there, archives
nothing, and is nobody's standby. It syncs nothing either: a build that does not survive the machine is made again, and who
keeps it syncs it once, when it is whole. What the cluster itself is configured to do stays as it is written.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

import psycopg

from backups.errors import BackupError, Damaged, NoSpace, NothingToRestore, UsageError
from backups.format.manifest import ServerState
from backups.postgres.binaries import Binaries, own, unprivileged

_STARTS_WITHIN_S: Final = 60.0
_ENDS_WITHIN_S: Final = 60.0
_LSN = re.compile(r"[0-9A-Fa-f]{1,8}/[0-9A-Fa-f]{1,8}")
_NAME = re.compile(r"[^\s'\\]{1,63}")
_PORT: Final = 5432
_COME_LATER: Final = "FATAL:  the database system is "
_AT_LEAST: Final = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}
"""What a standby must allow at least as much of as its primary did, by its name in pg_controldata."""

Then = Literal["pause", "promote"]


@dataclass(frozen=True, slots=True)
class Goal:
    """Where recovery ends: one setting and its value; neither for the end of the log.

    It is looked for along the newest timeline there is, or along the one that is named: a state that was left behind by an
    earlier restore lies on an older one.
    """

    setting: str = ""
    value: str = ""
    timeline: int | None = None

    @property
    def named(self) -> bool:
        """Whether it is a restore point."""
        return self.setting == "recovery_target_name"

    def __str__(self) -> str:
        there = f" on timeline {self.timeline}" if self.timeline else ""
        if not self.setting:
            return f"the newest state{there}"
        kind = self.setting.removeprefix("recovery_target").removeprefix("_")
        return f"{kind} {self.value}{there}" if kind else "the state of the backup itself"


NEWEST: Final = Goal()
CONSISTENT: Final = Goal("recovery_target", "immediate")
"""As soon as the copy is one state: that at the end of the backup."""


def at_lsn(text: str) -> Goal:
    """The state after that position of the log, `0/3000148`. Raises UsageError."""
    if not _LSN.fullmatch(text):
        raise UsageError(f"{text!r} is no position in the log; write it as 0/3000148.")
    return Goal("recovery_target_lsn", text)


def at_name(text: str) -> Goal:
    """The state at that restore point. Raises UsageError."""
    if not _NAME.fullmatch(text):
        raise UsageError(
            f"{text!r} is no name of a restore point: at most 63 characters, no spaces, quotes or backslashes."
        )
    return Goal("recovery_target_name", text)


def at_instant(instant: datetime) -> Goal:
    """The state after the last commit before that instant, which says in which zone it is."""
    return Goal("recovery_target_time", instant.isoformat())


@dataclass(frozen=True, slots=True)
class Log:
    """More of the log than the backup holds itself: `fetch` is a `restore_command`.

    `handed_on`: what recovery adds to the log is marked to be archived by the cluster's own server, its new timeline's
    history first; the recovery itself archives nothing. `refuses`: it ends the recovery over a damaged segment, so none is
    read ahead that may lie beyond the goal.
    """

    fetch: str
    handed_on: bool = False
    refuses: bool = False


def in_directory(place: Path) -> Log:
    """The log whose segments lie there."""
    return Log(f"cp {shlex.quote(str(place))}/%f %p")


@dataclass(slots=True)
class Recovered:
    """A cluster that has been recovered, and the server that runs on it."""

    sockets: Path
    state: ServerState

    def connect(self, database: str = "") -> psycopg.Connection[Any]:
        """A connection to the database that the backup was made of, or to another one. Raises BackupError."""
        try:
            return psycopg.connect(
                host=str(self.sockets), port=_PORT, user=self.state.user, dbname=database or self.state.database,
                autocommit=True, connect_timeout=5,
            )  # fmt: skip
        except psycopg.Error as error:
            raise BackupError(f"The recovered cluster lets nobody in: {' '.join(str(error).split())}") from error


@contextlib.contextmanager
def recovered(
    data: Path, state: ServerState, programs: Binaries, goal: Goal, *, then: Then, log: Log | None = None
) -> Iterator[Recovered]:
    """The cluster in `data`, unpacked from a base backup, brought to the goal, for as long as the block runs.

    With `pause` it can be read there and is not to be used again; with `promote` it is a primary on a timeline of its own,
    and shut down after the block, though not synced.
    Raises NothingToRestore when the goal is not in the log, and Damaged when the cluster cannot be recovered.
    """
    sockets = Path(tempfile.mkdtemp(prefix="gymkhana-recovery-"))
    process = None
    try:
        (data / "recovery.signal").touch()
        access = sockets / "hba.conf"
        access.write_text("local all all trust\nlocal replication all trust\n", "ascii")
        if not (data / "postgresql.conf").exists():  # Debian keeps it elsewhere.
            (sockets / "postgresql.conf").write_text("", "ascii")
        own(sockets)
        own(data)
        command = _command(data, programs, sockets, goal, then, log)
        said = sockets / "server.log"
        with said.open("wb") as out:
            process = subprocess.Popen(
                unprivileged(command), stdin=subprocess.DEVNULL, stdout=out, stderr=out, process_group=0
            )
        cluster = Recovered(sockets, state)
        _await(cluster, process, said, goal, then)
        yield cluster
        if then == "promote":
            _end(process, signal.SIGINT)
            if process.returncode:
                raise BackupError(f"The recovered cluster did not shut down well: {_last(said)}")
    finally:
        if process is not None and process.poll() is None:
            _end(process, signal.SIGQUIT)
        shutil.rmtree(sockets, ignore_errors=True)


def _command(data: Path, programs: Binaries, sockets: Path, goal: Goal, then: Then, log: Log | None) -> list[str]:
    settings = {
        **_as_large_as_before(data, programs),
        "listen_addresses": "",
        "port": str(_PORT),
        "unix_socket_directories": str(sockets),
        "hba_file": str(sockets / "hba.conf"),
        "ssl": "off",
        "archive_mode": "on" if log and log.handed_on else "off",
        "archive_command": "",  # With archive_mode on: keep what is to be archived, and archive none of it.
        "synchronous_standby_names": "",
        "primary_conninfo": "",
        "hot_standby": "on",
        "logging_collector": "off",
        "log_destination": "stderr",
        "log_min_messages": "log",
        "autovacuum": "off",
        "fsync": "off",
        "restore_command": log.fetch if log else "false",
        "recovery_target_timeline": str(goal.timeline or "latest") if log and goal != CONSISTENT else "current",
        "recovery_target_action": then,
        **({goal.setting: goal.value} if goal.setting else {}),
    }
    if not (data / "postgresql.conf").exists():
        settings["config_file"] = str(sockets / "postgresql.conf")
    if programs.major >= 15:
        settings["recovery_prefetch"] = "off" if log and log.refuses else "try"
        settings["archive_library"] = ""
    return [programs.path("postgres"), "-D", str(data), *(f"--{name}={value}" for name, value in settings.items())]


def _as_large_as_before(data: Path, programs: Binaries) -> dict[str, str]:
    done = subprocess.run(
        [programs.path("pg_controldata"), "-D", str(data)],
        capture_output=True,
        text=True,
        check=False,
        env={"LC_ALL": "C"},
    )
    told = dict(line.split(":", 1) for line in done.stdout.splitlines() if ":" in line)
    if done.returncode or not told:
        raise Damaged(f"Its control file cannot be read: {' '.join(done.stderr.split())}")
    return {setting: told[name].strip() for name, setting in _AT_LEAST.items() if name in told}


def _await(cluster: Recovered, process: subprocess.Popen[bytes], said: Path, goal: Goal, then: Then) -> None:
    starting_t = time.monotonic()
    reached = (
        "SELECT pg_get_wal_replay_pause_state() = 'paused'" if then == "pause" else "SELECT NOT pg_is_in_recovery()"
    )
    while True:
        if process.poll() is not None:
            raise not_recovered(said, goal)
        with contextlib.suppress(BackupError, psycopg.Error), contextlib.closing(cluster.connect()) as connection:
            row = connection.execute(reached).fetchone()
            if row and row[0]:
                return
        if not said.stat().st_size and time.monotonic() - starting_t > _STARTS_WITHIN_S:
            raise BackupError(f"The server does not start on {cluster.sockets}.")
        time.sleep(0.02)


def not_recovered(said: Path, goal: Goal) -> BackupError:
    """What it means that the server ended with these last words: the goal, the disk, or else the backup is to blame."""
    last = _last(said)
    if "before configured recovery target was reached" in last:
        return NothingToRestore(f"The log does not go as far as {goal}; what can be had is the newest state.")
    if "requested recovery stop point is before consistent recovery point" in last:
        return NothingToRestore(f"{goal} lies before the backup is complete; an older backup may lead there.")
    if "recovery target timeline" in last and "does not exist" in last:
        return NothingToRestore(f"The log has no timeline {goal.timeline}; leave it out for the newest.")
    if "No space left" in last:
        return NoSpace(f"The disk is full, so {goal} was not recovered ({last}). Free some space and run it again.")
    return Damaged(f"It cannot be recovered: {last}")


def _last(said: Path) -> str:
    lines = said.read_text("utf-8", "replace").splitlines()
    # Our own looks whether it lets us in are refused with FATAL, too, and may come after what it died of.
    wrong = [line for line in lines if ("FATAL" in line or "PANIC" in line) and _COME_LATER not in line]
    return (wrong or lines or ["it said nothing"])[-1].strip()


def _end(process: subprocess.Popen[bytes], with_signal: signal.Signals) -> None:
    process.send_signal(with_signal)
    try:
        process.wait(_ENDS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
