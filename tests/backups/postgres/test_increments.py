"""Increments that the server makes itself: what they are laid over, what they hold, and what happens without them."""

from __future__ import annotations

import shutil
import tarfile
from pathlib import Path

import pytest

from backups import parents
from backups.consolidate import consolidate
from backups.errors import Damaged, NoSpace
from backups.format.manifest import Manifest
from backups.keeping import catalogue as catalogues
from backups.keeping.retention import Kept, Policy, decide
from backups.keys.keyring import Keyring, generate
from backups.postgres import base as bases
from backups.postgres import listed
from backups.postgres.binaries import Binaries, NoPostgres, binaries
from backups.postgres.combining import refusal
from backups.postgres.engine import PostgresEngine
from backups.postgres.recovery import NEWEST
from backups.postgres.restore import plan_restore, restore
from backups.verify import verify
from tests.backups import databases
from tests.backups.asking import ask, invoke
from tests.backups.postgres.conftest import Clinic
from tests.backups.postgres.test_restore import brought_back
from tests.backups.snapshots import take

pytestmark = pytest.mark.processes


def made(clinic: Clinic, count: int, rows: int = 5) -> list[Manifest]:
    """So many backups, with operations before each."""
    links = []
    for _ in range(count):
        clinic.write(rows)
        links.append(clinic.back_up())
    return links


def settings(clinic: Clinic, **wanted: str) -> None:
    with clinic.server.connect() as connection:
        for name, value in wanted.items():
            connection.execute(f"ALTER SYSTEM SET {name} = {value}")
        connection.execute("SELECT pg_reload_conf()")
    databases.wait_until(lambda: all(_setting(clinic, name) == value for name, value in wanted.items()), "it is set")


def _setting(clinic: Clinic, name: str) -> str:
    with clinic.server.connect() as connection:
        row = connection.execute("SELECT current_setting(%s)", (name,)).fetchone()
    return str(row[0]) if row else ""


def test_a_chain_comes_back_to_each_of_its_states_and_goes_on_in_the_log(newest: Clinic) -> None:
    with newest.receiving():
        links = made(newest, 3)
        newest.write(5)
        newest.caught_up()
    full, first, second = links
    assert [(one.kind, one.native, one.why_whole) for one in links] == [
        ("full", False, ""), ("incr", True, ""), ("incr", True, ""),
    ]  # fmt: skip
    assert [one.chain_length for one in links] == [0, 1, 2]
    assert (first.parent, second.parent) == (full.id, first.id)
    assert second.stored_bytes < full.stored_bytes / 10
    assert second.size_bytes == pytest.approx(full.size_bytes, rel=0.3)
    newest.server.stop()
    steps = plan_restore(newest.store, newest.data, goal=NEWEST).steps
    assert f"{second.id} and the 2 it builds on" in steps[0]
    assert "2 increments laid over a whole one by pg_combinebackup" in steps[0]
    for number, link in enumerate(links, 1):
        done = brought_back(newest, goal=None, backup=link.id)
        assert newest.numbers() == list(range(1, 5 * number + 1))
        assert (done.backup, done.position) == (link.id, 5 * number)
        newest.server.stop()
    brought_back(newest)
    assert newest.numbers() == list(range(1, 21))
    assert not any(path.name.startswith("data.restoring-") for path in newest.data.parent.iterdir() if path.is_dir())


def test_every_level_looks_at_the_whole_chain_and_retention_keeps_what_is_built_on(newest: Clinic) -> None:
    links = made(newest, 2)
    for level in range(5):
        outcome = verify(newest.store, links[1].id, level=level)
        assert (outcome.ok, outcome.level, outcome.findings) == (True, level, ())
    assert set(outcome.content) == {"public.operations", "public.alembic_version"} or outcome.content
    entries = catalogues.read(newest.store).entries
    strict = Policy(recent_hours=0, daily=0, weekly=0, monthly=0, verified=0)
    decisions = decide([Kept.of(entry) for entry in entries], strict, entries[-1].taken)
    assert [(one.keep, one.reason) for one in decisions] == [
        (True, f"{links[1].id} builds on it"),
        (True, "the newest"),
    ]
    listing = Path(newest.store.address) / f"objects/{links[1].id}/listing"
    databases.flip(listing, 40)
    assert not verify(newest.store, links[1].id, level=3).ok


