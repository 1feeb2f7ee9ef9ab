"""Every call from the benchmark into `backups/` that is measured, each as an operator makes it: the command, a process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from backups.postgres.server import Server
from tests.backups.databases import ROOT, wait_until
from tests.bench.backups.ours import Stored

RECEIVES_WITHIN_S = 120.0


def full(server: Server, store: Path) -> Stored:
    """A full backup into the directory store."""
    return _backup(server, store, "full")


def incremental(server: Server, store: Path) -> Stored:
    """An incremental backup on top of the newest in the store."""
    return _backup(server, store, "incr")


def restore(server: Server, store: Path, spool: Path, into: Path) -> dict[str, Any]:
    """The newest backup at the data directory `into`, with all the log that was received; what the command told."""
    words = ("--database", server.url(), "--store", str(store), "--spool", str(spool), "--to", str(into), "--yes")
    return _command("restore", *words)


def verify(store: Path) -> bool:
    """One pass over the newest backup, level 3: every stored byte read, hashed, decompressed, hashed again."""
    _command("verify", "--store", str(store), "--level", "3")
    return True


@contextmanager
def receiving(server: Server, store: Path, spool: Path, *, sync: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """The log is taken as it is written for the block, which ends the taking: by SIGTERM, or as the block has ended it."""
    command = [
        sys.executable, "-m", "backups.postgres.receive", "--database", server.url(), "--store", str(store),
        "--spool", str(spool), "--demonstration", *(["--sync"] if sync else []),
    ]  # fmt: skip
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL) as process:
        try:
            wait_until(lambda: _streams(server), "the receiver streams", RECEIVES_WITHIN_S)
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait(RECEIVES_WITHIN_S)


def received(store: Path, segment: str) -> None:
    """The segment is whole in the store."""
    wait_until(lambda: any(store.glob(f"wal/*/{segment}")), f"{segment} is in the store", RECEIVES_WITHIN_S)


def _streams(server: Server) -> bool:
    with server.connect("postgres") as connection:
        row = connection.execute("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'").fetchone()
    return bool(row and row[0])


def _backup(server: Server, store: Path, kind: str) -> Stored:
    told = _command("run", "--database", server.url(), "--store", str(store), "--kind", kind, "--demo")
    return Stored(int(told["size_bytes"]), int(told["stored_bytes"]))


def _command(*words: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "ci.cli", "backup", *words, "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"backup {words[0]} ended with {done.returncode}: {done.stderr.strip().splitlines()[-1:]}")
    told: dict[str, Any] = json.loads(done.stdout)
    return told
