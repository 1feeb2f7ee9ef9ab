"""Whether a recovered cluster is sound: its files by their manifest, its rows and indexes by PostgreSQL's own programs."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Final

from backups.errors import Damaged
from backups.postgres import listed
from backups.postgres.binaries import Binaries, unprivileged
from backups.postgres.recovery import Recovered

_NAMED: Final = 5
_SIGNALLED: Final = 128
"""A program that `unshare` runs and a signal ends is told as more than this."""
_LOG: Final = "pg_wal/"
_NOT_LISTED: Final = frozenset(("backup_manifest", "recovery.signal", "standby.signal", "postgresql.auto.conf"))
"""What the manifest does not speak of, as a restore may change it."""


def unlike_manifest(data: Path, programs: Binaries) -> tuple[str, ...]:
    """What the server's own verification of the files against their manifest says is wrong.

    Where the program itself crashes, as that of one build of 18.4 does, the files are compared here.
    """
    command = [programs.path("pg_verifybackup"), "--quiet", str(data)]
    done = subprocess.run(unprivileged(command), capture_output=True, text=True, check=False)
    if not done.returncode:
        return ()
    if done.returncode < 0 or done.returncode > _SIGNALLED:
        return tuple(f"{finding}." for finding in islice(_compared(data), _NAMED))
    lines = [line.split("error: ", 1)[-1] for line in done.stderr.splitlines() if "error" in line] or [done.stderr]
    return tuple(f"pg_verifybackup says: {' '.join(line.split())}." for line in lines[:_NAMED])


def _compared(data: Path) -> Iterator[str]:
    """How the files differ from `backup_manifest` (PostgreSQL's manual, "Backup Manifest Format"); the log is not in it."""
    try:
        known = listed.files_in((data / listed.NAME).read_bytes())
    except (OSError, Damaged) as error:
        yield f"{listed.NAME} cannot be read: {error}".rstrip(".")
        return
    for name, one in known.items():
        if name.startswith(_LOG):  # Only pg_combinebackup names it, and without a checksum: recovery reads it.
            continue
        path = data / name
        if not path.is_file() or path.stat().st_size != one["Size"]:
            yield f"{name} is missing or has another size than the {one['Size']} bytes in backup_manifest"
            continue
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != one.get("Checksum"):
                yield f"{name} is not what backup_manifest says: its SHA-256 differs"
    there = {str(path.relative_to(data)) for path in data.rglob("*") if path.is_file()}
    for name in sorted(there - known.keys() - _NOT_LISTED):
        if not name.startswith(_LOG):
            yield f"{name} is not in backup_manifest"


def faults(found: Recovered, programs: Binaries) -> tuple[str, ...]:
    """What is wrong with rows and indexes of every database, as far as the server's programs can tell."""
    with contextlib.closing(found.connect()) as connection:
        names = [row[0] for row in connection.execute("SELECT datname FROM pg_database WHERE datallowconn ORDER BY 1")]
        extended = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'amcheck'").fetchone()
    if extended is not None and programs.has("pg_amcheck"):
        return _amcheck(found, programs)
    return tuple(finding for name in names for finding in _dumped(found, programs, name))


def _amcheck(found: Recovered, programs: Binaries) -> tuple[str, ...]:
    state = found.state
    command = [
        programs.path("pg_amcheck"), "--host", str(found.sockets), "--port", "5432", "--username", state.user,
        "--no-password", "--heapallindexed", "--database", state.database,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return ()
    said = (done.stdout or done.stderr).strip().splitlines()
    return tuple(f"pg_amcheck says: {line.strip()}." for line in said[:_NAMED])


def _dumped(found: Recovered, programs: Binaries, database: str) -> tuple[str, ...]:
    """What stops a dump of the database: every row of it is read and written as text, to nowhere."""
    command = [
        programs.path("pg_dump"), "--host", str(found.sockets), "--port", "5432", "--username", found.state.user,
        "--no-password", "--no-sync", "--file=/dev/null", database,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return ()
    said = [line for line in done.stderr.splitlines() if "error" in line.lower()] or ["it failed"]
    return (f"pg_dump of {database} says: {' '.join(said[0].split())}.",)
