"""What SQLite says of a database, asked in another process (`sqlite_child.py`).

A fault writes into database files with plain system calls. A process that did that and had the file open with SQLite too
would drop SQLite's locks whenever it closed the file, so the two never happen in one process.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec

from chaos import guard
from chaos.errors import ChaosError

TIMEOUT_S = 60.0


class Look(msgspec.Struct, frozen=True):
    """What a check found: nothing when the database is sound. `tables` is how many tables it has."""

    findings: tuple[str, ...]
    tables: int

    @property
    def sound(self) -> bool:
        """Whether nothing is wrong with it as far as SQLite can tell: it cannot tell a changed value."""
        return not self.findings


class Held(msgspec.Struct, frozen=True):
    """The write lock was taken, at that monotonic time."""

    t: float


def check(database: Path) -> Look:
    """The database as SQLite sees it now. Raises ChaosError, as all here, when the question could not be answered."""
    return msgspec.json.decode(_ask("check", database), type=Look)


def empty_log(database: Path) -> bool:
    """Whether the whole log was moved into the main file. Others may go on reading and writing meanwhile."""
    return msgspec.json.decode(_ask("empty-log", database), type=bool)


def frames_accepted(copy: Path) -> int:
    """How many frames SQLite accepts from the log beside `copy`. The copy is private, and of no use afterwards."""
    return msgspec.json.decode(_ask("log", copy), type=int)


def locked(database: Path) -> bool:
    """Whether another connection has the write lock now."""
    return msgspec.json.decode(_ask("locked", database), type=bool)


def holder(database: Path, seconds: float) -> subprocess.Popen[bytes]:
    """A process that will hold the write lock for so long. It begins after a line on its input, and then prints a `Held`."""
    return subprocess.Popen(
        [*_command("hold", database), str(seconds)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=guard.environment(),
        bufsize=0,
    )


def _ask(verb: str, database: Path) -> str:
    try:
        ended = subprocess.run(
            _command(verb, database),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=guard.environment(),
            timeout=TIMEOUT_S,
            check=False,
            text=True,
        )
    except subprocess.TimeoutExpired as error:
        raise ChaosError(f"SQLite did not answer about {database} within {TIMEOUT_S:.0f} s.") from error
    if ended.returncode != 0:
        said = ended.stderr.strip().splitlines()
        raise ChaosError(f"SQLite could not be asked about {database}: {said[-1] if said else 'it said nothing'}.")
    return ended.stdout


def _command(verb: str, database: Path) -> list[str]:
    return [sys.executable, "-m", "chaos.sqlite_child", verb, str(database)]
