"""pgBackRest on a real server: what is refused before anything happens, what sabotage comes to, and a second life."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from backups.errors import BackupError, NothingToRestore, StoreUnusable, UsageError
from backups.keys.keyring import generate
from backups.pgbackrest.program import NoPgBackRest, Program
from backups.pgbackrest.stanza import Stanza, fitting_binaries
from backups.pgbackrest.vault import PgBackRestVault
from backups.pgbackrest.versions import SINCE
from backups.postgres.binaries import binaries, installations, own
from backups.postgres.recovery import NEWEST
from backups.postgres.server import Server, running
from backups.progress import silent
from ci import cli
from ci.loopback import free_ports
from tests.backups.repositories import POSITION, Ward, begin, damage, numbers, programs, write

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that is too new for the pgBackRest here."""
    served = programs().major
    there = [one.major for one in installations() if one.major > served and one.major in SINCE]
    if not there:
        pytest.skip(f"There is no PostgreSQL here that is newer than {served} and too new for the pgBackRest here.")
    with running(tmp_path_factory.mktemp("newer") / "pg", free_ports(1)[0], binaries(max(there))) as server:
        begin(server)
        yield server


@dataclass(frozen=True)
class Said:
    """What a command ended with and printed."""

    exit_code: int
    stdout: str
    stderr: str


def gym(capsys: pytest.CaptureFixture[str], *words: str) -> Said:
    capsys.readouterr()
    exit_code = cli.run(words)
    printed = capsys.readouterr()
    return Said(exit_code, printed.out, printed.err)


def everything(place: Path) -> set[str]:
    return {str(path) for path in place.rglob("*")}


def test_a_server_that_is_too_new_is_refused_before_anything_happens(newer: Server, tmp_path: Path) -> None:
    stanza = Stanza(tmp_path / "pgbackrest", newer)
    for name in ("repository", "log", "lock"):
        (stanza.directory / name).mkdir(parents=True)
    stanza.config.write_text(f"[global]\nrepo1-path={stanza.repository}\n[gym]\npg1-path={newer.data}\n")
    before = everything(tmp_path)
    major = newer.programs.major
    needed = re.escape(".".join(map(str, SINCE[major])))
    vault = PgBackRestVault(stanza.program, newer.url(), POSITION)
    with pytest.raises(NoPgBackRest, match=rf"PostgreSQL {major} needs pgBackRest {needed} or newer"):
        vault.back_up(newer.url(), kind="full", demonstration=True, pace=None, progress=silent)
    with pytest.raises(NoPgBackRest, match=rf"PostgreSQL {major} needs pgBackRest {needed} or newer"):
        stanza.prepare()
    assert everything(tmp_path) == before


def test_the_server_of_another_stanza_is_refused(ward: Ward, tmp_path: Path) -> None:
    with running(tmp_path / "other", free_ports(1)[0], ward.server.programs) as other:
        with pytest.raises(UsageError, match=r"The stanza gym is of another cluster"):
            ward.vault.back_up(other.url(), kind="full", demonstration=True, pace=None, progress=silent)
    with pytest.raises(UsageError, match="name one by its URL"):
        ward.vault.back_up("sqlite:///gym.db", kind="full", demonstration=True, pace=None, progress=silent)
    with pytest.raises(UsageError, match="leave --pace out"):
        ward.vault.back_up(ward.server.url(), kind="full", demonstration=True, pace=10, progress=silent)
    assert ward.vault.kept() == ()


def test_a_stanza_that_is_not_there_is_told_with_the_command_that_makes_it(ward: Ward) -> None:
    none = PgBackRestVault(Program("none", ward.stanza.config), ward.server.url())
    with pytest.raises(
        StoreUnusable, match=r"has no stanza none .*pgbackrest --config=\S+ --stanza=none stanza-create"
    ):
        none.kept()
    shutil.move(ward.stanza.repository, ward.stanza.directory / "elsewhere")
    with pytest.raises(StoreUnusable, match=r"repository of the stanza gym is not there; mount it"):
        ward.vault.kept()


