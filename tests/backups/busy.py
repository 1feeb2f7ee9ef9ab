"""A process that commits hundreds of times a second, and writes down each commit once it is acknowledged.

    python -m tests.backups.busy DATABASE ACKNOWLEDGED AUTOCHECKPOINT SEED

It adds operations, and also changes, grows and removes what is there already. Each line of ACKNOWLEDGED is the highest
sequence that is committed, and when that was known (monotonic). It ends with its stdin.
"""

from __future__ import annotations

import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.backups import databases


@dataclass(frozen=True, slots=True)
class Writer:
    """The process, and what it has acknowledged so far."""

    pid: int
    acknowledged: Path

    def commits(self) -> list[tuple[int, float]]:
        """Sequence and time of each, in order."""
        whole = self.acknowledged.read_text().rpartition("\n")[0]
        return [(int(sequence), float(at_t)) for sequence, at_t in map(str.split, whole.splitlines())]

    def newest_before(self, at_t: float) -> int:
        """The last sequence that was acknowledged before then."""
        return max(sequence for sequence, known_t in self.commits() if known_t < at_t)

    def wait_for_more(self, commits: int = 1) -> None:
        """Return when so many more commits were acknowledged."""
        wanted = len(self.commits()) + commits
        databases.wait_until(lambda: len(self.commits()) >= wanted, "the next commit")


@contextmanager
def writing(database: Path, *, autocheckpoint: int = 1000, seed: int = 1) -> Iterator[Writer]:
    """Such a process, which has acknowledged its first commits."""
    acknowledged = database.with_name(f"{database.name}.acknowledged")
    acknowledged.write_text("")
    command = [sys.executable, "-m", __name__, str(database), str(acknowledged), str(autocheckpoint), str(seed)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=databases.ROOT) as process:
        try:
            writer = Writer(process.pid, acknowledged)
            writer.wait_for_more(3)
            yield writer
        finally:
            process.kill()


def main(path: str, acknowledged: str, autocheckpoint: str, seed: str) -> None:
    ended = threading.Event()

    def end_with_stdin() -> None:
        sys.stdin.read()
        ended.set()

    threading.Thread(target=end_with_stdin, daemon=True).start()
    dice = random.Random(int(seed))
    database = databases.connect(Path(path))
    database.execute("PRAGMA synchronous = NORMAL")  # As many commits as can be; nobody cuts the power here.
    database.execute(f"PRAGMA wal_autocheckpoint = {autocheckpoint}")
    with open(acknowledged, "a", buffering=1) as lines:  # noqa: PTH123
        while not ended.is_set():
            database.execute("BEGIN IMMEDIATE")
            sequence = database.execute("INSERT INTO operations (id) VALUES (hex(randomblob(8)))").lastrowid
            database.execute(
                "INSERT INTO notes (operation, text, extra) VALUES (?, ?, randomblob(?))",
                (sequence, f"note {sequence}", dice.randrange(3000)),
            )
            old = dice.randrange(sequence)
            database.execute("UPDATE notes SET extra = randomblob(500) WHERE id = ?", (old,))
            database.execute("DELETE FROM notes WHERE id BETWEEN ? AND ?", (old + 1, old + dice.randrange(3)))
            database.execute("COMMIT")
            lines.write(f"{sequence} {time.monotonic()}\n")
            time.sleep(0.0005)  # A lock is given to whoever asks first: this lets others ask.


if __name__ == "__main__":
    main(*sys.argv[1:])
