"""Planted bugs, each caught by the drill it belongs to, and by the criterion that is meant to catch it."""

from __future__ import annotations

import contextlib
import dataclasses
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pysqlite3.dbapi2 as sqlite
import pytest

from backups.addresses import store_at
from backups.backup import run_backup
from backups.engine import Base, Reading
from backups.progress import Progress, silent
from backups.sqlite.engine import SqliteEngine
from ci.drill import Order, Rehearsal
from ci.drills import DRILLS, Blow, Drill, Pace
from ci.record import Run
from ci.verdict import judge_run
from loadtests.scenario import GYM_DAY

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

SABOTAGE = Path(__file__).parent.parent / "sabotage"
PACE = Pace(users=40, ramp_per_s=40, settle_s=0.5, baseline_s=2, exposure_s=2, after_s=2)


def order(drill: Drill, runs: Path, sabotage: str | None = None) -> Order:
    plain = Order(drill, PACE, seed=3, runs=runs, scenario=Path(GYM_DAY))
    if sabotage is None:
        return plain
    planted = ("env", f"PYTHONPATH={SABOTAGE}", sys.executable, str(SABOTAGE / sabotage))
    return dataclasses.replace(plain, service=planted)


def judged(rehearsal: Rehearsal) -> Run:
    return judge_run(rehearsal.run())


def results(run: Run) -> dict[str, str]:
    return {one.id: one.result for one in run.criteria}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of an honest service, to be sabotaged file by file."""
    return Rehearsal(order(DRILLS["crash"], tmp_path_factory.mktemp("clean"))).run()


def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / run.name, ignore=shutil.ignore_patterns("writer.sock")))


DATA = ("DATA-LOST", "DATA-ALTERED", "DATA-PHANTOM", "DATA-DUPLICATED", "POINTS", "CAPACITY", "WINNER", "ORPHANS",
        "NOTIFICATIONS")  # fmt: skip


def test_an_honest_service_passes_every_criterion_about_data(clean: Path) -> None:
    run = judge_run(clean)
    assert {name: results(run)[name] for name in (*DATA, "FAULT-BIT", "LEDGER", "RTO")} == dict.fromkeys(
        (*DATA, "FAULT-BIT", "LEDGER", "RTO"), "pass"
    )
    assert run.findings.acked > 50


def test_a_run_is_judged_the_same_twice(clean: Path) -> None:
    judge_run(clean)
    first = (clean / "run.json").read_bytes()
    judge_run(clean)
    assert (clean / "run.json").read_bytes() == first


def test_a_ledger_cut_short_is_unknown(clean: Path, tmp_path: Path) -> None:
    run = copy(clean, tmp_path)
    ledger = (run / "ledger.jsonl").read_bytes()
    (run / "ledger.jsonl").write_bytes(ledger[: len(ledger) // 2])
    verdict = judge_run(run)
    assert (verdict.verdict, results(verdict)["LEDGER"]) == ("unknown", "unknown")


def test_a_lost_survivor_is_a_failure_that_names_it(clean: Path, tmp_path: Path) -> None:
    run = copy(clean, tmp_path)
    acked = judge_run(clean).findings
    lines = (run / "survivors.jsonl").read_bytes().splitlines(keepends=True)
    (run / "survivors.jsonl").write_bytes(b"".join(lines[:-10]))
    verdict = judge_run(run)
    assert verdict.verdict == "fail"
    assert len(verdict.findings.lost) + len(acked.recovered) - len(verdict.findings.recovered) == 10


def test_a_service_that_acknowledges_before_it_commits_loses_writes(tmp_path: Path) -> None:
    # Forty users acknowledge three such writes in the 0.4 s they are early by, and now and then none; these nine.
    crowded = dataclasses.replace(PACE, users=150, ramp_per_s=150)
    planted = dataclasses.replace(order(DRILLS["crash"], tmp_path, "acknowledge_early.py"), pace=crowded)
    run = judged(Rehearsal(planted))
    assert (run.verdict, results(run)["DATA-LOST"]) == ("fail", "fail")
    assert run.findings.lost


def test_a_service_that_forgets_to_roll_back_leaves_half_written_rows(tmp_path: Path) -> None:
    run = judged(Rehearsal(order(DRILLS["broken-transactions"], tmp_path, "forget_rollback.py")))
    assert (run.verdict, results(run)["ORPHANS"]) == ("fail", "fail")


def test_a_fault_that_never_bit_is_unknown(tmp_path: Path) -> None:
    toothless = Blow("fail-in-transaction", {"rate": 1e-9, "seconds": 1.0}, hold_s=1.0)
    run = judged(Rehearsal(order(dataclasses.replace(DRILLS["broken-transactions"], blows=(toothless,)), tmp_path)))
    assert (run.verdict, results(run)["FAULT-BIT"]) == ("unknown", "unknown")


class CopyMainFile(SqliteEngine):
    """The planted bug: the database file is copied, and what is still in its log is not."""

    @contextlib.contextmanager
    def snapshot(self, database: Path, progress: Progress = silent, base: Base | None = None) -> Iterator[Reading]:
        with tempfile.TemporaryDirectory() as place:
            alone = Path(place, "alone.db")
            shutil.copyfile(database, alone)
            with super().snapshot(alone, progress, base) as reading:
                yield reading


class CopiesTheMainFile(Rehearsal):
    def _back_up(self) -> None:
        stand = self.stand
        manifest = run_backup(
            CopyMainFile(position_of="operations.sequence"),
            str(stand.database),
            store_at(str(stand.store)),
            demonstration=True,
        )
        figures = {"seconds": 0.1, "size_bytes": 1, "stored_bytes": 1}
        self.journal.emit("backup.done", "Copied.", id=manifest.id, taken_t=time.monotonic(), **figures)


def test_a_backup_of_the_main_file_alone_loses_writes_older_than_itself(tmp_path: Path) -> None:
    run = judged(CopiesTheMainFile(order(DRILLS["lost-database"], tmp_path)))
    assert (run.verdict, results(run)["DATA-LOST"]) == ("fail", "fail")
    assert run.rpo is not None
    assert {one.op for one in run.rpo.lost_writes} == set(run.findings.lost)


class LeavesTheOldLog(Rehearsal):
    """The planted bug: the restored database finds the old one's log beside it.

    The old log is emptied once between the backup and the fault, as it is every 2000 pages under load, so that it holds
    some of what the backup lacks and not all of it.
    """

    def _fault(self, faults: contextlib.ExitStack) -> None:
        with contextlib.closing(sqlite.connect(self.stand.database, timeout=10, isolation_level=None)) as other:
            assert other.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        time.sleep(1.0)
        shutil.copyfile(self.stand.database.with_name("gym.db-wal"), self.stand.database.with_name("kept-wal"))
        super()._fault(faults)

    def _restore(self) -> None:
        super()._restore()
        self.stand.database.with_name("kept-wal").replace(self.stand.database.with_name("gym.db-wal"))


def test_a_restore_that_leaves_the_old_log_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ci.drill.RECOVERY_TIMEOUT_S", 10.0)
    run = judged(LeavesTheOldLog(order(DRILLS["corrupt-database"], tmp_path)))
    failed = {name for name, result in results(run).items() if result == "fail"}
    assert run.verdict == "fail"
    assert failed & {"RECOVERED", *DATA}, failed
