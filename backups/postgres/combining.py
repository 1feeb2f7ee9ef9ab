"""Native increments laid over the whole base backup they build on, by pg_combinebackup of their own major version."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from backups.errors import BackupError, Damaged, NoSpace
from backups.postgres.binaries import Binaries, own, unprivileged

_LINKS_SINCE: Final = 18


def combine(parts: Sequence[Path], into: Path, programs: Binaries) -> None:
    """The data directory `into`, from the unpacked backups, the whole one first; it is not synced yet.

    From 18 on the files that did not change are the parts' own, by another name, so the parts are good for nothing more but
    to be removed. Raises Damaged when they do not fit together, and NoSpace.
    """
    into.mkdir(mode=0o700)
    for place in (*parts, into):
        own(place)
    command = [
        programs.path("pg_combinebackup"), "--no-sync", "--manifest-checksums=SHA256",
        *(["--link"] if programs.major >= _LINKS_SINCE else []), f"--output={into}", *map(str, parts),
    ]  # fmt: skip
    done = subprocess.run(unprivileged(command), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise refusal(done.stderr, done.returncode)


def refusal(said: str, code: int) -> BackupError:
    """What it means that the program said that and ended with this code."""
    lines = [line.removeprefix("pg_combinebackup: ").removeprefix("error: ") for line in said.splitlines()]
    wrong = [line for line in lines if line and not line.startswith(("warning:", "hint:", "detail:"))]
    last = wrong[-1] if wrong else f"it ended with code {code}"
    if "No space left" in said:
        return NoSpace(
            f"The disk is full, so the increments were not put together: {last}. Free some space and run it again."
        )
    return Damaged(f"Its increments cannot be put together: {last}.")
