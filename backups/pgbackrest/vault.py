"""A stanza of a pgBackRest repository as a vault: its backups made, listed, proven and restored by its own program."""

from __future__ import annotations

import re
import shutil
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from psycopg.conninfo import conninfo_to_dict

from backups import disk
from backups.clock import SYSTEM, Clock, rfc3339
from backups.errors import BackupError, Damaged, NoParent, NoSuchBackup, NothingToRestore, UsageError
from backups.format.verification import Verification
from backups.pgbackrest import SCHEME, repository
from backups.pgbackrest.program import RETRY_AT_ONCE, Program
from backups.pgbackrest.repository import Backup
from backups.pgbackrest.restore import Restore, build, chain, decide, state_of
from backups.plan import NoRestore, RestorePlan
from backups.postgres.binaries import binaries, own
from backups.postgres.connection import cluster, connected, is_url, libpq
from backups.postgres.exchange import target_at
from backups.postgres.recovery import CONSISTENT, Goal, Log, recovered
from backups.postgres.soundness import faults
from backups.progress import Progress
from backups.restoration import Restoration, Stopwatch
from backups.stores.separation import require_separation
from backups.vault import Boot, Kind, Made

READ_BACK: Final = 3
"""The level of pgBackRest's own `verify`: every stored byte is read and hashed."""
RESTORED: Final = 4
_JUDGED: Final = re.compile(r"^\s*backup: (?P<id>[^,]+), status: (?P<status>[^,]+), (?P<counts>.*)$", re.MULTILINE)
_ARCHIVE: Final = re.compile(r"^\s*archiveId: (?P<id>[^,]+), (?P<counts>.*)$", re.MULTILINE)
_WRONG: Final = re.compile(r"(?:missing|checksum invalid|size invalid|other): [1-9]\d*")
_FILE: Final = re.compile(r"P\d+ +INFO: (?P<what>(?:invalid|file missing) .*)$", re.MULTILINE)
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class PgBackRestVault:
    """The vault of one stanza. `url` reaches the server, and says as whom a recovered cluster is looked at, and where."""

    program: Program
    url: str | None = None
    position_of: str | None = None
    clock: Clock = SYSTEM

    @property
    def address(self) -> str:
        config = f"?config={self.program.config}" if self.program.config else ""
        return f"{SCHEME}{self.program.stanza}{config}"

    @property
    def trouble(self) -> tuple[str, ...]:
        return ()

    @property
    def keeps_records(self) -> bool:
        return False

    def kept(self) -> tuple[Backup, ...]:
        return repository.holdings(self.program).backups

    def staging(self) -> tuple[str, ...]:
        return ()

    def back_up(self, database: str, *, kind: Kind, demonstration: bool, pace: int | None, progress: Progress) -> Made:
        if pace is not None:
            raise UsageError("pgBackRest has no pace to be told; leave --pace out, and see its option process-max.")
        self._require_of(database, demonstration)
        before = repository.holdings(self.program)
        whole = [one.id for one in before.backups if one.kind == "full" and one.system == before.system]
        if kind == "incr" and not whole:
            raise NoParent(f"{self.address} holds no full backup to build on; make one with --kind full.")
        began_t = self.clock.monotonic()
        self.program.run("backup", f"--type={'full' if kind == 'full' else 'incr'}")
        made = self.kept()
        if not made or made[-1].id in {one.id for one in before.backups}:
            raise BackupError(f"pgBackRest said that the backup was made, and {self.address} does not list it.")
        progress(made[-1].size_bytes, made[-1].size_bytes, "backup")
        return Made(made[-1], began_t, (self.address,))

    def verify(self, backup: str | None, *, level: int, boot: Boot | None, progress: Progress) -> Verification:
        """Level 3 is pgBackRest's own `verify` and answers for every lower one; 4 has the backup restored and read.

        Nothing is recorded: the repository has no place for it. The log is verified too, and speaks against every backup.
        """
        if level > RESTORED or boot is not None:
            raise UsageError(
                "A pgBackRest repository is verified up to level 4, restored and read; level 5 and rehearsals, in which a "
                "service is booted, are for stores."
            )
        began_t = self.clock.monotonic()
        backups = self.kept()
        chosen = self._named(backups, backup)
        self.program.require_fit(chosen.major)
        progress(0, chosen.fetch_bytes, "verify")
        told = self.program.run("verify", "--output=text", "--verbose", "--log-level-console=info", *RETRY_AT_ONCE)
        findings = judged(told, chosen.id)
        progress(chosen.fetch_bytes, chosen.fetch_bytes, "verify")
        if level == RESTORED and not findings:
            findings = self._restored(chosen)
        return Verification(
            backup=chosen.id,
            level=max(level, READ_BACK),
            ok=not findings,
            findings=findings,
            unseen=(),
            at=rfc3339(self.clock.now()),
            seconds=self.clock.monotonic() - began_t,
            read_bytes=sum(one.stored_bytes for one in backups if one.id in chain(chosen, backups)),
            host=socket.gethostname(),
        )

    def data_directory(self) -> Path:
        data = repository.settings(self.program).data
        if data is None:
            raise NothingToRestore(f"The stanza {self.program.stanza} has no pg1-path; say where to restore with --to.")
        return data

    def plan(self, data: Path, *, backup: str | None, goal: Goal | None) -> RestorePlan:
        held = repository.holdings(self.program)
        decision = decide(held.backups, target_at(data, backup, self.clock), goal, {})
        if isinstance(decision, NoRestore):
            raise NothingToRestore(decision.why)
        self.program.require_fit(self._named(held.backups, decision.backup).major)
        return decision

    def restore(self, data: Path, *, backup: str | None, goal: Goal | None, progress: Progress) -> Restoration:
        user, database = self._seen_as()
        return Restore(
            program=self.program,
            target=target_at(data, backup, self.clock),
            goal=goal,
            user=user,
            database=database,
            position_of=self.position_of,
            timed=Stopwatch(self.clock),
            progress=progress,
        ).restore()

    def _require_of(self, database: str, demonstration: bool) -> None:
        """Return when that server's version is one for this pgBackRest, the stanza its own, and the repository elsewhere."""
        if not is_url(database):
            raise UsageError(
                f"pgBackRest backs up PostgreSQL servers alone, and {database} is none: name one by its URL."
            )
        with connected(database) as connection:
            server = cluster(connection)
        self.program.require_fit(server.major)
        held = repository.holdings(self.program)
        if held.system != server.system:
            raise UsageError(
                f"The stanza {self.program.stanza} is of another cluster (system {held.system}) than the server's (system "
                f"{server.system}); name that server's stanza, or after an upgrade: pgbackrest stanza-upgrade."
            )
        place = repository.settings(self.program).repository
        if place is not None and not demonstration:
            require_separation(server.data, place)

    def _named(self, backups: tuple[Backup, ...], backup: str | None) -> Backup:
        if not backups:
            raise NoSuchBackup(f"{self.address} holds no backup yet; make one with: gymkhana backup run.")
        for one in backups[::-1]:
            if backup in (None, one.id):
                return one
        raise NoSuchBackup(f"There is no backup {backup} in {self.address}; list them with: gymkhana backup list.")

    def _restored(self, chosen: Backup) -> tuple[str, ...]:
        """What shows when it is restored to a scratch place, recovered, and every row and index of it read."""
        scratch = Path(tempfile.mkdtemp(prefix="gymkhana-pgbackrest-"))
        place = scratch / "data"
        try:
            own(scratch)
            disk.require_room(scratch, chosen.size_bytes, f"a verification of {chosen.id}")
            build(self.program, chosen, place)
            programs = binaries(chosen.major)
            log = Log(self.program.fetch_command(place), refuses=True)
            with recovered(
                place, state_of(chosen, *self._seen_as()), programs, CONSISTENT, then="pause", log=log
            ) as found:
                return faults(found, programs)
        except Damaged as error:
            return (str(error),)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)

    def _seen_as(self) -> tuple[str, str]:
        """Who looks at a recovered cluster, and at which database: as the URL says, or as the configuration does."""
        known = repository.settings(self.program)
        told = conninfo_to_dict(libpq(self.url)) if self.url and is_url(self.url) else {}
        return str(told.get("user") or known.user), str(told.get("dbname") or known.database)


