"""The process that makes the backup a generation of shipped log begins with (`python -m backups.log.base`)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from backups import addresses
from backups.backup import run_backup
from backups.errors import BackupError
from backups.keys.keyring import Keyring
from backups.log.shipped import log_span
from backups.sqlite.engine import SqliteEngine


def main(arguments: list[str] | None = None) -> int:
    """One backup that knows where it lies in the log; 0, or a sentence and the exit code that goes with it."""
    parser = argparse.ArgumentParser(prog="python -m backups.log.base", description="Makes one backup beside the log.")
    parser.add_argument("database")
    parser.add_argument("socket", type=Path)
    parser.add_argument("store", nargs="+")
    parser.add_argument("--position-of")
    parser.add_argument("--recipient", action="append", default=[])
    parser.add_argument("--host-secret", type=Path)
    parser.add_argument("--demonstration", action="store_true")
    options = parser.parse_args(arguments)
    try:
        run_backup(
            SqliteEngine(position_of=options.position_of),
            options.database,
            addresses.stores_at(options.store),
            keyring=Keyring(recipients=tuple(options.recipient), host_secret=options.host_secret),
            log=log_span(options.socket),
            demonstration=options.demonstration,
        )
    except BackupError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
