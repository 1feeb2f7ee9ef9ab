"""The story of a drill in ten numbered steps, from an empty directory to a judged run.

     1 up        a stand: database, store, service            6 fault     the blows fall, each with proof that it bit
     2 warm      canary and sampler watch from outside        7 notice    the canary fails, or readiness says so
     3 load      the users arrive                             8 restore   fence, restore, serve; or just start again
     4 baseline  the steady stretch that promises are about   9 check     quiesce, then read what survived from storage
     5 back up   under load, as it would be                  10 record    checker, measures, verdict, pages

Steps 1 to 9 only write files; step 10 only reads them (`ci/verdict.py`), and can be redone at any time.
"""

from __future__ import annotations

import contextlib
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from sqlalchemy.exc import DBAPIError

from backups.errors import BackupError
from backups.pgbackrest import SCHEME
from chaos import fault as faults_there_are
from chaos.fault import Fault
from ci import aftermath, environment, rollout, survey
from ci.acts import ACTS
from ci.cluster import NAME, Cluster
from ci.drills import Blow, Database, Drill, Pace
from ci.journal import Event, Journal
from ci.loopback import HOST
from ci.probe import Canary
from ci.protection import Guard
from ci.sampler import Sampler
from ci.stand import SUPERVISOR, Stand, StandError, new_run_id, standing
from loadtests.plan import LoadPlan
from loadtests.tools import RunningLoad, load_tool

CANARY_STEADY = 20
"""Probes in a row that must have been verified before the service counts as recovered: one second of them."""
NOTICE_TIMEOUT_S = 20.0
LOOK_EVERY_S = 0.1
MISSED_LOOKS = 2
"""A primary that does not answer so often in a row is taken for dead."""
BASELINE_ENDS_S = 1.0
"""From the end of the baseline to whatever comes next: the requests that began in it end before that."""
RECOVERY_TIMEOUT_S = 60.0
QUIESCE_TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Order:
    """What to run: everything that makes a drill repeatable."""

    drill: Drill
    pace: Pace
    seed: int
    runs: Path
    scenario: Path
    tool: str = "locust"
    service: Sequence[str] = SUPERVISOR
    database: Database = "sqlite"


