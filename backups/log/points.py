"""Points in time to which a database can be put back from its shipped log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from backups.errors import UsageError


@dataclass(frozen=True, slots=True)
class Newest:
    """As far as the log goes."""

    def __str__(self) -> str:
        return "the newest state"


@dataclass(frozen=True, slots=True)
class AtTime:
    """With every commit that was shipped by then, and none that was shipped later."""

    instant: datetime

    def __post_init__(self) -> None:
        if self.instant.utcoffset() is None:
            raise UsageError(
                f"{self.instant.isoformat()} does not say in which zone: add its offset, such as +00:00 or Z at the end."
            )

    def __str__(self) -> str:
        return f"the state of {self.instant.isoformat()}"


@dataclass(frozen=True, slots=True)
class AtPosition:
    """After the commit by which the application first came so far."""

    position: int

    def __str__(self) -> str:
        return f"the state at position {self.position}"


Point = Newest | AtTime | AtPosition


def at_time(text: str) -> AtTime:
    """The instant written there, as `2026-11-23T09:00:00+01:00`. Raises UsageError, also when it names no offset."""
    try:
        return AtTime(datetime.fromisoformat(text))
    except ValueError as error:
        raise UsageError(f"{text!r} is no instant; write it as 2026-11-23T09:00:00+01:00.") from error
