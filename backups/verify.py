"""Proving one backup, as thoroughly as asked: from reading its manifests to restoring it to a scratch place.

What the levels mean is said in `format/verification.py`. A backup is as good as its whole chain, so a look at one looks at
all that it builds on. Level 5 belongs to `boot`: somebody who can run a service on the copy.
"""

from __future__ import annotations

import random
import secrets
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from math import ceil
from pathlib import Path

from backups import build, disk, staging
from backups.addresses import engine_named
from backups.clock import SYSTEM, Clock, rfc3339
from backups.engine import Engine
from backups.errors import Damaged, NoSuchBackup, UsageError
from backups.format import packs, proof, stored_chain, verification
from backups.format.facts import TableContent
from backups.format.manifest import Manifest, Pack
from backups.format.stored_chain import StoredChain
from backups.format.verification import Verification
from backups.keeping import catalogue as catalogues
from backups.keeping.catalogue import Catalogue, Entry
from backups.keys.keyring import Keyring
from backups.progress import Progress, silent
from backups.stores.store import Store

Boot = Callable[[Path], tuple[str, ...]]
"""Runs a service on the copy at this path, and says what was wrong; empty when nothing was."""

_SAMPLE = 0.1


def verify(
    store: Store,
    backup_id: str | None = None,
    *,
    level: int = 4,
    keyring: Keyring | None = None,
    engine: Engine | None = None,
    boot: Boot | None = None,
    place: Path | None = None,
    seed: int | None = None,
    progress: Progress = silent,
    clock: Clock = SYSTEM,
    free_bytes: disk.FreeBytes = disk.free_bytes,
) -> Verification:
    """Verify that backup, or the newest, up to that level, and append the outcome to the store.

    A bad backup is an answer, not an error: `ok` is False and `findings` say why. A backup sealed to keys that are not at
    hand is read and hashed all the same; the outcome then has level 3 at most, and says what it did not see. `engine` is
    the one to check the copy with, that of the manifest when None. The copy is restored below `place`, or where the store
    has its scratch when None, and is removed. Raises NoSuchBackup, UsageError for a level that does not exist or lacks its
    `boot`, NoSpace when there is no room to restore it for a look, and whatever `boot` raises: then nothing is recorded.
    """
    if level not in verification.LEVELS or (level == verification.REHEARSED and boot is None):
        raise UsageError(
            f"There is no verification of level {level} here; levels go from 0 to {4 + (boot is not None)}."
        )
    catalogue = catalogues.read(store)
    entry = _wanted(catalogue, backup_id)
    began_t = clock.monotonic()
    look = _Look(store, catalogue, entry, level, keyring or Keyring.plain(), engine, boot, place, progress, free_bytes)
    look.seed = secrets.randbits(32) if seed is None else seed
    try:
        with store.shared(f"verification of {entry.id}"):
            look.take()
    except Damaged as error:
        look.findings.append(str(error))
    outcome = Verification(
        backup=entry.id,
        level=look.reached,
        ok=not look.findings,
        findings=tuple(look.findings),
        unseen=tuple(look.unseen),
        at=rfc3339(clock.now()),
        seconds=clock.monotonic() - began_t,
        read_bytes=look.read_bytes,
        host=socket.gethostname(),
        seed=look.seed,
        content=look.content,
    )
    verification.append(store, outcome)
    return outcome


def _wanted(catalogue: Catalogue, backup_id: str | None) -> Entry:
    if backup_id is not None:
        return catalogue.find(backup_id)
    if catalogue.newest is None:
        raise NoSuchBackup(f"{catalogue.address} holds no backup yet; make one with: gymkhana backup run.")
    return catalogue.newest


