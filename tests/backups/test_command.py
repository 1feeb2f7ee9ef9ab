"""`gymkhana backup`, as a person or a pipeline uses it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from backups.errors import (
    KeyMissing,
    KeyRotated,
    NoParent,
    NoSuchBackup,
    NothingToRestore,
    NotSeparate,
    StoreUnusable,
    UsageError,
    WrongKey,
)
from tests.backups import databases
from tests.backups.asking import ask, invoke, refused
from tests.backups.house import House


def test_the_whole_story_with_the_defaults(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GYM_STORE_DEMO", "1")
    made = ask("run")
    assert (made["sequence"], made["rows"], made["position"], made["state"]) == (1, 402, 200, "complete")
    assert ask("verify")["verifications"][0]["ok"] is True
    (listed,) = ask("list")["backups"]
    assert (listed["id"], listed["state"]) == (made["id"], "verified")
    wanted = databases.contents(place / "var" / "gym.db")
    databases.write(place / "var" / "gym.db", 5)
    restored = ask("restore", "--yes")
    assert restored["backup"] == made["id"]
    assert Path(restored["evidence"]).is_dir()
    assert databases.contents(place / "var" / "gym.db") == wanted


def test_the_default_store_is_refused_with_what_to_type(place: Path) -> None:
    said = refused(NotSeparate, 2, "run")
    assert "--store" in said
    assert "--demo" in said
    assert not (place / "var" / "backups").exists()


def test_the_database_may_be_named_by_the_environment(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    databases.make(place / "other.db", rows=7)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{place}/other.db")
    monkeypatch.setenv("GYM_STORE", str(place / "elsewhere"))
    assert ask("run", "--demo")["position"] == 7
    assert (place / "elsewhere" / "manifests").is_dir()


def test_words_for_people_say_what_was_done(house: House) -> None:
    database, store = str(house.database), house.store.address
    run = invoke("run", "--database", database, "--store", store, "--demo")
    assert run.exit_code == 0
    assert "position  230" in run.stdout
    assert f"in {store}" in run.stdout
    listed = invoke("list", "--store", store).stdout.splitlines()
    assert listed[0].split() == ["BACKUP", "KIND", "TAKEN", "SIZE", "STORED", "ROWS", "POSITION", "STATE"]
    assert [line.split("-")[1] for line in listed[1:]] == ["000003", "000002", "000001"]
    assert "  good  " in invoke("verify", house.older.id, "--store", store).stdout
    restored = invoke("restore", "--database", database, "--store", store, "--yes")
    assert "evidence" in restored.stdout
    assert "decide" in restored.stdout


def test_violations_of_the_database_itself_are_told(place: Path) -> None:
    with databases.connect(place / "var" / "gym.db") as open_database:
        open_database.execute("INSERT INTO notes (operation) VALUES (999999)")
    open_database.close()
    assert "has 1 foreign key violations" in invoke("run", "--demo").stdout


def test_a_bad_backup_is_listed_with_its_reason_and_fails_the_verification(house: House) -> None:
    house.manifest_of(house.newer).write_text("not JSON")
    listed = invoke("list", "--store", house.store.address)
    assert listed.exit_code == 0
    assert "suspect" in listed.stdout
    assert f"{house.newer.id}: Its manifest is not JSON" in listed.stdout
    result = invoke("verify", "--all", "--store", house.store.address, "--json")
    assert result.exit_code == 1
    assert [look["ok"] for look in json.loads(result.stdout)["verifications"]] == [True, False]


def test_the_fallback_and_its_cost_are_told(house: House) -> None:
    databases.flip(house.object_of(house.newer), 60)
    restored = invoke("restore", "--database", str(house.database), "--store", house.store.address, "--yes")
    assert restored.stdout.startswith(f"Refused {house.newer.id}: ")
    assert "30 operations older than the newest backup" in restored.stdout


def test_a_dry_run_prints_the_plan_and_changes_nothing(house: House) -> None:
    before = sorted(house.database.parent.iterdir())
    arguments = ("restore", "--database", str(house.database), "--store", house.store.address, "--dry-run")
    assert "  1. fetch" in invoke(*arguments).stdout
    assert ask(*arguments)["plan"]["backup"] == house.newer.id
    assert sorted(house.database.parent.iterdir()) == before


def test_a_pipe_cannot_agree_to_replace_a_database(house: House) -> None:
    said = refused(UsageError, 2, "restore", "--database", str(house.database), "--store", house.store.address)
    assert "--yes" in said


def test_restoring_to_a_new_place_needs_no_yes(house: House, tmp_path: Path) -> None:
    ask("restore", "--store", house.store.address, "--to", str(tmp_path / "look.db"), "--backup", house.older.id)
    assert databases.contents(tmp_path / "look.db") == house.then


def test_a_store_that_is_a_file_and_one_that_is_missing(place: Path) -> None:
    (place / "file").touch()
    assert "is a file" in refused(StoreUnusable, 2, "run", "--store", "file")
    for verb in ("list", "verify", "restore"):
        assert "There is no store" in refused(StoreUnusable, 2, verb, "--store", "none")


def test_an_empty_store_is_said_to_be_empty(place: Path) -> None:
    (place / "store").mkdir()
    assert "holds no backup yet" in invoke("list", "--store", "store").stdout
    assert ask("list", "--store", "store")["backups"] == []
    for arguments in (("verify",), ("verify", "--all")):
        assert "holds no backup yet" in refused(NoSuchBackup, 2, *arguments, "--store", "store")
    assert "nothing to restore" in refused(NothingToRestore, 1, "restore", "--store", "store")


def test_a_database_of_another_kind(place: Path) -> None:
    assert "mysql" in refused(UsageError, 2, "run", "--database", "mysql://localhost/gym")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("restore", "--database", "postgresql://localhost/gym", "--in-place"), "are SQLite's"),
        (("restore", "--database", "postgresql://localhost/gym", "--to-position", "7"), "are SQLite's"),
        (("restore", "--to-lsn", "0/3000148"), "are PostgreSQL's"),
        (("restore", "--to-name", "before"), "are PostgreSQL's"),
        (("restore", "--to-timeline", "2"), "are PostgreSQL's"),
        (("restore", "--database", "postgresql://localhost/gym", "--to-timeline", "2", "--no-replay"), "use none"),
        (("restore", "--to-lsn", "0/1", "--to-name", "x"), "Say one of"),
        (("watch", "--sync"), "are PostgreSQL's"),
    ],
)
def test_what_belongs_to_the_other_kind_of_database_is_told(words: tuple[str, ...], said: str) -> None:
    result = invoke(*words)
    assert (result.exit_code, said in result.stderr) == (2, True)


def test_one_backup_or_all_of_them_but_not_both(house: House) -> None:
    result = invoke("verify", house.older.id, "--all", "--store", house.store.address)
    assert result.exit_code == 2


def test_the_second_backup_holds_what_changed_and_can_be_put_together_to_a_full_one(place: Path) -> None:
    assert "no good backup" in refused(NoParent, 1, "run", "--kind", "incr", "--demo")
    full = ask("run", "--demo")
    databases.write(place / "var" / "gym.db", 5)
    grown = ask("run", "--demo", "--pace", "500")
    assert (full["kind"], grown["kind"], grown["parent"]) == ("full", "incr", full["id"])
    assert grown["stored_bytes"] < full["stored_bytes"]
    whole = ask("consolidate")
    assert (whole["kind"], whole["parent"], whole["rows"]) == ("full", None, grown["rows"])
    assert ask("run", "--demo", "--kind", "full")["kind"] == "full"


def test_a_repair_in_place_fetches_little_and_says_so(place: Path) -> None:
    database = place / "var" / "gym.db"
    wanted, made = databases.contents(database), ask("run", "--demo")
    databases.flip(database, database.stat().st_size // 2)
    assert "repair" in invoke("restore", "--in-place", "--dry-run").stdout
    restored = ask("restore", "--in-place", "--yes")
    assert (restored["backup"], restored["in_place"], restored["why_whole"]) == (made["id"], True, "")
    assert restored["fetched_bytes"] < made["stored_bytes"]
    assert databases.contents(database) == wanted


def test_everything_known_of_a_backup_is_shown(house: House) -> None:
    store = ("--store", house.store.address)
    ask("verify", house.older.id, "--level", "2", *store)
    shown = ask("show", house.older.id, *store)
    assert (shown["id"], shown["level"], [look["level"] for look in shown["verifications"]]) == (house.older.id, 2, [2])
    assert shown["manifest"]["root"] == house.older.root
    told = invoke("show", house.older.id, *store).stdout
    assert "level 2  " in told
    assert "good" in told
    assert invoke("pin", house.older.id, "--why", "the audit", *store).stdout == f"{house.older.id} is pinned.\n"
    assert ask("show", house.older.id, *store)["pinned"] is True
    invoke("pin", house.older.id, "--off", *store)
    assert ask("show", house.older.id, *store)["pinned"] is False


@pytest.fixture
def sealed(place: Path) -> Path:
    """The place with a backup that is sealed to the identity in `right`, and another identity in `wrong`."""
    for name in ("right", "wrong"):
        (place / name).with_suffix(".recipient").write_text(invoke("keygen", name).stdout)
    ask("run", "--demo", "--recipient", (place / "right.recipient").read_text().strip())
    return place


def test_a_sealed_backup_opens_with_its_identity_alone(sealed: Path) -> None:
    """Without the host's secret, as on another machine."""
    wanted = databases.contents(sealed / "var" / "gym.db")
    (sealed / "var" / "host.secret").unlink()
    assert oct((sealed / "right").stat().st_mode & 0o777) == "0o600"
    assert ask("show")["sealed_to"] == [(sealed / "right.recipient").read_text().strip()]
    ask("restore", "--to", "look.db", "--identity", "right")
    assert databases.contents(sealed / "look.db") == wanted


