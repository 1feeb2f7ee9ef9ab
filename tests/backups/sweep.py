"""Kills a backup, a restore or a pruning at every one of its steps in turn, and looks at what is left. Its own process.

    python -m tests.backups.sweep SCENARIO DIRECTORY

A point is before or after one such call; every second one is taken, before one call and after the next, and all in a soak.
For each point a child is forked from this warm process, with the calls that change a disk counted; before or after the n-th
of them it kills itself with SIGKILL. The parent then looks, and goes on to the next point until a child ends unharmed.
Prints one JSON object: how many points, which calls were hit, and what was wrong after which.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

from backups import delta
from backups import swap as swaps
from backups.backup import run_backup
from backups.clock import SYSTEM, Clock
from backups.consolidate import consolidate
from backups.format.manifest import name_of
from backups.keeping import catalogue
from backups.keeping.prune import Pruned, _Pruning, prune
from backups.keeping.retention import Policy
from backups.keys.keyring import Keyring
from backups.log import expiry, logbook
from backups.log.reach import reach_of
from backups.log.runs import Runs
from backups.restore import restore
from backups.stores.directory import DirectoryStore
from backups.stores.store import read
from backups.verify import verify
from tests import soak
from tests.backups.light import ENGINE, Stand, make_stand
from tests.backups.light_log import make_logged_stand

CALLS = ("fsync", "link", "rename", "replace", "unlink", "mkdir", "rmdir", "ftruncate", "pwrite")
LOG = b"the old log"
LEAN = Policy(recent_hours=0, daily=1, weekly=1, monthly=1, verified=1)


def later(hours: float) -> Clock:
    return Clock(now=lambda: SYSTEM.now() + timedelta(hours=hours), monotonic=SYSTEM.monotonic)


def backing_up(kind: Any) -> Callable[[Stand, Callable[..., None]], None]:
    def act(stand: Stand, step: Callable[..., None]) -> None:
        run_backup(ENGINE, str(stand.database), stand.store, kind=kind, progress=step, demonstration=True)

    return act


def consolidating(stand: Stand, step: Callable[..., None]) -> None:
    consolidate(ENGINE, stand.store, stand.links[2].id, progress=step)


def restoring(in_place: bool) -> Callable[[Stand, Callable[..., None]], None]:
    def act(stand: Stand, step: Callable[..., None]) -> None:
        restore(ENGINE, stand.store, str(stand.database), in_place=in_place, progress=step)

    return act


def verifying(stand: Stand, step: Callable[..., None]) -> None:
    verify(stand.store, level=4, engine=ENGINE, progress=step)


def pruning(stand: Stand, _: Callable[..., None]) -> None:
    """Marked by one run, deleted by the next."""
    prune(stand.store, LEAN)
    prune(stand.store, LEAN, clock=later(25))


def after_a_backup(stand: Stand, before: bytes, point: int) -> None:
    """Nothing partial is listed, everything listed is good, the next run works and tidies up, the database is whole."""
    old = [link.id for link in stand.links]
    require(stand.database.read_bytes() == before, "the database changed")
    listed = catalogue.read(stand.store).entries
    require([entry.id for entry in listed[:3]] == old, "an older backup is gone")
    require(len(listed) <= 4, "more than one new backup")
    for entry in listed:
        require(not entry.fault, f"{entry.id} is listed as {entry.state}: {entry.fault}")
        require(verify(stand.store, entry.id, level=3).ok, f"{entry.id} does not verify")
    made = run_backup(ENGINE, str(stand.database), stand.store, demonstration=True)
    require(made.sequence == len(listed) + 1, "the next run has another sequence than the next")
    require(verify(stand.store, made.id, level=3).ok, "the next backup does not verify")
    require(catalogue.read(stand.store).staging == (), "objects of the killed run are left")
    require(list((stand.root / "store" / ".staging").iterdir()) == [], "scratch of the killed run is left")
    restore(ENGINE, stand.store, str(stand.root / "elsewhere.db"), backup=made.id)
    require((stand.root / "elsewhere.db").read_bytes() == before, "the next backup gives back something else")


def after_a_restore(stand: Stand, before: bytes, point: int) -> None:
    """What stands there is the old file, or the new one, or marked as neither; the next restore works, nothing is lost."""
    log = stand.database.with_name("gym.db-wal")
    found = stand.database.read_bytes()
    marked = swaps.interrupted(stand.database)
    if marked is None or not marked.touched:
        untouched = found == before and log.exists() and log.read_bytes() == LOG
        require(untouched or (found == stand.states[2] and not log.exists()), "neither old nor new, and not marked")
    for link in stand.links:
        require(verify(stand.store, link.id, level=3).ok, "a restore damaged the store")
    in_place = bool(point % 2)
    restore(ENGINE, stand.store, str(stand.database), in_place=in_place)
    require(stand.database.read_bytes() == stand.states[2], "the next restore gives back something else")
    require(swaps.interrupted(stand.database) is None, "the record is left")
    evidence = sorted(stand.root.glob("gym.db.evidence-*"))
    kept = [path.read_bytes() for place in evidence for path in place.iterdir()]
    require(LOG in kept, "the old log is not in the evidence")
    require(before in kept or before in [taken_back(stand, place) for place in evidence], "the old file is lost")
    names = {path.name for path in stand.root.iterdir()} - {place.name for place in evidence}
    require(names <= {"gym.db", "store", "old"}, f"something is left beside the database: {sorted(names)}")


def after_a_prune(stand: Stand, before: bytes, point: int) -> None:
    """What is kept is whole with its log, what is listed leads where it did, and the next run leaves what is to be left."""
    kept = [stand.links[2].id, stand.links[3].id]
    runs = Runs(stand.store, stand.keyring)
    for entry in catalogue.read(stand.store).entries:
        require(not entry.fault or entry.expired, f"{entry.id} is listed as {entry.state}: {entry.fault}")
        reach = reach_of(entry.manifest, runs) if entry.manifest and not entry.fault else None
        require(reach is None or not reach.run.fault, f"{entry.id} leads nowhere: {reach.run.fault if reach else ''}")
    for one in logbook.generations(stand.store):
        require(list(one.sizes) == list(range(one.last - len(one.sizes) + 1, one.last + 1)), f"{one.id} has a hole")
    # One run takes marks that were not made yet, the other the grace.
    prune(stand.store, LEAN, clock=later(26))
    prune(stand.store, LEAN, clock=later(52))
    require(
        [entry.id for entry in catalogue.read(stand.store).entries] == kept, "something else is listed than is kept"
    )
    left = {one.sequence: one.indexes for one in logbook.generations(stand.store)}
    require(left == {2: (4, 5, 6), 3: (3, 4)}, f"something else is left of the log than is needed: {left}")
    require(not expiry.marked(stand.store), "a mark is left")
    for backup in kept:
        require(verify(stand.store, backup, level=3).ok, "a kept backup does not verify")
        restore(ENGINE, stand.store, str(stand.root / f"{backup}.db"), backup=backup)
        require((stand.root / f"{backup}.db").read_bytes() == before, "a kept backup gives back something else")


def taken_back(stand: Stand, evidence: Path) -> bytes:
    """The old file put together from units in the evidence, laid over a main file there or over the one in place."""
    main = evidence / "gym.db"
    base = main if main.exists() else stand.database
    shutil.copyfile(base, stand.root / "old")
    delta.unrepaired(base, evidence, stand.root / "old")
    return (stand.root / "old").read_bytes()


SCENARIOS: dict[str, tuple[Callable[[Stand, Callable[..., None]], None], Callable[[Stand, bytes, int], None]]] = {
    "full": (backing_up("full"), after_a_backup),
    "incremental": (backing_up("incr"), after_a_backup),
    "consolidate": (consolidating, after_a_backup),
    "verify": (verifying, after_a_backup),
    "exchange": (restoring(in_place=False), after_a_restore),
    "repair": (restoring(in_place=True), after_a_restore),
    "prune": (pruning, after_a_prune),
}


def careless_repair(stand: Stand, step: Callable[..., None]) -> None:
    """A repair that writes nothing down before it overwrites."""
    setattr(swaps, "write_down", lambda _: None)  # noqa: B010 - mypy lets no function be replaced
    restoring(in_place=True)(stand, step)


def careless_backup(stand: Stand, step: Callable[..., None]) -> None:
    """A backup that publishes its manifest before its objects."""
    honest = DirectoryStore.create

    def early(store: DirectoryStore, name: str, chunks: Iterable[bytes]) -> int:
        if name.startswith("objects/"):
            copied = name_of(stand.links[2].id), name_of(name.split("/")[1])
            if store.size(copied[1]) is None:
                honest(store, copied[1], (read(store, copied[0]),))
        return 0 if name.startswith("manifests/") else honest(store, name, chunks)

    setattr(DirectoryStore, "create", early)  # noqa: B010
    backing_up("full")(stand, step)


def careless_prune(stand: Stand, step: Callable[..., None]) -> None:
    """A pruning that deletes the log before the backups that lead into it."""
    honest = _Pruning.act

    def early(work: _Pruning, pruned: Pruned, at: str) -> None:
        for cut in pruned.log.deleted:
            expiry.delete(work.store, cut)
        honest(work, pruned, at)

    setattr(_Pruning, "act", early)  # noqa: B010
    pruning(stand, step)


CARELESS = {
    "careless repair": (careless_repair, after_a_restore),
    "careless backup": (careless_backup, after_a_backup),
    "careless prune": (careless_prune, after_a_prune),
}
"""Done wrong on purpose: the sweep has to notice."""


class Wrong(Exception):
    """What must hold after a kill does not."""


def require(true: bool, what: str) -> None:
    if not true:
        raise Wrong(what)


def count_down(point: int, told: int) -> Callable[..., None]:
    """Have this process kill itself at the n-th call that changes a disk: before it for even points, after it for odd."""
    left, before, lock = [point // 2], point % 2 == 0, threading.Lock()

    def die(name: str) -> None:
        os.write(told, name.encode())
        os.kill(os.getpid(), signal.SIGKILL)

    def reached() -> bool:
        with lock:
            left[0] -= 1
            return left[0] < 0

    def counted(name: str, honest: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            now = reached()
            if now and before:
                die(name)
            result = honest(*arguments, **options)
            if now:
                die(name)
            return result

        return call

    for name in CALLS:
        setattr(os, name, counted(name, getattr(os, name)))

    def step(*_: Any) -> None:
        if reached():
            die("progress")

    return step


def killed_at(point: int, act: Callable[[Stand, Callable[..., None]], None], stand: Stand) -> str:
    """The call at which the child killed itself, empty when it came to its end."""
    told, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(told)
        try:
            act(stand, count_down(point, tell))
        except BaseException:  # noqa: BLE001 - the outermost line of the child
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    os.close(tell)
    _, status = os.waitpid(child, 0)
    with os.fdopen(told, "rb") as pipe:
        name = pipe.read().decode()
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise Wrong("the child failed by itself")
    return name if os.WIFSIGNALED(status) else ""


def main(scenario: str, directory: str) -> None:
    act, look = {**SCENARIOS, **CARELESS}[scenario]
    root = Path(directory)
    (root / "point").mkdir()
    model = (make_logged_stand if look is after_a_prune else make_stand)(root / "point", Keyring.plain(), units=130)
    # Made where every point will be, because an incremental backup builds on one of the same database.
    (root / "point").rename(root / "model")
    database = root / "point" / "gym.db"
    hit: Counter[str] = Counter()
    wrong, point, taken = [], 0, 0
    while True:
        if not soak.LONG and (point // 2 + point) % 2:
            point += 1
            continue
        shutil.copytree(root / "model", root / "point")
        stand = Stand(root / "point", model.links, model.states, model.keyring)
        before = database.read_bytes()
        if look is after_a_restore:
            database.with_name("gym.db-wal").write_bytes(LOG)
        name = killed_at(point, act, stand)
        if not name:
            break
        hit[name] += 1
        try:
            look(stand, before, point)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is wrong at this point, and the next is tried
            wrong.append(f"killed at step {point} ({name}): {type(error).__name__}: {error}")
        shutil.rmtree(root / "point")
        point, taken = point + 1, taken + 1
        if wrong and scenario in CARELESS:  # noticed: that is all that was to be shown
            break
    print(json.dumps({"points": taken, "calls": hit, "wrong": wrong}))


if __name__ == "__main__":
    main(*sys.argv[1:])