def test_a_lost_disk_comes_back_twice_with_what_was_written_in_between(ward: Ward) -> None:
    """The second restore follows the timeline that the first one began, whose history has to be in the repository."""
    write(ward.server, 3)
    first = ward.back_up()
    write(ward.server, 4)
    ward.archived()
    for life, known in ((2, 7), (3, 12)):
        ward.lose()
        done = ward.vault.restore(ward.server.data, backup=first.kept.id, goal=NEWEST, progress=silent)
        assert done.replayed is not None
        assert (done.replayed.timeline, done.position) == (life, known)  # type: ignore[union-attr]
        ward.server.start()
        assert numbers(ward.server) == list(range(1, known + 1))
        with ward.server.connect() as connection:
            connection.execute("SELECT setval('operations_sequence_seq', %s)", (known,))
        write(ward.server, 5)
        ward.archived()
    assert ward.back_up("full").kept.kind == "full"


def test_a_damaged_segment_does_not_pass_for_the_end_of_the_log(ward: Ward, tmp_path: Path) -> None:
    write(ward.server, 3)
    ward.back_up()
    write(ward.server, 4)
    ward.archived()
    damage(ward.stored_segment())
    look = ward.vault.verify(None, level=3, boot=None, progress=silent)
    assert any("the log" in finding and "other: 1" in finding for finding in look.findings)
    data = tmp_path / "restored"
    data.mkdir()
    with pytest.raises(NothingToRestore, match="cannot be recovered"):
        ward.vault.restore(data, backup=None, goal=NEWEST, progress=silent)
    assert list(data.iterdir()) == []
    assert ward.vault.restore(data, backup=None, goal=None, progress=silent).position == 3


def test_a_backup_whose_file_is_gone_fails_its_verification_and_its_restore(ward: Ward, tmp_path: Path) -> None:
    write(ward.server, 3)
    made = ward.back_up()
    stored = ward.stored_file(made.kept.id)
    content = stored.read_bytes()
    stored.unlink()
    look = ward.vault.verify(None, level=4, boot=None, progress=silent)
    assert (look.ok, look.backup) == (False, made.kept.id)
    assert "missing: 1" in look.findings[0]
    with pytest.raises(NothingToRestore, match=made.kept.id):
        ward.vault.restore(tmp_path / "restored", backup=None, goal=NEWEST, progress=silent)
    assert not (tmp_path / "restored").exists()
    stored.write_bytes(content)
    assert ward.vault.verify(None, level=3, boot=None, progress=silent).ok


def test_a_cluster_with_tablespaces_is_not_restored_over_them(ward: Ward, tmp_path: Path) -> None:
    place = tmp_path / "space"
    place.mkdir()
    own(place)
    with ward.server.connect() as connection:
        connection.execute(f"CREATE TABLESPACE elsewhere LOCATION '{place}'")
    made = ward.back_up()
    before = everything(place)
    with pytest.raises(UsageError, match=rf"{made.kept.id} has tablespaces in {place}"):
        ward.vault.restore(tmp_path / "restored", backup=None, goal=NEWEST, progress=silent)
    assert everything(place) == before
    assert not (tmp_path / "restored").exists()


def test_a_server_that_archives_nothing_is_not_backed_up(ward: Ward) -> None:
    ward.server.stop()
    ward.server.start(archive_mode="off")
    with pytest.raises(BackupError, match="archive_mode"):
        ward.back_up()
    assert ward.vault.kept() == ()


