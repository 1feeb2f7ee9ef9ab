"""Is the database file still the one we opened, and is what SQLite said about it survivable?

SQLite goes on acknowledging writes into a file that was deleted or replaced under it. So the file's identity (device and
inode) is compared with the path's before a batch begins and again between its commit and its acknowledgements.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DBAPIError

_ERROR, _LOCKED, _SCHEMA, _CONSTRAINT = 1, 6, 17, 19
_BUSY, _NOMEM, _READONLY, _INTERRUPT, _IOERR, _CORRUPT, _FULL, _CANTOPEN, _NOTADB = 5, 7, 8, 9, 10, 11, 13, 14, 26

_FATAL = {_IOERR: "cannot be read or written", _CORRUPT: "is damaged", _NOTADB: "is not a database any more"}
_FATAL[_CANTOPEN] = "cannot be opened"


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """The device and inode behind a path at one moment."""

    path: Path
    device: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> FileIdentity:
        """The identity of the file now at `path`. Raises FileNotFoundError when there is none."""
        status = path.stat()
        return cls(path, status.st_dev, status.st_ino)

    def trouble(self) -> str:
        """Empty while the path still leads to this file, else one sentence saying how it does not."""
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return f"The database file {self.path} was removed."
        except OSError as error:
            return f"The database file {self.path} cannot be reached: {error.strerror}."
        if (status.st_dev, status.st_ino) != (self.device, self.inode):
            return f"The database file {self.path} was replaced by another one."
        return ""


def error_code(error: BaseException) -> int:
    """The primary SQLite result code behind an exception, 0 when it carries none."""
    original = error.orig if isinstance(error, DBAPIError) else error
    code = getattr(original, "sqlite_errorcode", 0)
    return int(code) & 0xFF


def fatal(error: BaseException) -> str:
    """What is wrong with the database file when `error` says that it cannot be trusted any more, else empty."""
    return _FATAL.get(error_code(error), "")


def interrupted(error: BaseException) -> bool:
    """True when the statement ran over its time budget and was stopped."""
    return error_code(error) == _INTERRUPT


def transient(error: BaseException) -> bool:
    """True when nothing was written and trying again later may work: busy, out of memory or space, read-only."""
    return error_code(error) in (_BUSY, _NOMEM, _FULL, _READONLY)


def of_one_table(error: BaseException) -> bool:
    """True when the statement failed for what it asked of its table, and the transaction around it lives on."""
    return error_code(error) in (0, _ERROR, _LOCKED, _SCHEMA, _CONSTRAINT)


def unwritable(error: BaseException) -> str:
    """Why nothing can be written for now though everything can be read, else empty."""
    return {_FULL: "The disk is full.", _READONLY: "The database is read-only."}.get(error_code(error), "")
