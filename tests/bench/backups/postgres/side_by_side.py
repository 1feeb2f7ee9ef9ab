"""Backups of PostgreSQL side by side with its own tools and pgBackRest: one run, one cluster, one disk.

    python -m tests.bench.backups.postgres.side_by_side --size-mb 1000 --wal-mb 256 --rounds 3

    copies in turns ─▶ rows changed ─▶ increment ─▶ log written ─▶ kill ─▶ restores in turns, crash recovery ─▶ failover

Everything runs on one major version, that of the newest server that the pgBackRest at hand knows. Within a round the methods
take turns, each round beginning with another, and every ratio is made of two times of one round. Whatever is written is kept
until the round ends: a virtual disk is several times as fast on blocks that were freed a moment ago. A goal that is missed
is shown, and the exit code says so.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from backups.errors import BackupError
from backups.postgres.binaries import Binaries, binaries, installations, own
from backups.postgres.server import Server
from ci.loopback import free_ports
from tests.bench import machine
from tests.bench.backups.postgres import anchors, clusters, failover, goals, ours, pgbackrest
from tests.bench.goals import Round, judged, timed, turns
from tests.bench.showing import show

BENCH = Path(__file__).parents[4] / "var" / "bench"
CHANGED = 0.01
DAMAGED_PAGES = 100
TIRING_BYTES = 3_000_000_000
_COPIES = 14
"""Room of a round, in sizes of the cluster."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What one run is to do, and with what."""

    size_mb: int
    rounds: int
    programs: Binaries
    wal_mb: int = 256
    tiring_bytes: int = TIRING_BYTES
    pgbackrest: bool = False
    bench: Path = BENCH

    @property
    def zstd(self) -> bool:
        """Whether pg_basebackup has it."""
        return anchors.has_zstd(self.programs)

    @property
    def need_bytes(self) -> int:
        """Room that it takes."""
        return self.tiring_bytes + _COPIES * 1_000_000 * (self.size_mb + self.wal_mb)


def measure(terms: Terms, say: Callable[[str], None]) -> list[Round]:
    """Every round, one after another."""
    terms.bench.mkdir(parents=True, exist_ok=True)
    backups = terms.bench / "backups"
    machine.require_room(terms.bench, terms.need_bytes)
    say(f"Building the cluster of {terms.size_mb} MB on PostgreSQL {terms.programs.version}, unless it is there.")
    cluster = clusters.built(backups, terms.size_mb, terms.programs)
    rounds = []
    with tempfile.TemporaryDirectory(dir=backups, prefix="run-") as run:
        tired = machine.tire(Path(run, "tiring"), terms.tiring_bytes)
        say(f"Tired the disk with {terms.tiring_bytes / 1e9:.1f} GB: it writes {tired:.0f} MB/s.")
        for number in range(terms.rounds):
            place = Path(run, f"round-{number}")
            place.mkdir()
            found: Round = {"tired disk MB/s": tired}
            with contextlib.ExitStack() as ending:
                _Round(terms, cluster, place, number, found, ending).measure()
            rounds.append(found)
            shutil.rmtree(place)
            say(f"Round {number + 1} of {terms.rounds}: {_told(found)}")
    return rounds


