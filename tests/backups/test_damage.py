"""Every object of a chain, damaged in every way: refused or fallen back from, with the cost said, nothing else touched.

chain:   full <- incr <- incr         objects: manifest, index, pack of each
damage:  missing, cut, one bit, a zeroed block, exchanged with another backup's, an older one in its place
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from backups.errors import NoSuchBackup, NothingToRestore
from backups.format.manifest import Manifest, name_of
from backups.keys.age import generate
from backups.keys.keyring import Keyring
from backups.restore import restore
from backups.verify import verify
from tests.backups.light import ENGINE, Stand, make_stand

Damage = Callable[[Path, Path, random.Random], None]


@pytest.fixture(scope="session", params=["plain", "sealed"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Stand:
    root = tmp_path_factory.mktemp("stand")
    if request.param == "plain":
        return make_stand(root, Keyring.plain())
    text, recipient = generate()
    (root / "identity").write_text(text)
    (root / "identity").chmod(0o600)
    return make_stand(root, Keyring((recipient,), (root / "identity",), root / "secret"))


def missing(path: Path, other: Path, dice: random.Random) -> None:
    path.unlink()


def cut(path: Path, other: Path, dice: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: dice.randrange(len(content))])


def one_bit(path: Path, other: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[dice.randrange(len(content))] ^= 1 << dice.randrange(8)
    path.write_bytes(content)


def zeroed(path: Path, other: Path, dice: random.Random) -> None:
    content = bytearray(path.read_bytes())
    at = dice.randrange(max(1, len(content) - 512))
    content[at : at + 512] = bytes(len(content[at : at + 512]))
    path.write_bytes(content)


def exchanged(path: Path, other: Path, dice: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(other.read_bytes())
    other.write_bytes(content)


def replayed(path: Path, other: Path, dice: random.Random) -> None:
    path.write_bytes(other.read_bytes())


NAMES: dict[str, Callable[[Manifest], str]] = {
    "manifest": lambda link: name_of(link.id),
    "index": lambda link: link.index.name,
    "pack": lambda link: link.packs[0].name,
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("damage", [missing, cut, one_bit, zeroed, exchanged, replayed])
@pytest.mark.parametrize("what", list(NAMES))
@pytest.mark.parametrize("link", [0, 1, 2])
def test_damage_is_refused_or_fallen_back_from(
    model: Stand, tmp_path: Path, link: int, what: str, damage: Damage, seed: int
) -> None:
    root = tmp_path / "stand"
    shutil.copytree(model.root, root)
    stand = Stand(root, model.links, model.states, model.keyring)
    name, before = NAMES[what], stand.database.read_bytes()
    other = link - 1 if link else 2
    damage(
        root / "store" / name(stand.links[link]),
        root / "store" / name(stand.links[other]),
        random.Random(f"{link}{seed}"),
    )
    worst = min(link, other) if damage is exchanged else link

    for in_place in (False, True):
        stand.database.write_bytes(before)
        assert_restored_or_refused(stand, worst, before, in_place)

    for number, made in enumerate(stand.links):
        try:
            ok = verify(stand.store, made.id, level=3, keyring=stand.keyring).ok
        except NoSuchBackup:
            assert (what, damage, number) == ("manifest", missing, link)
        else:
            assert ok == (number < worst)


def assert_restored_or_refused(stand: Stand, worst: int, before: bytes, in_place: bool) -> None:
    """What is brought back is what its backup held, to the bit; what cannot be is refused with the file left alone."""
    try:
        result = restore(ENGINE, stand.store, str(stand.database), keyring=stand.keyring, in_place=in_place)
    except NothingToRestore:
        assert worst == 0, "an undamaged backup was refused"
        assert stand.database.read_bytes() == before
        assert {path.name for path in stand.root.iterdir()} - {"identity", "secret"} == {"gym.db", "store"}
        return
    number = [link.id for link in stand.links].index(result.backup)
    assert stand.database.read_bytes() == stand.states[number]
    assert number >= worst - 1, "a good backup was passed over"
    refused = [one.id for one in result.refused]
    assert refused == [link.id for link in reversed(stand.links[number + 1 :]) if link.id in refused]
    if refused:
        assert "than the newest backup" in str(result.cost) or result.cost.older_s == 0
    assert result.evidence is not None
    shutil.rmtree(result.evidence)


def test_nothing_damaged_is_nothing_refused(model: Stand, tmp_path: Path) -> None:
    shutil.copytree(model.root, tmp_path / "stand")
    stand = Stand(tmp_path / "stand", model.links, model.states, model.keyring)
    for link, state in zip(stand.links, stand.states, strict=True):
        for in_place in (False, True):
            result = restore(
                ENGINE, stand.store, str(stand.database), backup=link.id, keyring=stand.keyring, in_place=in_place
            )
            assert (result.refused, stand.database.read_bytes() == state) == ((), True)


def test_the_identity_alone_brings_a_sealed_backup_back(model: Stand, tmp_path: Path) -> None:
    """On another machine there is no secret of the host that made it."""
    alone = Keyring(identities=model.keyring.identities)
    result = restore(ENGINE, model.store, str(tmp_path / "new.db"), keyring=alone)
    assert (tmp_path / "new.db").read_bytes() == model.states[2]
    assert result.backup == model.links[2].id