def judged(printed: str, backup: str) -> tuple[str, ...]:
    """What `pgbackrest verify` found wrong with that backup, or with the log, in its words; it exits with 0 all the same.

    It tells its verdicts twice, and files in its log alone. Every backup is in its report: one that is not was not verified.
    """
    verdicts = {one["id"]: one for one in _JUDGED.finditer(printed)}
    if backup not in verdicts:
        return (f"pgBackRest verify says nothing of {backup}.",)
    findings = []
    verdict = verdicts[backup]
    if verdict["status"] != "valid":
        findings.append(f"pgBackRest verify says: {backup} is {verdict['status']}, {_counts(printed, verdict)}.")
    findings += [
        f"pgBackRest verify says: the log {one['id']} has {counts}."
        for one in _ARCHIVE.finditer(printed)
        if (counts := _counts(printed, one)) != "nothing wrong"
    ]
    if findings:
        files = dict.fromkeys(one["what"] for one in _FILE.finditer(printed))
        findings += [f"{what}." for what in list(files)[:_NAMED]]
    return tuple(dict.fromkeys(findings))


def _counts(printed: str, line: re.Match[str]) -> str:
    """The counts on the line after that one that are above zero."""
    following = printed[line.end() :].split("\n", 2)[1:2]
    return ", ".join(_WRONG.findall(following[0] if following else "")) or "nothing wrong"
