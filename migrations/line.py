"""The line of revisions, oldest first, and the way along it from where a database is to where it should be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory

from migrations.errors import BadRequest, NewerSchema

HERE = Path(__file__).parent
BASE, HEAD = "base", "head"


@dataclass(frozen=True, slots=True)
class Revision:
    """One change of the schema, and what it says of itself.

    `backfill` is a statement that fills a batch of rows; before the revision it is run until it finds none.
    """

    id: str
    title: str
    backfill: str = ""


def configuration() -> Config:
    """Alembic's configuration: this folder, and no file."""
    config = Config()
    config.set_main_option("script_location", str(HERE).replace("%", "%%"))
    return config


def line() -> tuple[Revision, ...]:
    """Every revision, oldest first. There is one line: a test holds that nothing branches."""
    scripts = ScriptDirectory.from_config(configuration())
    found = [
        Revision(script.revision, script.doc, getattr(script.module, "BACKFILL", ""))
        for script in scripts.walk_revisions(BASE, HEAD)
    ]
    return tuple(reversed(found))


def way_up(revisions: Sequence[Revision], found: str | None, to: str = HEAD) -> tuple[Revision, ...]:
    """What is still to be applied, in order. Raises BadRequest when `to` lies behind, NewerSchema for an unknown `found`."""
    here, there = place(revisions, found), target(revisions, to)
    if there < here:
        raise BadRequest(f"The database is at {found}, which is beyond {to}; `gymkhana migrate down {to}` goes back.")
    return tuple(revisions[here:there])


def way_down(revisions: Sequence[Revision], found: str | None, to: str) -> tuple[Revision, ...]:
    """What is to be undone, newest first. Raises BadRequest when `to` lies ahead, NewerSchema for an unknown `found`."""
    here, there = place(revisions, found), target(revisions, to)
    if there > here:
        raise BadRequest(f"The database is at {found or BASE}, before {to}; `gymkhana migrate up {to}` goes there.")
    return tuple(reversed(revisions[there:here]))


def place(revisions: Sequence[Revision], found: str | None) -> int:
    """How many revisions a database at `found` has behind it. Raises NewerSchema when it is not of this line."""
    ids = [revision.id for revision in revisions]
    if found is None:
        return 0
    if found not in ids:
        raise NewerSchema(
            f"The database is at revision {found}, and this version knows none after {ids[-1]}; "
            "use the version that wrote it, or restore a backup from before."
        )
    return ids.index(found) + 1


def target(revisions: Sequence[Revision], to: str) -> int:
    """How many revisions a database at `to` has behind it. Raises BadRequest when there is no such revision."""
    ids = [BASE, *(revision.id for revision in revisions)]
    if to == HEAD:
        return len(revisions)
    if to not in ids:
        raise BadRequest(f"There is no revision {to}; there are {', '.join(ids)} and {HEAD}.")
    return ids.index(to)
