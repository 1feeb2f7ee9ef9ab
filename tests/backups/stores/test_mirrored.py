"""Several stores as one: one that is away is said and not waited for, one that is wrong is gone around."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backups.backup import run_backup
from backups.errors import Locked, NothingToRestore, NotSeparate, StoreError
from backups.keeping import catalogue as catalogues
from backups.restore import restore
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from backups.stores.mirrored import Absent, MirroredStore
from backups.verify import verify
from tests.backups import databases

pytestmark = pytest.mark.processes


class Fickle(DirectoryStore):
    """A store that can go away and come back."""

    away = False

    def _path(self, name: str) -> Path:
        if self.away:
            raise StoreError(f"{self.address} does not answer.")
        return super()._path(name)

    @contextmanager
    def exclusive(self, purpose: str, *, alone: bool = False) -> Iterator[None]:
        if self.away:
            raise StoreError(f"{self.address} does not answer.")
        with super().exclusive(purpose, alone=alone):
            yield


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Fickle, Fickle]:
    return Fickle(tmp_path / "one", make=True), Fickle(tmp_path / "two", make=True)


def back_up(engine: SqliteEngine, database: Path, store: MirroredStore) -> str:
    return run_backup(engine, str(database), store, demonstration=True).id


def ids(store: DirectoryStore) -> list[str]:
    return [entry.id for entry in catalogues.read(store).entries if not entry.fault]


def test_a_backup_lies_in_every_store_and_each_can_restore_it(
    engine: SqliteEngine, database: Path, pair: tuple[Fickle, Fickle], tmp_path: Path
) -> None:
    made = back_up(engine, database, MirroredStore(pair))
    for number, store in enumerate(pair):
        assert ids(store) == [made]
        restore(engine, store, str(tmp_path / f"{number}.db"))
        assert databases.contents(tmp_path / f"{number}.db") == databases.contents(database)


@pytest.mark.parametrize("gone", [0, 1])
def test_a_store_that_is_away_stops_nothing_is_named_and_is_brought_level(
    engine: SqliteEngine, database: Path, pair: tuple[Fickle, Fickle], gone: int
) -> None:
    first = back_up(engine, database, MirroredStore(pair))
    databases.write(database, 5)
    pair[gone].away = True
    mirrored = MirroredStore(pair)
    second = back_up(engine, database, mirrored)
    assert mirrored.trouble == (f"{pair[gone].address} does not answer.",)
    assert mirrored.copies == (pair[1 - gone],)
    pair[gone].away = False
    assert ids(pair[gone]) == [first]
    assert any(second in name for name in MirroredStore(pair).level())
    assert ids(pair[gone]) == ids(pair[1 - gone]) == [first, second]
    assert MirroredStore(pair).level() == ()
    assert verify(pair[gone], second).ok


def test_a_store_that_goes_away_in_the_middle_of_a_backup_holds_no_part_of_it_as_good(
    engine: SqliteEngine, database: Path, pair: tuple[Fickle, Fickle]
) -> None:
    class Leaving(Fickle):
        def create(self, name: str, chunks: object) -> int:
            size_bytes = super().create(name, chunks)  # type: ignore[arg-type]
            self.away = True
            return size_bytes

    leaving = Leaving(Path(pair[0].address), make=True)
    mirrored = MirroredStore([leaving, pair[1]])
    made = back_up(engine, database, mirrored)
    assert mirrored.trouble
    assert catalogues.read(pair[0]).entries == ()
    assert ids(pair[1]) == [made]
    MirroredStore(pair).level()
    assert ids(pair[0]) == [made]


def test_without_any_store_there_is_no_backup(
    engine: SqliteEngine, database: Path, pair: tuple[Fickle, Fickle]
) -> None:
    for store in pair:
        store.away = True
    with pytest.raises(StoreError, match="None of the 2 stores answers"):
        back_up(engine, database, MirroredStore(pair))


def test_a_store_that_could_not_be_opened_is_away_from_the_start(
    engine: SqliteEngine, database: Path, pair: tuple[Fickle, Fickle]
) -> None:
    mirrored = MirroredStore([Absent("/gone", "There is no store at /gone."), pair[0]])
    back_up(engine, database, mirrored)
    assert mirrored.trouble == ("There is no store at /gone.",)
    with pytest.raises(StoreError, match="/gone"):
        mirrored.level()


@pytest.mark.parametrize("damaged", [0, 1])
@pytest.mark.parametrize("what", ["pack-0000", "index", "manifest"])
@pytest.mark.parametrize("how", ["flipped", "missing", "short"])
def test_damage_in_one_store_is_gone_around_by_the_other(
    engine: SqliteEngine, database: Path, pair: tuple[Fickle, Fickle], tmp_path: Path, damaged: int, what: str, how: str
) -> None:
    made = back_up(engine, database, MirroredStore(pair))
    root = Path(pair[damaged].address)
    path = root / "manifests" / f"{made}.json" if what == "manifest" else root / "objects" / made / what
    if how == "missing":
        path.unlink()
    else:
        content = path.read_bytes()
        middle = len(content) // 2
        path.write_bytes(
            content[:middle] + (b"" if how == "short" else bytes([content[middle] ^ 1]) + content[middle + 1 :])
        )
    restored = restore(engine, MirroredStore(pair), str(tmp_path / "look.db"))
    assert (restored.backup, restored.refused) == (made, ())
    assert databases.contents(tmp_path / "look.db") == databases.contents(database)


def test_damage_in_both_stores_is_refused(
    engine: SqliteEngine, database: Path, pair: tuple[Fickle, Fickle], tmp_path: Path
) -> None:
    made = back_up(engine, database, MirroredStore(pair))
    for store in pair:
        databases.flip(Path(store.address) / "objects" / made / "pack-0000", 60)
    with pytest.raises(NothingToRestore):
        restore(engine, MirroredStore(pair), str(tmp_path / "look.db"))
    assert not (tmp_path / "look.db").exists()


def test_a_damaged_copy_is_not_copied(engine: SqliteEngine, database: Path, pair: tuple[Fickle, Fickle]) -> None:
    pair[0].away = True
    made = back_up(engine, database, MirroredStore(pair))
    pair[0].away = False
    databases.flip(Path(pair[1].address) / "objects" / made / "pack-0000", 60)
    assert not any("pack-0000" in name for name in MirroredStore(pair).level())


def test_every_store_is_locked(pair: tuple[Fickle, Fickle]) -> None:
    mirrored = MirroredStore(pair)
    with mirrored.exclusive("backup"):
        for store in pair:
            with pytest.raises(Locked), store.exclusive("another"):
                pass
    with mirrored.shared("restore"), pytest.raises(Locked), pair[1].exclusive("prune", alone=True):
        pass
    assert mirrored.trouble == ()


def test_each_of_several_directories_must_be_separate(
    engine: SqliteEngine, database: Path, pair: tuple[Fickle, Fickle]
) -> None:
    with pytest.raises(NotSeparate):
        run_backup(engine, str(database), MirroredStore(pair))
