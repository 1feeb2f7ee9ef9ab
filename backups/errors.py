"""What can go wrong with a backup, each as one plain sentence: what, on what, and what to do next.

`exit_code` is what a command line should end with: 1 when the answer is no, 2 when the request itself was wrong.
`Damaged` speaks of one backup and is the only one a restore answers by itself, by falling back to an older backup.
"""

from __future__ import annotations

from typing import ClassVar


class BackupError(Exception):
    """Base of the family. `str()` is one sentence for people."""

    exit_code: ClassVar[int] = 1


class UsageError(BackupError):
    """What was asked for makes no sense, whatever the state of the disks: a wrong name, a wrong kind, a missing yes."""

    exit_code: ClassVar[int] = 2


class NoSuchDatabase(UsageError):
    """There is no database at the place named."""


class NotADatabase(UsageError):
    """What lies at the place named is not a database of the engine asked for."""


class StoreUnusable(UsageError):
    """The place named cannot be a store: it is a file, does not exist, or is of a kind not known here."""


class NotSeparate(UsageError):
    """The store would die together with the database it protects."""


class NoSuchBackup(UsageError):
    """The store holds no backup of that name."""


class StoreError(BackupError):
    """The store refused or failed: permissions, a read error, a file system that cannot do what durability needs."""


class ObjectMissing(StoreError):
    """The store has no object of that name."""


class NameTaken(StoreError):
    """The store has an object of that name already, and objects are written once."""


class NoSpace(BackupError):
    """There is not enough room. Nothing partial is left behind and nothing older was touched."""


class ClockJumped(BackupError):
    """The clock and the order of the backups contradict each other, so nothing is deleted by age."""


class Locked(BackupError):
    """Somebody else is at work here; the sentence names who, and since when."""


class InUse(BackupError):
    """Processes have the database open; the sentence names them."""


class Busy(BackupError):
    """The database kept its lock, or did not answer before the deadline."""


class HalfRestored(BackupError):
    """A restore had begun to change the database and did not end: as it stands it is neither the old one nor the new one."""


class DatabaseDamaged(BackupError):
    """The database that was to be backed up cannot be read whole, so no backup was made of it."""


class LogLost(BackupError):
    """The log of the live database cannot be read any more: its files went, or are not those that were opened."""


class LogBroken(BackupError):
    """What is in the log of the live database does not follow on what was shipped of it."""


class Damaged(BackupError):
    """One backup is not what its manifest says, or has no readable manifest.

    `backup` is the one whose own objects are to blame, when that is known: of a chain, all that build on it.
    """

    def __init__(self, message: str, backup: str | None = None) -> None:
        super().__init__(message)
        self.backup = backup


class NoParent(BackupError):
    """There is no backup that an incremental one could build on; the sentence says why."""


class NothingToRestore(BackupError):
    """No backup in the store can be used for this; the sentence says why of each."""


class KeyUnusable(UsageError):
    """A key file, or a key, is not what it is given as: unreadable, open to others, or of a kind not known here."""


class KeyMissing(UsageError):
    """The backup is sealed, and no key is at hand that could open it."""


class WrongKey(UsageError):
    """The keys at hand are good keys, and none of them ever opened this backup."""


class KeyRotated(UsageError):
    """The keys at hand open other backups of the same store: this one was sealed to the keys used before or since."""
