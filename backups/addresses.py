"""From what a person types to an engine and a store: the one place that knows all kinds of both."""

from __future__ import annotations

from pathlib import Path

from backups.directory_store import DirectoryStore
from backups.engine import Engine
from backups.errors import StoreUnusable, UsageError
from backups.sqlite import SqliteEngine
from backups.store import Store


def engine_for(database: str, *, position_of: str | None = None) -> Engine:
    """The engine for a database's URL, or for a path, which is SQLite's. Raises UsageError for a kind not known."""
    scheme = database.partition("://")[0] if "://" in database else "sqlite"
    if scheme.partition("+")[0] != "sqlite":
        raise UsageError(
            f"Databases of the kind {scheme} cannot be backed up; SQLite can: sqlite:////absolute/path.db."
        )
    return SqliteEngine(position_of=position_of)


def engine_named(kind: str) -> Engine:
    """The engine that a manifest names. Raises UsageError for one that this version does not know."""
    if kind != SqliteEngine.kind:
        raise UsageError(f"This version knows no engine {kind}.")
    return SqliteEngine()


def store_at(address: str, *, make: bool = False) -> Store:
    """The store at a directory's path; `make` lets the first write make the directory. Raises StoreUnusable."""
    if "://" in address:
        raise StoreUnusable(f"Stores like {address} are not known; name a directory.")
    return DirectoryStore(Path(address), make=make)
