"""What a fault is: a frozen value with a scope, which proves that it bit or says that it cannot tell.

    with make("pause-service", seconds=5).inject(target) as injection:
        ...                      # the service stands still
        injection.proof          # what was observed, and when; None makes the run unknown
                                 # leaving heals, Ctrl-C included; what cannot heal says so in `leaves`

To add one: a frozen, slotted dataclass in the module of its family, a line in `FAULTS`, a row in the tests' tables.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, Protocol

from chaos import parameters
from chaos.errors import UsageError
from chaos.lease import Lease, Leases
from chaos.target import Target
from chaos.undo import Undo

Healing = Literal["by itself", "by undo", "by starting it again", "by restoring"]
"""How the target gets well: without anybody, by leaving the block, or by an operator's hand after it."""

FAULTS: Mapping[str, str] = {
    "kill-service": "chaos.process:KillService",
    "kill-writer": "chaos.process:KillWriter",
    "kill-companion": "chaos.process:KillCompanion",
    "pause-service": "chaos.process:PauseService",
    "kill-connections": "chaos.connections:KillConnections",
    "fail-in-transaction": "chaos.connections:FailInTransaction",
    "hold-write-lock": "chaos.write_lock:HoldWriteLock",
    "corrupt-database": "chaos.files:CorruptDatabase",
    "corrupt-wal": "chaos.files:CorruptWal",
    "delete-database": "chaos.files:DeleteDatabase",
    "terminate-backends": "chaos.postgres:TerminateBackends",
    "cancel-statements": "chaos.postgres:CancelStatements",
    "hold-table-lock": "chaos.postgres:HoldTableLock",
    "exhaust-connections": "chaos.postgres:ExhaustConnections",
    "idle-in-transaction": "chaos.postgres:IdleInTransaction",
    "deadlock-pairs": "chaos.postgres:DeadlockPairs",
    "kill-postmaster": "chaos.server:KillPostmaster",
    "kill-backend": "chaos.server:KillBackend",
    "pause-postmaster": "chaos.server:PausePostmaster",
    "delete-data-directory": "chaos.server:DeleteDataDirectory",
    "delete-wal-segment": "chaos.server:DeleteWalSegment",
    "corrupt-relation": "chaos.server:CorruptRelation",
    "latency": "chaos.network:Latency",
    "partition": "chaos.network:Partition",
    "cut-after-commit": "chaos.network:CutAfterCommit",
    "corrupt-newest-backup": "chaos.backup_store:CorruptNewestBackup",
    "delete-store": "chaos.backup_store:DeleteStore",
}
"""Every fault by name, and where it is; each is imported when it is asked for."""


ACTING_S = 60.0
"""How long a fault may take to act before its watchdog stops waiting for it."""


@dataclass(frozen=True, slots=True)
class Proof:
    """That a fault bit: what was observed, in words, when (monotonic seconds), and the facts behind it (JSON values)."""

    observed: str
    t_bite: float
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Missed:
    """That there is no proof (yet), and why."""

    why: str


@dataclass(frozen=True, slots=True)
class Injection:
    """A fault under way. It may bite later than it was injected, so each question looks anew, unless it is `settled`."""

    look: Callable[[], Proof | Missed]
    settled: bool = False

    @classmethod
    def of(cls, finding: Proof | Missed) -> Injection:
        """An injection of which everything is known already."""
        return cls(lambda: finding, settled=True)

    @property
    def proof(self) -> Proof | None:
        """The proof that it bit. None makes the run unknown, never passed."""
        finding = self.look()
        return finding if isinstance(finding, Proof) else None

    @property
    def why(self) -> str:
        """Why there is no proof; empty when there is."""
        finding = self.look()
        return finding.why if isinstance(finding, Missed) else ""


class Fault(Protocol):
    """The contract of a fault. Its fields are its parameters, with units in their names; it holds nothing else."""

    name: ClassVar[str]
    summary: ClassVar[str]
    """One sentence: what it does."""
    healing: ClassVar[Healing]

    @property
    def leaves(self) -> str:
        """What is left to do after the block, as a sentence; empty when leaving it heals."""

    def plan(self, target: Target) -> tuple[str, ...]:
        """What `inject` would touch, one sentence each. Touches nothing; raises as `inject` would."""

    def inject(self, target: Target) -> AbstractContextManager[Injection]:
        """The fault acts from entering to leaving. Its undo is durable before it acts, and a watchdog has it.

        Entering raises a ChaosError when it could not be played; then nothing is broken. That it was played and did not bite
        is no error: there is no proof then.
        """


@contextmanager
def leased(
    target: Target, name: str, *undo: Undo, act: Callable[[Lease], Injection], seconds: float, leave: bool = False
) -> Iterator[Injection]:
    """The scope of a fault: `act` is done under a lease that is undone on leaving, or after `seconds`, or with the runner.

    With `leave` a block that went well only closes the lease.
    """
    lease = Leases(target.leases).take(name, *undo, seconds=ACTING_S)
    try:
        with lease.acting():
            injection = act(lease)
            lease = lease.renewed(seconds)
        yield injection
    except BaseException:
        lease.undo()
        raise
    if leave:
        lease.close()
    else:
        lease.undo()


def kind(name: str) -> type[Fault]:
    """The class of that fault. Raises UsageError with the nearest name."""
    if name not in FAULTS:
        near = difflib.get_close_matches(name, FAULTS, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(FAULTS)}."
        raise UsageError(f"There is no fault {name}; {hint}")
    module, _, attribute = FAULTS[name].partition(":")
    found: type[Fault] = getattr(importlib.import_module(module), attribute)
    return found


def make(name: str, *, seed: int | None = None, **given: Any) -> Fault:
    """The fault of that name with these parameters, as values or as text; the rest as by default.

    `seed` is dropped by faults without chance. Raises UsageError for a wrong name, parameter or value.
    """
    cls = kind(name)
    if seed is not None and "seed" in (one.name for one in fields(cls)):  # type: ignore[arg-type]
        given["seed"] = seed
    return parameters.build(cls, name, given)
