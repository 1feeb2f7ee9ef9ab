"""The parent of the service's processes (`python -m system.supervisor`): starts them, restarts them, ends them in order.

    supervisor ┬─ writer   the one that writes the database
               ├─ http     the one that answers; knows the writer by its socket
               ├─ http-2 … more of the same on the same port, as many as GYM_WORKERS says; the kernel deals connections out
               └─ …        companions, given on the command line as name=module; what they need is in the environment

Standard library only, so that the process costs next to nothing. Who is alive is always written in
`<runtime>/processes.json`; a child that dies is started again, at once and then ever more slowly; a child that says it
cannot serve (exit code 2) ends the service with that code, unless it is a companion. SIGTERM drains the HTTP process first,
the writer after it, and the companions last.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import FrameType

CHILDREN = {"writer": "system.writer", "http": "system.server"}
CANNOT_SERVE = 2
RESTART_PAUSE_S = (0.0, 0.1, 0.3, 1.0, 3.0)
CALM_S = 30.0
"""A child that lived this long is restarted at once again."""
HTTP_STOP_S = 15.0
WRITER_STOP_S = 10.0
COMPANION_STOP_S = 10.0

Modules = dict[str, str]


def is_http(name: str) -> bool:
    """Whether the child of that name answers HTTP."""
    return name.partition("-")[0] == "http"


def ours(name: str) -> bool:
    """Whether the service is made of it; the others are companions."""
    return name == "writer" or is_http(name)


class Supervisor:
    """The children of one service, by name. `modules` maps a child's name to the module that is it."""

    def __init__(self, runtime: Path, modules: Modules) -> None:
        self._runtime = runtime
        self._modules = modules
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._began: dict[str, float] = {}
        self._falls: dict[str, int] = dict.fromkeys(modules, 0)
        self._due: dict[str, float] = dict.fromkeys(modules, 0.0)
        self._stopping = False

    def run(self) -> int:
        """Returns the service's exit code once everything has ended."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        code = 0
        while not self._stopping and code == 0:
            code = self._tend()
            time.sleep(0.02)
        self._end([name for name in self._modules if is_http(name)], HTTP_STOP_S)
        self._end(["writer"], WRITER_STOP_S)
        self._end([name for name in self._modules if not ours(name)], COMPANION_STOP_S)
        (self._runtime / "processes.json").unlink(missing_ok=True)
        return code

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _tend(self) -> int:
        changed = False
        for name in self._modules:
            child = self._children.get(name)
            if child is not None and child.poll() is not None:
                del self._children[name]
                changed = True
                if child.returncode == CANNOT_SERVE and ours(name):
                    return CANNOT_SERVE
                self._fell(name, child.returncode)
                child = None
            if child is None and time.monotonic() >= self._due[name]:
                self._start(name)
                changed = True
        if changed:
            self._publish()
        return 0

    def _start(self, name: str) -> None:
        environment = os.environ | {
            "GYM_SUPERVISOR": str(os.getpid()),
            "GYM_RUNTIME": str(self._runtime),
            "GYM_WORKER": name.partition("-")[2] or "1",
        }
        self._children[name] = subprocess.Popen([sys.executable, "-m", self._modules[name]], env=environment)
        self._began[name] = time.monotonic()

    def _fell(self, name: str, code: int) -> None:
        lived = time.monotonic() - self._began[name]
        self._falls[name] = 0 if lived > CALM_S else self._falls[name] + 1
        pause = RESTART_PAUSE_S[min(max(self._falls[name] - 1, 0), len(RESTART_PAUSE_S) - 1)]
        self._due[name] = time.monotonic() + pause
        event = {"event": "child ended", "process": "supervisor", "child": name, "code": code, "restart_in_s": pause}
        sys.stderr.write(json.dumps(event) + "\n")
        sys.stderr.flush()

    def _end(self, names: list[str], timeout_s: float) -> None:
        children = [child for name in names if (child := self._children.get(name)) and child.poll() is None]
        for child in children:
            child.terminate()
        end_t = time.monotonic() + timeout_s
        for child in children:
            try:
                child.wait(max(0.0, end_t - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def _publish(self) -> None:
        pids = {"supervisor": os.getpid()} | {name: child.pid for name, child in self._children.items()}
        living = {name: {"pid": pid, "start": start} for name, pid in pids.items() if (start := start_time(pid))}
        partial = self._runtime / "processes.json.partial"
        partial.write_text(json.dumps(living), "ascii")
        partial.replace(self._runtime / "processes.json")


def start_time(pid: int) -> float | None:
    """When the process began, as seconds since the epoch exactly as psutil's `create_time` has it; None when it is gone.

    With the pid it names one process for ever: pids come back, start times do not.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        boot = next(line for line in Path("/proc/stat").read_text("ascii").splitlines() if line.startswith("btime"))
    except OSError:
        return None
    return int(fields[19]) / os.sysconf("SC_CLK_TCK") + float(boot.split()[1])


def supervise(runtime: Path, modules: Modules = CHILDREN) -> int:
    """Runs the service whose processes meet in `runtime`; one at a time. The exit code is the service's."""
    runtime.mkdir(parents=True, exist_ok=True)
    with (runtime / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            holder = lock.read().strip() or "another process"
            sys.stderr.write(f"gymkhana: This database is already being served by pid {holder}; stop that one first.\n")
            return CANNOT_SERVE
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return Supervisor(runtime, modules).run()


def workers(modules: Modules, count: int) -> Modules:
    """The modules with so many HTTP processes."""
    return modules | {f"http-{number}": modules["http"] for number in range(2, count + 1)}


def main(modules: Modules = CHILDREN) -> int:
    """`python -m system.supervisor --runtime DIR`; everything else is in the environment (see `settings.py`)."""
    parser = argparse.ArgumentParser(prog="python -m system.supervisor", description="Runs the service's processes.")
    parser.add_argument("--runtime", type=Path, required=True)
    parser.add_argument("--child", action="append", default=[], type=companion, metavar="NAME=MODULE")
    arguments = parser.parse_args()
    return supervise(
        arguments.runtime, workers(modules, int(os.environ.get("GYM_WORKERS") or 1)) | dict(arguments.child)
    )


def companion(text: str) -> tuple[str, str]:
    """Name and module of one more child. Raises ValueError for what names none, or one of our own."""
    name, _, module = text.partition("=")
    if not name.isidentifier() or ours(name) or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(text)
    return name, module


if __name__ == "__main__":
    sys.exit(main())
