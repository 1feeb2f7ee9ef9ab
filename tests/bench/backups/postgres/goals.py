"""What the PostgreSQL benchmark's rounds are held against: three promises in seconds, the rest as ratios of one round."""

from __future__ import annotations

from typing import Final

from tests.bench.backups.rounds import Wanted, of, over, ratio, under, wanted
from tests.bench.figures import plain

PGBACKREST: Final = "pgBackRest"
ZSTD: Final = "zstd"
"""In the name of every row that wants it; where it is not here, those rows are not either."""

ROWS: Final = (
    wanted("tired disk", of("tired disk MB/s"), "MB/s", plain),
    wanted("cp -a, sync, of that disk", ratio("cluster bytes", "cp", 1e-6), "MB/s", plain),
    wanted("cp -a, sync", of("cp"), "s", plain),
    wanted("pg_basebackup, files", of("plain"), "s", plain),
    wanted("pg_basebackup, tar", of("tar"), "s", plain),
    wanted("pg_basebackup, tar, gzip", of("gzip"), "s", plain),
    wanted("pg_basebackup, tar, zstd, 2 threads", of("zstd"), "s", plain),
    wanted("pgBackRest, full, level 1, 2 processes", of("pgbackrest"), "s", plain),
    wanted("pg_dump -Fc", of("dump"), "s", plain),
    wanted("full backup", of("full"), "s", plain),
    wanted("full backup to pg_basebackup, tar, gzip", ratio("full", "gzip"), "x", under(0.6)),
    wanted("full backup to pg_basebackup, tar, zstd", ratio("full", "zstd"), "x", under(2.0)),
    wanted("full backup to pgBackRest", ratio("full", "pgbackrest"), "x", under(1.5)),
    wanted("full backup, stored to pg_basebackup's, gzip", ratio("full stored bytes", "gzip bytes"), "x", under(1.1)),
    wanted("changed pages before the incremental", ratio("changed bytes", "cluster bytes", 100), "%", plain),
    wanted("incremental backup", of("incremental"), "s", plain),
    wanted("incremental to full backup", ratio("incremental", "full"), "x", under(1.1)),
    wanted("incremental, stored to full", ratio("incremental stored bytes", "full stored bytes", 100), "%", under(100)),
    wanted("log replayed by the restores", of("log MB"), "MB", plain),
    wanted("restore and that log, to first write", of("restore"), "s", under(20)),
    wanted("of that, fetched and unpacked", of("restore: build"), "s", plain),
    wanted("of that, the log replayed", of("restore: replay"), "s", plain),
    wanted("of that, looked at, shut down and synced", of("restore: check"), "s", plain),
    wanted("pgBackRest: restore and that log, to first write", of("pgbackrest restore"), "s", plain),
    wanted("restore to pgBackRest's", ratio("restore", "pgbackrest restore"), "x", under(1.2)),
    wanted("pg_basebackup, untar of gzip, no log, to first write", of("untar"), "s", plain),
    wanted("pg_restore, 2 processes, to first write", of("undump"), "s", plain),
    wanted("restore to pg_restore", ratio("restore", "undump"), "x", under(1.0)),
    wanted("pgBackRest: delta restore of 100 damaged pages, to first write", of("pgbackrest delta"), "s", plain),
    wanted("crash recovery of that log, to first write", of("crash recovery"), "s", plain),
    wanted("verify level 3", of("verify"), "s", plain),
    wanted("verify level 3, database bytes", ratio("full image bytes", "verify", 1e-6), "MB/s", over(200)),
    wanted("pg_verifybackup of files", of("verify files"), "s", plain),
    wanted("failover: until it is noticed", of("noticed"), "s", plain),
    wanted("failover by promotion, detection included", of("failover"), "s", under(2)),
    wanted("failover: acknowledged writes lost", of("failover lost"), "", under(0)),
)  # fmt: skip


def rows(*, pgbackrest: bool, zstd: bool) -> tuple[Wanted, ...]:
    """Those that can be measured with what is here."""
    absent = (*(() if pgbackrest else (PGBACKREST,)), *(() if zstd else (ZSTD,)))
    return tuple(row for row in ROWS if not any(name in row[0] for name in absent))
