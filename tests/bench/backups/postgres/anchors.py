"""What ours is held against: PostgreSQL's own ways to copy a cluster or a database, each durable when it returns."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from backups.postgres.binaries import Binaries, own
from backups.postgres.server import DATABASE, SUPERUSER, Server
from ci.loopback import free_ports

Copy = Callable[[Server, Path], None]
RESTORERS = 2


def cp(server: Server, into: Path) -> None:
    """`cp -a` of the data directory, and sync. It is no backup of a server that runs; it is what the disk allows."""
    subprocess.run(["cp", "-a", "--reflink=never", str(server.data), str(into)], check=True)
    descriptor = os.open(into, os.O_RDONLY)
    try:
        os.sync()
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def plain(server: Server, into: Path) -> None:
    """pg_basebackup as files, with the log that was written meanwhile."""
    _base(server, into, "--format=plain")


def tar(server: Server, into: Path) -> None:
    """pg_basebackup as tar."""
    _base(server, into, "--format=tar")


def gzip(server: Server, into: Path) -> None:
    """The same, compressed by the client."""
    _base(server, into, "--format=tar", *(["--compress=client-gzip:1"] if _says_where(server) else ["--compress=1"]))


def zstd(server: Server, into: Path) -> None:
    """The same with zstd in two threads, where the programs have it."""
    _base(server, into, "--format=tar", "--compress=client-zstd:level=1,workers=2")


def has_zstd(programs: Binaries) -> bool:
    """Whether these programs were built with it."""
    if programs.major < 15 or not programs.has("pg_config"):
        return False
    told = subprocess.run([programs.path("pg_config"), "--configure"], capture_output=True, text=True, check=False)
    return "--with-zstd" in told.stdout


def dump(server: Server, into: Path) -> None:
    """pg_dump of the one database, in its own format."""
    command = [
        server.programs.path("pg_dump"),
        *_reached(server),
        "--format=custom",
        "--compress=1",
        "--file",
        str(into),
    ]
    subprocess.run([*command, DATABASE], check=True)


def undump(source: Path, into: Path, programs: Binaries) -> Server:
    """pg_restore, in two processes, into a new cluster, which runs. Close it. Returns when the rows are on its disk."""
    server = Server(into, free_ports(1)[0], programs)
    server.init()
    try:
        server.start()
        server.create_database()
        command = [programs.path("pg_restore"), *_reached(server), f"--jobs={RESTORERS}", "--dbname", DATABASE]
        subprocess.run([*command, str(source)], check=True)
        with server.connect() as connection:
            connection.execute("CHECKPOINT")
    except BaseException:
        server.close()
        raise
    return server


def untar(base: Path, into: Path, programs: Binaries) -> Server:
    """A server, not running, on the cluster of a compressed pg_basebackup, unpacked and synced."""
    server = Server(into, free_ports(1)[0], programs)
    server.data.mkdir(parents=True, mode=0o700)
    for name, place in (("base", server.data), ("pg_wal", server.data / "pg_wal")):
        (archive,) = base.glob(f"{name}.tar*")
        subprocess.run(["tar", "--extract", "--no-same-owner", "--file", str(archive), "-C", str(place)], check=True)
    os.sync()
    return server


def verify(base: Path, programs: Binaries) -> None:
    """pg_verifybackup of files, all but their log."""
    subprocess.run(
        [programs.path("pg_verifybackup"), "--quiet", "--no-parse-wal", str(base)], check=True, capture_output=True
    )


def _base(server: Server, into: Path, *words: str) -> None:
    shutil.rmtree(into, ignore_errors=True)
    command = [server.programs.path("pg_basebackup"), *_reached(server), "--checkpoint=fast", "--no-password", *words]
    subprocess.run([*command, "--wal-method=stream", "--pgdata", str(into)], check=True)
    own(into)


def _says_where(server: Server) -> bool:
    return server.programs.major >= 15


def _reached(server: Server) -> list[str]:
    return ["--host", str(server.sockets), "--port", str(server.port), "--username", SUPERUSER]
