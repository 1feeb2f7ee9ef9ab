"""The process that ships the log of one database (`python -m backups.log.watch`), its sole checkpointer.

    database ──log──▶ watch ──segments──▶ store          writer ──{"ship": true}──▶ socket ──▶ durable, then the answer

It says what happens on standard error, one line of JSON an event. SIGTERM ships what is left and ends. It never closes the
database: whoever closes it last removes the log, and with it the proof that nothing is missing. What it needs to go on after
a `kill -9` lies in the store.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from backups import addresses, disk, lock
from backups.clock import SYSTEM, rfc3339
from backups.errors import BackupError
from backups.keys.keyring import Keyring
from backups.log.shipped import Asked, short_path
from backups.log.shipper import Limits, Shipper
from backups.sqlite.engine import SqliteEngine

INTERVAL_S: Final = 0.5
_TEND_S: Final = 0.05
_LINE_BYTES: Final = 4096
_PR_SET_PDEATHSIG: Final = 1


@dataclass(slots=True)
class _Client:
    connection: socket.socket
    received: bytearray = field(default_factory=bytearray)
    waiting: list[Asked] = field(default_factory=list)


class Watch:
    """Serves one socket and keeps the shipper going, in one thread."""

    def __init__(self, shipper: Shipper, listener: socket.socket, interval_s: float = INTERVAL_S) -> None:
        self._shipper = shipper
        self._interval_s = interval_s
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._selector.register(listener, selectors.EVENT_READ)
        self._wake, self._woken = socket.socketpair()
        for end in (listener, self._wake, self._woken):
            end.setblocking(False)
        self._selector.register(self._woken, selectors.EVENT_READ)
        self._clients: list[_Client] = []
        self._stopping = False

    @property
    def wakeup(self) -> int:
        """A descriptor that wakes the loop when written to."""
        return self._wake.fileno()

    def stop(self, _signal: int = 0, _frame: object = None) -> None:
        """Asks `run` to ship what is left and return."""
        self._stopping = True

    def run(self) -> None:
        """Ships until `stop`."""
        due_t = tend_t = 0.0
        while not self._stopping:
            now_t = time.monotonic()
            self._select(max(0.0, min(due_t, tend_t) - now_t))
            now_t = time.monotonic()
            asked = any(client.waiting for client in self._clients)
            if asked or now_t >= due_t:
                self._ship()
                due_t = time.monotonic() + self._interval_s
            if now_t >= tend_t:
                self._shipper.tend()
                tend_t = time.monotonic() + _TEND_S
        self._ship()

    def _ship(self) -> None:
        """One round of shipping answers everybody who asked before it."""
        try:
            place = self._shipper.ship()
            if self._shipper.checkpoint_due:
                self._shipper.tend()
        except BackupError as error:
            self._answer_all({"error": str(error)})
            return
        told = {"generation": place.generation, "index": place.index}
        for client in list(self._clients):
            answered = [asked for asked in client.waiting if asked.unbased or place.restorable]
            client.waiting = [asked for asked in client.waiting if asked not in answered]
            for _ in answered:
                self._send(client, told)

    def _answer_all(self, answer: dict[str, Any]) -> None:
        for client in list(self._clients):
            waiting, client.waiting = client.waiting, []
            for _ in waiting:
                self._send(client, answer)

    def _select(self, timeout_s: float) -> None:
        for key, _ in self._selector.select(timeout_s):
            if key.fileobj is self._listener:
                with suppress(BlockingIOError):
                    self._accept()
            elif key.fileobj is self._woken:
                with suppress(BlockingIOError):
                    self._woken.recv(_LINE_BYTES)
            else:
                self._read(key.data)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        connection.settimeout(1.0)
        client = _Client(connection)
        self._clients.append(client)
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _read(self, client: _Client) -> None:
        try:
            received = client.connection.recv(_LINE_BYTES)
        except OSError:
            received = b""
        client.received += received
        if not received or len(client.received) > _LINE_BYTES:
            self._drop(client)
            return
        while b"\n" in client.received:
            line, _, rest = bytes(client.received).partition(b"\n")
            client.received[:] = rest
            self._request(client, line)

    def _request(self, client: _Client, line: bytes) -> None:
        try:
            asked = msgspec.json.decode(line, type=Asked)
        except msgspec.MsgspecError as error:
            self._send(client, {"error": f"That is no request: {error}."})
            return
        if asked.ship:
            client.waiting.append(asked)
        else:
            self._send(client, self._status())

    def _status(self) -> dict[str, Any]:
        place = self._shipper.place
        return {
            "trouble": self._shipper.trouble,
            "generation": place.generation if place else None,
            "index": place.index if place else None,
            "restorable": bool(place and place.restorable),
            **self._shipper.figures(),
        }

    def _send(self, client: _Client, answer: dict[str, Any]) -> None:
        try:
            client.connection.sendall(msgspec.json.encode(answer) + b"\n")
        except OSError:
            self._drop(client)

    def _drop(self, client: _Client) -> None:
        with suppress(KeyError, ValueError):
            self._selector.unregister(client.connection)
        with suppress(ValueError):
            self._clients.remove(client)
        client.connection.close()


def listen(path: Path) -> socket.socket:
    """A listening socket at `path`, for this user only. A stale one is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        with short_path(path) as short:
            listener.bind(short)
    finally:
        os.umask(mask)
    listener.listen(64)
    return listener


