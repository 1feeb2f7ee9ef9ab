"""What is in the database when all is quiet: which operations survived, and the facts of the committed state.

Read straight from storage, not through the service, and by a connection of its own; judged elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from system import operations_service
from system.audit import facts
from system.database import engine_for
from system.statements import Session


def survey(url: str, run: str, directory: Path) -> int:
    """Writes `survivors.jsonl` and `state.json` of `run` into `directory`; returns how many operations survived.

    The service must be stopped or quiet. Raises `sqlalchemy.exc.DBAPIError` when the database cannot be read.
    """
    engine = engine_for(url, pooled=False)
    with engine.connect() as connection, Session(bind=connection) as session:
        lines = [msgspec.json.encode(survivor) for survivor in operations_service.survivors(session, run)]
        state = facts(session)
    (directory / "survivors.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
    (directory / "state.json").write_bytes(msgspec.json.encode(state))
    return len(lines)
