"""Faults of processes: killed, killed in part, and held still."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import ClassVar

from chaos import service
from chaos.errors import ChaosError, plainly
from chaos.fault import Healing, Injection, Missed, Proof, leased
from chaos.identity import Identity
from chaos.lease import Leases
from chaos.parameters import Companion, Seconds
from chaos.target import Target
from chaos.undo import Continue, Kill

DEADLINE_S = 5.0
"""How long the kernel may take to deliver a signal before it counts as not delivered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KillService:
    """Every process of the service dies at once, the supervisor first, so that nothing starts them again."""

    name: ClassVar[str] = "kill-service"
    summary: ClassVar[str] = "Every process of the service gets SIGKILL, the supervisor first."
    healing: ClassVar[Healing] = "by starting it again"

    @property
    def leaves(self) -> str:
        return "The service is down; start it again."

    def plan(self, target: Target) -> tuple[str, ...]:
        return tuple(f"SIGKILL to the {name}, process {one.pid}." for name, one in target.processes().items())

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        processes = target.processes()
        # Half a service is worse than none: should the runner die here, the watchdog finishes the work.
        undo = Kill(tuple(processes.values()))
        return leased(target, self.name, undo, act=lambda _: Injection.of(killed(processes)), seconds=DEADLINE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class KillWriter:
    """The writer dies; its supervisor starts another, so there is nothing to undo."""

    name: ClassVar[str] = "kill-writer"
    summary: ClassVar[str] = "The process that writes the database gets SIGKILL; its supervisor starts another."
    healing: ClassVar[Healing] = "by itself"

    @property
    def leaves(self) -> str:
        return ""

    def plan(self, target: Target) -> tuple[str, ...]:
        return (f"SIGKILL to the writer, process {target.processes(service.WRITER)[service.WRITER].pid}.",)

    @contextmanager
    def inject(self, target: Target) -> Iterator[Injection]:
        yield Injection.of(killed({service.WRITER: target.processes(service.WRITER)[service.WRITER]}))


@dataclass(frozen=True, slots=True, kw_only=True)
class KillCompanion:
    """A process that works for the service without being part of it dies, and nobody is told."""

    name: ClassVar[str] = "kill-companion"
    summary: ClassVar[str] = "A process beside the service (scheduler, object store, database server) gets SIGKILL."
    healing: ClassVar[Healing] = "by starting it again"

    companion: Companion = "scheduler"

    @property
    def leaves(self) -> str:
        return f"The {self.companion} is down; start it again."

    def plan(self, target: Target) -> tuple[str, ...]:
        return (f"SIGKILL to the {self.companion}, process {target.companion(self.companion).pid}.",)

    @contextmanager
    def inject(self, target: Target) -> Iterator[Injection]:
        yield Injection.of(killed({self.companion: target.companion(self.companion)}))


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseService:
    """Every process of the service stands still, and goes on where it was."""

    name: ClassVar[str] = "pause-service"
    summary: ClassVar[str] = "Every process of the service is stopped (SIGSTOP) and continued later (SIGCONT)."
    healing: ClassVar[Healing] = "by undo"

    seconds: Seconds = 10.0

    @property
    def leaves(self) -> str:
        return ""

    def plan(self, target: Target) -> tuple[str, ...]:
        return tuple(f"SIGSTOP to the {name}, process {one.pid}." for name, one in target.processes().items())

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        processes = target.processes()
        undo = Continue(tuple(processes.values()))
        return leased(target, self.name, undo, act=lambda _: Injection.of(stopped(processes)), seconds=self.seconds)


def killed(processes: Mapping[str, Identity]) -> Proof | Missed:
    """Kill these processes, in order; the proof is that each is gone, at the time the last one was.

    One that dies with the supervisor before its own signal comes is killed all the same.
    """
    with plainly(f"killing {_named(processes)}"):
        hits = [process.signal(signal.SIGKILL) for process in processes.values()]
    if not any(hits):
        return Missed("every process had ended by itself before")
    left = [name for name, process in processes.items() if not process.wait_until(timeout_s=DEADLINE_S)]
    if left:
        return Missed(f"{' and '.join(left)} survived SIGKILL")
    return Proof(f"{_named(processes)} died of SIGKILL.", time.monotonic(), {"killed": _pids(processes)})


def stopped(processes: Mapping[str, Identity]) -> Proof | Missed:
    """Stop these processes, in order; the proof is that the kernel calls each one that lives stopped."""
    with plainly(f"stopping {_named(processes)}"):
        for process in processes.values():
            process.signal(signal.SIGSTOP)
    for process in processes.values():
        process.wait_until(stopped=True, timeout_s=DEADLINE_S)
    moving = [name for name, process in processes.items() if process.alive and not process.stopped]
    still = {name: process for name, process in processes.items() if process.stopped}
    if moving or not still:
        return Missed(f"{' and '.join(moving)} did not stop" if moving else "every process had ended by itself before")
    return Proof(f"{_named(still)} stand still (state T).", time.monotonic(), {"stopped": _pids(still)})


@contextmanager
def writer_held_still(target: Target, seconds: float) -> Iterator[None]:
    """For the block, nothing of the service writes to the database, and nothing starts a writer; then they go on.

    Raises ChaosError when the writer does not stop, or when the block took longer than `seconds`, for then the watchdog let
    it go on.
    """
    living = service.living(target.runtime)
    processes = {name: one for name, one in living.items() if name in (service.SUPERVISOR, service.WRITER)}
    if not processes:
        yield
        return
    lease = Leases(target.leases).take("hold the writer still", Continue(tuple(processes.values())), seconds=seconds)
    try:
        stopped(processes)
        if any(process.alive and not process.stopped for process in processes.values()):
            raise ChaosError(f"The writer of {target.database} does not stop, so its files cannot be damaged safely.")
        yield
        if lease.ended:
            raise ChaosError(f"Damaging {target.database} took longer than {seconds:.0f} s, and the writer went on.")
    finally:
        lease.undo()


def _named(processes: Mapping[str, Identity]) -> str:
    return ", ".join(f"{name} {process.pid}" for name, process in processes.items())


def _pids(processes: Mapping[str, Identity]) -> dict[str, int]:
    return {name: process.pid for name, process in processes.items()}
