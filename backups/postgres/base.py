"""A base backup being read from a running server, with what it takes to bring it to one known state.

    slot (temporary) ── pg_basebackup ── the log that ends it ── restore point ── the log up to there
                                                                     └ facts, measured at exactly that point

The state that a base backup comes to is the one at its restore point, which is written after the copy is complete. The facts
are those of that very state when nothing else was written between the snapshot they are read in and the point, and nobody
was in the middle of writing; that is tried until it succeeds or takes too long, and `exact` says which.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from typing import Any, Final

import msgspec
import psycopg

from backups.errors import BackupError, Busy, DatabaseDamaged, NoSpace, UsageError
from backups.format.facts import Facts
from backups.format.manifest import ServerState
from backups.postgres import facts as measuring
from backups.postgres import tape
from backups.postgres.binaries import Binaries, binaries
from backups.postgres.connection import Cluster, cluster, connect, libpq
from backups.progress import Progress

EXACT_WITHIN_S: Final = 3.0
_MARKER: Final = "gymkhana"
_READ_BYTES: Final = 1 << 20
_SEGMENT: Final = re.compile(r"pg_wal/([0-9A-F]{24})")
_LABEL: Final = "backup_label"
_MANIFEST: Final = "backup_manifest"


class BaseReading:
    """The base backup as blocks of whole units, and its facts. One of these per backup; `close` lets the server go."""

    unit_bytes = tape.UNIT_BYTES

    def __init__(self, url: str, position_of: str | None, progress: Progress) -> None:
        self._url = url
        self._position_of = position_of
        self._progress = progress
        self._connection = connect(url)
        try:
            self.server: Cluster = cluster(self._connection)
            self._programs = _programs(self.server)
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
        except psycopg.Error as error:
            self._connection.close()
            raise _refusal(error) from error
        except BaseException:
            self._connection.close()
            raise
        self.taken_t = time.monotonic()
        self._facts: Facts | None = None
        self.state: ServerState | None = None

    def close(self) -> None:
        """The server keeps nothing for this backup any more."""
        self._connection.close()

    def blocks(self) -> Iterator[bytes]:
        """The tape, once."""
        done_bytes = 0
        for block in tape.blocks(self._pieces()):
            yield block
            done_bytes += len(block)
            self._progress(done_bytes, max(done_bytes, self.size_bytes), "read")

    def facts(self) -> Facts:
        """The facts of the state at the restore point; near it when `state.exact` says so."""
        assert self._facts is not None, "the blocks come first"
        return self._facts

    def _pieces(self) -> Iterator[bytes]:
        followed = tape.Tape()
        kept = frozenset((_LABEL, _MANIFEST))
        command = [
            self._programs.path("pg_basebackup"), "--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast",
            "--manifest-checksums=SHA256", "--label=gymkhana", "--no-password",
            "-d", libpq(self._url, dbname="postgres", application_name="gymkhana-base"),
        ]  # fmt: skip
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            said = _Listener(process.stderr)
            try:
                while content := process.stdout.read(_READ_BYTES):
                    if passed := followed.follow(content, kept):
                        yield passed
                if process.wait() != 0:
                    raise _failed(said.last())
            except BaseException:
                process.kill()
                raise
        if not followed.ended or _LABEL not in followed.kept:
            raise BackupError("pg_basebackup ended before its tape did; look at the server's log and run it again.")
        yield from self._ending(followed)

    def _ending(self, followed: tape.Tape) -> Iterator[bytes]:
        """The log from where the copy ends to a restore point, and the facts of the state there."""
        connection = self._connection
        held = {match[1] for name in followed.names if (match := _SEGMENT.fullmatch(name))}
        try:
            self._point(followed.kept[_LABEL].decode())
            assert self.state is not None
            connection.execute("SELECT pg_switch_wal()")
            wanted = connection.execute(
                "SELECT name FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$' AND name > %s AND name <= pg_walfile_name(%s)"
                " ORDER BY name",
                (max(held, default=""), self.state.point_lsn),
            ).fetchall()
            for (name,) in wanted:
                yield tape.member(f"pg_wal/{name}", self._segment(name))
            yield tape.member(tape.STATE, msgspec.json.encode(self.state, order="sorted"))
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

    def _point(self, label: str) -> None:
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
        self.state = ServerState(
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


class _Listener:
    """Takes what a program says, so that it never waits for somebody to read it."""

    def __init__(self, stream: Any) -> None:
        self._lines: list[bytes] = []
        self._thread = threading.Thread(target=self._listen, args=(stream,), daemon=True)
        self._thread.start()

    def last(self) -> str:
        """The last line that says what is wrong."""
        self._thread.join(5.0)
        lines = [line.decode(errors="replace").strip() for line in self._lines if line.strip()]
        wrong = [line for line in lines if "error" in line or "FATAL" in line]
        return (wrong or lines or ["it did not say why"])[-1]

    def _listen(self, stream: Any) -> None:
        for line in stream:
            self._lines = [*self._lines[-50:], line]


def _programs(server: Cluster) -> Binaries:
    """Those of the server's own major version: pg_basebackup takes from older servers too, but they are checked by these."""
    return binaries(server.major)


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


def _failed(said: str) -> BackupError:
    if "No space left" in said:
        return NoSpace(f"The server ran out of room while it was backed up: {said}")
    if "invalid page" in said or "checksum verification failed" in said or "checksum" in said:
        return DatabaseDamaged(
            f"The cluster is damaged, so no backup was made of it; the older ones are untouched, restore one: {said}"
        )
    return BackupError(f"pg_basebackup failed: {said.removeprefix('pg_basebackup: ').removeprefix('error: ')}")


def _refusal(error: psycopg.Error) -> BackupError:
    said = " ".join(str(error).split())
    if isinstance(error, psycopg.errors.InsufficientPrivilege):
        return UsageError(f"The server does not allow it ({said}): backups want a superuser.")
    if isinstance(error, psycopg.errors.ConfigurationLimitExceeded):
        return Busy(f"The server has no replication slot free ({said}): raise max_replication_slots, or drop one.")
    return BackupError(f"The server failed while it was backed up: {said}")
