"""Processes that migrate: killed before each statement in turn, or two at once. Run as a program, so that it may fork.

python -m tests.migrations.forked kill MODEL SCRATCH    a copy of MODEL per statement of the upgrade, each killed there
python -m tests.migrations.forked race URL              two upgrades at once; prints what each applied
python -m tests.migrations.forked end HOW               for each line `N URL` on standard input, an upgrade that is ended
                                                        before its statement N; prints how each ended
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psycopg
from sqlalchemy import Connection, Engine, event, make_url

from migrations import revisions
from migrations.errors import MigrationError


def kill_before_each_statement(model: Path, scratch: Path) -> list[str]:
    """The copies, one for each statement before which an upgrade was killed; the last upgrade got to its end."""
    copies: list[str] = []
    while True:
        copy = scratch / f"killed-{len(copies)}.db"
        shutil.copy(model, copy)
        copies.append(f"sqlite:///{copy}")
        status = _forked(lambda: _upgrade_until(copies[-1], len(copies) - 1))
        if status == 0:
            return copies
        assert status == -signal.SIGKILL, status


def _upgrade_until(url: str, statements: int) -> None:
    left = statements

    def count(*_: object) -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    event.listen(Engine, "before_cursor_execute", count)
    event.listen(Engine, "commit", count)
    revisions.upgrade(url)


def kill(_connection: Connection) -> None:
    """kill -9 of the migrator itself."""
    os.kill(os.getpid(), signal.SIGKILL)


def terminate(connection: Connection) -> None:
    """The server ends the migrator's session, as `pg_terminate_backend` does; the migrator lives and is told."""
    raw = connection.connection.driver_connection
    assert raw is not None
    address = make_url(str(connection.engine.url.render_as_string(hide_password=False))).set(drivername="postgresql")
    with psycopg.connect(address.render_as_string(hide_password=False), autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (raw.info.backend_pid,))


def end_before(url: str, statements: int, act: Callable[[Connection], None]) -> str:
    """How an upgrade ended that was ended before that statement, the commits counted too: killed, refused or done."""
    status = _forked(lambda: _upgrade_ended(url, statements, act))
    return {-signal.SIGKILL: "killed", REFUSED: "refused", 0: "done"}[status]


def _upgrade_ended(url: str, statements: int, act: Callable[[Connection], None]) -> None:
    left = statements

    def count(connection: Connection, *_: object) -> None:
        nonlocal left
        left -= 1
        if left == -1:
            act(connection)

    event.listen(Engine, "before_cursor_execute", count)
    event.listen(Engine, "commit", count)
    try:
        revisions.upgrade(url)
    except MigrationError:
        os._exit(REFUSED)
    if left >= 0:
        os._exit(0)
    os._exit(REFUSED)


def race(url: str) -> list[list[str]]:
    """The revisions that each of two processes applied, both started at once."""
    reading, writing = os.pipe()
    told = [Path(f"{url.removeprefix('sqlite:///')}.{name}") for name in ("first", "second")]

    def run(out: Path) -> None:
        os.read(reading, 1)
        out.write_text(json.dumps([one.id for one in revisions.upgrade(url)]))

    children = [_fork(partial(run, out)) for out in told]
    os.write(writing, b"go")
    for child in children:
        assert _wait(child) == 0
    return [json.loads(out.read_text()) for out in told]


def _forked(act: Callable[[], None]) -> int:
    return _wait(_fork(act))


def _fork(act: Callable[[], None]) -> int:
    child = os.fork()
    if child == 0:
        act()
        os._exit(0)
    return child


def _wait(child: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


REFUSED = 7

if __name__ == "__main__":
    if sys.argv[1] == "end":
        for line in sys.stdin:
            number, url = line.split()
            print(end_before(url, int(number), {"kill": kill, "terminate": terminate}[sys.argv[2]]), flush=True)
        sys.exit(0)
    if sys.argv[1] == "kill":
        print(json.dumps(kill_before_each_statement(Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        print(json.dumps(race(sys.argv[2])))
