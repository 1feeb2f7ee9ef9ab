"""The watching process among other processes: a fast writer, kill -9 at every moment, and whoever asks over the socket."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from backups.backup import run_backup
from backups.errors import BackupError
from backups.keys.keyring import Keyring, generate
from backups.log import replay, shipped, watch
from backups.log.points import AtPosition, AtTime, Newest
from backups.log.shipped import log_span
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from tests import soak
from tests.backups import databases
from tests.backups.dying_watch import AGAIN, BEGINNING
from tests.backups.shipping import POSITION_OF, Stage, sequences, sound, wait_gone

pytestmark = pytest.mark.processes

SMALL = ("--checkpoint-mb", "0.2")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    stage = Stage.make(tmp_path / "stage")
    yield stage
    stage.close()


def more(stage: Stage, count: int) -> None:
    """Once that many more commits are in the shipped log."""
    (first,) = (int(stage.status()["log_bytes"]),)
    databases.wait_until(lambda: int(stage.status()["log_bytes"]) > first + count * 4096, "more log")


def test_a_fast_writer_is_followed_bit_for_bit_through_many_checkpoints(stage: Stage) -> None:
    stage.watch(*SMALL)
    stage.until_restorable()
    with stage.writing(0):
        databases.wait_until(lambda: int(stage.status()["checkpoints"]) >= 30, "thirty checkpoints")
    stage.end_watch()
    assert stage.events("ended")[0]["shipped"]
    assert len(stage.events("generation begun")) == 1
    first, last = stage.written[0], stage.written[-1]
    assert (last[0] - first[0]) / (last[1] - first[1]) > 100  # commits a second: hundreds, if not thousands
    replayed = stage.replayed()
    assert replayed.read_bytes() == stage.truth()
    assert sound(replayed)


def test_every_position_comes_back_as_the_commit_that_first_reached_it(stage: Stage) -> None:
    stage.watch(*SMALL)
    stage.until_restorable()
    with stage.writing():
        more(stage, 300)
    stage.end_watch()
    shipped_to = sequences(stage.replayed())[-1]
    dice = random.Random(1)
    for wanted in (51, 52, shipped_to, *dice.sample(range(53, shipped_to), 5)):
        replayed = stage.replayed(AtPosition(wanted))
        assert sequences(replayed) == list(range(1, wanted + 1))
        assert sound(replayed)


def test_an_instant_comes_back_with_what_was_shipped_by_then(stage: Stage) -> None:
    stage.watch(*SMALL)
    stage.until_restorable()
    with stage.writing():
        more(stage, 200)
        asked = time.time()
        stage.ship()
        instant = datetime.now(UTC)
        more(stage, 200)
    stage.end_watch()
    found = sequences(stage.replayed(AtTime(instant)))
    by_then = [sequence for sequence, at in stage.written if at < asked]
    assert found == list(range(1, len(found) + 1))
    assert by_then[-1] <= found[-1]
    later = [sequence for sequence, at in stage.written if at > instant.timestamp()]
    assert found[-1] <= later[0]  # which may have been committed before the instant and written down after it


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("moment", AGAIN)
def test_killed_at_any_moment_it_goes_on_without_a_hole(stage: Stage, moment: str, count: int) -> None:
    stage.watch(*SMALL)
    stage.until_restorable()
    with stage.writing(0.002):
        stage.kill_watch()
        wait_gone(stage.watch(*SMALL, module=("tests.backups.dying_watch", moment, str(count))))
        killed = sequences(stage.replayed())
        stage.watch(*SMALL)
        stage.until_restorable()
        more(stage, 30)
    stage.end_watch()
    assert killed == list(range(1, len(killed) + 1))
    replayed = stage.replayed()
    assert replayed.read_bytes() == stage.truth()
    assert sound(replayed)
    for begun in stage.events("generation begun")[1:]:
        assert begun["why"] == "The log was begun anew while nobody watched it."


@pytest.mark.parametrize("moment", BEGINNING)
def test_killed_while_it_begins_it_begins_again(stage: Stage, moment: str) -> None:
    with stage.writing(0.002):
        wait_gone(stage.watch(*SMALL, module=("tests.backups.dying_watch", moment, "1")))
        stage.watch(*SMALL)
        stage.until_restorable()
        more(stage, 30)
    stage.end_watch()
    assert stage.replayed().read_bytes() == stage.truth()


@pytest.mark.parametrize("seed", range(soak.rounds(3, 50)))
def test_killed_again_and_again_at_random_there_is_never_a_hole(stage: Stage, seed: int) -> None:
    dice = random.Random(seed)
    stage.watch(*SMALL)
    stage.until_restorable()
    with stage.writing(0.001):
        for _ in range(6):
            more(stage, 20)
            time.sleep(dice.uniform(0, 0.1))
            stage.kill_watch()
            found = sequences(stage.replayed())
            assert found == list(range(1, len(found) + 1))
            stage.watch(*SMALL)
            stage.until_restorable()
    stage.end_watch()
    assert stage.replayed().read_bytes() == stage.truth()


def test_a_foreign_checkpoint_while_it_is_dead_is_said(stage: Stage) -> None:
    stage.watch()
    before = stage.until_restorable()["generation"]
    with closing(databases.connect(stage.database)) as writer:
        databases.insert(writer, 3)
        stage.ship()
        stage.kill_watch()
        databases.insert(writer, 3)
        assert writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0
        databases.insert(writer, 3)
        stage.watch()
        assert stage.until_restorable()["generation"] != before
        databases.insert(writer, 3)
        stage.ship()
    stage.end_watch()
    assert "while nobody watched it" in stage.events("generation begun")[1]["why"]
    assert stage.replayed().read_bytes() == stage.truth()


def test_the_tail_is_shipped_on_sigterm(stage: Stage) -> None:
    stage.watch("--interval-ms", "60000")
    stage.until_restorable()
    databases.write(stage.database, 5)
    stage.end_watch()
    assert not stage.socket.exists()
    assert sequences(stage.replayed())[-1] == 55


def test_after_an_orderly_end_it_is_taken_up_again_without_a_new_backup(stage: Stage) -> None:
    stage.watch()
    stage.until_restorable()
    databases.write(stage.database, 5)
    stage.end_watch()
    stage.watch()
    stage.until_restorable()
    databases.write(stage.database, 5)
    stage.end_watch()
    assert len(stage.events("generation begun")) == len(stage.events("resumed")) == 1
    assert stage.replayed().read_bytes() == stage.truth()


def test_a_second_one_on_the_same_database_is_refused(stage: Stage) -> None:
    first = stage.watch()
    stage.until_restorable()
    second = stage.watch("--socket", str(stage.root / "other.sock"))
    assert second.wait(20) == 1
    assert "is in use by process" in stage.said.read_text("utf-8")
    stage.watching = first
    stage.end_watch()


def test_a_backup_made_beside_it_knows_where_it_lies_in_the_log(stage: Stage) -> None:
    stage.watch(*SMALL)
    stage.until_restorable()
    engine = SqliteEngine(position_of=POSITION_OF)
    with stage.writing():
        more(stage, 50)
        manifest = run_backup(engine, str(stage.database), stage.store, log=log_span(stage.socket), demonstration=True)
        more(stage, 50)
    stage.end_watch()
    assert manifest.log is not None
    assert manifest.log.after is not None
    assert 0 < manifest.log.before <= manifest.log.after
    plan = replay.plan(stage.store, AtPosition(stage.written[-1][0]))
    assert plan.backup == manifest.id
    assert sequences(stage.built(plan)) == list(range(1, stage.written[-1][0] + 1))
    assert stage.replayed().read_bytes() == stage.truth()


def test_without_a_watching_process_a_backup_has_no_place_in_a_log(stage: Stage) -> None:
    assert log_span(stage.socket)() is None


def test_a_watching_process_that_went_away_is_an_error_and_no_place(stage: Stage) -> None:
    stage.watch()
    stage.until_restorable()
    position = log_span(stage.socket, timeout_s=5)
    assert position() is not None
    stage.kill_watch()
    with pytest.raises(BackupError, match="does not answer"):
        position()


def test_what_is_no_request_is_answered_with_an_error(stage: Stage) -> None:
    stage.watch()
    stage.until_restorable()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(stage.socket))
        connection.sendall(b'{"ship": "perhaps"}\nnonsense\n{"ship": true}\n')
        with connection.makefile("rb") as lines:
            answers = [msgspec.json.decode(lines.readline()) for _ in range(3)]
    assert sorted(answers[0]) == sorted(answers[1]) == ["error"]
    assert sorted(answers[2]) == ["generation", "index"]


def test_what_is_asked_of_it_while_the_store_is_away_is_refused_with_the_reason(stage: Stage) -> None:
    stage.watch()
    stage.until_restorable()
    (stage.root / "store").rename(stage.root / "away")
    databases.write(stage.database, 1)
    with pytest.raises(BackupError, match="not there any more"):
        stage.ship()
    (stage.root / "away").rename(stage.root / "store")
    databases.wait_until(lambda: not stage.status()["trouble"], "the store to be back")
    stage.ship()
    stage.end_watch()
    assert stage.replayed().read_bytes() == stage.truth()


def test_sealed_to_a_recipient_the_log_needs_the_identity(stage: Stage) -> None:
    identity = stage.root / "identity"
    text, recipient = generate()
    identity.write_text(text)
    identity.chmod(0o600)
    sealed = ("--recipient", recipient, "--host-secret", str(stage.root / "secret"))
    stage.watch(*SMALL, *sealed)
    stage.until_restorable()
    databases.write(stage.database, 40)
    stage.kill_watch()
    stage.watch(*SMALL, *sealed)  # it does not know the key of the segments it wrote before
    stage.until_restorable()
    databases.write(stage.database, 40)
    stage.end_watch()
    assert stage.events("resumed")
    for path in (stage.root / "store" / "log").rglob("*"):
        assert path.is_dir() or b"note 60" not in path.read_bytes()
    with pytest.raises(BackupError, match="no identity is given"):
        stage.replayed()
    assert stage.replayed(keyring=Keyring(identities=(identity,))).read_bytes() == stage.truth()


def test_every_store_that_is_named_gets_the_whole_log(stage: Stage) -> None:
    (stage.root / "copy").mkdir()
    stage.watch(*SMALL, "--store", str(stage.root / "copy"))
    stage.until_restorable()
    with stage.writing():
        more(stage, 100)
    stage.end_watch()
    truth = stage.truth()
    for name in ("store", "copy"):
        into = stage.root / f"from-{name}"
        store = DirectoryStore(stage.root / name)
        replay.rebuild(store, replay.plan(store, Newest()), into)
        assert into.read_bytes() == truth


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--database is missing"),
        (["--database", "x.db", "--store", "ftp://nowhere", "--socket", "s"], "Stores like ftp:// are not known"),
        (["--database", ":memory:", "--store", "x", "--socket", "s"], "in memory"),
        (["--database", "x.db", "--store", "nowhere/at/all", "--socket", "s"], "There is no store at"),
    ],
)
def test_a_wrong_command_line_is_refused_in_a_sentence(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DATABASE_URL", "GYM_STORE", "GYM_SHIP"):
        monkeypatch.delenv(name, raising=False)
    try:
        code: int | str | None = watch.main(arguments)
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert said in capsys.readouterr().err


def test_asking_where_nobody_listens_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BackupError, match="does not answer"):
        shipped.ask(tmp_path / "nobody.sock", shipped.Asked(ship=True))
