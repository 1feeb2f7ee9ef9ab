"""What the SQLite engine and its agent say to each other: one JSON line a message, and blocks over a pipe of their own.

A module of its own, so that the process that asks never loads SQLite.
"""

from __future__ import annotations

import msgspec

from backups.format.facts import Facts, TableContent


class TakeSnapshot(msgspec.Struct, frozen=True, tag="snapshot"):
    """Send the image of the live database over the pipe with that descriptor, and then its facts.

    The answers are `Opened`, before the first block, and `Taken`, after the last. Each block comes after its length (four
    bytes, little-endian); a length of 0 ends the image, and a pipe that ends without one is an image cut short. It is given
    up with the code `LOG_GREW` once the log has grown by more than `log_cap_bytes` meanwhile.
    """

    database: str
    pipe: int
    position_of: str | None
    log_cap_bytes: int


class CheckCopy(msgspec.Struct, frozen=True, tag="check"):
    """Check a copy that nobody has open, and compare it with the facts if there are any."""

    copy: str
    facts: Facts | None
    deep: bool


class Reopen(msgspec.Struct, frozen=True, tag="reopen"):
    """Open a database as a service would, and check it briefly."""

    database: str
    facts: Facts | None


class DigestCopy(msgspec.Struct, frozen=True, tag="digest"):
    """Give the digest of every table of a copy that nobody has open."""

    copy: str


Request = TakeSnapshot | CheckCopy | Reopen | DigestCopy


class Ticked(msgspec.Struct, frozen=True, tag="ticked"):
    """Work done so far; any number of these come before the answer."""

    done_bytes: int
    total_bytes: int
    phase: str


class Opened(msgspec.Struct, frozen=True, tag="opened"):
    """The image is held still; every commit acknowledged before `taken_t` (monotonic) is in it."""

    unit_bytes: int
    units: int
    taken_t: float


class Taken(msgspec.Struct, frozen=True, tag="taken"):
    """The whole image was sent, the database is sound, and these are its facts."""

    facts: Facts


class Checked(msgspec.Struct, frozen=True, tag="checked"):
    """What is wrong, one sentence each; empty when nothing is."""

    findings: tuple[str, ...]


class Digested(msgspec.Struct, frozen=True, tag="digested"):
    """What every table holds."""

    content: dict[str, TableContent]


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """The work could not be done: SQLite's name of the error, `DAMAGED`, `LOG` or `LOG_GREW`, and what it said."""

    code: str
    message: str


Answer = Ticked | Opened | Taken | Checked | Digested | Failed
