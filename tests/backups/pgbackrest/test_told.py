"""What pgBackRest prints, literally, and what is understood of it: refusals, verdicts, an inventory, a configuration."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from backups.errors import BackupError, Damaged, InUse, Locked, NoSpace, StoreError, StoreUnusable, UsageError
from backups.pgbackrest import repository
from backups.pgbackrest.program import NoPgBackRest, Program, installed_version, refusal
from backups.pgbackrest.repository import program_at, settings
from backups.pgbackrest.vault import judged

GOOD = """\
stanza: gym
status: ok
  archiveId: 15-1, total WAL checked: 6, total valid WAL: 6
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
  backup: 20261127-214905F, status: valid, total files checked: 1262, total valid files: 1262
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
  backup: 20261127-214905F_20261127-214911I, status: valid, total files checked: 1263, total valid files: 1263
    missing: 0, checksum invalid: 0, size invalid: 0, other: 0
"""
INVENTORY = """[{"archive":[],"backup":[{"archive":{"start":"000000010000000000000002","stop":"000000010000000000000003"},
"backrest":{"format":5,"version":"2.45"},"database":{"id":1,"repo-key":1},"error":ERROR,"info":{"delta":30460305,
"repository":{"delta":6034642,"size":6034642},"size":30460305},"label":"20261127-214905F","lsn":{"start":"0/2000028",
"stop":"0/3000358"},"prior":null,"reference":null,"timestamp":{"start":1795816145,"stop":1795816150},"type":"full"}],
"cipher":"none","db":[{"id":1,"repo-key":1,"system-id":7712971598434078957,"version":"15"}],"name":"gym","repo":[],
"status":{"code":0,"lock":{"backup":{"held":false}},"message":"ok"}}]"""


@pytest.mark.parametrize(
    ("code", "said", "kind", "sentence"),
    [
        (
            29,
            "ERROR: [029]: raised from local-1 protocol: lz4 error: [-18] ERROR_contentChecksum_invalid\n"
            "       [FormatError] on retry after 0ms\n       [FormatError] on retry after 15000ms\n",
            Damaged,
            "pgBackRest restore says: lz4 error: [-18] ERROR_contentChecksum_invalid.",
        ),
        (
            38,
            "ERROR: [038]: unable to restore while PostgreSQL is running\n       HINT: presence of 'postmaster.pid' in '/d'"
            " indicates PostgreSQL is running.\n       HINT: remove 'postmaster.pid' only if not running.\n",
            InUse,
            "pgBackRest restore says: unable to restore while PostgreSQL is running (presence of 'postmaster.pid' in '/d'"
            " indicates PostgreSQL is running).",
        ),
        (50, "ERROR: [050]: unable to acquire lock on file '/l'\n", Locked, "unable to acquire lock"),
        (87, "ERROR: [087]: archive_mode must be enabled\n", UsageError, "archive_mode must be enabled"),
        (47, "ERROR: [047]: unable to create path '/r': [28] No space left on device\n", NoSpace, "No space left"),
        (56, "ERROR: [056]: unable to find primary cluster - cannot proceed\n", BackupError, "unable to find primary"),
        (139, "", BackupError, "pgBackRest restore says: it ended with 139."),
    ],
)
def test_a_refusal_is_one_sentence_of_its_own_kind(
    code: int, said: str, kind: type[BackupError], sentence: str
) -> None:
    error = refusal("restore", code, said)
    assert type(error) is kind
    assert sentence in str(error)
    assert "\n" not in str(error)


def test_a_repository_that_was_verified_has_nothing_to_say() -> None:
    assert judged(GOOD, "20261127-214905F") == judged(GOOD, "20261127-214905F_20261127-214911I") == ()


def test_a_bad_backup_is_told_though_the_program_exits_with_0() -> None:
    bad = GOOD.replace(
        "F, status: valid, total files checked: 1262, total valid files: 1262\n    missing: 0, checksum invalid: 0",
        "F, status: invalid, total files checked: 1262, total valid files: 1261\n    missing: 0, checksum invalid: 1",
    )
    log = "2026-11-27 21:51:19.718 P01   INFO: invalid checksum '20261127-214905F/pg_data/base/5/2838.lz4'\n"
    assert judged(log + bad, "20261127-214905F") == (
        "pgBackRest verify says: 20261127-214905F is invalid, checksum invalid: 1.",
        "invalid checksum '20261127-214905F/pg_data/base/5/2838.lz4'.",
    )
    assert judged(bad, "20261127-214905F_20261127-214911I") == ()


def test_a_hole_in_the_log_speaks_against_every_backup() -> None:
    holed = GOOD.replace("6\n    missing: 0, checksum", "5\n    missing: 1, checksum", 1)
    assert judged(holed, "20261127-214905F") == ("pgBackRest verify says: the log 15-1 has missing: 1.",)


@pytest.mark.parametrize("printed", ["", "stanza: gym\nstatus: ok\n", GOOD])
def test_a_backup_that_the_report_does_not_name_was_not_verified(printed: str) -> None:
    assert judged(printed, "20261128-000000F") == ("pgBackRest verify says nothing of 20261128-000000F.",)


def told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, printed: str) -> Program:
    """A program whose `info` prints that."""
    (tmp_path / "repository").mkdir()
    config = tmp_path / "pgbackrest.conf"
    config.write_text(f"[global]\nrepo1-path={tmp_path}/repository\n\n[gym]\npg1-path=/srv/data\n")
    monkeypatch.setattr(Program, "run", lambda *_: printed)
    return Program("gym", config)


def test_an_inventory_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    held = repository.holdings(told(monkeypatch, tmp_path, INVENTORY.replace("ERROR", "false")))
    (backup,) = held.backups
    assert (held.system, held.major) == (backup.system, backup.major) == ("7712971598434078957", 15)
    assert (backup.id, backup.kind, backup.parent, backup.state) == ("20261127-214905F", "full", None, "complete")
    assert backup.taken == datetime(2026, 11, 27, 21, 49, 5, tzinfo=UTC)
    assert (backup.seconds, backup.start_lsn, backup.stop_lsn) == (5.0, "0/2000028", "0/3000358")
    assert (backup.size_bytes, backup.stored_bytes, backup.database) == (30460305, 6034642, "/srv/data")


def test_a_backup_of_damaged_pages_is_suspect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (backup,) = repository.holdings(told(monkeypatch, tmp_path, INVENTORY.replace("ERROR", "true"))).backups
    assert backup.state == "suspect"
    assert "wrong checksum" in backup.fault


def test_an_inventory_that_cannot_be_read_is_no_empty_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        repository.holdings(told(monkeypatch, tmp_path, "[{]"))


def test_a_repository_that_could_not_be_looked_into_is_no_empty_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said = (
        '[{"backup":[],"db":[],"name":"gym","status":{"code":99,"message":"other"},"repo":[{"key":1,"status":'
        '{"code":99,"message":"[PathOpenError] unable to list\\n file info"}}]}]'
    )
    with pytest.raises(StoreError, match=r"gym holds: \[PathOpenError\] unable to list file info"):
        repository.holdings(told(monkeypatch, tmp_path, said))


def test_an_address_names_a_stanza_and_perhaps_a_configuration(tmp_path: Path) -> None:
    assert program_at("pgbackrest:main") == Program("main")
    assert program_at(f"pgbackrest:main?config={tmp_path}/a.conf") == Program("main", tmp_path / "a.conf")


@pytest.mark.parametrize(
    "address",
    ["pgbackrest:", "pgbackrest:a b", "pgbackrest://main", "pgbackrest:main?config=", "pgbackrest:main?repo=2"],
)
def test_any_other_address_is_refused(address: str) -> None:
    with pytest.raises(StoreUnusable, match=r"is not written pgbackrest:STANZA"):
        program_at(address)


def test_the_stanza_comes_before_what_is_said_of_all_and_single_commands_are_left_out(tmp_path: Path) -> None:
    config = tmp_path / "pgbackrest.conf"
    config.write_text(
        f"[global]\nrepo1-path={tmp_path}\npg1-user=all\n# repo1-path=/nowhere\n[global:restore]\npg1-user=restorer\n"
        "[gym]\npg1-path = /srv/a=b\npg1-user=gym\n[other]\npg1-path=/srv/other\n"
    )
    found = settings(Program("gym", config))
    assert (found.repository, found.data, found.user, found.database) == (tmp_path, Path("/srv/a=b"), "gym", "postgres")


def test_a_repository_elsewhere_is_not_looked_for_on_this_disk(tmp_path: Path) -> None:
    config = tmp_path / "pgbackrest.conf"
    config.write_text("[global]\nrepo1-type=s3\nrepo1-path=/bucket\n")
    assert settings(Program("gym", config)).repository is None


def test_a_repository_whose_directory_is_not_there_is_named(tmp_path: Path) -> None:
    config = tmp_path / "pgbackrest.conf"
    config.write_text(f"[global]\nrepo1-path={tmp_path}/unmounted\n")
    with pytest.raises(StoreUnusable, match=rf"{tmp_path}/unmounted of the stanza gym is not there; mount it"):
        settings(Program("gym", config))


@pytest.mark.parametrize("content", [None, "no section=at all\n", b"[gym]\n\xff"])
def test_a_configuration_that_is_missing_or_none_is_named(tmp_path: Path, content: str | bytes | None) -> None:
    config = tmp_path / "pgbackrest.conf"
    if content is not None:
        config.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(StoreUnusable, match=str(config)):
        settings(Program("gym", config))


def test_without_the_program_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        NoPgBackRest, match=r"no pgbackrest here; install it, on Debian with: apt-get install pgbackrest"
    ):
        installed_version()


def test_a_program_that_is_another_one_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    impostor = tmp_path / "pgbackrest"
    impostor.write_text("#!/bin/sh\necho 'Good day.'\n")
    impostor.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(NoPgBackRest, match=r"does not tell its version: Good day\."):
        installed_version()
