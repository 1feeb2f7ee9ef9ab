"""The newest backup is the one of the highest sequence, and its damage is known to the byte."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from chaos.backup_store import DeleteStore, newest_backup
from chaos.errors import NothingToBreak
from chaos.fault import make
from tests.chaos.stand import NEWER, OLDER, Stand


def test_the_sequence_says_which_is_newest_and_not_the_clock(stand: Stand) -> None:
    assert newest_backup(stand.target) == (NEWER, [stand.object_of(NEWER)])


def test_only_the_newest_backups_data_are_changed_and_put_back(stand: Stand) -> None:
    store = stand.directory / "store"
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    with make("corrupt-newest-backup", count=10, seed=4).inject(stand.target) as injection:
        proof = injection.proof
        changed = [path for path, content in before.items() if path.read_bytes() != content]
        assert changed == [stand.object_of(NEWER)]
        old, new = before[changed[0]], changed[0].read_bytes()
        assert len(old) == len(new)
        assert sum(a != b for a, b in zip(old, new, strict=True)) == 10
        assert proof is not None
        assert proof.details["sha256"] == {"before": _sha256(old), "after": _sha256(new)}
        assert proof.details["backup"] == NEWER
    assert {path: path.read_bytes() for path in before} == before


def test_the_other_way_of_naming_manifests_is_understood(stand: Stand) -> None:
    """A flat store: `<id>.manifest.json` beside `<id>.<anything>`."""
    store = stand.directory / "store"
    for backup in (OLDER, NEWER):
        (store / "manifests" / f"{backup}.json").rename(store / f"{backup}.manifest.json")
        stand.object_of(backup).rename(store / f"{backup}.db.zst")
    assert newest_backup(stand.target) == (NEWER, [store / f"{NEWER}.db.zst"])


def test_a_manifest_without_data_is_nothing_to_damage(stand: Stand) -> None:
    stand.object_of(NEWER).unlink()
    with pytest.raises(NothingToBreak, match="no data"):
        newest_backup(stand.target)


def test_what_only_the_next_backup_needs_is_left_alone(stand: Stand) -> None:
    """A restore would not notice, and be right."""
    stand.object_of(NEWER).with_name("listing").write_bytes(b"what the next increment is made from")
    assert newest_backup(stand.target) == (NEWER, [stand.object_of(NEWER)])


def test_staging_is_not_a_backup(stand: Stand) -> None:
    """What a backup in progress has written is hidden, and is left alone."""
    staged: Path = stand.directory / "store" / ".staging" / "put" / f"{NEWER.replace('000008', '000009')}.json"
    staged.parent.mkdir(parents=True)
    staged.touch()
    assert newest_backup(stand.target)[0] == NEWER


def test_a_store_made_while_the_other_was_gone_is_kept_beside_it(stand: Stand) -> None:
    store = stand.directory / "store"
    with DeleteStore().inject(stand.target) as injection:
        assert injection.proof is not None
        assert injection.proof.details == {"objects": 6}
        assert not store.exists()
        store.mkdir()
        (store / "new").touch()
    assert stand.newest_is_whole()
    (beside,) = stand.directory.glob("store.made-meanwhile-*")
    assert (beside / "new").exists()


def test_without_a_store_there_is_none_to_delete(stand: Stand) -> None:
    shutil.rmtree(stand.directory / "store")
    with pytest.raises(NothingToBreak, match="no store"), DeleteStore().inject(stand.target):
        pass


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
