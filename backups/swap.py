"""Exchanging a database for a checked build, written down first so that a kill at any moment can be made good.

    <db>.restore-plan.json     what is under way; gone when it is over
    <db>.restoring             the build
    <db>.evidence-<stamp>/     the old files, kept

The old main file is linked into the evidence, not moved: there is a database at the path at every moment, the old one until
the rename and the new one after it. The old logs are moved away before the rename, durably: left in place, they would be
replayed over the new database and corrupt it. In between, the old main file stands without its log; the record says so
(`touched`) and stays until a restore has succeeded. Restoring again makes it good from any state, and loses no evidence.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from backups import disk
from backups.errors import BackupError, HalfRestored


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """One exchange. `members` are the names of every file that can belong to the database, the main one first.

    `touched` says that the old files may have been moved or, `in_place`, overwritten already: the database is not to be
    trusted as it stands. `build` is then not a whole database but the units that replace others.
    """

    format: int = 1
    backup: str
    database: str
    build: str
    evidence: str
    members: tuple[str, ...]
    steps: tuple[str, ...]
    touched: bool = False
    in_place: bool = False


def record_of(database: Path) -> Path:
    """Where the exchange under way for that database is written down."""
    return database.with_name(f"{database.name}.restore-plan.json")


def restore_lock_of(database: Path) -> Path:
    """The lock that a restore of this database holds alone, and every backup of it together with other backups."""
    return database.with_name(f"{database.name}.restore-lock")


def write_down(swap: Swap) -> None:
    """Make the record durable, in place of an older one."""
    disk.write_durably(record_of(Path(swap.database)), msgspec.json.encode(swap, order="sorted") + b"\n")


def interrupted(database: Path) -> Swap | None:
    """The exchange of this database that was begun and not ended, if any."""
    record = record_of(database)
    try:
        return msgspec.json.decode(record.read_bytes(), type=Swap)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackupError(f"{record} is not a restore's plan ({error}); look at it, then move it away.") from error


def require_whole(database: Path) -> None:
    """Returns when no restore has left the database half changed. Raises HalfRestored."""
    swap = interrupted(database)
    if swap is not None and swap.touched:
        raise HalfRestored(
            f"A restore of {database} from {swap.backup} was interrupted after it had begun to change it; end it with: "
            f"gymkhana backup restore --database {database}."
        )


def withdraw(swap: Swap, earlier: Swap | None) -> None:
    """Give up an exchange that has not begun: the build is gone, and the record is the `earlier` one again, or gone."""
    Path(swap.build).unlink(missing_ok=True)
    if earlier is not None:
        write_down(earlier)
    else:
        disk.remove_durably(record_of(Path(swap.database)))


def exchange(swap: Swap, after_step: Callable[[str], None] = lambda _: None) -> None:
    """Keep the old files as evidence, put the build in their place, and remove the record.

    On return the database is the build, durably, and none of the old logs lies beside it. `after_step` is told each step
    once it is done.
    """
    database, build = Path(swap.database), Path(swap.build)
    _like(database, build)
    write_down(msgspec.structs.replace(swap, touched=True))
    _keep_evidence(swap, after_step)
    build.replace(database)
    disk.sync_directory(database.parent)
    after_step("exchanged")
    disk.remove_durably(record_of(database))
    after_step("forgotten")


def keep_logs(swap: Swap, after_step: Callable[[str], None] = lambda _: None) -> None:
    """Move the old logs into the evidence, durably; the main file stays as it is."""
    database = Path(swap.database)
    _keep(swap, [path for name in swap.members if (path := database.with_name(name)) != database], after_step)


def _keep_evidence(swap: Swap, after_step: Callable[[str], None]) -> None:
    _keep(swap, [Path(swap.database).with_name(name) for name in swap.members], after_step)


def _keep(swap: Swap, members: list[Path], after_step: Callable[[str], None]) -> None:
    database, evidence = Path(swap.database), Path(swap.evidence)
    members = [path for path in members if path.exists()]
    if not members:
        return
    disk.make_directories(evidence)
    for path in members:
        if path == database:
            _link(path, evidence)
        else:
            path.rename(_free_name(evidence, path.name))
        after_step(f"kept {path.name}")
    disk.sync_directory(evidence)
    disk.sync_directory(database.parent)


def _link(database: Path, evidence: Path) -> None:
    kept = evidence / database.name
    if not (kept.exists() and kept.samefile(database)):
        os.link(database, _free_name(evidence, database.name))


def _free_name(evidence: Path, name: str) -> Path:
    """A name not yet taken: evidence is never overwritten, not even by evidence."""
    candidate, number = evidence / name, 2
    while candidate.exists():
        candidate, number = evidence / f"{name}.{number}", number + 1
    return candidate


def _like(database: Path, build: Path) -> None:
    """Give the build the owner and permissions of the file it replaces, or the service could not open it."""
    if not database.exists():
        return
    old, new = database.stat(), build.stat()
    build.chmod(old.st_mode & 0o7777)
    if (old.st_uid, old.st_gid) != (new.st_uid, new.st_gid):
        os.chown(build, old.st_uid, old.st_gid)
