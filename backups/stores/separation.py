"""Would one failure take the database and its backups together?"""

from __future__ import annotations

from pathlib import Path

from backups.disk import nearest_existing
from backups.errors import NotSeparate

_ADVICE = (
    "name a store on another disk with --store (GYM_STORE), "
    "or add --demo (GYM_STORE_DEMO=1) if this is a demonstration."
)


def require_separation(database: Path, store: Path) -> None:
    """Return when the store can outlive the database's directory and disk, else raise NotSeparate saying what to do."""
    shared = shared_fate(database, store)
    if shared:
        raise NotSeparate(f"The store {store} {shared} {database}, so one failure takes both: {_ADVICE}")


def shared_fate(database: Path, store: Path) -> str:
    """How the store lies to the database, as the middle of a sentence; empty when they are separate.

    Two partitions of one physical disk count as separate here: only the device number of the file system is compared.
    """
    home = database.resolve().parent
    store = store.resolve()
    if store == home:
        return "is the very directory of the database"
    if home in store.parents:
        return "lies below the directory of the database"
    if store in home.parents:
        return "holds the directory of the database"
    if nearest_existing(store).stat().st_dev == nearest_existing(home).stat().st_dev:
        return "is on the same disk as the database"
    return ""
