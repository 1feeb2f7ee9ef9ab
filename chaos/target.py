"""What faults may break: one marked directory and what lies in it, nothing else.

A directory is marked by a file named `.gymkhana-target` in it; whoever puts it there says that everything below may be lost.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from chaos import service
from chaos.errors import NothingToBreak, NotTarget
from chaos.identity import Identity

MARKER = ".gymkhana-target"


@dataclass(frozen=True, slots=True)
class Target:
    """A marked directory and the places in it that faults know. Making one raises NotTarget unless it is marked.

    `runtime` is where the service publishes its processes, `failpoints` where it looks for armed failpoints (None when it
    has none), `leases` where undo leases are kept, `store` a directory store of backups, None when there is none. `server`
    is the directory of a PostgreSQL cluster and of the file that says how to reach it; None when the database is SQLite's.
    """

    directory: Path
    database: Path
    store: Path | None
    runtime: Path
    failpoints: Path | None
    leases: Path
    server: Path | None = None

    def __post_init__(self) -> None:
        for field in fields(self):  # undo leases outlive the working directory that relative paths start from
            path = getattr(self, field.name)
            object.__setattr__(self, field.name, path.absolute() if path is not None else None)
        if not (self.directory / MARKER).is_file():
            raise NotTarget(
                f"{self.directory} is not marked as a target; if everything in it may be broken, say so with: "
                f"touch {self.directory / MARKER}"
            )
        root = self.directory.resolve()
        for path in (self.database, self.store, self.runtime, self.failpoints, self.leases, self.server):
            if path is not None and not path.resolve().is_relative_to(root):
                raise NotTarget(f"{path} lies outside {self.directory}, and faults touch only what lies in the target.")

    @classmethod
    def at(
        cls,
        directory: Path,
        *,
        database: Path | None = None,
        store: Path | None = None,
        runtime: Path | None = None,
        failpoints: Path | None = None,
    ) -> Target:
        """The target in `directory`, laid out as a stand or as `var/` is; what is named is taken as named."""
        database = database or _first(directory / "db" / "gym.db", directory / "gym.db") or directory / "gym.db"
        return cls(
            directory=directory,
            database=database,
            store=store or _first(directory / "store", directory / "backups"),
            runtime=runtime or database.with_suffix(".runtime"),
            failpoints=failpoints or _first(directory / "failpoints"),
            leases=directory / "leases",
            server=_first(directory / "pg"),
        )

    def processes(self, *needed: str) -> dict[str, Identity]:
        """The service's living processes, the supervisor first. Raises NothingToBreak when one that is needed is missing.

        Without a name, at least one must run. Raises NotOurs when a pid belongs to somebody else.
        """
        living = service.living(self.runtime)
        missing = [name for name in needed if name not in living] or ([] if living else ["process"])
        if missing:
            raise NothingToBreak(
                f"The service of {self.runtime} has no {' and no '.join(missing)} running; start it, then inject."
            )
        return living

    def companion(self, name: str) -> Identity:
        """The living process beside the service of that name, as `<directory>/companions/processes.json` has it.

        Raises NothingToBreak when it is not running, NotOurs when its pid belongs to somebody else.
        """
        living = service.living(self.directory / "companions")
        if name not in living:
            raise NothingToBreak(f"No {name} runs beside the service of {self.directory}; start it, then inject.")
        return living[name]

    def existing_store(self) -> Path:
        """The directory store. Raises NothingToBreak when there is none."""
        if self.store is None or not self.store.is_dir():
            raise NothingToBreak(f"{self.directory} has no store of backups; name it with --store.")
        return self.store

    def existing_database(self) -> Path:
        """The database. Raises NothingToBreak when it is not there."""
        if not self.database.is_file():
            raise NothingToBreak(f"There is no database at {self.database}; name another with --database.")
        return self.database


def _first(*places: Path) -> Path | None:
    return next((place for place in places if place.exists()), None)
