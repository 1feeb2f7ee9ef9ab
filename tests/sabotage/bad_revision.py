"""`gymkhana` with one planted bug: its expanding revision is not one that the old version can live with.

`hold`: its transaction is kept open for seconds, with the users' table locked. `drop`: it drops a column that the old
version reads and writes. How is in the environment, in BAD_REVISION.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from ci import cli
from migrations import revisions
from migrations.line import Revision

EXPANDED = "0002"
HELD_S = 6.0


def carry_out(url: str, connection: Connection, revision: Revision, act: Callable[..., Any], to: str) -> None:
    """The bug, after what the revision is meant to do."""
    _carry_out(url, connection, revision, act, to)
    if to != EXPANDED or EXPANDED not in sys.argv:
        return  # the stand is being built, or it is another revision
    if os.environ["BAD_REVISION"] == "drop":
        connection.exec_driver_sql("ALTER TABLE users DROP COLUMN bio")
        return
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        connection.exec_driver_sql(f"SELECT pg_sleep({HELD_S})")
        return
    time.sleep(HELD_S)


_carry_out = revisions._carry_out

if __name__ == "__main__":
    revisions._carry_out = carry_out
    sys.exit(cli.main())