def test_the_commands_speak_of_a_repository_as_of_a_store(ward: Ward, capsys: pytest.CaptureFixture[str]) -> None:
    write(ward.server, 3)
    store, database = ("--store", ward.stanza.address), ("--database", ward.server.url())
    alarmed = gym(capsys, "backup", "status", *store)
    assert (alarmed.exit_code, "There is no backup." in alarmed.stdout) == (1, True)
    made = json.loads(gym(capsys, "backup", "run", *database, *store, "--demo", "--json").stdout)
    assert (made["kind"], made["engine"], made["state"]) == ("full", "postgres", "complete")
    assert (made["taken_t"] > 0, made["stores"]) == (True, [ward.stanza.address])
    (listed,) = json.loads(gym(capsys, "backup", "list", *store, "--json").stdout)["backups"]
    assert listed == {**listed, **{name: made[name] for name in listed if name != "taken_t"}}
    assert made["id"] in gym(capsys, "backup", "list", *store).stdout
    status = json.loads(gym(capsys, "backup", "status", *store, "--json").stdout)
    assert (status["ok"], status["newest"], status["backups"]) == (True, made["id"], 1)
    looked = json.loads(gym(capsys, "backup", "verify", *store, *database, "--level", "3", "--json").stdout)
    assert looked["verifications"][0]["ok"]
    plan = gym(capsys, "backup", "restore", *database, *store, "--dry-run")
    assert plan.exit_code == 0
    assert f"Restore {ward.server.data.resolve()} from {made['id']}" in plan.stdout
    alive = gym(capsys, "backup", "restore", *database, *store, "--yes", "--json")
    assert (alive.exit_code, json.loads(alive.stdout)["error"]["kind"]) == (1, "in-use")
    ward.archived()
    ward.server.kill()
    done = json.loads(gym(capsys, "backup", "restore", *store, "--yes", "--json").stdout)
    assert done["database"] == str(ward.server.data)
    assert Path(done["evidence"], "PG_VERSION").exists()
    damage(ward.stored_file(made["id"]))
    bad = gym(capsys, "backup", "verify", *store, "--level", "3")
    assert (bad.exit_code, "BAD: pgBackRest verify says" in bad.stdout) == (1, True)


@pytest.mark.parametrize(
    "words",
    [
        ("backup", "show"),
        ("backup", "timeline"),
        ("backup", "prune", "--dry-run"),
        ("backup", "consolidate"),
        ("backup", "rehearse"),
        ("backup", "resync"),
        ("backup", "pin", "20261127-214905F"),
        ("backup", "prove-key"),
    ],
)
def test_verbs_that_make_no_sense_for_a_repository_refuse_in_one_sentence(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    refused = gym(capsys, *words, "--store", "pgbackrest:gym")
    assert refused.exit_code == 2
    assert "pgbackrest:gym is a repository of pgBackRest, which only backup run, list, verify, restore and status" in (
        refused.stderr
    )


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "--recipient", generate()[1]), "pgBackRest seals by repo1-cipher-type"),
        (("list", "--store", "var/backups"), "A repository of pgBackRest stands alone"),
        (("status", "--max-unverified", "1d"), "keeps no record of what was verified"),
        (("restore", "--in-place"), "--in-place and --to-position are SQLite's"),
    ],
)
def test_options_that_make_no_sense_for_a_repository_are_refused(
    words: tuple[str, ...], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = gym(capsys, "backup", *words, "--store", "pgbackrest:gym")
    assert refused.exit_code == 2
    assert sentence in " ".join(refused.stderr.split())


def test_the_drill_is_refused_in_one_sentence_where_the_program_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    runs = tmp_path / "runs"
    refused = gym(capsys, "drill", "run", "pgbackrest", "--database", "postgres", "--runs", str(runs))
    assert refused.exit_code == 2
    assert "There is no pgbackrest here; install it" in refused.stderr
    assert not runs.exists()


def test_the_drill_is_refused_where_no_server_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    programs()
    monkeypatch.setattr("backups.pgbackrest.stanza.installations", tuple)
    with pytest.raises(NoPgBackRest, match=r"works with none of the PostgreSQL versions here \(none\); install"):
        fitting_binaries()
