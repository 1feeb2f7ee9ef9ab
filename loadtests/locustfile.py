"""Locust plays the scenario: one process, one keep-alive connection per virtual user, one ledger line per answer.

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
from dataclasses import dataclass
from itertools import count
from typing import Any

import gevent
import msgspec
from gevent.event import Event
from geventhttpclient.response import HTTPParseError
from geventhttpclient.url import URL
from locust.env import Environment
from locust.exception import StopUser

from loadtests import population, scenario_file
from loadtests.errors import LedgerError, LoadError, PlanError, ToolError
from loadtests.ledger import Done, Invoke, LedgerWriter, outcome
from loadtests.plan import LoadPlan
from loadtests.virtual_user import Script, Step, VirtualUser

SPARE_FILES = 64
"""Open files the process needs besides one connection per user."""

_NO_HEADERS: dict[str, str] = {}


@dataclass(slots=True)
class Load:
    """What all users of this process share. `stopped` is set when the load is over; `broken` is why it must not go on."""

    plan: LoadPlan
    script: Script
    ledger: LedgerWriter
    stopped: Event
    broken: LoadError | None = None

    def stop(self, broken: LoadError | None = None) -> None:
        """Asks the process to end: orderly, or because something broke."""
        self.broken = self.broken or broken
        self.stopped.set()


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back. `status` 0: nothing did, and `sent` says whether the request may have left."""

    status: int
    headers: Any
    content: bytes
    error: str | None
    sent: bool


class Visitor(FastHttpUser):
    """Locust's side of a virtual user: its greenlet, its connection, its pauses."""

    abstract = False
    concurrency = 1
    max_retries = 0
    max_redirects = 0
    numbers = count(1)
    load: Load
    leaving = False

    def on_start(self) -> None:
        """Says that the user is up, then pauses, so that users started together do not arrive together."""
        number = next(self.numbers)
        self.virtual = VirtualUser(number, self.load.script)
        self.reads = {"Authorization": f"Bearer {self.virtual.player.token}"}
        self.writes = self.reads | {"Content-Type": "application/json", "Run-Id": self.load.plan.run}
        # The user's own connection, below Locust's client: that one follows redirects, keeps cookies and turns statuses
        # into exceptions, none of which a ledger wants, and it costs three times as much per request.
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
        return self.virtual.think()

    @task
    def step(self) -> None:
        """One step: into the ledger, over the wire, into the ledger."""
        if self.leaving:
            raise StopUser
        try:
            self._play(self.virtual.next_step())
        except LedgerError as error:
            self.load.stop(error)

    def _play(self, step: Step) -> None:
        ledger, user, flow = self.load.ledger, self.virtual.number, step.flow
        began = time.monotonic()
        if step.op is not None:
            ledger.write(Invoke(op=step.op, flow=flow.name, user=user, t=began))
        answer = self._exchange(step)
        took = time.monotonic() - began
        status, headers = answer.status, answer.headers
        complete = answer.error is None
        became = outcome(status, headers, answer.sent, complete=complete, code=_code(answer) if status == 409 else None)
        ledger.write(
            Done(
                op=step.op,
                flow=flow.name,
                user=user,
                t=began,
                d=took,
                status=status,
                outcome=became,
                write=flow.write,
                digest=headers.get("effect-digest"),
                seq=_whole(headers.get("commit-sequence")),
                err=answer.error,
                db=_database_ms(headers.get("server-timing")),
            )
        )
        self.environment.events.request.fire(
            request_type=flow.method,
            name=flow.name,
            response_time=took * 1000,
            response_length=len(answer.content),
            exception=None if complete and status in flow.expect else answer.error or f"status {status}",
            context=_NO_HEADERS,
        )
        self.virtual.learn(step, became, status, answer.content)

    def _exchange(self, step: Step) -> Answer:
        headers = self.reads if step.op is None else self.writes | {"Operation-Id": step.op}
        status = 0
        told: Any = _NO_HEADERS
        try:
            response = self.connection.request(step.flow.method, step.path, step.body, headers)
            status, told = response.get_code(), response.info()
            return Answer(status, told, response.read(), None, sent=True)
        except ConnectionRefusedError as error:
            return Answer(0, _NO_HEADERS, b"", type(error).__name__, sent=False)
        except (OSError, HTTPParseError) as error:
            return Answer(status, told, b"", type(error).__name__, sent=True)


class Arrival(LoadTestShape):
    """The plan as Locust asks for it, about once a second."""

    def __init__(self, plan: LoadPlan) -> None:
        super().__init__()
        self.plan = plan

    def tick(self) -> tuple[int, float] | None:
        """How many users there should be, and how many may arrive per second; None ends the load."""
        length_s = self.plan.length_s
        over = length_s is not None and self.get_run_time() >= length_s
        return None if over else (self.plan.users, self.plan.ramp_per_s)


def play(plan: LoadPlan) -> None:
    """The plan has been played when this returns: to its end, or until SIGTERM or SIGINT, requests in flight answered.

    Raises LoadError when it could not start, or when the ledger or a user's script broke.
    """
    scenario = scenario_file.read(plan.scenario)
    people = population.read(plan.population)
    script = Script(scenario, people, seed=plan.seed, run=plan.run, users=plan.users)
    raise_file_limit(plan.users + SPARE_FILES)
    Visitor.network_timeout = Visitor.connection_timeout = scenario.timeout_s
    with LedgerWriter(plan.ledger, plan.run, "locust") as ledger:
        Visitor.load = load = Load(plan, script, ledger, Event())
        environment = Environment(
            user_classes=[Visitor],
            shape_class=Arrival(plan),
            host=plan.url,
            stop_timeout=scenario.timeout_s + 1,
        )
        environment.events.test_stop.add_listener(lambda **_: load.stop())
        environment.events.user_error.add_listener(
            lambda exception, **_: load.stop(ToolError(f"A virtual user broke ({exception!r}); see the log."))
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            gevent.signal_handler(number, load.stop)
        runner = environment.create_local_runner()
        runner.start_shape()
        load.stopped.wait()
        runner.quit()
        ledger.end()
    if load.broken is not None:
        raise load.broken


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


def _code(answer: Answer) -> str | None:
    """The problem code in the body, where there is one."""
    try:
        problem = msgspec.json.decode(answer.content)
    except msgspec.DecodeError:
        return None
    return problem.get("code") if isinstance(problem, dict) else None


def _whole(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdigit() else None


def _database_ms(timing: str | None) -> float | None:
    """The duration of the `db` entry in a Server-Timing header."""
    for entry in (timing or "").split(","):
        name, *details = entry.strip().split(";")
        if name == "db":
            for detail in details:
                field, _, value = detail.strip().partition("=")
                if field == "dur":
                    return _number(value)
    return None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


if __name__ == "__main__":
    sys.exit(main())