class Rehearsal:
    """One drill being run. `run()` leaves a directory of raw files; it raises only when the harness itself broke."""

    def __init__(self, order: Order, listener: Callable[[Event], None] = lambda _event: None) -> None:
        self.order = order
        self.directory = order.runs / new_run_id(order.drill.name, time.time())
        self.directory.mkdir(parents=True)
        followed = order.drill.protection.standby != "none"
        guarded = order.drill.protection
        place = self.directory / "pg"
        on_server = order.database == "postgres"
        server = Cluster(place, followed, guarded.proxy, guarded.pgbackrest) if on_server else None
        self.stand = Stand(self.directory, service=order.service, cluster=server)
        self.guard = Guard(self.stand, order.drill.protection)
        self.journal = Journal(self.directory / "events.jsonl", listener)

    def run(self) -> Path:
        """The run's directory, every raw file in it."""
        self._settings()
        self.journal.emit("run.begin", f"Drill {self.order.drill.name}: {self.order.drill.title}")
        try:
            with standing(self.stand), contextlib.ExitStack() as watching:
                self._up()
                canary, sampler = self._warm(watching)
                with self._load() as load:
                    self._steady(sampler, load)
                    self._baseline()
                    self._back_up()
                    with contextlib.ExitStack() as faults:
                        self._fault(faults)
                        if self.order.drill.rolling:
                            pass  # it is over, and if all is well nobody has noticed
                        elif self.order.drill.response == "none":
                            self._act()
                        elif self.order.drill.response == "failover":
                            self._fail_over(canary)
                        else:
                            self._recover(canary)
                    self._after()
                    load.stop()
                    self.journal.emit("load.end", f"The users have left. {load.fault}".strip())
                self._quiesce(sampler)
                watching.close()
                self._ask_again()
                self.stand.stop()
                self._check()
        finally:
            self.guard.close()
            self.journal.emit("run.end", "The stand is gone; the files remain.")
            self.journal.close()
        return self.directory

    def _settings(self) -> None:
        order = self.order
        command = [
            "gymkhana", "drill", "run", order.drill.name, "--users", str(order.pace.users), "--seed", str(order.seed),
            *(["--database", order.database] if order.database != "sqlite" else []),
        ]  # fmt: skip
        settings = {
            "id": self.directory.name,
            "drill": order.drill.name,
            "title": order.drill.title,
            "response": order.drill.response,
            "seed": order.seed,
            "tool": order.tool,
            "database": order.database,
            "users": order.pace.users,
            "pace": asdict(order.pace),
            "scenario": str(order.scenario.absolute()),
            "command": shlex.join(command),
            "environment": environment.describe(),
        }
        (self.directory / "settings.json").write_bytes(msgspec.json.format(msgspec.json.encode(settings)))

    def _up(self) -> None:
        users = self.order.pace.users
        self.stand.build(users=users + 1, tournaments=max(users // 50, 4), matches=users, seed=self.order.seed)
        self.guard.prepare()
        if (standby := self.order.drill.protection.standby) != "none":
            assert self.stand.cluster is not None
            self.stand.cluster.follow(self.stand.companions, synchronous=standby == "synchronous")
        self.guard.start_agents()
        if self.order.drill.rolling:
            rollout.begin(self.stand)
        else:
            self.stand.start()
            self.stand.wait_ready()
        self.journal.emit("stand.up", f"The service serves {users} users' accounts on port {self.stand.port}.")

    def _warm(self, watching: contextlib.ExitStack) -> tuple[Canary, Sampler]:
        token = msgspec.json.decode(self.stand.population.read_bytes())["users"][-1]["token"]
        canary = Canary(HOST, self.stand.port, token, self.stand.run, self.directory / "canary.jsonl")
        sampler = Sampler(HOST, self.stand.port, self.directory / "samples.jsonl", self.stand.pids)
        watching.enter_context(sampler)
        watching.enter_context(canary)
        self._until(lambda: canary.verified_in_row >= CANARY_STEADY, RECOVERY_TIMEOUT_S, "The canary never sang.")
        return canary, sampler

    @contextlib.contextmanager
    def _load(self) -> Iterator[RunningLoad]:
        plan = LoadPlan(
            url=self.stand.url,
            users=self.order.pace.users,
            ramp_per_s=self.order.pace.ramp_per_s,
            seconds=0.0,
            run=self.stand.run,
            seed=self.order.seed,
            scenario=self.order.scenario,
            population=self.stand.population,
            directory=self.directory,
        )
        load = load_tool(self.order.tool).start(plan)
        self.stand.lease_process(load.pid, "load generator")
        self.journal.emit(
            "load.begin", f"{self.order.pace.users} users arrive, {self.order.pace.ramp_per_s:.0f} a second."
        )
        try:
            yield load
        finally:
            load.stop()

    def _steady(self, sampler: Sampler, load: RunningLoad) -> None:
        users = self.order.pace.users
        arriving = users / self.order.pace.ramp_per_s
        with contextlib.suppress(StandError):  # too few connections is a finding of the run, not the harness's end
            self._until(lambda: (sampler.connections or 0) >= users, arriving + 20.0, "Not all users connected.")
        if not load.alive():
            raise StandError(f"The load generator ended early; see {self.directory / 'logs'}.")
        time.sleep(self.order.pace.settle_s)
        self.journal.emit(
            "load.steady", f"{sampler.connections} connections are open.", connections=sampler.connections
        )

    def _baseline(self) -> None:
        self.journal.emit("baseline.begin", "The baseline is being taken.")
        if self.order.drill.rolling:
            self._act(self.order.pace.baseline_s / 4)
        time.sleep(self.order.pace.baseline_s / (4 if self.order.drill.rolling else 1))
        self.journal.emit("baseline.end", "The baseline is taken.")
        time.sleep(BASELINE_ENDS_S)

    def _back_up(self) -> None:
        for _ in range(self.order.drill.backups):
            began = time.monotonic()
            guard = self.guard
            told = self.stand.tool_json("backup", "run", *guard.database(), *guard.stores(), *guard.sealing(), "--demo")
            seconds = time.monotonic() - began
            kept = {name: told[name] for name in ("id", "taken_t", "size_bytes", "stored_bytes")}
            self.journal.emit("backup.done", f"Backup {told['id']} took {seconds:.1f} s.", seconds=seconds, **kept)
            time.sleep(self.order.pace.exposure_s)

    def _fault(self, faults: contextlib.ExitStack) -> None:
        for number, blow in enumerate(self.order.drill.blows):
            fault = self._make(blow, number)
            self.journal.emit("fault.begin", f"{blow.fault} is about to be injected.", fault=blow.fault)
            injection = faults.enter_context(fault.inject(self.stand.target()))
            if blow.hold_s:
                time.sleep(blow.hold_s)
            proof = injection.proof
            if proof is None:
                self.journal.emit(
                    "fault.missed", f"{blow.fault} left no proof that it bit: {injection.why}.", fault=blow.fault
                )
                continue
            self.journal.emit(
                "fault.bite", f"{blow.fault} bit: {proof.observed}", at=proof.t_bite, fault=blow.fault,
                proof={"observed": proof.observed, **proof.details},
            )  # fmt: skip

    def _make(self, blow: Blow, number: int) -> Fault:
        parameters = dict(blow.parameters)
        return faults_there_are.make(blow.fault, seed=self.order.seed + number, **parameters)

    def _act(self, before_each_s: float = 0.0) -> None:
        for name in self.order.drill.acts:
            time.sleep(before_each_s)
            ACTS[name](self.guard, self.journal)

    def _recover(self, canary: Canary) -> None:
        self._notice(canary)
        try:
            if self.order.drill.response == "restart":
                self._kill("No process of the old service is left.")
            else:
                self._restore()
            self.guard.start_agents()
            if not self.stand.started:
                self.stand.start()
            self.stand.wait_ready(RECOVERY_TIMEOUT_S)
            self.journal.emit("serve.ready", "The service is ready again.")
            self._until(
                lambda: canary.verified_in_row >= CANARY_STEADY, RECOVERY_TIMEOUT_S, "The canary stayed silent."
            )
        except StandError as error:  # a service that does not come back is the run's finding, not the harness' end
            self.journal.emit("recovery.failed", str(error))

    def _fail_over(self, canary: Canary) -> None:
        """As whoever watches a primary does it: two failed looks, fence, promote."""
        pair = self.stand.cluster
        assert pair is not None
        assert pair.standby is not None
        try:
            missed = 0
            deadline = time.monotonic() + NOTICE_TIMEOUT_S
            while missed < MISSED_LOOKS and time.monotonic() < deadline:
                missed = 0 if pair.answers() else missed + 1
                time.sleep(LOOK_EVERY_S)
            self.journal.emit("notice", f"Noticed: the primary did not answer {missed} times in a row.")
            pair.fence(self.stand.companions)
            self.journal.emit("fence", "No process of the old primary is left, and its data has another name.")
            pair.standby.promote()
            self.journal.emit("promote.end", "The standby is the primary.")
            self.stand.wait_ready(RECOVERY_TIMEOUT_S)
            self.journal.emit("serve.ready", "The service is ready again.")
            self._until(
                lambda: canary.verified_in_row >= CANARY_STEADY, RECOVERY_TIMEOUT_S, "The canary stayed silent."
            )
        except (StandError, BackupError) as error:
            self.journal.emit("recovery.failed", str(error))

    def _notice(self, canary: Canary) -> None:
        with contextlib.suppress(StandError):  # a fault nobody notices is a finding, and the response comes anyway
            self._until(lambda: bool(canary.failing) or not self.stand.ready(), NOTICE_TIMEOUT_S, "Nobody noticed.")
            self.journal.emit("notice", f"Noticed: {canary.failing or 'the service says that it is not ready'}.")

    def _kill(self, text: str) -> None:
        self.stand.kill()
        self.guard.fence_agents()
        self.journal.emit("fence", text)

    def _restore(self) -> None:
        if self.stand.cluster is None:
            self._kill("Writers are fenced: no process of the old service is left.")
        else:
            self.stand.companions.kill(NAME)
            self.guard.fence_agents()
            waits = not self.stand.fenced()
            if not waits:  # Whoever has met damage trusts nothing any more, and is started anew.
                self.stand.kill()
            kept = "the service waits for the next one" if waits else "nor of the service, which had fenced itself"
            self.journal.emit("fence", f"No process of the old server is left; {kept}.")
        self._act()
        guard = self.guard
        told = self.stand.tool_json(
            "backup", "restore", *guard.database(), *guard.stores(*self._left()), *guard.opening(), "--yes"
        )
        (self.directory / "restore.json").write_bytes(msgspec.json.format(msgspec.json.encode(told)))
        self._tell_restoration(told)
        if self.stand.cluster is not None:
            self.stand.cluster.start(self.stand.companions)

    def _left(self) -> list[str]:
        """The addresses that a restore is told: those of the stores that the faults have left."""
        return [
            address
            for address in self.guard.addresses
            if "://" in address or address.startswith(SCHEME) or Path(address).is_dir()
        ]

    def _tell_restoration(self, told: dict[str, Any]) -> None:
        phases = {phase["name"]: phase for phase in told["phases"]}
        refused = told["refused"]
        says = f" after refusing {', '.join(one['id'] for one in refused)}" if refused else ""
        self.journal.emit(
            "decide", f"Backup {told['backup']} was chosen{says}.", at=phases["decide"]["end_t"],
            backup=told["backup"], refused=refused,
        )  # fmt: skip
        self.journal.emit("restore.begin", "The backup is being restored.", at=phases["decide"]["end_t"])
        self.journal.emit("restore.end", "The database is rebuilt.", at=phases["build"]["end_t"])
        if replayed := told.get("replayed"):
            until = f"{replayed['commits']} commits" if "commits" in replayed else f"The log up to {replayed['lsn']}"
            self.journal.emit("replay.end", f"{until}: replayed from what was shipped.", at=phases["replay"]["end_t"])
        self.journal.emit("verify.end", "It was checked and swapped in.", at=phases["swap"]["end_t"])

    def _after(self) -> None:
        time.sleep(self.order.pace.after_s)

    def _quiesce(self, sampler: Sampler) -> None:
        since = time.monotonic()
        with contextlib.suppress(StandError):  # what stays undelivered is counted by the checker
            self._until(lambda: sampler.delivered(since), QUIESCE_TIMEOUT_S, "The outbox did not empty.")
        self.journal.emit("quiesce", "Nothing is being written any more.")

    def _ask_again(self) -> None:
        asked = aftermath.ask_again(self.directory, self.stand.port)
        applied, silent = (sum(one.answer == answer for one in asked) for answer in ("applied", "none"))
        self.journal.emit(
            "unknown.asked",
            f"{len(asked)} writes had an unknown outcome: {applied} were applied, {len(asked) - applied - silent} not, and "
            f"of {silent} the service does not say.",
        )
        if self.stand.cluster is None:
            return
        try:
            remains = aftermath.look_at(self.stand.cluster)
        except psycopg.Error as error:
            self.journal.emit("server.away", f"The server could not be asked what is left: {error}")
            return
        self.journal.emit(
            "server.remains",
            f"The server ended {remains.deadlocks} deadlocks, and {len(remains.open)} transactions are left open.",
            **asdict(remains),
        )

    def _check(self) -> None:
        try:
            survived = survey.survey(self.stand.database_url, self.stand.run, self.directory)
        except DBAPIError as error:
            self.journal.emit("survey.failed", f"The database could not be read: {error.orig}.")
            return
        self.journal.emit("survey.done", f"{survived} operations of this run are in the database.")

    def _until(self, condition: Callable[[], bool], timeout_s: float, otherwise: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > deadline:
                raise StandError(otherwise)
            time.sleep(0.02)
