"""pg_basebackup at work: what it sends as it comes, and why it ended when it ended badly."""

from __future__ import annotations

import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from backups.errors import BackupError, DatabaseDamaged, NoSpace
from backups.postgres.binaries import Binaries
from backups.postgres.connection import libpq

_READ_BYTES: Final = 1 << 20


class Sending:
    """The tape of one base backup, or with a `listing` of an increment on the backup that the server sent so.

    The program runs until the pieces are read or `close` is called.
    """

    def __init__(self, programs: Binaries, url: str, listing: bytes = b"") -> None:
        self._place = tempfile.TemporaryDirectory(prefix="gymkhana-base-")  # Nobody else may look into it.
        self._first = b""
        command = [
            programs.path("pg_basebackup"), "--pgdata=-", "--format=tar", "--wal-method=fetch", "--checkpoint=fast",
            "--manifest-checksums=SHA256", "--label=gymkhana", "--no-password",
            "-d", libpq(url, dbname="postgres", application_name="gymkhana-base"),
        ]  # fmt: skip
        if listing:
            earlier = Path(self._place.name) / "backup_manifest"
            earlier.write_bytes(listing)
            command.append(f"--incremental={earlier}")
        self._process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert self._process.stdout is not None
        assert self._process.stderr is not None
        self._tape = self._process.stdout
        self._said = _Listener(self._process.stderr)

    def begun(self) -> bool:
        """Whether the server sends, once it has agreed to; False when the program has ended without."""
        self._first = self._tape.read(_READ_BYTES)
        return bool(self._first)

    def pieces(self) -> Iterator[bytes]:
        """What it sends, once. Raises BackupError when it does not come to its end."""
        content = self._first or self._tape.read(_READ_BYTES)
        self._first = b""
        while content:
            yield content
            content = self._tape.read(_READ_BYTES)
        if self._process.wait() != 0:
            raise _failed(self._said.last())

    def why(self) -> str:
        """What it said last, for people."""
        return _plain(self._said.last())

    def close(self) -> None:
        """The program has ended."""
        self._process.kill()
        self._process.wait()
        self._said.end()
        self._tape.close()
        self._place.cleanup()


class _Listener:
    """Takes what a program says, so that it never waits for somebody to read it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._lines: list[bytes] = []
        self._stream = stream
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def last(self) -> str:
        """The last line that says what is wrong."""
        self._thread.join(5.0)
        lines = [line.decode(errors="replace").strip() for line in self._lines if line.strip()]
        wrong = [line for line in lines if "error" in line or "FATAL" in line]
        return (wrong or lines or ["it did not say why"])[-1]

    def end(self) -> None:
        """The program has ended, and everything that it said is taken."""
        self._thread.join(5.0)
        if not self._thread.is_alive():
            self._stream.close()

    def _listen(self) -> None:
        for line in self._stream:
            self._lines = [*self._lines[-50:], line]


def _failed(said: str) -> BackupError:
    if "No space left" in said:
        return NoSpace(f"The server ran out of room while it was backed up: {said}")
    if "invalid page" in said or "checksum" in said:
        return DatabaseDamaged(
            f"The cluster is damaged, so no backup was made of it; the older ones are untouched, restore one: {said}"
        )
    return BackupError(f"pg_basebackup failed: {_plain(said)}")


def _plain(said: str) -> str:
    """The program's line without its own name and ranks in it."""
    for word in ("pg_basebackup: ", "error: ", "could not initiate base backup: ", "could not upload manifest: "):
        said = said.removeprefix(word)
    return " ".join(said.replace("ERROR:", "").split())
