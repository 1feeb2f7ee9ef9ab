"""What can go wrong with a migration, each as one plain sentence: what, on what, and what to do next.

Whatever is raised, the database is at a revision, whole: each revision is one transaction.
"""

from __future__ import annotations

from typing import ClassVar


class MigrationError(Exception):
    """Base of the family. `exit_code` is what a command line should end with."""

    exit_code: ClassVar[int] = 1


class RevisionFailed(MigrationError):
    """A revision could not be carried out; nothing of it was kept."""


class DatabaseBusy(MigrationError):
    """Another process kept the database locked for longer than was waited."""


class BadRequest(MigrationError):
    """What was asked for makes no sense, whatever the state of the database."""

    exit_code: ClassVar[int] = 2


class NotADatabase(BadRequest):
    """What lies at the place named cannot be read as a database."""


class NotOurs(BadRequest):
    """The database holds tables, and none of them says at which revision it is."""


class NewerSchema(BadRequest):
    """The database is at a revision that this version does not know."""
