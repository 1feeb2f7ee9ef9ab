"""Chains of sealed backups: what a host can do without an identity, what only an identity can, and what nobody can forge."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from backups import parents
from backups.backup import run_backup
from backups.errors import KeyMissing, WrongKey
from backups.format import manifest as manifests
from backups.format.manifest import Manifest
from backups.keeping import catalogue
from backups.keys.age import generate
from backups.keys.keyring import Keyring
from backups.restore import restore
from backups.verify import verify
from tests.backups import databases
from tests.backups.light import ENGINE, Stand, make_stand


def identity(path: Path) -> str:
    """A new identity in that file, and its recipient."""
    text, recipient = generate()
    path.write_text(text)
    path.chmod(0o600)
    return recipient


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Stand:
    root = tmp_path_factory.mktemp("sealed")
    recipient = identity(root / "identity")
    return make_stand(root, Keyring((recipient,), (root / "identity",), root / "secret"))


@pytest.fixture
def stand(model: Stand, tmp_path: Path) -> Stand:
    shutil.copytree(model.root, tmp_path / "stand")
    return replace(model, root=tmp_path / "stand")


def without_identity(stand: Stand) -> Keyring:
    return replace(stand.keyring, identities=())


def test_no_page_lies_in_the_store_as_it_is(stand: Stand) -> None:
    stored = b"".join(path.read_bytes() for path in (stand.root / "store" / "objects").rglob("pack-*"))
    assert all(stand.states[0][at : at + 32] not in stored for at in range(0, len(stand.states[0]), 4096))
    assert stand.links[0].envelope is not None
    assert stand.links[0].mac


def test_the_host_makes_increments_without_an_identity(stand: Stand) -> None:
    host = without_identity(stand)
    made = [run_backup(ENGINE, str(stand.root / "gym.db"), stand.store, keyring=host, demonstration=True)]
    made.append(run_backup(ENGINE, str(stand.root / "gym.db"), stand.store, keyring=host, demonstration=True))
    assert [link.kind for link in made] == ["full", "incr"]  # The first is of a database at another place.
    restore(ENGINE, stand.store, str(stand.root / "new.db"), keyring=stand.keyring)
    assert (stand.root / "new.db").read_bytes() == stand.database.read_bytes()


def test_the_host_cannot_read_what_it_has_stored(stand: Stand) -> None:
    before = stand.database.read_bytes()
    for in_place in (False, True):
        with pytest.raises(KeyMissing, match="--identity"):
            restore(ENGINE, stand.store, str(stand.database), keyring=without_identity(stand), in_place=in_place)
    assert stand.database.read_bytes() == before
    assert not stand.database.with_name("gym.db.restore-plan.json").exists()


def test_another_identity_opens_nothing(stand: Stand) -> None:
    identity(stand.root / "other")
    with pytest.raises(WrongKey):
        restore(ENGINE, stand.store, str(stand.database), keyring=Keyring(identities=(stand.root / "other",)))


def test_without_an_identity_every_stored_byte_is_read_and_the_rest_said_to_be_unseen(stand: Stand) -> None:
    outcome = verify(stand.store, level=4, keyring=Keyring.plain())
    assert (outcome.ok, outcome.level) == (True, 3)
    assert outcome.read_bytes == sum(link.stored_bytes for link in stand.links)
    assert any("did not see the contents" in said for said in outcome.unseen)
    assert any("whether the manifests are authentic" in said for said in outcome.unseen)
    assert catalogue.read(stand.store).find(outcome.backup).state == "verified"
    pack = stand.links[1].packs[0].name
    databases.flip(stand.root / "store" / pack, 99)
    assert verify(stand.store, level=3, keyring=Keyring.plain()).findings == (
        f"{pack} is not the bytes that were stored: its hash differs.",
    )


def test_with_the_identity_everything_is_seen(stand: Stand) -> None:
    outcome = verify(stand.store, level=3, keyring=Keyring(identities=stand.keyring.identities))
    assert (outcome.ok, outcome.level, outcome.unseen) == (True, 3, ())


def forge(stand: Stand, link: int) -> Manifest:
    """A manifest changed, and signed as well as whoever can write to the store can."""
    forged = manifests.signed(msgspec.structs.replace(stand.links[link], host="elsewhere"), lambda _: "")
    forged = msgspec.structs.replace(forged, mac=stand.links[link].mac)
    (stand.root / "store" / manifests.name_of(forged.id)).write_bytes(manifests.encode(forged))
    return forged


def test_a_forged_manifest_is_refused_by_whoever_has_the_key(stand: Stand) -> None:
    forge(stand, 2)
    result = restore(ENGINE, stand.store, str(stand.database), keyring=stand.keyring)
    assert result.backup == stand.links[1].id
    assert "was not written by who holds its key" in result.refused[0].why
    (finding,) = verify(stand.store, level=0, keyring=without_identity(stand)).findings
    assert "was not written by who holds its key" in finding


def test_an_unsealed_backup_slipped_in_is_not_restored_by_who_has_an_identity(stand: Stand) -> None:
    slipped = run_backup(ENGINE, str(stand.database), stand.store, demonstration=True)
    result = restore(ENGINE, stand.store, str(stand.database), keyring=stand.keyring)
    assert result.backup == stand.links[2].id
    assert result.refused[0].id == slipped.id
    assert "It is not sealed" in result.refused[0].why
    assert restore(ENGINE, stand.store, str(stand.database), backup=slipped.id).backup == slipped.id


def test_a_full_grown_chain_that_the_host_cannot_read_is_followed_by_a_real_full(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parents, "MOST_LINKS", 1)
    host, made = without_identity(stand), []
    for _ in range(3):
        made.append(run_backup(ENGINE, str(stand.database), stand.store, keyring=host, demonstration=True))
    assert [(link.kind, link.synthetic) for link in made] == [("full", False), ("incr", False), ("full", False)]


def test_with_an_identity_it_is_put_together(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parents, "MOST_LINKS", 1)
    for _ in range(3):
        run_backup(ENGINE, str(stand.database), stand.store, keyring=stand.keyring, demonstration=True)
    entries = catalogue.read(stand.store).entries[3:]
    kinds = [(entry.kind, entry.manifest.synthetic) for entry in entries if entry.manifest]
    assert kinds == [("full", False), ("incr", False), ("full", True), ("incr", False)]
    assert all(verify(stand.store, entry.id, level=3, keyring=stand.keyring).ok for entry in entries)


def test_a_plain_chain_is_not_built_on_with_keys_nor_a_sealed_one_without(stand: Stand) -> None:
    plain = run_backup(ENGINE, str(stand.database), stand.store, demonstration=True)
    sealed = run_backup(ENGINE, str(stand.database), stand.store, keyring=stand.keyring, demonstration=True)
    again = run_backup(ENGINE, str(stand.database), stand.store, demonstration=True)
    assert [link.kind for link in (plain, sealed, again)] == ["full", "full", "full"]
