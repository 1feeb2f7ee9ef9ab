"""The vault at an address: a store with the engines and restores of this package, or another program's repository."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from backups import verify as verifying
from backups.addresses import engine_for, stores_at
from backups.backup import LogPosition, run_backup
from backups.errors import StoreUnusable, UsageError
from backups.format.manifest import Manifest, name_of
from backups.format.verification import Verification
from backups.keeping import catalogue as catalogues
from backups.keeping.catalogue import Entry
from backups.keys.keyring import Keyring
from backups.pgbackrest import SCHEME
from backups.plan import RestorePlan
from backups.postgres import restore as clusters
from backups.postgres.recovery import Goal
from backups.progress import Progress
from backups.restoration import Restoration
from backups.stores.store import Store
from backups.vault import Boot, Kind, Made, Vault


def vault_at(
    addresses: Sequence[str],
    keyring: Keyring,
    *,
    database: str | None = None,
    position_of: str | None = None,
    spool: Path | None = None,
    log: Callable[[], LogPosition | None] | None = None,
    make: bool = False,
) -> Vault:
    """The vault at that address, or of all of these stores as one. Raises StoreUnusable, and UsageError for unfit keys.

    `database` is whose backups are asked for, where more than one could be meant; `make` lets the first write make a
    directory.
    """
    if not any(address.startswith(SCHEME) for address in addresses):
        return StoreVault(stores_at(addresses, make=make), keyring, position_of, spool, log)
    if len(addresses) > 1:
        raise StoreUnusable(
            "A repository of pgBackRest stands alone, so name no other --store beside it: repo2-path and its like mirror it."
        )
    if keyring.recipients or keyring.identities:
        raise UsageError(
            "pgBackRest seals by repo1-cipher-type in its own configuration; leave recipients and identities out."
        )
    from backups.pgbackrest.repository import program_at
    from backups.pgbackrest.vault import PgBackRestVault

    return PgBackRestVault(program_at(addresses[0]), database, position_of)


@dataclass(frozen=True, slots=True)
class StoreVault:
    """A store, and what opens and fills it.

    `position_of` and `log` are told to whoever makes a backup; `spool` is where a receiver leaves a server's log first.
    """

    store: Store
    keyring: Keyring
    position_of: str | None = None
    spool: Path | None = None
    log: Callable[[], LogPosition | None] | None = None

    @property
    def address(self) -> str:
        return self.store.address

    @property
    def trouble(self) -> tuple[str, ...]:
        return self.store.trouble

    @property
    def keeps_records(self) -> bool:
        return True

    def kept(self) -> tuple[Entry, ...]:
        return catalogues.read(self.store).entries

    def staging(self) -> tuple[str, ...]:
        return catalogues.read(self.store).staging

    def back_up(self, database: str, *, kind: Kind, demonstration: bool, pace: int | None, progress: Progress) -> Made:
        manifest = run_backup(
            engine_for(database, position_of=self.position_of),
            database,
            self.store,
            kind=kind,
            keyring=self.keyring,
            pace=pace,
            log=self.log,
            progress=progress,
            demonstration=demonstration,
        )
        return self.made(manifest)

    def made(self, manifest: Manifest) -> Made:
        """That new backup, as it lies there. With an identity at hand, one that it does not open is an error."""
        proven = manifest.envelope is not None and bool(self.keyring.identities)
        if proven:
            self.keyring.opened(manifest.envelope)
        return Made(
            kept=catalogues.read(self.store).find(manifest.id),
            taken_t=manifest.taken_t,
            held=tuple(one.address for one in self.store.copies if one.size(name_of(manifest.id)) is not None),
            trouble=tuple(self.store.trouble),
            sealed="" if manifest.envelope is None else "proven to open" if proven else "yes, not proven to open",
            key_proven=proven if manifest.envelope else None,
            violations=manifest.facts.foreign_key_violations,
        )

    def verify(self, backup: str | None, *, level: int, boot: Boot | None, progress: Progress) -> Verification:
        return verifying.verify(self.store, backup, level=level, keyring=self.keyring, boot=boot, progress=progress)

    def data_directory(self) -> Path:
        return clusters.data_directory(self.store)

    def plan(self, data: Path, *, backup: str | None, goal: Goal | None) -> RestorePlan:
        return clusters.plan_restore(self.store, data, backup=backup, goal=goal)

    def restore(self, data: Path, *, backup: str | None, goal: Goal | None, progress: Progress) -> Restoration:
        spool = self.spool if self.spool is not None and self.spool.is_dir() else None
        return clusters.restore(
            self.store, data, backup=backup, goal=goal, spool=spool, keyring=self.keyring, progress=progress
        )
