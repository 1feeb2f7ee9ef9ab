"""Restoring a cluster: decide, build beside, recover to the point asked for, look, fence, exchange the directories.

    store ──▶ <data>.restoring-parts ── combined, where there are native increments ──▶ <data>.restoring
    <data>.restoring ────────────┐                                     <data> ──▶ <data>.evidence-<stamp>
    store, spool ──▶ <data>.restoring-log ──▶ recovered, promoted, looked at ──▶ <data>

The recovery runs on a server that nobody else can reach. Until the exchange the old directory is as it was; it is kept as
evidence. A backup that turns out bad is refused, and the next older one takes its place.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backups import disk
from backups import plan as plans
from backups.clock import SYSTEM, Clock, rfc3339
from backups.errors import Damaged, NothingToRestore
from backups.format.manifest import Manifest, ServerState
from backups.format.stored_chain import StoredChain, links_of, open_images
from backups.keeping import catalogue as catalogues
from backups.keeping.catalogue import Catalogue
from backups.keys.keyring import Keyring
from backups.plan import RestorePlan, Target
from backups.postgres import facts as measuring
from backups.postgres import rebuilding, tape
from backups.postgres.archive import HISTORY, SEGMENT, Archive
from backups.postgres.binaries import binaries, own
from backups.postgres.combining import combine
from backups.postgres.deciding import decided, room_bytes
from backups.postgres.engine import PostgresEngine, state_in, unlike_facts
from backups.postgres.exchange import exchange, require_stopped, target_at
from backups.postgres.recovery import NEWEST, Goal, Recovered, at_name, in_directory, recovered
from backups.progress import Progress, silent
from backups.restoration import LogReplayed, Restoration, Stopwatch
from backups.stores.store import Store

Fence = Callable[[], None]
_PARTIAL: Final = ".partial"


def plan_restore(
    store: Store, data: Path, *, backup: str | None = None, goal: Goal | None = None, clock: Clock = SYSTEM
) -> RestorePlan:
    """What `restore` would do now, as far as the catalogue tells. Touches nothing. Raises NothingToRestore."""
    return decided(catalogues.read(store), target_at(data, backup, clock), goal, {})


def restore(
    store: Store,
    data: Path,
    *,
    backup: str | None = None,
    goal: Goal | None = NEWEST,
    spool: Path | None = None,
    keyring: Keyring | None = None,
    fence: Fence | None = None,
    progress: Progress = silent,
    clock: Clock = SYSTEM,
    free_bytes: disk.FreeBytes = disk.free_bytes,
) -> Restoration:
    """Put the cluster back at `data`, from that backup or the newest good one, and bring it to the goal.

    On return the directory holds a cluster that was recovered, looked at and shut down, on a timeline of its own, ready to
    be started; the old directory is kept as evidence. Without a goal it is the state of the backup itself, compared with
    what was measured when it was made. `spool` is where a receiver leaves the log first. Raises NothingToRestore, InUse,
    NoSpace, Locked or another BackupError: the old directory is then where it was.
    """
    with rebuilding.alone_at(data) as purpose, store.shared(purpose):
        if fence is None:
            require_stopped(data)
        work = _Work(
            store,
            target_at(data, backup, clock),
            goal,
            spool,
            keyring or Keyring.plain(),
            Stopwatch(clock),
            progress,
            free_bytes,
        )
        return work.restore(fence)


@dataclass(frozen=True, slots=True)
class _Work:
    """One restore under way."""

    store: Store
    target: Target
    goal: Goal | None
    spool: Path | None
    keyring: Keyring
    timed: Stopwatch
    progress: Progress
    free_bytes: disk.FreeBytes

    @property
    def log(self) -> Path:
        """Where the log waits to be replayed."""
        return self.target.path.with_name(f"{self.target.path.name}.restoring-log")

    @property
    def parts(self) -> Path:
        """Where lies what the cluster is put together from."""
        return self.target.path.with_name(f"{self.target.path.name}.restoring-parts")

    def restore(self, fence: Fence | None) -> Restoration:
        catalogue = catalogues.read(self.store)

        def decide(learned: plans.Learned) -> RestorePlan:
            with self.timed("decide"):
                return decided(catalogue, self.target, self.goal, learned.bad, learned.passed)

        def attempt(plan: RestorePlan) -> Restoration:
            with rebuilding.cleared(plan.build, self.log, self.parts):
                self._require_room(catalogue, plan)
                return self._from(catalogue, plan, fence)

        return rebuilding.newest_good(self.target, self.goal, decide, attempt)

    def _require_room(self, catalogue: Catalogue, plan: RestorePlan) -> None:
        need_bytes = room_bytes(links_of(catalogue, plan.backup))
        disk.require_room(plan.build.parent, need_bytes, f"a restore of {plan.backup}", self.free_bytes)

    def _from(self, catalogue: Catalogue, plan: RestorePlan, fence: Fence | None) -> Restoration:
        with self.timed("open", plan.backup):
            images = open_images(self.store, catalogue, plan.backup, self.keyring)
            manifest = images[-1].table.manifest
            if self.keyring.identities and manifest.envelope is None:
                raise Damaged("It is not sealed, so anybody who can write to the store may have made it.")
        with self.timed("build", plan.backup):
            state = self._build(images, plan.build)
            segments = self._fetch(state) if self.goal is not None else 0
        replayed, rows, position = self._recover(plan, manifest, state, segments)
        with self.timed("fence", plan.backup):
            if fence is not None:
                fence()
            require_stopped(plan.database)
        with self.timed("swap", plan.backup):
            exchange(plan)
        return rebuilding.restoration(
            plan,
            self.timed,
            rows=rows,
            position=position,
            fetched_bytes=sum(image.fetch_bytes() for image in images),
            replayed=replayed,
        )

    def _build(self, images: Sequence[StoredChain], into: Path) -> ServerState:
        if len(images) == 1:
            return self._unpack(images[0], into)
        parts = [self.parts / str(number) for number in range(len(images))]
        states = [self._unpack(image, part) for image, part in zip(images, parts, strict=True)]
        own(self.parts)
        combine(parts, into, binaries(states[-1].major))
        shutil.rmtree(self.parts)
        return states[-1]

    def _unpack(self, chain: StoredChain, into: Path) -> ServerState:
        tape.unpack(_told(chain, chain.table.manifest, self.progress), into, to_stay=True)
        return state_in(into)

    def _fetch(self, state: ServerState) -> int:
        """Everything of the log from the backup on, out of the store and then out of the spool, which is newer."""
        self.log.mkdir(mode=0o700)
        archive = Archive(self.store, state.system, self.keyring)
        names = set(archive.fetch(self.log, state.begin_segment, state.segment_bytes))
        for path in sorted((self.spool / state.system).rglob("*")) if self.spool else ():
            name = path.name.removesuffix(_PARTIAL)
            partly = path.name.endswith(_PARTIAL)
            if not path.is_file() or not (SEGMENT.fullmatch(name) or HISTORY.fullmatch(name)):
                continue
            if name >= state.begin_segment and not (
                partly and name in names and _written_bytes(self.log / name) >= _written_bytes(path)
            ):
                shutil.copyfile(path, self.log / name)
                if partly:  # A receiver that was killed while it made room for the segment has left it short.
                    os.truncate(self.log / name, state.segment_bytes)
                names.add(name)
        return sum(1 for name in names if SEGMENT.fullmatch(name))

    def _recover(
        self, plan: RestorePlan, manifest: Manifest, state: ServerState, segments: int
    ) -> tuple[LogReplayed | None, int, int | None]:
        goal = at_name(state.point) if self.goal is None else self.goal
        programs = binaries(state.major)
        with contextlib.ExitStack() as running:
            with self.timed("replay", plan.backup):
                log = in_directory(self.log) if self.goal is not None else None
                found = running.enter_context(recovered(plan.build, state, programs, goal, then="promote", log=log))
            with self.timed("check", plan.backup):
                rows, position = self._look(found, manifest)
                replayed = log_replayed(found, segments) if self.goal is not None else None
                running.close()
                disk.sync_filesystem(plan.build)
        return replayed, rows, position

    def _look(self, found: Recovered, manifest: Manifest) -> tuple[int, int | None]:
        """All its rows, and how far the application had come. Raises Damaged when the cluster lacks what it must hold."""
        expected = manifest.facts
        with contextlib.closing(found.connect()) as connection:
            there = measuring.measure(connection, expected.position_of)
        if (
            self.goal is None
            and manifest.server is not None
            and (unlike := unlike_facts(there, manifest.server, expected))
        ):
            raise Damaged(" ".join(unlike))
        return there.rows, there.position


def _written_bytes(segment: Path) -> int:
    """How far anything is written in it: what is not written yet is zeros."""
    return len(segment.read_bytes().rstrip(b"\0"))


def _told(chain: StoredChain, manifest: Manifest, progress: Progress) -> Iterator[memoryview]:
    done_bytes = 0
    for content in chain.in_order():
        yield content
        done_bytes += len(content)
        progress(done_bytes, manifest.image_bytes, "build")


def log_replayed(found: Recovered, segments: int) -> LogReplayed:
    """What the recovery came to."""
    with contextlib.closing(found.connect()) as connection:
        row = connection.execute(
            "SELECT pg_last_wal_replay_lsn()::text, pg_last_xact_replay_timestamp(), pg_walfile_name(pg_current_wal_lsn())"
        ).fetchone()
    assert row is not None
    lsn, at, segment = row
    return LogReplayed(
        segments=segments, lsn=lsn or "", timeline=int(segment[:8], 16), reaches=rfc3339(at) if at else ""
    )


def data_directory(store: Store, system: str | None = None) -> Path:
    """Where the cluster of the newest backup lay. Raises NothingToRestore."""
    for entry in reversed(catalogues.read(store).entries):
        manifest: Any = entry.manifest
        if manifest is not None and manifest.engine == PostgresEngine.kind and system in (None, manifest.server.system):
            return Path(manifest.database)
    raise NothingToRestore(
        f"{store.address} holds no backup of a PostgreSQL server; make one with: gymkhana backup run."
    )