def test_missing_and_wrong_and_rotated_keys_are_told_apart_and_touch_nothing(sealed: Path) -> None:
    before = (sealed / "var" / "gym.db").read_bytes()
    assert "--identity" in refused(KeyMissing, 2, "restore", "--yes")
    assert "right identity" in refused(WrongKey, 2, "restore", "--yes", "--identity", "wrong")
    first = ask("show")["id"]
    ask("run", "--demo", "--kind", "full", "--recipient", (sealed / "wrong.recipient").read_text().strip())
    assert "rotated" in refused(KeyRotated, 2, "restore", "--yes", "--identity", "wrong", "--backup", first)
    assert (sealed / "var" / "gym.db").read_bytes() == before
    assert not list((sealed / "var").glob("*.evidence-*"))


def test_a_backup_that_its_identity_does_not_open_is_an_error_at_once(sealed: Path) -> None:
    recipient = (sealed / "right.recipient").read_text().strip()
    assert ask("run", "--demo", "--recipient", recipient, "--identity", "right")["key_proven"] is True
    assert ask("run", "--demo", "--recipient", recipient)["key_proven"] is False
    refused(WrongKey, 2, "run", "--demo", "--recipient", recipient, "--identity", "wrong")


def test_keys_are_proven_on_every_backup(sealed: Path) -> None:
    assert [one["ok"] for one in ask("prove-key", "--identity", "right")["backups"]] == [True]
    result = invoke("prove-key", "--identity", "wrong")
    assert result.exit_code == 1
    assert "right identity" in result.stdout


def test_what_a_look_without_the_key_did_not_see_is_said(sealed: Path) -> None:
    (look,) = ask("verify")["verifications"]
    assert (look["ok"], look["level"]) == (True, 3)
    assert look["unseen"]
    assert "not seen: " in invoke("verify").stdout
    (look,) = ask("verify", "--identity", "right")["verifications"]
    assert (look["ok"], look["level"], look["unseen"]) == (True, 4, [])


def test_an_identity_is_never_overwritten(sealed: Path) -> None:
    before = (sealed / "right").read_bytes()
    assert "never overwritten" in refused(UsageError, 2, "keygen", "right")
    assert (sealed / "right").read_bytes() == before
    refused(UsageError, 2, "keygen", "no/such/place")
