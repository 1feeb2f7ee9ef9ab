"""Reaching a server by its URL, as libpq understands it, and telling in one sentence why it cannot be reached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from backups.errors import BackupError, NoSuchDatabase, UsageError
from backups.postgres.binaries import OLDEST

CONNECT_TIMEOUT_S: Final = 5
_SCHEME = re.compile(r"postgres(?:ql)?(?:\+\w+)?://")


class ServerAway(BackupError):
    """The server cannot be asked: it is down, or refuses the connection. One sentence, with what it said."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a running server says of itself. `data` is its directory, as it names it."""

    system: str
    major: int
    version: str
    timeline: int
    data: Path
    segment_bytes: int
    in_recovery: bool


def is_url(database: str) -> bool:
    """Whether that is the URL of a PostgreSQL database."""
    return _SCHEME.match(database) is not None


def libpq(url: str, **more: Any) -> str:
    """The URL as a connection string for libpq's programs, with other parameters over it. Raises UsageError."""
    match = _SCHEME.match(url)
    if match is None:
        raise UsageError(f"{url} is not the URL of a PostgreSQL database: postgresql://user@host:5432/name.")
    try:
        return make_conninfo(_one_address("postgresql://" + url[match.end() :]), **more)
    except psycopg.ProgrammingError as error:
        raise UsageError(f"The URL of the database cannot be read: {' '.join(str(error).split())}.") from error


def _one_address(url: str) -> str:
    """Several servers in one URL, as SQLAlchemy writes them (`?host=a:5432&host=b:5433`), the way libpq does."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    hosts = [value for name, value in query if name == "host" and not value.startswith("/")]
    if parts.hostname or not hosts:
        return url
    places = ",".join(hosts)
    rest = urlencode([(name, value) for name, value in query if name != "host"], quote_via=quote)
    return urlunsplit((parts.scheme, f"{parts.netloc.rpartition('@')[0]}@{places}", parts.path, rest, ""))


def shown(url: str) -> str:
    """The URL for people: without its password, and without parameters."""
    told = conninfo_to_dict(libpq(url))
    place = f"{told.get('host', 'localhost')}:{told.get('port', 5432)}"
    return f"postgresql://{told.get('user', '')}@{place}/{told.get('dbname', '')}"


def connect(url: str, **more: Any) -> psycopg.Connection[Any]:
    """A connection in autocommit mode. Raises ServerAway or NoSuchDatabase."""
    try:
        return psycopg.connect(
            libpq(url, connect_timeout=CONNECT_TIMEOUT_S, application_name="gymkhana-backup"), autocommit=True, **more
        )
    except psycopg.OperationalError as error:
        said = " ".join(str(error).split())
        if "does not exist" in said and "database" in said:
            raise NoSuchDatabase(
                f"There is no database at {shown(url)}; name it with --database or DATABASE_URL."
            ) from error
        raise ServerAway(
            f"The server of {shown(url)} cannot be reached ({said}); look at the server, the address and the password."
        ) from error


def is_lost(error: psycopg.Error) -> bool:
    """Whether it says that the connection is gone, or the server going or coming."""
    return isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(("08", "57P0"))


@contextmanager
def connected(url: str, **more: Any) -> Iterator[psycopg.Connection[Any]]:
    """A connection as by `connect`, closed at the end. A server that goes away meanwhile is ServerAway, too."""
    with closing(connect(url, **more)) as connection:
        try:
            yield connection
        except psycopg.OperationalError as error:
            if not is_lost(error):
                raise
            said = " ".join(str(error).split())
            raise ServerAway(f"The server of {shown(url)} went away ({said}).") from error


def cluster(connection: psycopg.Connection[Any]) -> Cluster:
    """What the server says of itself. Raises UsageError for one that is too old, or does not let this user look."""
    number = connection.info.server_version
    if number // 10_000 < OLDEST:
        raise UsageError(f"The server is PostgreSQL {number // 10_000}, and {OLDEST} is the oldest that is known here.")
    try:
        row = connection.execute(
            "SELECT system_identifier::text, timeline_id, current_setting('data_directory'),"
            " pg_size_bytes(current_setting('wal_segment_size')), pg_is_in_recovery(), current_setting('server_version')"
            " FROM pg_control_system(), pg_control_checkpoint()"
        ).fetchone()
    except psycopg.errors.InsufficientPrivilege as error:
        raise UsageError(
            f"{connection.info.user} may not look at the server: backups want a superuser, or a member of "
            "pg_read_all_settings, pg_read_server_files and pg_read_all_data with REPLICATION."
        ) from error
    assert row is not None
    system, timeline, data, segment_bytes, in_recovery, version = row
    return Cluster(system, number // 10_000, version.split()[0], timeline, Path(data), segment_bytes, in_recovery)