def say(event: str, **told: object) -> None:
    """One line on standard error."""
    line = {"event": event, "process": "watch", "timestamp": rfc3339(SYSTEM.now()), **told}
    sys.stderr.write(msgspec.json.encode(line, enc_hook=str).decode() + "\n")
    sys.stderr.flush()


def base_command(arguments: argparse.Namespace, database: Path) -> list[str]:
    """What makes the backup that a generation needs: a process of its own, so that shipping goes on undisturbed."""
    command = [sys.executable, "-P", "-m", "backups.log.base", str(database), str(arguments.socket), *arguments.store]
    options = {"--position-of": arguments.position_of, "--host-secret": arguments.host_secret}
    for recipient in arguments.recipient:
        command += ["--recipient", recipient]
    for option, value in options.items():
        command += [option, str(value)] if value else []
    return [*command, *(["--demonstration"] if arguments.demonstration else [])]


def _make_base(command: list[str]) -> None:
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    if done.returncode:
        raise BackupError(done.stderr.decode(errors="replace").strip() or f"It ended with code {done.returncode}.")


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line; whatever it leaves out comes from the environment, so that a supervisor need not know it."""
    told = os.environ.get
    parser = argparse.ArgumentParser(prog="python -m backups.log.watch", description="Ships the log of a database.")
    parser.add_argument("--database", default=told("DATABASE_URL"), help="path or URL (DATABASE_URL)")
    parser.add_argument("--store", action="append", help="address of a store, more than once for copies (GYM_STORE)")
    parser.add_argument("--socket", type=Path, default=told("GYM_SHIP"), help="where to listen (GYM_SHIP)")
    parser.add_argument("--position-of", default=told("GYM_SHIP_POSITION_OF"), help="table.column, monotone")
    parser.add_argument("--interval-ms", type=float, default=float(told("GYM_SHIP_INTERVAL_MS") or INTERVAL_S * 1000))
    parser.add_argument("--checkpoint-mb", type=float, default=float(told("GYM_SHIP_CHECKPOINT_MB") or 4))
    parser.add_argument("--cap-mb", type=float, default=float(told("GYM_SHIP_CAP_MB") or 64))
    parser.add_argument("--recipient", action="append", default=(told("GYM_RECIPIENTS") or "").split())
    parser.add_argument("--host-secret", type=Path, default=told("GYM_HOST_SECRET"))
    parser.add_argument("--demonstration", action="store_true", default=bool(told("GYM_SHIP_DEMONSTRATION")))
    parsed = parser.parse_args(arguments)
    parsed.store = parsed.store or (told("GYM_STORE") or "").split()
    for name in ("database", "store", "socket"):
        if not getattr(parsed, name):
            parser.error(f"--{name} is missing, and so is its variable in the environment")
    parsed.socket = Path(parsed.socket)
    return parsed


def main(arguments: list[str] | None = None) -> int:
    """Runs until SIGTERM; 0 then, else what went wrong as a sentence and its exit code."""
    _end_with_supervisor()
    options = parse(arguments)
    try:
        database = SqliteEngine().path_of(options.database)
        # A store that is missing may be one that is away, so it is made for a demonstration only.
        store = addresses.stores_at(options.store, make=options.demonstration)
        for copy in store.copies:
            if copy.local is not None:
                disk.make_directories(copy.local)
        keyring = Keyring(recipients=tuple(options.recipient), host_secret=options.host_secret)
        command = base_command(options, database)
        limits = Limits(int(options.checkpoint_mb * 1e6), int(options.cap_mb * 1e6))
        shipper = Shipper(
            database,
            store,
            lambda: _make_base(command),
            say,
            keyring=keyring,
            limits=limits,
            position_of=options.position_of,
            reopen=lambda: addresses.stores_at(options.store, make=options.demonstration),
        )
        with lock.hold(database.with_name(f"{database.name}.watch-lock"), f"watch of {database}"):
            watch = Watch(shipper, listen(options.socket), options.interval_ms / 1000)
            signal.set_wakeup_fd(watch.wakeup, warn_on_full_buffer=False)
            signal.signal(signal.SIGTERM, watch.stop)
            signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; who started us decides.
            say("watching", database=str(database), store=store.address)
            watch.run()
            options.socket.unlink(missing_ok=True)
            say("ended", shipped=not shipper.trouble, why=shipper.trouble)
    except BackupError as error:
        sys.stderr.write(f"gymkhana: {error}\n")
        return error.exit_code
    return 0


def _end_with_supervisor() -> None:
    """The kernel sends SIGTERM when the supervisor dies, however it dies: what is left is shipped then too."""
    supervisor = os.environ.get("GYM_SUPERVISOR")
    if supervisor is not None:
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if int(supervisor) != os.getppid():  # It died before we asked.
            os._exit(1)


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    os._exit(code)  # Not by way of closing the database, see above.
