"""Locust plays the scenario: a greenlet and a keep-alive connection per virtual user, one ledger line per answer.

Started as `python -m loadtests.locustfile` with a plan in its environment (`plan.py`). Nothing else may import this module:
importing locust patches the whole process. Locust is used as a library, because its command line installs no SIGTERM handler
while a load shape runs, and would lose the end of the ledger.

The ledger is written in the client call. A listener would be the wrong place: Locust logs a listener's error and carries on.
"""

from __future__ import annotations

# Importing locust patches sockets and sleep for gevent; it comes before anything that might have taken the unpatched ones.
from locust import FastHttpUser, LoadTestShape, task  # isort: skip

import logging
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import gevent
from gevent.event import Event
from geventhttpclient.url import URL
from locust.env import Environment
from locust.exception import StopUser

from loadtests import locust_arrivals, locust_fleet, population, scenario_file, schedule
from loadtests.errors import LedgerError, LoadError, PlanError, ToolError
from loadtests.ledger import LedgerWriter
from loadtests.locust_exchange import Load, exchange
from loadtests.plan import WORKER, LoadPlan
from loadtests.scenario import Scenario
from loadtests.schedule import UserSteps
from loadtests.virtual_user import Script, VirtualUser

SPARE_FILES = 64
"""Open files the process needs besides one connection per user."""

_NO_CONTEXT: dict[str, str] = {}


class Visitor(FastHttpUser):
    """Locust's side of a virtual user: its greenlet, its connection, its pauses."""

    abstract = False
    concurrency = 1
    max_retries = 0
    max_redirects = 0
    numbers = count(1)
    steps: Sequence[UserSteps]
    load: Load
    leaving = False
    due = 0.0

    def on_start(self) -> None:
        """Says that the user is up, then pauses, so that users started together do not arrive together."""
        number = next(type(self).numbers)
        self.virtual = VirtualUser(number, self.load.script, self.steps[(number - 1) % len(self.steps)].steps)
        self.connection = self.client.client.clientpool.get_client(URL(self.host))
        self.load.ledger.user(number, up=True)
        self.wait()

    def on_stop(self) -> None:
        """Says that the user has gone."""
        self.load.ledger.user(self.virtual.number, up=False)

    def stop(self, force: bool = False) -> bool:
        """Ends the user after the request in flight.

        Locust kills a pausing user a moment after it decides to, and by then the pause may be over and a request sent, whose
        end nobody would see. So a user that is leaving starts nothing.
        """
        self.leaving = True
        return bool(super().stop(force))

    def wait_time(self) -> float:
        """The pause before the next step; during an outage it is also the back-off."""
        pause = self.virtual.think()
        self.due = time.monotonic() + pause
        return pause

    @task
    def step(self) -> None:
        """One step, and what Locust's own statistics want to know of it."""
        if self.leaving:
            raise StopUser
        try:
            step, answer, took = exchange(self.load, self.virtual, self.connection, self.due)
        except LedgerError as error:
            self.load.stop(error)
            return
        as_expected = answer.error is None and answer.status in step.flow.expect
        self.environment.events.request.fire(
            request_type=step.flow.method,
            name=step.flow.name,
            response_time=took * 1000,
            response_length=len(answer.content),
            exception=None if as_expected else answer.error or f"status {answer.status}",
            context=_NO_CONTEXT,
        )


class Stages(LoadTestShape):
    """The plan's shape as Locust asks for it, about once a second."""

    def __init__(self, plan: LoadPlan) -> None:
        super().__init__()
        self.plan = plan

    def tick(self) -> tuple[int, float] | None:
        """How many users there should be, and how many may arrive or leave per second; None ends the load."""
        if (stage := self.plan.shape.stage_at(self.get_run_time())) is None:
            return None
        before, target, seconds = stage
        change = abs(target - before)
        return target, change / seconds if change and seconds else float(max(change, self.plan.users))


def play(plan: LoadPlan) -> None:
    """The plan has been played when this returns: to its end, or until SIGTERM or SIGINT, requests in flight answered.

    Raises LoadError when it could not start, or when the ledger or a user's script broke.
    """
    if plan.processes > 1 or plan.master:
        worker = os.environ.get(WORKER)
        if worker is None:
            locust_fleet.lead(plan, lambda: _environment(plan, scenario_file.read(plan.scenario)))
            return
        _visit(plan, plan.ledgers[int(worker) - 1], int(worker))
    elif plan.shape.model == "open":
        _play(plan, plan.ledger, lambda load: locust_arrivals.play(load, schedule.read_arrivals(plan.schedule)))
    else:
        _visit(plan, plan.ledger)


def _visit(plan: LoadPlan, ledger: Path, worker: int = 0) -> None:
    """Users visit the service in this process: all of them, or the share of worker number `worker`."""
    Visitor.steps = schedule.read_steps(plan.schedule)
    if worker:
        # Numbers that no other worker hands out, whatever share of the users Locust's master gives each.
        Visitor.numbers = count(worker, plan.processes)
    _play(plan, ledger, lambda load: _run(load, worker))


def _play(plan: LoadPlan, path: Path, plays: Callable[[Load], int]) -> None:
    """`plays`, which returns how many requests were dropped, with a ledger at `path` that has its end line afterwards."""
    scenario = scenario_file.read(plan.scenario)
    script = Script(scenario, population.read(plan.population), seed=plan.seed, run=plan.run, users=plan.users)
    raise_file_limit(plan.users + SPARE_FILES)
    Visitor.network_timeout = Visitor.connection_timeout = scenario.timeout_s
    with LedgerWriter(path, plan.run, "locust") as ledger:
        Visitor.load = load = Load(plan, script, ledger, Event())
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, load.stop)
        dropped = plays(load)
        ledger.end(dropped)
    if load.broken is not None:
        raise load.broken


def _run(load: Load, worker: int) -> int:
    """Locust's runner from the first user to the last."""
    environment = _environment(load.plan, load.script.scenario)
    environment.events.user_error.add_listener(
        lambda exception, **_: load.stop(ToolError(f"A virtual user broke ({exception!r}); see the log."))
    )
    # In a worker too: its master's word to stop or to quit ends in this event, once the users have gone.
    environment.events.test_stop.add_listener(lambda **_: load.stop())
    if worker:
        host, _, port = load.plan.master.rpartition(":")
        runner = environment.create_worker_runner(host, int(port))
    else:
        runner = environment.create_local_runner()
        runner.start_shape()
    load.stopped.wait()
    runner.quit()
    return 0


def _environment(plan: LoadPlan, scenario: Scenario) -> Any:
    return Environment(
        user_classes=[Visitor],
        shape_class=Stages(plan),
        host=plan.url,
        stop_timeout=scenario.timeout_s + 1,
    )


def raise_file_limit(files: int) -> None:
    """This process may open at least `files` files. Raises PlanError when the system's hard limit is lower."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < files:
        raise PlanError(f"{files} open files are needed and the limit is {hard}; raise it, or ask for fewer users.")
    if soft != resource.RLIM_INFINITY and soft < files:
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, hard))


def main() -> int:
    """Plays the plan in the environment; the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        play(LoadPlan.from_environment(os.environ))
    except LoadError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
