"""From what a person types to an engine and a store: the one place that knows all kinds of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from backups.engine import Engine
from backups.errors import StoreUnusable, UsageError
from backups.pgbackrest import SCHEME as PGBACKREST
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from backups.stores.store import Store


def engine_for(database: str, *, position_of: str | None = None) -> Engine:
    """The engine for a database's URL, or for a path: a data directory is PostgreSQL's, any other SQLite's.

    Raises UsageError for a kind not known.
    """
    scheme = database.partition("://")[0] if "://" in database else "sqlite"
    kind = scheme.partition("+")[0]
    if kind in ("postgresql", "postgres") or (Path(database) / "PG_VERSION").exists():
        return _postgres(database, position_of)
    if kind != "sqlite":
        raise UsageError(
            f"Databases of the kind {scheme} cannot be backed up; SQLite and PostgreSQL can: sqlite:////absolute/path.db, "
            "postgresql://user@host/name."
        )
    return SqliteEngine(position_of=position_of)


def engine_named(kind: str) -> Engine:
    """The engine that a manifest names. Raises UsageError for one that this version does not know."""
    if kind == SqliteEngine.kind:
        return SqliteEngine()
    if kind == "postgres":
        return _postgres(None, None)
    raise UsageError(f"This version knows no engine {kind}.")


def _postgres(database: str | None, position_of: str | None) -> Engine:
    from backups.postgres.connection import is_url
    from backups.postgres.engine import PostgresEngine

    return PostgresEngine(database if database and is_url(database) else None, position_of=position_of)


def store_at(address: str, *, make: bool = False) -> Store:
    """The store at that address; `make` lets the first write make a directory. Raises StoreUnusable.

    A directory's path, `s3://bucket/prefix?endpoint=http://127.0.0.1:9000&region=us-east-1`, `gs://bucket/prefix`,
    `az://container/prefix`, `sftp://user@host:port/path?key=FILE&known_hosts=FILE`. Credentials are the environment's
    (AWS_ACCESS_KEY_ID and its like), never a part of the address.
    """
    if address.startswith(PGBACKREST):
        raise StoreUnusable(
            f"{address} is a repository of pgBackRest, which only backup run, list, verify, restore and status work with: "
            "its log, its keys and what it keeps are its own configuration's."
        )
    scheme = address.partition("://")[0]
    if "://" not in address:
        return DirectoryStore(Path(address), make=make)
    if scheme in ("s3", "gs", "az"):
        from backups.stores.buckets import bucket_at
        from backups.stores.objects import ObjectStore

        return ObjectStore(address, bucket_at(address))
    if scheme == "sftp":
        return _sftp_store(address)
    raise StoreUnusable(f"Stores like {scheme}:// are not known; a directory, s3://, gs://, az:// and sftp:// are.")


def _sftp_store(address: str) -> Store:
    try:
        from backups.stores.sftp import SftpStore
    except ModuleNotFoundError as error:
        raise StoreUnusable("Stores like sftp:// want the extra sftp: pip install 'gymkhana[sftp]'.") from error
    return SftpStore(address)


def stores_at(addresses: Sequence[str], *, make: bool = False) -> Store:
    """The store at the one address, or all of them as one. Raises StoreUnusable, also for the same one twice.

    Of several, one that does not exist yet is left out with a sentence in its `trouble` rather than refused: the others are
    there for such a day.
    """
    if len(addresses) == 1:
        return store_at(addresses[0], make=make)
    if len(set(addresses)) != len(addresses):
        raise StoreUnusable(f"The stores {', '.join(addresses)} are not all different; name each once.")
    from backups.stores.mirrored import Absent, MirroredStore

    found: list[Store | Absent] = []
    for address in addresses:
        try:
            found.append(store_at(address, make=make))
        except StoreUnusable as error:
            if "://" in address:
                raise
            found.append(Absent(address, str(error)))
    return MirroredStore(found)
