"""Restoring a cluster out of a pgBackRest repository: decide, have it built beside, recover, look, fence, exchange.

    repository ── pgbackrest restore ──▶ <data>.restoring ── recovery, which asks pgbackrest for the log ──▶ <data>

pgBackRest builds, and is asked for each segment; what recovery is told and where it ends is ours, as for our own backups,
and so is the exchange: until then the old directory is as it was. A bad backup makes way for the next older one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from backups import disk
from backups import plan as plans
from backups.clock import rfc3339
from backups.errors import NothingToRestore, UsageError
from backups.format.manifest import ServerState
from backups.pgbackrest import repository
from backups.pgbackrest.program import RETRY_AT_ONCE, Program
from backups.pgbackrest.repository import Backup
from backups.plan import Cost, NoRestore, Refused, RestorePlan, Target
from backups.postgres import facts as measuring
from backups.postgres import rebuilding
from backups.postgres.binaries import binaries, own
from backups.postgres.deciding import lsn_number
from backups.postgres.exchange import exchange, require_stopped
from backups.postgres.recovery import CONSISTENT, Goal, Log, Recovered, recovered
from backups.postgres.restore import log_replayed
from backups.progress import Progress
from backups.restoration import LogReplayed, Restoration, Stopwatch

_SECOND: Final = timedelta(seconds=1)


def decide(
    backups: Sequence[Backup],
    target: Target,
    goal: Goal | None,
    known_bad: Mapping[str, str],
    passed: Mapping[str, str] | None = None,
) -> RestorePlan | NoRestore:
    """The plan, or the reason there is none. Pure. `backups` are oldest first; `known_bad` is what was learned since.

    Backups that end after the goal cannot lead there and are passed over without a word, unless one is asked for by name;
    so are those that were `passed`, being good and found not to lead there.
    """
    refused: list[Refused] = []
    late: list[Refused] = []
    for one in reversed(backups):
        if target.backup not in (None, one.id):
            continue
        if why := too_late(one, goal) or (passed or {}).get(one.id, ""):
            late.append(Refused(one.id, why))
        elif why := known_bad.get(one.id, "") or one.fault:
            refused.append(Refused(one.id, why))
        else:
            return _plan(one, backups, target, goal, tuple(refused))
    return NoRestore(plans.why_not(target.backup, [*refused, *late]), tuple(refused))


def too_late(backup: Backup, goal: Goal | None) -> str:
    """Why that backup does not lead to the goal; empty when it may. A name tells nothing before the log is read.

    pgBackRest tells whole seconds, so of a backup that ended in the second of the goal nobody knows, and an older one leads
    there for certain.
    """
    if goal is None:
        return ""
    if goal.setting == "recovery_target_time" and backup.stopped + _SECOND > datetime.fromisoformat(goal.value):
        return f"It was complete at {rfc3339(backup.stopped)}, after {goal.value}."
    if goal.setting == "recovery_target_lsn" and lsn_number(backup.stop_lsn) > lsn_number(goal.value):
        return f"It ends at {backup.stop_lsn}, after {goal.value}."
    return ""


def _plan(
    chosen: Backup, backups: Sequence[Backup], target: Target, goal: Goal | None, refused: tuple[Refused, ...]
) -> RestorePlan:
    build = target.path.with_name(f"{target.path.name}.restoring")
    replay = "the state of the backup itself" if goal is None else str(goal)
    return RestorePlan(
        backup=chosen.id,
        chain=chain(chosen, backups),
        taken=rfc3339(chosen.taken),
        database=target.path,
        build=build,
        evidence=target.evidence,
        fetch_bytes=chosen.fetch_bytes,
        build_bytes=chosen.size_bytes,
        rows=None,
        position=None,
        cost=Cost(max(0.0, (backups[-1].taken - chosen.taken).total_seconds()), None),
        refused=refused,
        steps=(
            f"have pgBackRest restore {chosen.id}, {chosen.size_bytes} bytes, to {build}",
            f"recover {replay} on a server of its own, the log fetched by pgBackRest, promote it, look at it, shut it down",
            f"make sure that no server runs on {target.path}",
            *((f"keep {target.path} as evidence in {target.evidence}",) if target.existing else ()),
            f"put the build in place of {target.path}; starting the server is yours",
            *((_of_a_copy(chosen),) if chosen.database not in (None, str(target.path)) else ()),
        ),
    )


def _of_a_copy(chosen: Backup) -> str:
    return f"start it with archive_mode=off while {chosen.database} is served: both would archive into one repository"


def chain(backup: Backup, backups: Sequence[Backup]) -> tuple[str, ...]:
    """The backup and those it builds on, the full one first."""
    parents = {one.id: one.parent for one in backups}
    links: list[str] = []
    link: str | None = backup.id
    while link is not None and link not in links:
        links.insert(0, link)
        link = parents.get(link)
    return tuple(links)


@dataclass(frozen=True, slots=True)
class Restore:
    """One restore under way. `user` and `database` are whom the recovered cluster is looked at as, and where."""

    program: Program
    target: Target
    goal: Goal | None
    user: str
    database: str
    position_of: str | None
    timed: Stopwatch
    progress: Progress

    def restore(self) -> Restoration:
        """The cluster is back. Raises a BackupError: then the old directory is where it was."""
        with rebuilding.alone_at(self.target.path):
            require_stopped(self.target.path)
            held: dict[str, Backup] = {}

            def decide_again(learned: plans.Learned) -> RestorePlan:
                with self.timed("decide"):
                    backups = repository.holdings(self.program).backups
                    held.update({one.id: one for one in backups})
                    plan = decide(backups, self.target, self.goal, learned.bad, learned.passed)
                    if isinstance(plan, NoRestore):
                        raise NothingToRestore(plan.why)
                    self.program.require_fit(held[plan.backup].major)
                    disk.require_room(plan.build.parent, plan.build_bytes, f"a restore of {plan.backup}")
                return plan

            return rebuilding.newest_good(
                self.target, self.goal, decide_again, lambda plan: self._from(plan, held[plan.backup])
            )

    def _from(self, plan: RestorePlan, chosen: Backup) -> Restoration:
        goal = CONSISTENT if self.goal is None else self.goal
        with rebuilding.cleared(plan.build):
            with self.timed("build", plan.backup):
                self.progress(0, plan.build_bytes, "build")
                build(self.program, chosen, plan.build)
                self.progress(plan.build_bytes, plan.build_bytes, "build")
            with contextlib.ExitStack() as running:
                log = Log(self.program.fetch_command(plan.build), handed_on=True, refuses=True)
                state = state_of(chosen, self.user, self.database)
                with self.timed("replay", plan.backup):
                    programs = binaries(chosen.major)
                    found = running.enter_context(recovered(plan.build, state, programs, goal, then="promote", log=log))
                with self.timed("check", plan.backup):
                    rows, position = _look(found, self.position_of)
                    replayed = _replayed(found, chosen) if self.goal is not None else None
                    running.close()
                    disk.sync_filesystem(plan.build)
            with self.timed("fence", plan.backup):
                require_stopped(plan.database)
            with self.timed("swap", plan.backup):
                exchange(plan)
        return rebuilding.restoration(
            plan, self.timed, rows=rows, position=position, fetched_bytes=plan.fetch_bytes, replayed=replayed
        )


def build(program: Program, backup: Backup, into: Path) -> None:
    """The backup's files are in that new directory, with no word on how to recover them. Raises Damaged or UsageError."""
    if places := repository.tablespaces(program, backup.id):
        raise UsageError(
            f"{backup.id} has tablespaces in {', '.join(places)}, over which it would be restored while the old cluster may "
            "still need them; restore it with pgbackrest itself and --tablespace-map."
        )
    into.mkdir(mode=0o700)
    own(into)
    program.run("restore", f"--pg1-path={into}", f"--set={backup.id}", "--type=none", *RETRY_AT_ONCE)
    own(into)


def state_of(backup: Backup, user: str, database: str) -> ServerState:
    """What a recovery is told of the backup; it has no restore point, and pgBackRest keeps where its log begins."""
    return ServerState(
        system=backup.system,
        major=backup.major,
        timeline=0,
        begin_lsn="",
        begin_segment="",
        point="",
        point_lsn=backup.stop_lsn,
        exact=False,
        segment_bytes=0,
        user=user,
        database=database,
    )


def _replayed(found: Recovered, chosen: Backup) -> LogReplayed:
    """What the recovery came to; the segments are those from where the backup's log begins."""
    told = log_replayed(found, 0)
    with contextlib.closing(found.connect()) as connection:
        row = connection.execute("SELECT pg_size_bytes(current_setting('wal_segment_size'))").fetchone()
    assert row is not None
    first, last = (lsn_number(lsn) // row[0] for lsn in (chosen.start_lsn, told.lsn))
    return replace(told, segments=last - first + 1)


def _look(found: Recovered, position_of: str | None) -> tuple[int, int | None]:
    with contextlib.closing(found.connect()) as connection:
        there = measuring.measure(connection, position_of)
    return there.rows, there.position
