"""What the service is told through its status directory, which it reads and never asks for: backups, and drills.

backups.prom   how the backups are, as `gymkhana backup status --prometheus` prints it
drills.json    how each drill went the last time; one that failed stays failed until that one passes
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

import msgspec

from backups.clock import SYSTEM
from backups.disk import write_durably
from backups.keeping import status as statuses
from backups.vault import Vault
from ci.record import Run
from system.status_files import BACKUPS, DRILLS, Drilled

VARIABLE = "GYM_STATUS_DIR"


def named() -> Path | None:
    """The directory that the environment names, if it does."""
    found = os.environ.get(VARIABLE)
    return Path(found) if found else None


def tell_backups(directory: Path, vault: Vault, limits: statuses.Limits = statuses.Limits()) -> None:  # noqa: B008
    """The file says how the vault is now. Raises StoreError when that cannot be asked, and the file is as it was."""
    found = statuses.status(vault.kept(), SYSTEM.now(), limits, vault.trouble)
    directory.mkdir(parents=True, exist_ok=True)
    write_durably(directory / BACKUPS, statuses.prometheus(found, records=vault.keeps_records).encode())


def tell_drills(directory: Path, runs: Iterable[Run]) -> None:
    """The file says how these went; of the drills that were not among them, what it said before."""
    path = directory / DRILLS
    try:
        known = msgspec.json.decode(path.read_bytes(), type=dict[str, Drilled])
    except (FileNotFoundError, msgspec.MsgspecError):
        known = {}
    now = SYSTEM.now().timestamp()
    known |= {run.drill: Drilled(run.verdict, now, run.id) for run in runs}
    directory.mkdir(parents=True, exist_ok=True)
    write_durably(path, msgspec.json.format(msgspec.json.encode(known)))