@dataclass(slots=True)
class _Look:
    """One look under way; each level adds what it finds."""

    store: Store
    catalogue: Catalogue
    entry: Entry
    level: int
    keyring: Keyring
    engine: Engine | None
    boot: Boot | None
    place: Path | None
    progress: Progress
    free_bytes: disk.FreeBytes
    seed: int = 0
    reached: int = 0
    read_bytes: int = 0
    findings: list[str] = field(default_factory=list)
    unseen: list[str] = field(default_factory=list)
    content: dict[str, TableContent] = field(default_factory=dict)

    def take(self) -> None:
        """Go up the levels as far as asked, and no further than the first that finds something."""
        self.reached = self.level
        links = self.manifests()
        if self.level >= 1 and not self.findings:
            self.sizes(links)
        if self.level == 2 and not self.findings:
            self.sample(links)
        if self.level >= 3 and not self.findings:
            images = self.opened()
            self.every_byte(links, images)
            if self.level >= 4 and not self.findings:
                self.restored(images)

    def manifests(self) -> tuple[Manifest, ...]:
        """Level 0."""
        if self.entry.manifest is None:
            raise Damaged(self.entry.flaw)
        links = stored_chain.links_of(self.catalogue, self.entry.id)
        for manifest in links:
            flaw = self.catalogue.find(manifest.id).flaw
            if flaw and not any(stored.name in flaw for stored in manifest.objects):
                self.findings.append(flaw if manifest.id == self.entry.id else f"{manifest.id}: {flaw}")
            try:
                keys = self.keyring.keys_of(manifest.envelope, others=self.catalogue.envelopes)
            except UsageError:
                self.not_seen("whether the manifests are authentic")
                continue
            stored_chain.require_authentic(self.catalogue, manifest, keys)
        return links

    def sizes(self, links: tuple[Manifest, ...]) -> None:
        """Level 1."""
        sizes = {
            stored.name: stored.size_bytes
            for manifest in links
            for stored in self.store.list(f"objects/{manifest.id}/")
        }
        for stored in _objects(links):
            size_bytes = sizes.get(stored.name)
            if size_bytes is None:
                self.findings.append(f"{stored.name} is missing.")
            elif size_bytes != stored.stored_bytes:
                self.findings.append(f"{stored.name} has {size_bytes} bytes, and {stored.stored_bytes} were stored.")

    def sample(self, links: tuple[Manifest, ...]) -> None:
        """Level 2."""
        dice = random.Random(self.seed)
        chosen: list[Pack] = []
        for manifest in links:
            looked_at = any(look.ok and look.level >= 2 for look in self.catalogue.find(manifest.id).verifications)
            count = ceil(len(manifest.objects) * _SAMPLE) if looked_at else len(manifest.objects)
            chosen += dice.sample(manifest.objects, count)
        self.hash(chosen)

    def opened(self) -> tuple[StoredChain, ...]:
        """The images of the chain, none when the keys at hand do not open it."""
        try:
            return stored_chain.open_images(self.store, self.catalogue, self.entry.id, self.keyring)
        except UsageError as error:
            self.not_seen(f"the contents: {error}")
            self.reached = min(self.level, verification.VERIFIED)
            return ()

    def every_byte(self, links: tuple[Manifest, ...], images: tuple[StoredChain, ...]) -> None:
        """Level 3."""
        if not images:
            self.hash(_objects(links))
            return
        total_bytes = sum(manifest.stored_bytes for manifest in links)
        for chain in images:
            for link, sealer in zip(chain.table.links, chain.sealers, strict=True):
                self.findings += proof.read_all(
                    self.store, link, sealer, chain.key, self.progress, self.read_bytes, total_bytes
                )
                self.read_bytes += link.manifest.stored_bytes
        for manifest in links:
            keys = self.keyring.keys_of(manifest.envelope, others=self.catalogue.envelopes)
            packs.read_listing(self.store, manifest, keys.index_sealer(manifest.id))

    def restored(self, images: tuple[StoredChain, ...]) -> None:
        """Level 4, and 5."""
        if not images:
            return
        manifest = images[-1].table.manifest
        try:
            engine = self.engine or engine_named(manifest.engine)
        except UsageError as error:
            self.findings.append(str(error))
            return
        with self.scratch() as scratch:
            disk.require_room(scratch, build.room_bytes(images), f"a look at {manifest.id}", self.free_bytes)
            copy = scratch / "database"
            build.put_together(images, copy, engine, self.progress)
            self.findings += engine.check(copy, manifest.facts, deep=True, progress=self.progress)
            if not self.findings:
                self.content = engine.content(copy, self.progress)
            if self.level >= verification.REHEARSED and not self.findings:
                assert self.boot is not None, "asked for in verify()"
                self.findings += self.boot(copy)

    def scratch(self) -> AbstractContextManager[Path]:
        if self.place is None:
            return self.store.scratch("verify")
        staging.sweep(self.place / "gymkhana-scratch")
        return staging.directory(self.place / "gymkhana-scratch", "verify")

    def hash(self, objects: list[Pack]) -> None:
        self.findings += proof.hash_objects(self.store, objects, self.progress)
        self.read_bytes += sum(stored.stored_bytes for stored in objects)

    def not_seen(self, what: str) -> None:
        sentence = f"No key at hand opens it, so this look did not see {what}"
        self.unseen.append(sentence if sentence.endswith(".") else f"{sentence}.")


def _objects(links: tuple[Manifest, ...]) -> list[Pack]:
    return [stored for manifest in links for stored in manifest.objects]