@dataclass(slots=True)
class _Round:
    """One round: a live server on a copy of the cluster, and what is made of it, below `place`."""

    terms: Terms
    cluster: Path
    place: Path
    number: int
    found: Round
    ending: contextlib.ExitStack
    live: Server = field(init=False)
    last: int = field(init=False)
    repository: pgbackrest.Repository = field(init=False)

    def __post_init__(self) -> None:
        self.repository = pgbackrest.Repository(self.place / "pgbackrest")

    def measure(self) -> None:
        self.live = self._closed(clusters.copied(self.cluster, self.place / "live", self.terms.programs))
        self.found["cluster bytes"] = clusters.size_bytes(self.live.data / "base")
        self.live.start(archive_mode="on" if self.terms.pgbackrest else "off")
        if self.terms.pgbackrest:
            self.repository.configure(self.live)
        for copy in turns(self._copies(), self.number):
            machine.settle(*clusters.files(self.live.data / "base"))
            copy()
        self.found["gzip bytes"] = clusters.size_bytes(self.place / "gzip")
        with ours.receiving(self.live, self.store, self.spool):
            self._increment()
            self._write_log()
        self.live.kill()
        for restore in turns(self._restores(), self.number):
            machine.settle(*clusters.files(self.store), *clusters.files(self.place / "pgbackrest"))
            restore()
        self._crash_recovery()
        self._verify()
        self._fail_over()

    @property
    def store(self) -> Path:
        return self.place / "store"

    @property
    def spool(self) -> Path:
        return self.place / "spool"

    def _copies(self) -> list[Callable[[], None]]:
        """The full copies, each a method that measures itself."""

        def anchor(name: str, copy: anchors.Copy) -> Callable[[], None]:
            def method() -> None:
                with timed(self.found, name):
                    copy(self.live, self.place / name)

            return method

        def full() -> None:
            with timed(self.found, "full"):
                made = ours.full(self.live, self.store)
            self.found["full image bytes"], self.found["full stored bytes"] = made.image_bytes, made.stored_bytes

        def theirs() -> None:
            with timed(self.found, "pgbackrest"):
                self.repository.full(self.live)

        return [
            anchor("cp", anchors.cp),
            anchor("plain", anchors.plain),
            anchor("tar", anchors.tar),
            anchor("gzip", anchors.gzip),
            *([anchor("zstd", anchors.zstd)] if self.terms.zstd else []),
            anchor("dump", anchors.dump),
            *([theirs] if self.terms.pgbackrest else []),
            full,
        ]

    def _increment(self) -> None:
        clusters.scatter(self.live, CHANGED, self.number)
        self.found["changed bytes"] = clusters.changed_bytes(self.place / "cp", self.live.data)
        machine.settle(*clusters.files(self.live.data / "base"))
        with timed(self.found, "incremental"):
            made = ours.incremental(self.live, self.store)
        self.found["incremental stored bytes"] = made.stored_bytes

    def _write_log(self) -> None:
        """The log that the restores and the crash recovery have to replay; whole in both archives."""
        self.found["log MB"] = clusters.write_log(self.live, self.terms.wal_mb * 1_000_000, self.number) / 1e6
        with self.live.connect() as connection:
            self.last = clusters.checked_write(connection)
        segment = clusters.switch_segment(self.live)
        ours.received(self.store, segment)
        if self.terms.pgbackrest:
            self.repository.archived(self.live, segment)

    def _restores(self) -> list[Callable[[], None]]:
        def mine() -> None:
            with timed(self.found, "restore"):
                restored = self._server("restored")
                told = ours.restore(self.live, self.store, self.spool, restored.data)
                self._first_write(restored)
            for phase in told["phases"]:
                self.found[f"restore: {phase['name']}"] = phase["end_t"] - phase["begin_t"]
            restored.stop()

        def theirs() -> None:
            with timed(self.found, "pgbackrest restore"):
                restored = self._server("theirs")
                self.repository.restore(self.live, restored)
                self._first_write(restored)
            restored.stop()
            _damage(restored.data, self.number)
            machine.settle(*clusters.files(restored.data / "base"), *clusters.files(self.place / "pgbackrest"))
            with timed(self.found, "pgbackrest delta"):
                self.repository.restore(self.live, restored, delta=True)
                self._first_write(restored)
            restored.stop()

        def untar() -> None:
            with timed(self.found, "untar"):
                restored = self._closed(
                    anchors.untar(self.place / "gzip", self.place / "untarred", self.terms.programs)
                )
                self._first_write(restored, whole=False)
            restored.stop()

        def undump() -> None:
            with timed(self.found, "undump"):
                restored = self._closed(
                    anchors.undump(self.place / "dump", self.place / "undumped", self.terms.programs)
                )
                with restored.connect() as connection:
                    clusters.checked_write(connection)
            restored.stop()

        return [mine, *([theirs] if self.terms.pgbackrest else []), untar, undump]

    def _crash_recovery(self) -> None:
        machine.settle(*clusters.files(self.live.data))
        with timed(self.found, "crash recovery"):
            self._first_write(self.live)
        self.live.stop()

    def _verify(self) -> None:
        machine.settle(*clusters.files(self.store))
        with timed(self.found, "verify"):
            ours.verify(self.store)
        machine.settle(*clusters.files(self.place / "plain"))
        with timed(self.found, "verify files"):
            anchors.verify(self.place / "plain", self.terms.programs)

    def _fail_over(self) -> None:
        primary = self._closed(Server(self.place / "restored", free_ports(1)[0], self.terms.programs))
        standby = self._server("standby")
        primary.start(archive_mode="off")
        failover.follow(primary, standby)
        phase_s = random.Random(self.number).uniform(0, failover.LOOK_EVERY_S)
        done = failover.fail_over(primary, standby, phase_s)
        self.found["failover"], self.found["noticed"] = done.seconds, done.noticed_s
        self.found["failover lost"] = len(done.lost)

    def _first_write(self, server: Server, *, whole: bool = True) -> None:
        """The server is started, takes a write and gives it back; with `whole` it also has the last one before the loss."""
        own(server.directory)
        server.start(archive_mode="off")
        clusters.await_writes(server)
        with server.connect() as connection:
            clusters.checked_write(connection)
            last = connection.execute("SELECT 1 FROM checks WHERE number = %s", (self.last,)).fetchone()
        if whole and last is None:
            raise RuntimeError(f"What came back at {server.data} lacks the last write, so its time does not count.")

    def _server(self, name: str) -> Server:
        server = Server(self.place / name, free_ports(1)[0], self.terms.programs)
        server.directory.mkdir()
        server.keep_password((self.live.directory / "password").read_text("ascii").strip())
        return self._closed(server)

    def _closed(self, server: Server) -> Server:
        """The server, which is ended with the round."""
        self.ending.callback(server.close)
        return server


