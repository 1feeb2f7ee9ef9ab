"""Incremental backups: what they store, what they build on, and that every link of a chain gives its own state back."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from backups import parents
from backups import restore as restores
from backups.backup import run_backup
from backups.errors import Damaged, NoParent, NothingToRestore
from backups.format import chain as chains
from backups.format.manifest import LogSpan
from backups.format.stored_chain import StoredChain, open_chain
from backups.keeping import catalogue
from backups.keys.keyring import Keyring
from backups.restore import restore
from backups.sqlite.engine import SqliteEngine
from backups.verify import verify
from tests.backups import databases
from tests.backups.house import Chain
from tests.backups.memory_store import MemoryStore

pytestmark = pytest.mark.processes


def test_the_first_backup_is_full_and_the_next_ones_build_on_it(chain: Chain) -> None:
    full, first, second = chain.links
    assert [link.kind for link in chain.links] == ["full", "incr", "incr"]
    assert (full.parent, first.parent, second.parent) == (None, full.id, first.id)
    assert [link.chain_length for link in chain.links] == [0, 1, 2]
    assert full.stored_units == full.units
    assert 0 < first.stored_units < first.units / 2
    assert first.stored_bytes < full.stored_bytes * 2 / 3


def test_every_link_gives_its_own_state_back(engine: SqliteEngine, chain: Chain) -> None:
    for link, state in zip(chain.links, chain.states, strict=True):
        restore(engine, chain.store, str(chain.database), backup=link.id)
        assert databases.contents(chain.database) == state
        assert verify(chain.store, link.id).ok


def test_a_chain_is_read_in_the_order_of_its_image_as_well(chain: Chain) -> None:
    """Units of all three links take turns in it, and each comes where it belongs."""
    stored = open_chain(chain.store, catalogue.read(chain.store), chain.links[-1].id, Keyring.plain())
    image = bytearray(chain.links[-1].size_bytes)
    for unit, content in stored.runs():
        begin = unit * chain.links[-1].unit_bytes
        image[begin : begin + len(content)] = content
    assert [unit for unit, _ in stored.runs()] != sorted(unit for unit, _ in stored.runs())
    assert b"".join(stored.in_order()) == bytes(image)


def test_the_same_content_has_the_same_root(engine: SqliteEngine, chain: Chain) -> None:
    again = run_backup(engine, str(chain.database), chain.store, demonstration=True)
    once_more = run_backup(engine, str(chain.database), chain.store, kind="full", demonstration=True)
    assert again.root == once_more.root
    assert run_backup(engine, str(chain.database), chain.store, demonstration=True).stored_units == 0


def test_a_full_backup_may_be_asked_for(engine: SqliteEngine, chain: Chain) -> None:
    made = run_backup(engine, str(chain.database), chain.store, kind="full", demonstration=True)
    assert (made.kind, made.parent, made.stored_units) == ("full", None, made.units)


def test_an_incremental_one_needs_something_to_build_on(engine: SqliteEngine, database: Path) -> None:
    store = MemoryStore()
    with pytest.raises(NoParent, match=r"holds no good backup of .* to build on: make a full backup"):
        run_backup(engine, str(database), store, kind="incr")
    assert store.objects == {}


def test_a_suspect_backup_is_not_built_on(engine: SqliteEngine, chain: Chain) -> None:
    chain.path_of(chain.links[2].packs[0].name).unlink()
    made = run_backup(engine, str(chain.database), chain.store, demonstration=True)
    assert made.parent == chain.links[1].id


def test_a_broken_full_backup_breaks_its_chain_and_the_next_one_is_full(engine: SqliteEngine, chain: Chain) -> None:
    chain.path_of(chain.links[0].packs[0].name).unlink()
    made = run_backup(engine, str(chain.database), chain.store, demonstration=True)
    assert made.kind == "full"


def test_an_index_that_cannot_be_read_is_not_built_on(engine: SqliteEngine, chain: Chain) -> None:
    databases.flip(chain.path_of(chain.links[2].index.name), 9)
    with pytest.raises(NoParent, match=rf"{chain.links[2].id} cannot be built on: .*its hash differs"):
        run_backup(engine, str(chain.database), chain.store, kind="incr", demonstration=True)
    assert run_backup(engine, str(chain.database), chain.store, demonstration=True).kind == "full"


def test_another_database_in_the_same_store_is_not_built_on(engine: SqliteEngine, chain: Chain, tmp_path: Path) -> None:
    other = databases.make(tmp_path / "other.db")
    assert run_backup(engine, str(other), chain.store, demonstration=True).kind == "full"


def test_a_database_with_another_page_size_begins_anew(engine: SqliteEngine, chain: Chain) -> None:
    with closing(databases.connect(chain.database)) as database:
        database.execute("PRAGMA journal_mode = DELETE")
        database.execute("PRAGMA page_size = 8192")
        database.execute("VACUUM")
    with pytest.raises(NoParent, match="page size"):
        run_backup(engine, str(chain.database), chain.store, kind="incr", demonstration=True)
    made = run_backup(engine, str(chain.database), chain.store, demonstration=True)
    assert (made.kind, made.unit_bytes) == ("full", 8192)


def test_a_database_that_shrinks_and_grows_is_followed(engine: SqliteEngine, chain: Chain) -> None:
    states = []
    for statement in ("DELETE FROM notes WHERE id > 50", "DELETE FROM operations WHERE sequence > 60"):
        with closing(databases.connect(chain.database)) as database:
            database.execute(statement)
            database.execute("VACUUM")
        run_backup(engine, str(chain.database), chain.store, kind="incr", demonstration=True)
        states.append(databases.contents(chain.database))
        databases.write(chain.database, 700)
        run_backup(engine, str(chain.database), chain.store, kind="incr", demonstration=True)
        states.append(databases.contents(chain.database))
    entries = catalogue.read(chain.store).entries[3:]
    sizes = [entry.manifest.units for entry in entries if entry.manifest]
    assert sizes[0] < sizes[1] > sizes[2] < sizes[3]
    for entry, state in zip(entries, states, strict=True):
        restore(engine, chain.store, str(chain.database), backup=entry.id)
        assert databases.contents(chain.database) == state


def test_a_chain_that_is_full_grown_is_put_together_and_built_on(
    engine: SqliteEngine, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parents, "MOST_LINKS", 2)
    made = run_backup(engine, str(chain.database), chain.store, demonstration=True)
    synthetic = catalogue.read(chain.store).entries[-2].manifest
    assert synthetic is not None
    assert (synthetic.synthetic, synthetic.kind, synthetic.root) == (True, "full", chain.links[2].root)
    assert (made.parent, made.chain_length) == (synthetic.id, 1)
    restore(engine, chain.store, str(chain.database), backup=synthetic.id)
    assert databases.contents(chain.database) == chain.states[2]


def test_a_full_grown_chain_that_is_rotten_is_followed_by_a_real_full(
    engine: SqliteEngine, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parents, "MOST_LINKS", 2)
    databases.flip(chain.path_of(chain.links[2].packs[0].name), 50)
    made = run_backup(engine, str(chain.database), chain.store, demonstration=True)
    assert (made.kind, made.synthetic, made.sequence) == ("full", False, 4)


def test_chains_are_bounded() -> None:
    assert chains.MOST_LINKS == 24


def test_the_span_of_the_log_is_told(engine: SqliteEngine, database: Path) -> None:
    positions = iter([("g1", 7), ("g1", 9)])
    made = run_backup(engine, str(database), MemoryStore(), log=lambda: next(positions))
    assert made.log == LogSpan("g1", 7, 9)


def test_a_log_that_begins_anew_meanwhile_has_no_span(engine: SqliteEngine, database: Path) -> None:
    positions = iter([("g1", 7), ("g2", 0)])
    assert run_backup(engine, str(database), MemoryStore(), log=lambda: next(positions)).log is None


def test_a_log_that_does_not_answer_afterwards_leaves_the_end_open(engine: SqliteEngine, database: Path) -> None:
    asked = []

    def log() -> tuple[str, int]:
        asked.append(1)
        if len(asked) > 1:
            raise Damaged("No answer.")
        return "g1", 7

    assert run_backup(engine, str(database), MemoryStore(), log=log).log == LogSpan("g1", 7, None)


def test_another_hash_key_begins_anew(engine: SqliteEngine, chain: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Keyring, "hash_key", property(lambda _: bytes(32)))
    with pytest.raises(NoParent, match="another key"):
        run_backup(engine, str(chain.database), chain.store, kind="incr", demonstration=True)


def test_a_rotten_full_backup_is_tried_once_and_not_once_for_each_link(
    engine: SqliteEngine, chain: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    for offset in range(0, chain.links[0].packs[0].stored_bytes, 300):
        databases.flip(chain.path_of(chain.links[0].packs[0].name), offset)
    opened: list[str] = []

    def counted(*arguments: Any) -> StoredChain:
        opened.append(arguments[2])
        return open_chain(*arguments)

    monkeypatch.setattr(restores, "open_chain", counted)
    with pytest.raises(NothingToRestore, match="It builds on what"):
        restore(engine, chain.store, str(chain.database))
    assert opened == [chain.links[2].id]
