"""What a machine must offer before anything is measured on it: each check is a plain rule over facts gathered once.

`examine(look())` is the whole of it. `missing` means that the main job, `make drill`, cannot run; `warn` means that
something is worth less here, or cannot be had.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from backups.pgbackrest.program import NoPgBackRest, installed_version
from backups.pgbackrest.versions import newest_of
from backups.postgres.binaries import installations

State = Literal["ok", "warn", "missing"]
Version = tuple[int, ...]

PYTHON: Version = (3, 11)
K6: Version = (1, 1)
JMETER: Version = (5, 5)
SAFE_SQLITE: Version = (3, 51, 3)
PATCHED_SQLITE: tuple[Version, ...] = ((3, 50, 7), (3, 44, 6))
"""Releases of older lines that were given the repair as well."""
FREE_BYTES = 1 << 30
OPEN_FILES = 4096
STEADY_S = 0.005
PORT = 8080


@dataclass(frozen=True, slots=True)
class Finding:
    """One row: what was looked at, how it stands, what was found; unless it is ok, what that costs and what to do."""

    name: str
    state: State
    found: str
    cost: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class Machine:
    """The facts. A version is None when the thing is not here; `clock_drift_s` is wall clock against monotonic clock."""

    python: Version
    sqlite: Version | None
    sqlite_unused: Version | None
    cores: int
    free_bytes: int
    place: Path
    open_files: int
    port: int
    port_free: bool
    locust: bool
    k6: Version | None
    jmeter: Version | None
    java: bool
    clock_drift_s: float
    chromium: str | None
    promtool: str | None
    pgbackrest: Version | None
    postgres: tuple[int, ...]
    """The major versions whose programs are here."""


def examine(machine: Machine) -> tuple[Finding, ...]:
    """Every check's finding, in the order in which they matter."""
    return tuple(check(machine) for check in CHECKS)


def ready(findings: Sequence[Finding]) -> bool:
    """Whether the main job can run: nothing is missing."""
    return all(finding.state != "missing" for finding in findings)


def python(machine: Machine) -> Finding:
    """The interpreter."""
    found = _dotted(machine.python)
    if machine.python >= PYTHON:
        return Finding("python", "ok", found)
    return Finding("python", "missing", found, "nothing runs", f"install Python {_dotted(PYTHON)} or newer")


def sqlite(machine: Machine) -> Finding:
    """The SQLite that the service and the backups use, which must be outside the range that corrupts WAL databases."""
    if machine.sqlite is None:
        return Finding("sqlite", "missing", "no pysqlite3", "no database can be opened", "make setup")
    found = f"{_dotted(machine.sqlite)} (pysqlite3)"
    if not safe_sqlite(machine.sqlite):
        cost = "two connections that write and checkpoint at once can corrupt the database"
        return Finding("sqlite", "missing", found, cost, "make setup, which installs a repaired one")
    if machine.sqlite_unused is not None and not safe_sqlite(machine.sqlite_unused):
        found += f"; Python's own {_dotted(machine.sqlite_unused)} has the WAL-reset bug and is not used"
    return Finding("sqlite", "ok", found)


def cores(machine: Machine) -> Finding:
    """Room for the service and its users side by side."""
    found = str(machine.cores)
    if machine.cores >= 4:
        return Finding("cores", "ok", found)
    cost = "service and load generator share them, so latency is partly the generator's"
    return Finding("cores", "warn", found, cost, "read latency as an upper bound; RTO and RPO do not depend on it")


def disk(machine: Machine) -> Finding:
    """Room for databases, backups and evidence."""
    found = f"{machine.free_bytes / 1e9:.1f} GB free under {machine.place}"
    if machine.free_bytes >= FREE_BYTES:
        return Finding("disk", "ok", found)
    remedy = f"free {FREE_BYTES / 1e9:.1f} GB there, or run from another disk"
    return Finding("disk", "missing", found, "a drill would fill the disk, which is a fault of its own", remedy)


def open_files(machine: Machine) -> Finding:
    """One descriptor per user on each side, and some."""
    found = f"{machine.open_files} allowed"
    if machine.open_files >= OPEN_FILES:
        return Finding("open files", "ok", found)
    return Finding("open files", "missing", found, "a thousand users cannot connect", f"ulimit -n {OPEN_FILES}")


def port(machine: Machine) -> Finding:
    """The service's own port; drills choose a free one by themselves."""
    if machine.port_free:
        return Finding("port", "ok", f"{machine.port} is free")
    return Finding("port", "warn", f"{machine.port} is taken", "`gymkhana serve` cannot use it", "serve with --port")


def locust(machine: Machine) -> Finding:
    """The load tool of every drill."""
    if machine.locust:
        return Finding("locust", "ok", "installed")
    return Finding(
        "locust", "missing", "not installed", "no load, so no drill", "make setup, or pip install 'gymkhana[load]'"
    )


def k6(machine: Machine) -> Finding:
    """The other load tool, which nothing depends on."""
    if machine.k6 is None:
        return Finding(
            "k6", "warn", "not installed", "load runs on Locust only", "make setup-k6, or name a binary in K6_BIN"
        )
    if machine.k6 < K6:
        cost = "its scripts may not run"
        return Finding("k6", "warn", _dotted(machine.k6), cost, f"make setup-k6 installs {_dotted(K6)} or newer")
    return Finding("k6", "ok", _dotted(machine.k6))


