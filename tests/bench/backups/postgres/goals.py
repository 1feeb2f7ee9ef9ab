"""What the PostgreSQL benchmark's rounds are held against: three promises in seconds, the rest as ratios of one round."""

from __future__ import annotations

from typing import Final

from tests.bench.figures import plain
from tests.bench.goals import Wanted, of, over, ratio, under

PGBACKREST: Final = "pgBackRest"
ZSTD: Final = "zstd"
"""In the name of every row that wants it; where it is not here, those rows are not either."""

ROWS: Final = (
    Wanted("tired disk", of("tired disk MB/s"), "MB/s", plain),
    Wanted("cp -a, sync, of that disk", ratio("cluster bytes", "cp", 1e-6), "MB/s", plain),
    Wanted("cp -a, sync", of("cp"), "s", plain),
    Wanted("pg_basebackup, files", of("plain"), "s", plain),
    Wanted("pg_basebackup, tar", of("tar"), "s", plain),
    Wanted("pg_basebackup, tar, gzip", of("gzip"), "s", plain),
    Wanted("pg_basebackup, tar, zstd, 2 threads", of("zstd"), "s", plain),
    Wanted("pgBackRest, full, level 1, 2 processes", of("pgbackrest"), "s", plain),
    Wanted("pg_dump -Fc", of("dump"), "s", plain),
    Wanted("full backup", of("full"), "s", plain),
    Wanted("full backup to pg_basebackup, tar, gzip", ratio("full", "gzip"), "x", under(0.6)),
    Wanted("full backup to pg_basebackup, tar, zstd", ratio("full", "zstd"), "x", under(2.0)),
    Wanted("full backup to pgBackRest", ratio("full", "pgbackrest"), "x", under(1.5)),
    Wanted("full backup, stored to pg_basebackup's, gzip", ratio("full stored bytes", "gzip bytes"), "x", under(1.1)),
    Wanted("changed pages before the incremental", ratio("changed bytes", "cluster bytes", 100), "%", plain),
    Wanted("incremental backup", of("incremental"), "s", plain),
    Wanted("incremental to full backup", ratio("incremental", "full"), "x", under(1.1)),
    Wanted("incremental, stored to full", ratio("incremental stored bytes", "full stored bytes", 100), "%", under(100)),
    Wanted("log replayed by the restores", of("log MB"), "MB", plain),
    Wanted("restore and that log, to first write", of("restore"), "s", under(20)),
    Wanted("of that, fetched and unpacked", of("restore: build"), "s", plain),
    Wanted("of that, the log replayed", of("restore: replay"), "s", plain),
    Wanted("of that, looked at, shut down and synced", of("restore: check"), "s", plain),
    Wanted("pgBackRest: restore and that log, to first write", of("pgbackrest restore"), "s", plain),
    Wanted("restore to pgBackRest's", ratio("restore", "pgbackrest restore"), "x", under(1.2)),
    Wanted("pg_basebackup, untar of gzip, no log, to first write", of("untar"), "s", plain),
    Wanted("pg_restore, 2 processes, to first write", of("undump"), "s", plain),
    Wanted("restore to pg_restore", ratio("restore", "undump"), "x", under(1.0)),
    Wanted("pgBackRest: delta restore of 100 damaged pages, to first write", of("pgbackrest delta"), "s", plain),
    Wanted("crash recovery of that log, to first write", of("crash recovery"), "s", plain),
    Wanted("verify level 3", of("verify"), "s", plain),
    Wanted("verify level 3, database bytes", ratio("full image bytes", "verify", 1e-6), "MB/s", over(200)),
    Wanted("pg_verifybackup of files", of("verify files"), "s", plain),
    Wanted("failover: until it is noticed", of("noticed"), "s", plain),
    Wanted("failover by promotion, detection included", of("failover"), "s", under(2)),
    Wanted("failover: acknowledged writes lost", of("failover lost"), "", under(0)),
)  # fmt: skip


def rows(*, pgbackrest: bool, zstd: bool) -> tuple[Wanted, ...]:
    """Those that can be measured with what is here."""
    absent = (*(() if pgbackrest else (PGBACKREST,)), *(() if zstd else (ZSTD,)))
    return tuple(row for row in ROWS if not any(name in row.name for name in absent))
