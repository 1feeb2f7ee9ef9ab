"""Several drills in a row, each judged as soon as it is over, and one answer for all of them."""

from __future__ import annotations

import difflib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import msgspec

from backups.pgbackrest.stanza import fitting_binaries
from ci import junit, report, summary, verdict
from ci.drill import Order, Rehearsal
from ci.drills import (
    DRILLS,
    EVERY,
    OF_BACKUPS,
    OF_PGBACKREST,
    OF_RELEASES,
    OF_THE_SERVER,
    ON_POSTGRES,
    Database,
    Drill,
    Pace,
)
from ci.live import Live
from ci.record import Run
from ci.record import read as read_record
from ci.stand import new_run_id
from ci.status_directory import tell_drills

OVERHEAD_S = 22.0
"""What a drill takes beside its stretches: set-up, recovery, quiescing, judging. For the estimate alone."""

GROUPS = {
    "sqlite": {"all": DRILLS, "backups": OF_BACKUPS, "releases": OF_RELEASES},
    "postgres": {"all": ON_POSTGRES, "server": OF_THE_SERVER, "releases": OF_RELEASES, "pgbackrest": OF_PGBACKREST},
}
"""Names that stand for several drills, on each database."""

EXIT_CODES = {"pass": 0, "fail": 1, "unknown": 3}


class UnknownDrill(Exception):
    """A drill or a run that does not exist was asked for."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Suite:
    """Drills to run one after the other."""

    drills: Sequence[Drill]
    pace: Pace
    seed: int
    runs: Path
    scenario: Path
    tool: str
    database: Database = "sqlite"
    status_dir: Path | None = None
    """Where the service reads how they went."""

    def plan(self) -> str:
        """What `run` would do, for people; nothing is touched."""
        lines = [f"{len(self.drills)} drills, {self.pace.users} users each, seed {self.seed}, under {self.runs}/:"]
        for drill in self.drills:
            faults = ", ".join([blow.fault for blow in drill.blows] or drill.acts)
            lines.append(f"  {drill.name}: {faults}; then {drill.response}; about {self.expected_s(drill):.0f} s")
        lines.append("Every process, database and store is made for the drill and ended with it.")
        return "\n".join(lines)

    def expected_s(self, drill: Drill) -> float:
        """About how long one drill takes, in seconds."""
        pace = self.pace
        stretches = pace.users / pace.ramp_per_s + pace.settle_s + pace.baseline_s + pace.after_s
        exposed = drill.backups * pace.exposure_s + sum(blow.hold_s for blow in drill.blows)
        return stretches + exposed + OVERHEAD_S

    def run(self, *, as_json: bool) -> int:
        """Runs and judges every drill; prints the verdicts; the exit code is the worst of them."""
        began = time.time()
        runs = []
        for drill in self.drills:
            order = Order(drill, self.pace, self.seed, self.runs, self.scenario, self.tool, database=self.database)
            with Live(sys.stderr, drill.name, self.expected_s(drill)) as live:
                directory = Rehearsal(order, live.show).run()
                judged = judge(directory)
            _point_latest(self.runs, directory)
            runs.append(judged)
            if self.status_dir is not None:
                tell_drills(self.status_dir, [judged])
            if not as_json:
                click.echo(summary.table(judged))
        if len(runs) > 1:
            directory = self._gather(runs, began)
            _point_latest(self.runs, directory)
        if as_json:
            click.echo(msgspec.json.format(msgspec.json.encode({"runs": runs})).decode())
        elif len(runs) > 1:
            click.echo(summary.suite_table(runs))
            click.echo(f"report  {directory / 'report.html'}")
        return exit_code(runs)

    def _gather(self, runs: Sequence[Run], began: float) -> Path:
        directory = self.runs / new_run_id("suite", began)
        directory.mkdir()
        links = {run.id: f"../{run.id}/report.html" for run in runs}
        (directory / "report.html").write_text(report.render_index(runs, links), "utf-8")
        (directory / "summary.md").write_text(summary.suite_markdown(runs), "utf-8")
        junit.write(runs, directory / "junit.xml")
        return directory


def judge(directory: Path) -> Run:
    """The verdict on a run's raw files, written beside them in every form."""
    run = verdict.judge_run(directory)
    report.write(run, directory / "report.html")
    (directory / "summary.md").write_text(summary.markdown(run), "utf-8")
    junit.write([run], directory / "junit.xml")
    return run


def judge_again(directory: Path, *, as_json: bool) -> int:
    """Judges a stored run anew and prints the verdict; the exit code is its."""
    run = judge(directory)
    click.echo(msgspec.json.encode(run).decode() if as_json else summary.table(run))
    return exit_code([run])


def exit_code(runs: Sequence[Run]) -> int:
    """1 when any run failed, else 3 when any could not be told (or there is none), else 0."""
    codes = {EXIT_CODES[run.verdict] for run in runs} or {3}
    return 1 if 1 in codes else max(codes)


def chosen(names: Sequence[str], database: Database = "sqlite") -> list[Drill]:
    """The drills by these names, or those of the groups of these names. Raises UnknownDrill with the nearest name."""
    groups = GROUPS[database]
    every = {name: drill for group in groups.values() for name, drill in group.items()}
    wanted: list[Drill] = []
    for name in names:
        if name in groups:
            wanted += groups[name].values()
        elif name in every:
            wanted.append(every[name])
        elif name in EVERY:
            raise UnknownDrill(f"The drill {name} does not run on {database}; there are {', '.join(every)}.")
        else:
            near = difflib.get_close_matches(name, [*every, *groups], 1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(every)}; and {' and '.join(groups)}."
            raise UnknownDrill(f"There is no drill {name}; {hint}")
    return wanted


def require_programs(drills: Sequence[Drill]) -> None:
    """Return when the programs that the drills need beside the stand's own are here, else raise NoPgBackRest."""
    if any(drill.protection.pgbackrest for drill in drills):
        fitting_binaries()


def find_run(name: str, runs: Path) -> Path:
    """The directory of a run, by path or by id. Raises UnknownDrill when there is none."""
    for directory in (Path(name), runs / name):
        if (directory / "settings.json").is_file():
            return directory
    near = difflib.get_close_matches(name, [path.parent.name for path in runs.glob("*/settings.json")], 1)
    raise UnknownDrill(f"There is no run {name} under {runs}" + (f"; did you mean {near[0]}?" if near else "."))


def read_run(directory: Path) -> Run:
    """The judged run in `directory`."""
    return read_record(directory / "run.json")


def _point_latest(runs: Path, directory: Path) -> None:
    link = runs / "latest.partial"
    link.unlink(missing_ok=True)
    link.symlink_to(directory.name)
    link.replace(runs / "latest")
