"""A fault of other people's connections: somebody takes the database's write lock and does not let go."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

import msgspec

from chaos import sqlite_process
from chaos.fault import Healing, Injection, Missed, Proof, leased
from chaos.identity import Identity
from chaos.parameters import Seconds
from chaos.target import Target
from chaos.undo import Kill

MARGIN_S = 2.0
"""The holder lets go when its time is up; the watchdog kills one that hangs this much later."""
END_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldWriteLock:
    """A process of its own holds the write lock; when it dies, the kernel lets go of the lock."""

    name: ClassVar[str] = "hold-write-lock"
    summary: ClassVar[str] = "Another connection takes the database's write lock (BEGIN IMMEDIATE) and holds it."
    healing: ClassVar[Healing] = "by undo"

    seconds: Seconds = 5.0

    @property
    def leaves(self) -> str:
        return ""

    def plan(self, target: Target) -> tuple[str, ...]:
        return (f"Take the write lock of {target.existing_database()} for {self.seconds:g} s at most.",)

    @contextmanager
    def inject(self, target: Target) -> Iterator[Injection]:
        database = target.existing_database()
        with sqlite_process.holder(database, self.seconds) as process:
            identity = Identity.of(process.pid)
            assert identity is not None, "a child that was not waited for is there"
            try:
                # It takes the lock when it is told to, which is after the lease is durable.
                with leased(
                    target,
                    self.name,
                    Kill((identity,)),
                    act=lambda _: Injection.of(_held(target, process)),
                    seconds=self.seconds + MARGIN_S,
                ) as injection:
                    yield injection
            finally:
                process.kill()


def _held(target: Target, process: subprocess.Popen[bytes]) -> Proof | Missed:
    assert process.stdin is not None
    assert process.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        process.stdin.write(b"take it\n")
    answer = process.stdout.readline()
    if not answer:
        return Missed("the write lock could not be had: others kept it, or the database does not open")
    held = msgspec.json.decode(answer, type=sqlite_process.Held)
    if not sqlite_process.locked(target.database):
        return Missed("a second connection could still take the write lock")
    return Proof(
        f"Process {process.pid} holds the write lock, and a second connection is refused it.",
        held.t,
        {"holder": process.pid},
    )
