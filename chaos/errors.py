"""What can go wrong around a fault, each as one plain sentence: what, on what, and what to do next.

`exit_code` is what a command line should end with: 1 when it did not work, 2 when what was asked for makes no sense or must
not be touched, 4 when the harness itself could not keep its word. A fault that did not bite is no error: it has no proof.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar


class ChaosError(Exception):
    """Base of the family. `str()` is one sentence for people."""

    exit_code: ClassVar[int] = 1


class UsageError(ChaosError):
    """There is no such fault, or it has no such parameter, or the value is out of bounds."""

    exit_code: ClassVar[int] = 2


class NotTarget(ChaosError):
    """The place is not marked as one that faults may break, or a path leads out of it."""

    exit_code: ClassVar[int] = 2


class NotOurs(ChaosError):
    """A process has the pid that was published and is not the one that published it."""

    exit_code: ClassVar[int] = 2


class NothingToBreak(ChaosError):
    """The target lacks what the fault is played on: no running writer, no database, no backup."""

    exit_code: ClassVar[int] = 2


class NotGuarded(ChaosError):
    """The undo could not be secured first, so nothing was injected."""

    exit_code: ClassVar[int] = 4


class NotHealed(ChaosError):
    """An undo did not succeed. Its lease is still there, and the undo can be tried again."""

    exit_code: ClassVar[int] = 4


class AtWork(NotHealed):
    """The lease is in somebody's hands right now, who plays the fault or undoes it."""


@contextmanager
def plainly(what: str) -> Iterator[None]:
    """Turn an OSError of the block into a ChaosError that says where. `what` is the work: `damaging x`."""
    try:
        yield
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        raise ChaosError(f"{what[:1].upper()}{what[1:]} failed: {error.strerror or error}{where}.") from error
