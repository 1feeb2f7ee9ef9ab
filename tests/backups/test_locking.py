"""A backup and a restore of one database at once: who comes second is told who came first, and since when."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from backups.backup import run_backup
from backups.errors import Locked
from backups.format.manifest import Manifest
from backups.keys.keyring import Keyring
from backups.restore import restore
from backups.stores.directory import DirectoryStore
from backups.swap import restore_lock_of
from tests.backups.light import ENGINE, Stand, make_stand


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    return make_stand(tmp_path, Keyring.plain(), units=40)


def test_a_restore_during_a_backup_is_refused(stand: Stand) -> None:
    refused: list[Locked] = []

    def during(*_: object) -> None:
        if not refused:
            with pytest.raises(
                Locked, match=rf"process {os.getpid()} on .*, since 20\d\d-.*\(backup of .*gym\.db\)"
            ) as caught:
                restore(ENGINE, stand.store, str(stand.database))
            refused.append(caught.value)

    run_backup(ENGINE, str(stand.database), stand.store, kind="full", progress=during, demonstration=True)
    assert refused
    assert not restore_lock_of(stand.database).exists()


def test_a_backup_during_a_restore_is_refused(stand: Stand) -> None:
    def during() -> None:
        with pytest.raises(Locked, match=rf"process {os.getpid()} on .*, since 20\d\d-.*\(restore of .*gym\.db\)"):
            run_backup(ENGINE, str(stand.database), stand.store, demonstration=True)

    restore(ENGINE, stand.store, str(stand.database), fence=during)
    assert not restore_lock_of(stand.database).exists()


def test_backups_to_two_stores_at_once_are_no_trouble(stand: Stand) -> None:
    other = DirectoryStore(stand.root / "other", make=True)
    made: list[Manifest] = []

    def during(*_: object) -> None:
        if not made:
            made.append(run_backup(ENGINE, str(stand.database), other, demonstration=True))

    run_backup(ENGINE, str(stand.database), stand.store, kind="full", progress=during, demonstration=True)
    assert made[0].kind == "full"
    restore(ENGINE, stand.store, str(stand.database))
