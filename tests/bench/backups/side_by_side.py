"""Backups side by side with cp, sqlite3 and VACUUM INTO: one run, one database, one disk, every method once in each round.

    python -m tests.bench.backups.side_by_side --size-mb 1000 --rounds 5

Within a round the methods take turns, each round beginning with another, and every ratio is made of two times of one round.
Whatever is written is kept until the end: a virtual disk is several times as fast on blocks that were freed a moment ago.
A goal that is missed is shown, and the exit code says so.
"""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from tests.bench import machine
from tests.bench.backups import anchors, events, ours
from tests.bench.backups.goals import ROWS, regime
from tests.bench.backups.writer import percentile, writing
from tests.bench.goals import Round, judged, timed, turns
from tests.bench.showing import show

BENCH = Path(__file__).parents[3] / "var" / "bench"

PACE = 150_000_000
DAMAGED_PAGES = 100
CHANGED = 0.01
TIRING_BYTES = 3_000_000_000
WRITER_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Terms:
    """What one run is to do."""

    size_mb: int
    rounds: int
    tiring_bytes: int = TIRING_BYTES
    writer_seconds: float = WRITER_SECONDS
    bench: Path = BENCH

    @property
    def need_bytes(self) -> int:
        """Room that it takes: nothing is deleted before the end."""
        return self.tiring_bytes + 8_000_000 * self.size_mb * self.rounds


def measure(terms: Terms, say: Callable[[str], None]) -> list[Round]:
    """Every round, one after another."""
    terms.bench.mkdir(parents=True, exist_ok=True)
    backups = terms.bench / "backups"
    machine.require_room(terms.bench, terms.need_bytes)
    say(f"Building the database of {terms.size_mb} MB, unless it is there.")
    database = events.built(backups, terms.size_mb)
    rounds = []
    with tempfile.TemporaryDirectory(dir=backups, prefix="run-") as run:
        tired = machine.tire(Path(run, "tiring"), terms.tiring_bytes)
        say(f"Tired the disk with {terms.tiring_bytes / 1e9:.1f} GB: it writes {tired:.0f} MB/s.")
        for number in range(terms.rounds):
            place = Path(run, f"round-{number}")
            place.mkdir()
            rounds.append({"tired disk MB/s": tired} | _round(terms, database, place, number))
            say(f"Round {number + 1} of {terms.rounds}: {_told(rounds[-1])}")
    return rounds


def _round(terms: Terms, database: Path, place: Path, number: int) -> Round:
    found: Round = {}
    live, store, restored = place / "live.db", place / "store", place / "restored.db"
    shutil.copyfile(database, live)
    for method in turns(_copies(live, store, place, found), number):
        machine.settle(live)
        method()
    found["pages changed %"] = 100 * events.scatter(live, CHANGED, number)
    machine.settle(live)
    with timed(found, "incremental"):
        made = ours.incremental(live, store)
    found["incremental stored bytes"] = made.stored_bytes
    stored = tuple(path for path in store.rglob("*") if path.is_file())
    machine.settle(*stored)
    with timed(found, "restore"):
        ours.restore(store, restored)
        with closing(events.connect(restored)) as opened:
            events.add_event(opened, number)
    _damage(restored, number)
    machine.settle(restored, *stored)
    with timed(found, "repair"):
        ours.repair(store, restored)
    machine.settle(*stored)
    with timed(found, "verify"):
        good = ours.verify(store)
    if not good:
        raise RuntimeError("The backup that was measured did not verify, so no figure of it counts.")
    _beside_a_writer(live, place / "paced", terms.writer_seconds, found)
    return found


def _copies(live: Path, store: Path, place: Path, found: Round) -> list[Callable[[], None]]:
    """The four full copies, each a method that measures itself."""

    def anchor(name: str, copy: Callable[[Path, Path], None]) -> Callable[[], None]:
        def method() -> None:
            with timed(found, name):
                copy(live, place / f"{name}.db")

        return method

    def full() -> None:
        with timed(found, "full"):
            made = ours.full(live, store)
        found["full image bytes"], found["full stored bytes"] = made.image_bytes, made.stored_bytes

    return [
        anchor("cp", anchors.cp),
        anchor("online backup", anchors.online_backup),
        anchor("vacuum into", anchors.vacuum_into),
        full,
    ]


def _beside_a_writer(live: Path, store: Path, seconds: float, found: Round) -> None:
    """p99 of the writes for that long without a backup, then for at least as long beside one after another."""
    machine.settle(live)
    with writing(live) as writes:
        alone_t = time.monotonic()
        time.sleep(seconds)
        beside_t = time.monotonic()
        while time.monotonic() - beside_t < seconds:
            ours.paced(live, store, PACE / 1e6)
        end_t = time.monotonic()
    found["p99 alone ms"] = 1000 * percentile(writes.latencies(alone_t, beside_t), 0.99)
    found["p99 beside ms"] = 1000 * percentile(writes.latencies(beside_t, end_t), 0.99)


def _damage(database: Path, seed: int) -> None:
    """Overwrite pages of the closed database, never the first."""
    chance = random.Random(seed)
    pages = database.stat().st_size // events.PAGE_BYTES
    with database.open("r+b") as file:
        for page in chance.sample(range(1, pages), min(DAMAGED_PAGES, pages - 1)):
            file.seek(page * events.PAGE_BYTES)
            file.write(chance.randbytes(events.PAGE_BYTES))


def _told(found: Round) -> str:
    seconds = ("cp", "online backup", "vacuum into", "full", "incremental", "restore", "repair", "verify")
    return ", ".join(f"{name} {found[name]:.2f} s" for name in seconds if name in found)


def conditions(terms: Terms) -> dict[str, str]:
    """What is to be known about the figures."""
    return {
        "database": f"{terms.size_mb} MB of events with JSON payloads, pages of {events.PAGE_BYTES}, written by seed",
        "figures": f"medians of {terms.rounds}; ratios are made within a round",
        "source": "warm page cache: read once before each method; nothing dirty in the system",
        "disk": f"tired: {terms.tiring_bytes / 1e9:.1f} GB written and synced before; nothing is deleted before the end",
        "store": "a directory on the database's own disk",
        "goals in seconds and MB/s": "are meant for 1000 MB",
        "backup beside writes": f"full, paced at {PACE / 1e6:.0f} MB/s",
        **machine.described(),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, and write `backups.json`; 0 when every goal was met, 1 when one was missed."""
    parser = argparse.ArgumentParser(description="Measure backups side by side with the usual ways to copy a database.")
    parser.add_argument("--size-mb", type=int, default=1000, help="megabytes of the database (1000)")
    parser.add_argument("--rounds", type=int, default=5, help="how often everything is measured (5)")
    parser.add_argument("--tiring-gb", type=float, default=3, help="written first, more when cp is still lively (3)")
    given = parser.parse_args(arguments)
    if given.size_mb < 1 or given.rounds < 1 or given.tiring_gb < 0:
        parser.error("--size-mb and --rounds are at least 1, --tiring-gb is not negative")
    terms = Terms(given.size_mb, given.rounds, tiring_bytes=round(given.tiring_gb * 1e9))
    about = conditions(terms)
    rounds = measure(terms, lambda line: print(line, flush=True))
    about["regime of the disk"] = regime(rounds)
    rows, missing = judged(ROWS, rounds)
    return show(terms.bench, "backups", about, rows, missing)


if __name__ == "__main__":
    sys.exit(main())