def jmeter(machine: Machine) -> Finding:
    """The third load tool, which nothing depends on either; without a Java it is of no use."""
    cost = "JMeter cannot play loads"
    if machine.jmeter is None:
        remedy = "make setup-jmeter, or name an installed one in JMETER_HOME"
        return Finding("jmeter", "warn", "not installed", cost, remedy)
    found = _dotted(machine.jmeter)
    if machine.jmeter < JMETER:
        return Finding("jmeter", "warn", found, cost, f"make setup-jmeter installs {_dotted(JMETER)}")
    if not machine.java:
        return Finding("jmeter", "warn", f"{found} without a Java", cost, "apt-get install default-jre-headless")
    return Finding("jmeter", "ok", found)


def clock(machine: Machine) -> Finding:
    """Whether the wall clock keeps pace with the monotonic one, which is what durations are measured with."""
    found = f"moved {abs(machine.clock_drift_s) * 1000:.1f} ms against the monotonic clock"
    if abs(machine.clock_drift_s) <= STEADY_S:
        return Finding("clock", "ok", "steady")
    cost = "times of day in reports are off, and k6, which knows no other clock, misplaces its requests"
    return Finding("clock", "warn", found, cost, "wait until time synchronisation has settled, or use Locust")


def chromium(machine: Machine) -> Finding:
    """The browser in which the report is tested."""
    if machine.chromium:
        return Finding("chromium", "ok", machine.chromium)
    return Finding("chromium", "warn", "not found", "browser tests are skipped", "apt-get install chromium")


def promtool(machine: Machine) -> Finding:
    """Prometheus' own tool, which is asked about the rules that we write for it."""
    if machine.promtool:
        return Finding("promtool", "ok", machine.promtool)
    cost = "exported alert rules are checked by nobody but us"
    return Finding("promtool", "warn", "not found", cost, "apt-get install prometheus")


def pgbackrest(machine: Machine) -> Finding:
    """The program of whoever keeps PostgreSQL's backups with it, and a server for it to rehearse with."""
    cost = "its repositories cannot be used as stores, nor its drill run"
    if machine.pgbackrest is None:
        return Finding(
            "pgbackrest", "warn", "not installed", cost, "apt-get install pgbackrest, if that is what you use"
        )
    major = newest_of(machine.pgbackrest, machine.postgres)
    if major is None:
        found = f"{_dotted(machine.pgbackrest)}, which works with no PostgreSQL that is here"
        return Finding("pgbackrest", "warn", found, "its drill cannot be run", "apt-get install postgresql")
    return Finding("pgbackrest", "ok", f"{_dotted(machine.pgbackrest)}, rehearsed with PostgreSQL {major}")


CHECKS = (python, sqlite, locust, open_files, disk, cores, clock, port, k6, jmeter, chromium, promtool, pgbackrest)
"""Every check; those that can stop a drill come first."""


def safe_sqlite(version: Version) -> bool:
    """Whether that release is free of the bug that resets a WAL under a checkpoint (3.7.0 to 3.51.2, repaired later)."""
    repaired = any(version[:2] == patched[:2] and version >= patched for patched in PATCHED_SQLITE)
    return version >= SAFE_SQLITE or repaired


def look(place: Path = Path("var")) -> Machine:
    """The facts of this machine, for a harness that keeps its data under `place`. Changes nothing; takes under a second."""
    here = next(path for path in (place.absolute(), *place.absolute().parents) if path.exists())
    wish = os.environ.get("GYM_PORT", "")
    number = int(wish) if wish.isdecimal() else PORT
    return Machine(
        python=sys.version_info[:3],
        sqlite=_printed("import pysqlite3.dbapi2 as sqlite; print(sqlite.sqlite_version)"),
        sqlite_unused=_printed("import sqlite3; print(sqlite3.sqlite_version)"),
        cores=len(os.sched_getaffinity(0)),
        free_bytes=shutil.disk_usage(here).free,
        place=here,
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        port=number,
        port_free=_port_is_free(number),
        locust=find_spec("locust") is not None,
        k6=_k6(),
        jmeter=_jmeter(),
        java=_java(),
        clock_drift_s=clock_drift(),
        chromium=shutil.which("chromium"),
        promtool=shutil.which("promtool"),
        pgbackrest=_pgbackrest(),
        postgres=tuple(one.major for one in installations()),
    )


def clock_drift(
    over_s: float = 0.2,
    wall: Callable[[], float] = time.time,
    monotonic: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> float:
    """How far the wall clock moved against the monotonic one within `over_s`, in seconds; ahead is positive."""
    before = _offset(wall, monotonic)
    sleep(over_s)
    return _offset(wall, monotonic) - before


def _offset(wall: Callable[[], float], monotonic: Callable[[], float]) -> float:
    """Wall minus monotonic clock: of several tries the one that was interrupted least."""
    tries = []
    for _ in range(20):
        early, now, late = monotonic(), wall(), monotonic()
        tries.append((late - early, now - (early + late) / 2))
    return min(tries)[1]


def _printed(program: str) -> Version | None:
    """The version that a small Python program prints, asked in a process of its own: one build of SQLite per process."""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=30)
    return parse_version(result.stdout) if result.returncode == 0 else None


def _pgbackrest() -> Version | None:
    try:
        return installed_version()
    except NoPgBackRest:
        return None


def _k6() -> Version | None:
    from loadtests.errors import ToolError
    from loadtests.tools import find_k6

    try:
        result = subprocess.run([find_k6(), "version"], capture_output=True, text=True, check=False, timeout=30)
    except (ToolError, OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(result.stdout)


def _jmeter() -> Version | None:
    from loadtests.jmeter_home import installed_version

    return installed_version()


def _java() -> bool:
    from loadtests.errors import ToolError
    from loadtests.jmeter_home import find_java

    try:
        find_java()
    except ToolError:
        return False
    return True


def parse_version(text: str) -> Version | None:
    """The first dotted number in `text`; None when there is none."""
    found = re.search(r"\d+(?:\.\d+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found else None


def _port_is_free(number: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError:
            return False
    return True


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))
