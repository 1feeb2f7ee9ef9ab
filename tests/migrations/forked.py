"""Processes that migrate: killed before each statement in turn, or two at once. Run as a program, so that it may fork.

python -m tests.migrations.forked kill MODEL SCRATCH    a copy of MODEL per statement of the upgrade, each killed there
python -m tests.migrations.forked race URL              two upgrades at once; prints what each applied
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

from sqlalchemy import Engine, event

from migrations import revisions


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


if __name__ == "__main__":
    if sys.argv[1] == "kill":
        print(json.dumps(kill_before_each_statement(Path(sys.argv[2]), Path(sys.argv[3]))))
    else:
        print(json.dumps(race(sys.argv[2])))
