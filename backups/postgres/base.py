"""A base backup being read from a running server, with what it takes to bring it to one known state.

    slot (temporary) ── pg_basebackup ── the log that ends it ── restore point ── the log up to there
                                                                     └ facts, measured at exactly that point

Where the server knows what changed since an earlier backup (`summarize_wal`), it sends that alone; what follows on the tape
is the same. It is asked first, since only the server knows whether its summaries reach back that far.

The state that a base backup comes to is the one at its restore point, which is written after the copy is complete. The facts
are those of that very state when nothing else was written between the snapshot they are read in and the point, and nobody
was in the middle of writing; that is tried until it succeeds or takes too long, and `exact` says which.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import psycopg

from backups.engine import Base, Sent
from backups.errors import BackupError, Busy, UsageError
from backups.format.facts import Facts
from backups.format.manifest import ServerState
from backups.postgres import facts as measuring
from backups.postgres import listed, tape
from backups.postgres.binaries import Binaries, binaries
from backups.postgres.connection import Cluster, cluster, connect
from backups.postgres.sending import Sending
from backups.progress import Progress

EXACT_WITHIN_S: Final = 3.0
INCREMENTS_SINCE: Final = 17
"""The first major version that can send what changed since an earlier backup."""
_MARKER: Final = "gymkhana"
_READ_BYTES: Final = 1 << 20
_SEGMENT: Final = re.compile(r"pg_wal/([0-9A-F]{24})")
_LABEL: Final = "backup_label"


class BaseReading:
    """The base backup as blocks of whole units, and its facts. One of these per backup; `close` lets the server go."""

    unit_bytes = tape.UNIT_BYTES

    def __init__(self, url: str, position_of: str | None, progress: Progress, base: Base | None = None) -> None:
        self._url = url
        self._position_of = position_of
        self._progress = progress
        self._connection = connect(url)
        try:
            self.server: Cluster = cluster(self._connection)
            self._programs = binaries(self.server.major)
            _require_ready(self._connection, self.server)
            row = self._connection.execute(
                "SELECT sum(pg_database_size(oid)) FROM pg_database WHERE datallowconn OR datname = 'template0'"
            ).fetchone()
            self.size_bytes = int(row[0]) if row and row[0] else 0
            self.units = self.size_bytes // self.unit_bytes
            self._slot = f"gymkhana_base_{self._connection.info.backend_pid}"
            self._connection.execute(
                "SELECT pg_create_physical_replication_slot(%s, immediately_reserve => true, temporary => true)",
                (self._slot,),
            )
            self.why_whole = _why_none(self._connection, self.server, self._programs, base)
            self._sending = None if base is None or self.why_whole else self._increment_on(base)
        except psycopg.Error as error:
            self._connection.close()
            raise _refusal(error) from error
        except BaseException:
            self._connection.close()
            raise
        self.native = self._sending is not None
        self.taken_t = time.monotonic()
        self._facts: Facts | None = None
        self._state: ServerState | None = None
        self.sent: Sent | None = None

    def close(self) -> None:
        """The server keeps nothing for this backup any more."""
        if self._sending is not None:
            self._sending.close()
        self._connection.close()

    def _increment_on(self, base: Base) -> Sending | None:
        """The server's own increment, which it has begun to send; None when it refuses, which is its to say."""
        sending = Sending(self._programs, self._url, listed.without_maps(base.listing))
        try:
            if sending.begun():
                return sending
            self.why_whole = f"The server makes no increment on {base.backup}: {sending.why().rstrip('.')}."
        except BaseException:
            sending.close()
            raise
        sending.close()
        return None

    def blocks(self) -> Iterator[bytes]:
        """The tape, once."""
        done_bytes = 0
        for block in tape.blocks(self._pieces()):
            yield block
            done_bytes += len(block)
            self._progress(done_bytes, max(done_bytes, self.size_bytes), "read")

    def facts(self) -> Facts:
        """The facts of the state at the restore point; near it when the state is not `exact`."""
        assert self._facts is not None, "the blocks come first"
        return self._facts

    def _pieces(self) -> Iterator[bytes]:
        followed = tape.Tape()
        kept = frozenset((_LABEL, listed.NAME))
        sending = self._sending or Sending(self._programs, self._url)
        with contextlib.closing(sending):
            for content in sending.pieces():
                if passed := followed.follow(content, kept):
                    yield passed
        if not followed.ended or _LABEL not in followed.kept:
            raise BackupError("pg_basebackup ended before its tape did; look at the server's log and run it again.")
        yield from self._ending(followed)

    def _ending(self, followed: tape.Tape) -> Iterator[bytes]:
        """The log from where the copy ends to a restore point, and the facts of the state there."""
        connection = self._connection
        held = {match[1] for name in followed.names if (match := _SEGMENT.fullmatch(name))}
        try:
            state = self._point(followed.kept[_LABEL].decode())
            connection.execute("SELECT pg_switch_wal()")
            wanted = connection.execute(
                "SELECT name FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$' AND name > %s AND name <= pg_walfile_name(%s)"
                " ORDER BY name",
                (max(held, default=""), state.point_lsn),
            ).fetchall()
            for (name,) in wanted:
                yield tape.member(f"pg_wal/{name}", self._segment(name))
            yield tape.member(tape.STATE, msgspec.json.encode(state, order="sorted"))
            listing = followed.kept.get(listed.NAME, b"") if self.server.major >= INCREMENTS_SINCE else b""
            self.sent = Sent(state, followed.whole_bytes + len(wanted) * self.server.segment_bytes, listing)
        except psycopg.Error as error:
            raise _refusal(error) from error

    def _segment(self, name: str) -> bytes:
        parts = []
        for at in range(0, self.server.segment_bytes, _READ_BYTES):
            row = self._connection.execute(
                "SELECT pg_read_binary_file(%s, %s, %s)", (f"pg_wal/{name}", at, _READ_BYTES), binary=True
            ).fetchone()
            assert row is not None
            parts.append(bytes(row[0]))
        return b"".join(parts)

    def _point(self, label: str) -> ServerState:
        """Writes the restore point and measures the facts there."""
        end_t = time.monotonic() + EXACT_WITHIN_S
        with contextlib.closing(connect(self._url)) as reader:
            while True:
                reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
                name = f"{_MARKER}-{time.time_ns():x}"
                self.taken_t = time.monotonic()
                lsn, alone = self._mark(reader, name)
                if alone or time.monotonic() > end_t:
                    break
                reader.execute("ROLLBACK")
                time.sleep(0.005)
            self._facts = measuring.measure(reader, self._position_of)
            reader.execute("ROLLBACK")
            user, database = reader.info.user, reader.info.dbname
        row = self._connection.execute("SELECT timeline_id FROM pg_control_checkpoint()").fetchone()
        begun = dict(line.split(": ", 1) for line in label.splitlines() if ": " in line)
        return ServerState(
            system=self.server.system,
            major=self.server.major,
            timeline=int(row[0]) if row else self.server.timeline,
            begin_lsn=begun["START WAL LOCATION"].split()[0],
            begin_segment=begun["START WAL LOCATION"].split()[2].rstrip(")"),
            point=name,
            point_lsn=lsn,
            exact=alone,
            segment_bytes=self.server.segment_bytes,
            user=user,
            database=database,
        )

    def _mark(self, reader: psycopg.Connection[Any], name: str) -> tuple[str, bool]:
        """The position after the point, and whether the reader's snapshot is the state at exactly that point.

        It is when nobody had begun to write before the snapshot was taken, and nothing was written from before that look to
        the point but the point: a commit is in the log a moment before others see it, and this leaves it no moment.
        """
        before = self._connection.execute("SELECT pg_current_wal_insert_lsn()").fetchone()
        writing = self._connection.execute(
            "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_xid IS NOT NULL)"
            " + (SELECT count(*) FROM pg_prepared_xacts)"
        ).fetchone()
        reader.execute("SELECT pg_current_snapshot()")
        row = self._connection.execute(
            "SELECT at::text, at - %s::pg_lsn < %s FROM pg_create_restore_point(%s) AS at",
            (before[0] if before else None, _POINT_BYTES, name),
        ).fetchone()
        assert row is not None
        assert writing is not None
        return row[0], bool(row[1] and not writing[0])