def _damage(data: Path, seed: int) -> None:
    """Overwrite pages of the largest files of the stopped cluster."""
    chance = random.Random(seed)
    largest = sorted(clusters.files(data / "base"), key=lambda path: -path.stat().st_size)[:3]
    for _ in range(DAMAGED_PAGES):
        path = chance.choice(largest)
        with path.open("r+b") as file:
            file.seek(chance.randrange(path.stat().st_size // clusters.PAGE_BYTES) * clusters.PAGE_BYTES)
            file.write(chance.randbytes(clusters.PAGE_BYTES))


def _told(found: Round) -> str:
    seconds = ("cp", "plain", "tar", "gzip", "zstd", "pgbackrest", "dump", "full", "incremental", "pgbackrest restore",
               "restore", "crash recovery", "verify", "failover")  # fmt: skip
    return ", ".join(f"{name} {found[name]:.2f} s" for name in seconds if name in found)


def chosen(there: Sequence[Binaries], knows: Callable[[int], bool]) -> tuple[Binaries, bool]:
    """The newest programs that pgBackRest knows, and whether there are such; else the newest."""
    known = [one for one in there if knows(one.major)]
    newest = max(known or there, key=lambda one: one.major)
    return newest, bool(known)


def conditions(terms: Terms) -> dict[str, str]:
    """What is to be known about the figures."""
    here = "here" if terms.pgbackrest else f"not here, or it does not know PostgreSQL {terms.programs.major}"
    return {
        "cluster": f"{terms.size_mb} MB of events with JSON payloads, checksums on, written by seed",
        "PostgreSQL": f"{terms.programs.version}; pg_basebackup {'with' if terms.zstd else 'without'} zstd",
        "pgBackRest": here,
        "figures": f"medians of {terms.rounds}; ratios are made within a round",
        "source": "warm page cache: read once before each method; nothing dirty in the system",
        "disk": f"tired: {terms.tiring_bytes / 1e9:.1f} GB written and synced before; a round's files stay until it ends",
        "store": "a directory on the cluster's own disk; so are pgBackRest's repository and the spool",
        "log": f"{terms.wal_mb} MB after the increment, and the same for pgBackRest and for the crash recovery",
        "restore": "from the start of the command to a write that is read back, the newest one there from before the loss",
        "failover": f"a synchronous standby; {failover.MISSED_LOOKS} looks in vain, {failover.LOOK_EVERY_S} s apart",
        "goals in seconds and MB/s": "are meant for 1000 MB and 256 MB of log",
        **machine.described(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write `backups-postgres.json`; 0 when every goal was met, 1 when one was missed."""
    parser = argparse.ArgumentParser(
        description="Measure backups of PostgreSQL side by side with its own and pgBackRest."
    )
    parser.add_argument("--size-mb", type=int, default=1000, help="megabytes of the cluster (1000)")
    parser.add_argument("--wal-mb", type=int, default=256, help="megabytes of log that the restores replay (256)")
    parser.add_argument("--rounds", type=int, default=3, help="how often everything is measured (3)")
    parser.add_argument("--tiring-gb", type=float, default=3, help="written first, more when cp is still lively (3)")
    parser.add_argument("--major", type=int, help="the version of PostgreSQL (the newest that pgBackRest knows)")
    given = parser.parse_args(arguments)
    if min(given.size_mb, given.wal_mb, given.rounds) < 1 or given.tiring_gb < 0:
        parser.error("--size-mb, --wal-mb and --rounds are at least 1, --tiring-gb is not negative")
    try:
        there = [binaries(given.major)] if given.major or not installations() else installations()
    except BackupError as error:
        parser.error(str(error))
    programs, known = chosen(there, pgbackrest.knows)
    terms = Terms(
        given.size_mb, given.rounds, programs, given.wal_mb, tiring_bytes=round(given.tiring_gb * 1e9), pgbackrest=known
    )
    about = conditions(terms)
    found = measure(terms, lambda line: print(line, flush=True))
    rows, missing = judged(goals.rows(pgbackrest=terms.pgbackrest, zstd=terms.zstd), found)
    return show(terms.bench, "backups-postgres", about, rows, missing)


if __name__ == "__main__":
    sys.exit(main())
