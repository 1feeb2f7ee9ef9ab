"""The process that takes a server's log as it is written (`python -m backups.postgres.receive`), by way of a slot.

    server ── pg_receivewal ──▶ spool/<system>/<timeline>/ ── whole segments, and pieces of the newest one ──▶ stores

The spool is a directory away from the server's disk: what is in it is safe already, and a restore reads it too. With
`--sync` the server is told to wait for it at every commit (`synchronous_standby_names`), so that nothing acknowledged can be
lost with the server's disk. While the stores are away the log stays in the spool, and the server need not keep it.

It says what happens on standard error, one line of JSON an event. SIGTERM takes what there is and ends.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
import psycopg
from psycopg import sql

from backups import addresses, disk, lock
from backups.clock import SYSTEM, rfc3339
from backups.errors import BackupError, Locked, StoreError, UsageError
from backups.keys.keyring import Keyring
from backups.postgres.archive import Archive
from backups.postgres.binaries import binaries
from backups.postgres.connection import Cluster, ServerAway, cluster, connected, is_lost, libpq, shown
from backups.postgres.shipping import Shipping, sweep

APPLICATION: Final = "gymkhana_wal"
"""How the server knows the receiver: its slot, and its name as a synchronous standby."""
INTERVAL_S: Final = 0.25
_AGAIN_AFTER_S: Final = 0.2
_FULL: Final = ("No space left on device", "File too large", "Disk quota exceeded")
_BOUND: Final = "max_slot_wal_keep_size"
_DIES_WITH_US: Final = ("setpriv", "--pdeathsig", "INT", "--") if shutil.which("setpriv") else ()
"""Or it would go on holding the slot when we are killed."""


def say(event: str, **told: object) -> None:
    """One line on standard error."""
    line = {"event": event, "process": "receive", "timestamp": rfc3339(SYSTEM.now()), **told}
    sys.stderr.write(msgspec.json.encode(line, enc_hook=str).decode() + "\n")
    sys.stderr.flush()


class Receiver:
    """Keeps pg_receivewal running and the stores level with its spool, until told to stop."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._stopping = False
        self._process: subprocess.Popen[bytes] | None = None
        self._full = False

    def stop(self, _signal: int = 0, _frame: object = None) -> None:
        """Asks `run` to take what there is and return."""
        self._stopping = True

    def keep_running(self) -> None:
        """Receives until `stop`; a server or a store that is away is waited for. Raises BackupError for the rest."""
        may_wait_for: tuple[type[BackupError], ...] = (ServerAway, StoreError)
        while not self._stopping:
            try:
                self.run()
            except may_wait_for as error:
                say("server-away", why=str(error))
                time.sleep(_AGAIN_AFTER_S)
            may_wait_for = (
                ServerAway,
                StoreError,
                Locked,
            )  # The server may take a while to see that our own stream has ended.

    def run(self) -> None:
        """Receives until `stop` or until the server is away."""
        options = self._options
        server, shipping = self._begin()
        say(
            "receiving",
            server=shown(options.database),
            timeline=server.timeline,
            spool=shipping.spool,
            sync=options.sync,
        )
        again_t = 0.0
        try:
            while not self._stopping:
                if self._process is None and time.monotonic() >= again_t:
                    self._process = self._start(shipping.spool)
                if self._process is not None and self._process.poll() is not None:
                    self._lost(shipping.spool)
                    again_t = time.monotonic() + _AGAIN_AFTER_S
                self._ship(shipping)
                time.sleep(options.interval_ms / 1000)
        finally:
            self._end()
        self._ship(shipping)
        say("ended", shipped=shipping.shipped, why=shipping.trouble)

    def _begin(self) -> tuple[Cluster, Shipping]:
        options = self._options
        store = addresses.stores_at(options.store, make=options.demonstration)
        keyring = Keyring(recipients=tuple(options.recipient), host_secret=options.host_secret)
        with connected(options.database) as connection:
            server = cluster(connection)
            binaries(server.major)
            _require_slot(connection, options.slot)
            _tell_of_bound(connection, options.slot)
            if options.sync:
                _wait_for_us(connection, options.slot)
        spool = options.spool / server.system / f"{server.timeline:08X}"
        disk.make_directories(spool)
        return server, Shipping(spool, Archive(store, server.system, keyring))

    def _start(self, spool: Path) -> subprocess.Popen[bytes]:
        options = self._options
        with connected(options.database) as connection:
            server = cluster(connection)
        programs = binaries(server.major)
        sweep(spool, server.segment_bytes)
        command = [
            *_DIES_WITH_US, programs.path("pg_receivewal"), "-d", libpq(options.database, application_name=options.slot),
            "--directory", str(spool), "--slot", options.slot, "--no-loop", "--no-password", "--status-interval=1",
            *(["--synchronous"] if options.sync else []),
        ]  # fmt: skip
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)

    def _lost(self, spool: Path) -> None:
        assert self._process is not None
        assert self._process.stderr is not None
        lines = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        said = [line for line in lines if not line.endswith("disconnected")] or lines  # Which it says after the reason.
        self._process = None
        why = said[-1] if said else "it did not say why"
        full = any(word in why for word in _FULL)
        if full and not self._full:
            say("spool-full", why=f"{spool} takes no more, so the server keeps the log itself: make room there. {why}")
        elif not full:
            say("interrupted", why=why)
        self._full = full

    def _ship(self, shipping: Shipping) -> None:
        try:
            shipping.ship()
        except (BackupError, OSError) as error:
            if str(error) != shipping.trouble:
                say("store-away", why=str(error))
            shipping.trouble = str(error)
        else:
            if shipping.trouble:
                say("store-back")
            shipping.trouble = ""

    def _end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5.0)
            self._process.kill()
            self._process.wait()