_POINT_BYTES: Final = 24 + 2 + 8 + 64 + 8 + 40 + 1
"""A restore point's record at most: its header and its data (time and name), aligned, with a page's header in between."""


def _why_none(connection: psycopg.Connection[Any], server: Cluster, programs: Binaries, base: Base | None) -> str:
    """Why the server makes no increment of its own on that base, as far as can be told without asking it to."""
    if server.major < INCREMENTS_SINCE:
        return f"PostgreSQL {server.major} makes no increments of its own; {INCREMENTS_SINCE} is the first that does."
    row = connection.execute("SELECT current_setting('summarize_wal')").fetchone()
    if not row or row[0] != "on":
        return "The server does not keep in mind what changes: set summarize_wal = on and reload it."
    if not programs.has("pg_combinebackup"):
        return f"PostgreSQL {programs.version} in {programs.directory} has no pg_combinebackup; install its server too."
    if base is not None and (base.state.system, base.state.major) != (server.system, server.major):
        return (
            f"{base.backup} is of another cluster, PostgreSQL {base.state.major} with the number {base.state.system}."
        )
    return ""


def _require_ready(connection: psycopg.Connection[Any], server: Cluster) -> None:
    if server.in_recovery:
        raise UsageError("The server is a standby; back its primary up.")
    row = connection.execute(
        "SELECT current_setting('wal_level'), current_setting('full_page_writes'),"
        " (SELECT count(*) FROM pg_tablespace) - 2"
    ).fetchone()
    assert row is not None
    if row[0] == "minimal":
        raise UsageError("The server writes too little log for backups: set wal_level = replica and restart it.")
    if row[2]:
        raise UsageError(
            f"The cluster has {row[2]} tablespaces of its own, and only what lies in the data directory is backed up here; "
            "use pgBackRest."
        )


def _refusal(error: psycopg.Error) -> BackupError:
    said = " ".join(str(error).split())
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return UsageError(f"The server does not allow it ({said}): backups want a superuser.")
    if isinstance(error, psycopg.errors.ConfigurationLimitExceeded):
        return Busy(f"The server has no replication slot free ({said}): raise max_replication_slots, or drop one.")
    return BackupError(f"The server failed while it was backed up: {said}")