def test_a_chain_that_is_full_grown_is_combined_and_built_on(newest: Clinic, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parents, "MOST_LINKS", 2)
    links = made(newest, 4)
    synthetic = catalogues.read(newest.store).entries[-2].manifest
    assert synthetic is not None
    assert (synthetic.kind, synthetic.synthetic, synthetic.native) == ("full", True, False)
    assert synthetic.facts == links[2].facts
    assert synthetic.size_bytes == pytest.approx(links[2].size_bytes, rel=0.01)
    assert (links[3].parent, links[3].native, links[3].chain_length) == (synthetic.id, True, 1)
    for one in (synthetic, links[3]):
        outcome = verify(newest.store, one.id, level=4)
        assert (outcome.ok, outcome.findings) == (True, ())
    again = consolidate(PostgresEngine(), newest.store, synthetic.id)
    assert (again.root, again.listing is not None) == (synthetic.root, True)


def test_rows_that_were_visible_to_all_and_are_gone_stay_gone(
    newest: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's summaries miss blocks of visibility maps, which bring rows back that are gone: maps are sent whole."""
    with newest.server.connect() as connection:
        connection.execute("ALTER TABLE operations ADD payload text")
        connection.execute(
            "INSERT INTO operations (payload) SELECT repeat('wide', 80) || n FROM generate_series(1, 9000) n"
        )
        connection.execute("VACUUM (FREEZE, ANALYZE) operations")
    full = newest.back_up()
    with newest.server.connect() as connection:
        connection.execute("UPDATE operations SET payload = reverse(payload) WHERE sequence BETWEEN 2000 AND 4000")
    native = newest.back_up()
    assert native.native
    outcome = verify(newest.store, native.id, level=4)
    assert (outcome.ok, outcome.findings) == (True, ())
    assert outcome.content["operations"].rows == full.facts.tables["operations"].rows == 9000
    assert not any(_partial_maps(newest, tmp_path / "ours"))
    monkeypatch.setattr(listed, "without_maps", lambda listing: listing)
    assert any(_partial_maps(newest, tmp_path / "as-the-server-would"))


def _partial_maps(clinic: Clinic, tape: Path) -> list[str]:
    """The increments of visibility maps in a native increment made now."""
    parent = parents.choose(clinic.store, catalogues.read(clinic.store), "postgres", clinic.data, clinic.keyring)
    assert parent.base is not None
    engine = PostgresEngine(clinic.server.url())
    with engine.snapshot(clinic.data, base=parent.base) as reading, tape.open("xb") as file:
        assert reading.native
        file.writelines(reading.blocks())
    with tarfile.open(tape) as archive:
        return [name for name in archive.getnames() if "/INCREMENTAL." in name and name.endswith("_vm")]


def test_a_server_that_cannot_is_read_whole_and_the_manifest_says_why(newest: Clinic) -> None:
    """Not keeping in mind what changes, or no longer knowing: the units are compared with the newest image that is whole."""
    full, _ = made(newest, 2)
    settings(newest, summarize_wal="off")
    (off,) = made(newest, 1)
    assert (off.kind, off.native, off.parent) == ("incr", False, full.id)
    assert off.why_whole == "The server does not keep in mind what changes: set summarize_wal = on and reload it."
    settings(newest, summarize_wal="on")
    (on,) = made(newest, 1)
    assert (on.native, on.parent) == (True, off.id)
    _forget(newest, on)
    (forgot,) = made(newest, 1)
    assert (forgot.native, forgot.parent, forgot.chain_length) == (False, off.id, 2)
    assert f"The server makes no increment on {on.id}: WAL summaries are required" in forgot.why_whole
    for one in (on, forgot):
        outcome = verify(newest.store, one.id, level=4)
        assert (outcome.ok, outcome.findings) == (True, ())


def test_people_are_told_how_a_backup_was_made_and_why_not_otherwise(newest: Clinic) -> None:
    words = ("--database", newest.server.url(), "--store", newest.store.address)
    said = [invoke("run", *words, "--demo").output for _ in range(2)]
    assert "by what the server says has changed" not in said[0]
    assert "by what the server says has changed" in said[1]
    settings(newest, summarize_wal="off")
    made = invoke("run", *words, "--demo").output
    assert "Not an increment of the server's own, all of it was read: The server does not keep in mind" in made
    shown = invoke("show", "--store", newest.store.address).output
    assert "why whole" in shown
    assert "set summarize_wal = on and reload it" in shown
    kinds = [(one["kind"], one["native"]) for one in ask("list", "--store", newest.store.address)["backups"]]
    assert kinds == [("incr", False), ("incr", True), ("full", False)]


def _forget(clinic: Clinic, since: Manifest) -> None:
    """The server has kept in mind what changed since that backup, and its files of that are gone, as after their time."""
    assert since.server is not None
    point = since.server.point_lsn
    clinic.write(1)
    with clinic.server.connect() as connection:
        connection.execute("CHECKPOINT")

        def kept() -> bool:
            row = connection.execute("SELECT max(end_lsn) > %s FROM pg_available_wal_summaries()", (point,)).fetchone()
            return bool(row and row[0])

        databases.wait_until(kept, "it is kept in mind")
    for summary in (clinic.data / "pg_wal" / "summaries").iterdir():
        summary.unlink()


def test_increments_go_on_after_a_restore_unless_what_they_would_build_on_was_left_behind(newest: Clinic) -> None:
    """Both times the server decides: it knows the history of its timelines."""
    full, left_behind = made(newest, 2)
    newest.lose()
    brought_back(newest, goal=None, backup=full.id)
    after, next_ = made(newest, 2)
    assert (after.kind, after.native, after.parent) == ("incr", False, full.id)
    assert f"The server makes no increment on {left_behind.id}: " in after.why_whole
    assert "timeline" in after.why_whole
    assert (next_.native, next_.parent) == (True, after.id)
    newest.lose()
    brought_back(newest, goal=None)
    (across,) = made(newest, 1)
    assert across.server is not None
    assert (across.native, across.parent, across.server.timeline) == (True, next_.id, 3)
    for one in (next_, across):
        outcome = verify(newest.store, one.id, level=4)
        assert (outcome.ok, outcome.findings) == (True, ())


@pytest.mark.parametrize("clinic", [16], indirect=True)
def test_an_older_server_is_read_whole_as_ever(clinic: Clinic) -> None:
    full, second = made(clinic, 2)
    assert (full.listing, second.native, second.parent) == (None, False, full.id)
    assert second.why_whole == "PostgreSQL 16 makes no increments of its own; 17 is the first that does."


def test_another_cluster_at_the_same_place_is_not_sent_as_an_increment(newest: Clinic) -> None:
    full, _ = made(newest, 2)
    newest.server.stop()
    shutil.rmtree(newest.server.data)
    newest.server.init()
    newest.server.start()
    newest.server.create_database()
    newest.begin()
    (other,) = made(newest, 1)
    assert (other.native, other.parent) == (False, full.id)
    assert "is of another cluster" in other.why_whole
    assert verify(newest.store, other.id, level=4).ok


def test_a_list_that_is_damaged_is_not_built_on_and_that_is_said(newest: Clinic) -> None:
    full, native = made(newest, 2)
    databases.flip(Path(newest.store.address) / f"objects/{native.id}/listing", 40)
    (third,) = made(newest, 1)
    assert (third.native, third.parent) == (False, full.id)
    assert f"objects/{native.id}/listing is not the bytes that were stored" in third.why_whole


def test_a_damaged_increment_takes_along_those_on_it_and_no_other(newest: Clinic) -> None:
    full, first, second, _ = made(newest, 4)
    pack = Path(newest.store.address) / first.packs[0].name
    databases.flip(pack, pack.stat().st_size // 2)
    newest.server.stop()
    done = brought_back(newest, goal=None)
    assert (done.backup, len(done.refused)) == (full.id, 3)
    assert any(one.id == second.id and "It builds on what" in one.why for one in done.refused)
    assert newest.numbers() == list(range(1, 6))


def test_the_host_makes_increments_that_it_cannot_open(newest: Clinic, tmp_path: Path) -> None:
    identity, recipient = generate()
    key = tmp_path / "identity"
    key.touch(mode=0o600)
    key.write_text(f"{identity}\n", "ascii")
    newest.keyring = Keyring(recipients=(recipient,), host_secret=tmp_path / "host.secret")
    full, native = made(newest, 2)
    assert native.native
    for stored in newest.store.list(f"objects/{full.id}/listing"):
        assert b"global/pg_control" not in (Path(newest.store.address) / stored.name).read_bytes()
    found = verify(newest.store, native.id, level=4, keyring=newest.keyring)
    assert (found.ok, found.level, len(found.unseen)) == (True, 3, 1)
    newest.keyring = Keyring(identities=(key,))
    assert verify(newest.store, native.id, level=4, keyring=newest.keyring).ok
    newest.lose()
    brought_back(newest, goal=None)
    assert newest.numbers() == list(range(1, 11))


def test_without_pg_combinebackup_none_is_made_and_one_that_was_made_waits_for_it(
    newest: Clinic, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(newest, 2)
    programs = newest.server.programs
    fewer = Binaries(tmp_path / "bin", programs.version)
    fewer.directory.mkdir()
    for program in programs.directory.iterdir():
        if program.name != "pg_combinebackup":
            (fewer.directory / program.name).symlink_to(program)
    monkeypatch.setattr(bases, "binaries", lambda _: fewer)
    (third,) = made(newest, 1)
    assert not third.native
    assert "has no pg_combinebackup" in third.why_whole
    native = catalogues.read(newest.store).entries[1]
    newest.server.stop()
    monkeypatch.setattr("backups.postgres.restore.binaries", lambda _: fewer)
    with pytest.raises(NoPostgres, match="has no pg_combinebackup") as caught:
        restore(newest.store, newest.data, goal=None, backup=native.id)
    assert caught.value.exit_code == 2
    assert (newest.data / "PG_VERSION").exists()


def test_there_must_be_room_for_the_parts_as_well(newest: Clinic) -> None:
    _, native = made(newest, 2)
    newest.server.stop()
    with pytest.raises(NoSpace, match="There is no room"):
        restore(newest.store, newest.data, goal=None, free_bytes=lambda _: native.size_bytes + 1000)
    assert sorted(path.name for path in newest.data.parent.iterdir() if "data" in path.name) == ["data"]


def test_parts_that_do_not_fit_are_refused_with_what_the_program_says(newest: Clinic, tmp_path: Path) -> None:
    engine = PostgresEngine()
    made(newest, 1)
    images = []
    for number in range(2):
        images.append(tmp_path / f"image-{number}")
        take(PostgresEngine(newest.server.url()), newest.data, images[-1])
    with pytest.raises(Damaged, match=r"Its increments cannot be put together: .*full backup"):
        engine.combine(images, tmp_path / "whole")
    assert not (tmp_path / "whole").exists()
    assert [path.name for path in sorted(tmp_path.glob("image-*"))] == ["image-0", "image-1"]


def test_a_full_disk_is_told_from_parts_that_do_not_fit() -> None:
    said = 'pg_combinebackup: error: could not write to file "base/5/1": No space left on device\n'
    assert isinstance(refusal(said, 1), NoSpace)
    assert isinstance(refusal("pg_combinebackup: error: something else\n", 1), Damaged)
    assert "it ended with code 139" in str(refusal("", 139))


def test_the_wheel_has_what_lays_them_together() -> None:
    assert binaries(18).has("pg_combinebackup")