def _require_slot(connection: psycopg.Connection[Any], slot: str) -> None:
    """The slot is there and nobody uses it. One whose log the server has given up is made anew, and that is said."""
    row = connection.execute(
        "SELECT slot_type, active, active_pid, wal_status FROM pg_replication_slots WHERE slot_name = %s", (slot,)
    ).fetchone()
    if row is not None:
        kind, active, pid, status = row
        if kind != "physical":
            raise UsageError(f"The server has a slot {slot} of another kind; name another with --slot.")
        if active:
            raise Locked(f"The slot {slot} is being used by the server's process {pid}: one receiver at a time.")
        if status != "lost":
            return
        say("gap", why=f"The server gave up the log that {slot} had not taken yet; make a new base backup.")
        connection.execute("SELECT pg_drop_replication_slot(%s)", (slot,))
    try:
        connection.execute("SELECT pg_create_physical_replication_slot(%s, immediately_reserve => true)", (slot,))
    except psycopg.Error as error:
        if is_lost(error):
            raise
        raise BackupError(f"The server makes no slot {slot}: {' '.join(str(error).split())}") from error


def _tell_of_bound(connection: psycopg.Connection[Any], slot: str) -> None:
    """Says so when a receiver that takes nothing for long would fill the disk of the server."""
    row = connection.execute(
        "SELECT pg_size_bytes(setting || unit) FROM pg_settings WHERE name = %s", (_BOUND,)
    ).fetchone()
    if row is None or row[0] < 0:
        say(
            "unbounded",
            why=f"The server keeps without bound what {slot} has not taken: set {_BOUND}, or its disk fills while the spool "
            "is full or nobody receives.",
        )


def _wait_for_us(connection: psycopg.Connection[Any], slot: str) -> None:
    """Every commit waits until the receiver has it on its disk. Stays so when the receiver ends: that is the promise."""
    connection.execute(sql.SQL("ALTER SYSTEM SET synchronous_standby_names = {}").format(sql.Literal(f'"{slot}"')))
    connection.execute("SELECT pg_reload_conf()")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m backups.postgres.receive", description="Takes a server's log.")
    parser.add_argument("--database", required=True, help="the server's URL")
    parser.add_argument("--store", action="append", required=True, help="address of a store, more than once for copies")
    parser.add_argument("--spool", type=Path, required=True, help="where the log arrives; not on the server's disk")
    parser.add_argument("--slot", default=APPLICATION, help="the replication slot")
    parser.add_argument("--sync", action="store_true", help="have every commit wait for it")
    parser.add_argument("--interval-ms", type=float, default=INTERVAL_S * 1000)
    parser.add_argument("--recipient", action="append", default=[])
    parser.add_argument("--host-secret", type=Path)
    parser.add_argument("--demonstration", action="store_true")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Runs until SIGTERM; 0 then, else what went wrong as a sentence and its exit code."""
    options = parse(arguments)
    receiver = Receiver(options)
    signal.signal(signal.SIGTERM, receiver.stop)
    signal.signal(signal.SIGINT, receiver.stop)
    try:
        disk.make_directories(options.spool)
        with lock.hold(options.spool / "receive-lock", f"receiving into {options.spool}"):
            receiver.keep_running()
            return 0
    except BackupError as error:
        sys.stderr.write(f"gymkhana: {error}\n")
        return error.exit_code


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)
