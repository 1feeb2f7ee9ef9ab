"""What the SQLite benchmark's rounds are held against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.bench.figures import plain
from tests.bench.goals import Round, Wanted, of, over, ratio, under

ROWS: Final = (
    Wanted("tired disk", of("tired disk MB/s"), "MB/s", plain),
    Wanted("cp, fsync, of that disk", ratio("full image bytes", "cp", 1e-6), "MB/s", plain),
    Wanted("cp, fsync", of("cp"), "s", plain),
    Wanted("online backup (sqlite3 .backup), fsync", of("online backup"), "s", plain),
    Wanted("VACUUM INTO, fsync", of("vacuum into"), "s", plain),
    Wanted("full backup", of("full"), "s", plain),
    Wanted("full backup to cp", ratio("full", "cp"), "x", under(1.0)),
    Wanted("full backup to online backup", ratio("full", "online backup"), "x", under(1.0)),
    Wanted("full backup to VACUUM INTO", ratio("full", "vacuum into"), "x", under(1.0)),
    Wanted("full backup, database to stored", ratio("full image bytes", "full stored bytes"), ": 1", over(3.0)),
    Wanted("pages changed before the incremental", of("pages changed %"), "%", plain),
    Wanted("incremental backup", of("incremental"), "s", plain),
    Wanted("incremental, stored to full", ratio("incremental stored bytes", "full stored bytes", 100), "%", under(1.5)),
    Wanted("incremental to full backup", ratio("incremental", "full"), "x", under(0.6)),
    Wanted("restore, checked, to first write", of("restore"), "s", under(12)),
    Wanted("delta restore of 100 damaged pages", of("repair"), "s", under(4)),
    Wanted("verify level 3, database bytes", ratio("full image bytes", "verify", 1e-6), "MB/s", over(400)),
    Wanted("p99 of writes, no backup", of("p99 alone ms"), "ms", plain),
    Wanted("p99 of writes, beside a backup", of("p99 beside ms"), "ms", plain),
    Wanted("p99 of writes, beside to without", ratio("p99 beside ms", "p99 alone ms"), "x", under(2.0)),
)  # fmt: skip


def regime(rounds: Sequence[Round]) -> str:
    """Whether the goals against `cp` speak of a tired disk: it is one when `cp` was not twice as fast as the tiring."""
    lively = sum(found["full image bytes"] / found["cp"] > 2e6 * found["tired disk MB/s"] for found in rounds)
    if not lively:
        return "sustained writing in every round: cp was not twice as fast as the disk is when tired"
    return f"a burst in {lively} of {len(rounds)} rounds: cp was over twice as fast as the disk is when tired"
