"""A backup or a restore that may not write more than so many bytes to any one file: the kernel says no half-way.

    python -m tests.backups.limited backup|restore BYTES DATABASE STORE

Prints the name of the error and its sentence.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from backups.backup import run_backup
from backups.errors import BackupError
from backups.restore import restore
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore


def main(verb: str, limit_bytes: str, database: str, store: str) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit_bytes), int(limit_bytes)))
    try:
        if verb == "backup":
            run_backup(SqliteEngine(), database, DirectoryStore(Path(store)), demonstration=True)
        else:
            restore(SqliteEngine(), DirectoryStore(Path(store)), database)
    except BackupError as error:
        print(type(error).__name__, error)


if __name__ == "__main__":
    main(*sys.argv[1:])
