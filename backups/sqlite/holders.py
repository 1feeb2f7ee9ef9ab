"""Which processes have a file open, asked of /proc.

Files are matched by device and inode, and by the name with which they were opened, so that a process that still writes to
a deleted database is found too. Processes of other users stay invisible to anyone but root: the kernel hides their files.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_DELETED = " (deleted)"
_Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Holder:
    """A process with the file at `path` open; `command` is its command line, for people."""

    pid: int
    command: str
    path: Path

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


def holders_of(paths: Iterable[Path]) -> tuple[Holder, ...]:
    """The processes with any of these files open, each once, by pid. Files that do not exist may be named."""
    wanted = tuple(path.absolute() for path in paths)
    identities = {identity: path for path in wanted if (identity := _identity(path))}
    names = {name: path for path in wanted for name in (str(path.resolve()), f"{path.resolve()}{_DELETED}")}
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit() and (path := _first_open(process, identities, names)):
            found.append(Holder(int(process.name), command_of(int(process.name)), path))
    return tuple(sorted(found, key=lambda holder: holder.pid))


def _first_open(process: Path, identities: dict[_Identity, Path], names: dict[str, Path]) -> Path | None:
    for descriptor in _descriptors(process):
        try:
            name = str(descriptor.readlink())
        except OSError:
            continue  # Closed between the listing and the look: no longer open.
        if not name.startswith("/"):
            continue  # A socket or a pipe.
        path = names.get(name)
        if path is None and (identity := _identity(descriptor)):
            path = identities.get(identity)
        if path is not None:
            return path
    return None


def _descriptors(process: Path) -> Iterator[Path]:
    try:
        yield from (process / "fd").iterdir()
    except OSError:
        return  # The process ended, or belongs to somebody else.


def _identity(path: Path) -> _Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def command_of(pid: int) -> str:
    """The command line of that process, for people."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return "ended"
    words = " ".join(words.split())
    return words if len(words) <= 60 else f"{words[:57]}..."
