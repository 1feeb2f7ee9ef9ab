"""What it costs to wait until the log is durable elsewhere: durable writes per second with and without, side by side."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import system.job_modules
from backups.errors import BackupError
from backups.log import shipped
from system import user_service
from system.batch import Batches
from system.database import Base, engine_for
from system.failpoints import Failpoints
from system.jobs import Operation
from system.shipping import Shipping
from system.wire import Ask
from tests.backups.databases import ROOT, wait_until
from tests.bench.conftest import Report, Timed
from tests.bench.figures import at_least, at_most

assert system.job_modules

pytestmark = pytest.mark.benchmark_only

WRITES = 256
ROUNDS = 7
RATIOS = {1: 0.4, 16: 0.75, 64: 0.75}
"""Writes that share a commit, and what part of the rate is to be left when every commit is shipped before it is answered."""

_numbers = itertools.count(1)


@contextmanager
def lane(root: Path, *, ships: bool) -> Iterator[Batches]:
    """The real batch writer on a database of its own; with `ships` every commit is shipped before it is answered."""
    root.mkdir()
    path = root / "gym.db"
    engine = engine_for(f"sqlite:///{path}", writer=True, shipped=ships)
    Base.metadata.create_all(engine)
    line = Shipping(root / "ship.sock", timeout_s=30) if ships else None
    batches = Batches(engine, path, Failpoints(None), job_budget_s=30.0, shipping=line)
    watch = _watch(root, path) if ships else None
    try:
        assert {answer.status for answer in batches.run([_ask("sign_up", None, "lifter", "hash")])} == {201}
        yield batches
    finally:
        batches.close()
        if watch is not None:
            watch.terminate()
            watch.wait(30)


def _watch(root: Path, database: Path) -> subprocess.Popen[bytes]:
    (root / "store").mkdir()
    command = [sys.executable, "-m", "backups.log.watch", "--database", str(database), "--store", str(root / "store")]
    command += ["--socket", str(root / "ship.sock"), "--position-of", "operations.sequence", "--demonstration"]
    with (root / "said.log").open("wb") as said:
        process = subprocess.Popen(command, cwd=ROOT, stderr=said, env=os.environ.copy())

    def restorable() -> bool:
        try:
            return bool(shipped.ask(root / "ship.sock", shipped.Asked(status=True))["restorable"])
        except (BackupError, FileNotFoundError):
            return False

    wait_until(restorable, "a backup of the generation", 60)
    return process


def _ask(job: str, actor: int | None, *args: object) -> Ask:
    number = next(_numbers)
    operation = Operation(f"r.{number}", "r", actor, "", 1_700_000_000_000)
    return Ask(number, getattr(user_service, job).name, args, operation, time.monotonic() + 60)


def write(batches: Batches, size: int) -> tuple[float, list[float]]:
    """Durable writes per second with `size` of them sharing a commit, and what shipping took of each commit, in ms."""
    asks = [_ask("edit_profile", 1, None, f"Lifted {number}.") for number in range(WRITES)]
    began = time.perf_counter()
    answers = [batches.run(asks[place : place + size]) for place in range(0, WRITES, size)]
    seconds = time.perf_counter() - began
    assert {answer.status for batch in answers for answer in batch} == {200}
    return WRITES / seconds, [batch[0].shipped_ms for batch in answers]


@pytest.mark.parametrize("size", RATIOS)
def test_waiting_for_the_log(timed: Timed, bench: Path, report: Report, size: int) -> None:
    alone: list[float] = []
    waiting: list[float] = []
    shipping_ms: list[float] = []
    with (
        tempfile.TemporaryDirectory(dir=bench, prefix="shipping-") as directory,
        lane(Path(directory) / "alone", ships=False) as without,
        lane(Path(directory) / "waiting", ships=True) as shipped_too,
    ):

        def both() -> None:
            alone.append(write(without, size)[0])
            rate, took_ms = write(shipped_too, size)
            waiting.append(rate)
            shipping_ms.extend(took_ms)

        timed(both, ROUNDS)
    del alone[0], waiting[0]  # the warm-up
    what = f"{size} writes to a commit"
    report(at_least(f"{what}, without shipping", alone, "writes/s", 200))
    report(at_least(f"{what}, shipped before the answer", waiting, "writes/s", 100))
    report(
        at_least(f"{what}, ratio", [one / other for one, other in zip(waiting, alone, strict=True)], "x", RATIOS[size])
    )
    report(at_most(f"{what}, shipping one commit", shipping_ms, "ms", 10))
