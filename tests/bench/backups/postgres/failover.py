"""A standby that takes over: how long nobody can write, from the kill of the primary to a write that is read back.

    client ── acknowledged writes ──▶ primary ──▶ standby          kill ─▶ two looks in vain ─▶ fence ─▶ promote ─▶ write
                                         ▲ watcher looks

The watcher knows nothing of the kill: it looks ten times a second, as that of the drills does. The client finds the primary
as libpq does, by asking both addresses which of them it is.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field

import psycopg

from backups.postgres.server import DATABASE, SUPERUSER, Server
from ci import drill
from tests.backups.databases import wait_until
from tests.bench.backups.postgres.clusters import checked_write

LOOK_EVERY_S, MISSED_LOOKS = drill.LOOK_EVERY_S, drill.MISSED_LOOKS
STANDBY = "standby"
WITHIN_S = 30.0
_AGAIN_AFTER_S = 0.01
WARM = 50


@dataclass(frozen=True, slots=True)
class FailOver:
    """What came of it: seconds without a write, those of them until it was noticed, acknowledged writes, and those lost."""

    seconds: float
    noticed_s: float
    acknowledged: int
    lost: tuple[int, ...]


@dataclass(slots=True)
class _Client:
    """Writes and reads back, one row after another, wherever the primary is, until it is told to stop."""

    hosts: str
    ports: str
    stopping: threading.Event = field(default_factory=threading.Event)
    verified: list[tuple[float, int, int]] = field(default_factory=list)
    """When each write had been read back, on the monotonic clock, its number, and the port that it went to."""

    def run(self) -> None:
        while not self.stopping.is_set():
            with suppress(psycopg.Error), self._connected() as connection:
                while not self.stopping.is_set():
                    number = checked_write(connection)
                    self.verified.append((time.monotonic(), number, connection.info.port))
            self.stopping.wait(_AGAIN_AFTER_S)

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=self.hosts, port=self.ports, user=SUPERUSER, dbname=DATABASE, autocommit=True, connect_timeout=1,
            target_session_attrs="primary",
        )  # fmt: skip


def follow(primary: Server, standby: Server) -> None:
    """The standby runs, holds what the primary holds, and every commit waits for it."""
    standby.init_standby(primary, application=STANDBY)
    standby.start()
    wait_until(standby.following, "the standby follows", WITHIN_S)
    with primary.connect("postgres") as connection:
        connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
        connection.execute("SELECT pg_reload_conf()")


def fail_over(primary: Server, standby: Server, phase_s: float) -> FailOver:
    """Kill the primary under a writing client, `phase_s` after a look of the watcher's, and see how long it cannot write."""
    client = _Client(f"{primary.sockets},{standby.sockets}", f"{primary.port},{standby.port}")
    writing = threading.Thread(target=client.run)
    looked, noticed = threading.Event(), list[float]()
    watching = threading.Thread(target=_watch, args=(primary, standby, looked, noticed))
    writing.start()
    watching.start()
    try:
        wait_until(lambda: len(client.verified) >= WARM, "the client writes", WITHIN_S)
        looked.clear()
        assert looked.wait(WITHIN_S)
        time.sleep(phase_s)
        killed_t = time.monotonic()
        primary.kill()
        wait_until(lambda: client.verified[-1][2] == standby.port, "a write to the standby", WITHIN_S)
    finally:
        client.stopping.set()
        writing.join()
        watching.join(WITHIN_S)
    again_t = next(at for at, _, port in client.verified if port == standby.port)
    with standby.connect() as connection:
        kept = {row[0] for row in connection.execute("SELECT number FROM checks")}
    lost = tuple(number for _, number, _ in client.verified if number not in kept)
    return FailOver(again_t - killed_t, noticed[0] - killed_t, len(client.verified), lost)


def _watch(primary: Server, standby: Server, looked: threading.Event, noticed: list[float]) -> None:
    """Whoever watches: enough looks in vain, then the old primary is fenced and the standby promoted."""
    missed, end_t = 0, time.monotonic() + 2 * WITHIN_S
    while missed < MISSED_LOOKS and time.monotonic() < end_t:
        missed = 0 if _answers(primary) else missed + 1
        looked.set()
        time.sleep(LOOK_EVERY_S)
    if missed < MISSED_LOOKS:
        return
    noticed.append(time.monotonic())
    primary.kill()
    primary.data.rename(primary.data.with_name("data.fenced"))
    standby.promote()


def _answers(server: Server) -> bool:
    try:
        server.connect("postgres", connect_timeout=1).close()
    except psycopg.Error:
        return False
    return True
