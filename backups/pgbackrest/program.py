"""pgBackRest itself, asked for one stanza: where it is, of which version, and what it says no with, as one sentence."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backups.errors import BackupError, Damaged, InUse, Locked, NoSpace, UsageError
from backups.pgbackrest import versions
from backups.pgbackrest.versions import Version
from backups.postgres.binaries import unprivileged

NAME: Final = "pgbackrest"
RETRY_AT_ONCE: Final = ("--job-retry=1", "--job-retry-interval=0")
"""A file that is damaged is so after its quarter of a minute, too, and an outage lasts as much longer."""
_ERROR: Final = re.compile(r"ERROR: \[(?P<code>\d+)\]: (?P<said>.*?)(?=\n\S|\Z)", re.DOTALL)
_OF_A_WORKER: Final = re.compile(r"raised from \S+ protocol: ")
_RETRIED: Final = re.compile(r"\s*\[\w+\] on retry after \d+ms")
_DAMAGED: Final = frozenset((26, 28, 29, 42, 55, 95))
"""Its codes for a wrong checksum, file or format, and for what cannot be read, is missing, or is not decrypted."""
_ASKED_WRONGLY: Final = frozenset((*range(27, 38), 46, 68, 87))
"""Its codes for a configuration, an option, a server's version or an archiving that will not do."""


class NoPgBackRest(UsageError):
    """The program is not here, or does not work with the server's version."""


@dataclass(frozen=True, slots=True)
class Program:
    """The program with one stanza and, unless it is to find it by itself, one configuration file."""

    stanza: str
    config: Path | None = None

    @property
    def version(self) -> Version:
        """Its version. Raises NoPgBackRest."""
        return installed_version()

    def require_fit(self, major: int) -> None:
        """Return when it works with a server of that major version, else raise NoPgBackRest saying what that needs."""
        if why := versions.misfit(self.version, major):
            raise NoPgBackRest(why)

    def command(self, verb: str, *options: str) -> tuple[str, ...]:
        """The words that run that verb."""
        config = () if self.config is None else (f"--config={self.config}",)
        return (_path(), *config, f"--stanza={self.stanza}", *options, verb)

    def run(self, verb: str, *options: str) -> str:
        """What it printed, with its errors on standard error alone. Raises a BackupError for what it says no with.

        It runs as who may run the server: the files of a repository belong to one user.
        """
        quiet = ("--log-level-stderr=error", *(() if verb == "verify" else ("--log-level-console=off",)))
        done = subprocess.run(
            unprivileged(self.command(verb, *quiet, *options)),
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            raise refusal(verb, done.returncode, done.stderr)
        return done.stdout

    def fetch_command(self, data: Path) -> str:
        """A `restore_command` for a cluster built at that place.

        PostgreSQL takes an exit code below 126 for the end of the log, and stops at one above it. Only 1 says that there is
        no such segment: a damaged one must not pass for the end, and lose in silence whatever comes after it.
        """
        words = shlex.join(self.command("archive-get", f"--pg1-path={data}", "--log-level-console=off"))
        return f'{words} %f "%p"; code=$?; [ $code -le 1 ] || code=255; exit $code'


def installed_version() -> Version:
    """The version of the program that is here. Raises NoPgBackRest."""
    done = subprocess.run([_path(), "version"], capture_output=True, text=True, check=False)
    version = versions.read(done.stdout)
    if version is None:
        raise NoPgBackRest(f"{_path()} does not tell its version: {' '.join((done.stdout or done.stderr).split())}")
    return version


def refusal(verb: str, code: int, said: str) -> BackupError:
    """What that exit code and those words mean, the first line of them without what is about workers and retries."""
    found = _ERROR.search(said)
    text = _RETRIED.sub("", _OF_A_WORKER.sub("", found["said"])) if found else said.strip() or f"it ended with {code}"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    hints = [line for line in lines if line.startswith("HINT: ")]
    sentence = f"pgBackRest {verb} says: {lines[0] if lines else f'it ended with {code}'}"
    sentence += f" ({hints[0].removeprefix('HINT: ').rstrip('.')})." if hints else "."
    if code in _DAMAGED:
        return Damaged(sentence)
    kinds: Sequence[tuple[bool, type[BackupError]]] = (
        (code in _ASKED_WRONGLY, UsageError),
        (code == 38, InUse),
        (code == 50, Locked),
        ("No space left" in sentence, NoSpace),
    )
    return next((kind for holds, kind in kinds if holds), BackupError)(sentence)


def _path() -> str:
    path = shutil.which(NAME)
    if path is None:
        raise NoPgBackRest("There is no pgbackrest here; install it, on Debian with: apt-get install pgbackrest.")
    return path
