"""What the SQLite engine and its agent say to each other: one JSON line a message.

A module of its own, so that the process that asks never loads SQLite.
"""

from __future__ import annotations

import msgspec

from backups.facts import Facts


class TakeSnapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """Copy the live database to the new file `into`, and give its facts."""

    database: str
    into: str
    position_of: str | None


class CheckCopy(msgspec.Struct, frozen=True, tag="check"):
    """Compare a copy that nobody has open with the facts, content included."""

    copy: str
    facts: Facts
    deep: bool


class Reopen(msgspec.Struct, frozen=True, tag="reopen"):
    """Open a database as a service would, and check it briefly."""

    database: str
    facts: Facts


Request = TakeSnapshot | CheckCopy | Reopen


class Ticked(msgspec.Struct, frozen=True, tag="ticked"):
    """Work done so far; any number of these come before the answer."""

    done_bytes: int
    total_bytes: int
    phase: str


class Taken(msgspec.Struct, frozen=True, tag="taken"):
    """A snapshot was taken; every commit acknowledged before `taken_t` (monotonic) is in it."""

    facts: Facts
    taken_t: float


class Checked(msgspec.Struct, frozen=True, tag="checked"):
    """What is wrong, one sentence each; empty when nothing is."""

    findings: tuple[str, ...]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The work could not be done: SQLite's name of the error (`SQLITE_BUSY`) or `DAMAGED`, and what it said."""

    code: str
    message: str


Answer = Ticked | Taken | Checked | Failed
