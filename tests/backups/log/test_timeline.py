"""The timeline promises what a restore keeps: at every boundary of every span, and on both sides of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from backups.backup import run_backup
from backups.clock import parse
from backups.errors import BackupError, NothingToRestore
from backups.format import manifest as manifests
from backups.keeping import catalogue as catalogues
from backups.keys.keyring import Keyring, generate
from backups.log import segments
from backups.log import timeline as timelines
from backups.log.points import AtPosition, AtTime, Point
from backups.log.timeline import Timeline
from backups.plan import RestorePlan
from backups.restore import plan_restore
from backups.sqlite.engine import SqliteEngine
from backups.stores.directory import DirectoryStore
from ci.commands.backup import command
from tests.backups import databases
from tests.backups.shipped_story import DAMAGES, START, Damage, Log, flipped, missing, shipped_story
from tests.backups.shipping import POSITION_OF, Ferry, Stage

pytestmark = pytest.mark.processes

INSTANT = timedelta(milliseconds=1)


def restores(store: DirectoryStore, point: Point) -> RestorePlan | None:
    """What a restore to that point would do, None when it refuses."""
    try:
        return plan_restore(SqliteEngine(), store, "/nowhere/gym.db", point=point)
    except BackupError:
        return None


def require_kept(store: DirectoryStore, timeline: Timeline) -> None:
    """Inside every span a restore comes from one of its backups; outside it refuses, or gives the neighbour named."""
    for span in timeline.spans:
        if span.to_time is not None:
            require_instants(store, *span.to_time, span.backups)
        if span.to_position is not None:
            first, last = span.to_position
            for wanted in {first, (first + last) // 2, last}:
                plan = restores(store, AtPosition(wanted))
                assert plan is not None
                assert plan.backup in span.backups
    told = [span.to_position for span in timeline.spans if span.to_position]
    for edge in {first - 1 for first, _ in told} | {last + 1 for _, last in told}:
        covered = any(first <= edge <= last for first, last in told)
        assert (restores(store, AtPosition(edge)) is not None) == covered
    for gap in timeline.gaps:
        until = gap.until or gap.after + timedelta(seconds=9)
        for instant in (gap.after + INSTANT, gap.after + (until - gap.after) / 2, until - INSTANT):
            if gap.after < instant < until:
                plan = restores(store, AtTime(instant))
                refused = gap.refused_from is not None and instant >= gap.refused_from
                assert (plan is None) == refused, f"{instant} in {gap}"
                assert plan is None or reaches(plan) == gap.after


def require_instants(store: DirectoryStore, begins: datetime, ends: datetime, backups: tuple[str, ...]) -> None:
    before = restores(store, AtTime(begins - INSTANT))
    assert before is None or before.backup not in backups
    for instant in (begins, begins + (ends - begins) / 2, ends):
        plan = restores(store, AtTime(instant))
        assert plan is not None
        assert plan.backup in backups
        assert reaches(plan) <= instant


def reaches(plan: RestorePlan) -> datetime:
    assert plan.replay is not None
    return parse(plan.replay.reaches)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return shipped_story(tmp_path_factory.mktemp("model") / "stage")


@pytest.fixture
def log(model: Log, tmp_path: Path) -> Log:
    return model.copied(tmp_path / "stage")


def test_a_log_that_holds_together_is_one_span_from_its_backup_to_its_end(log: Log) -> None:
    timeline = timelines.read(log.store)
    (span,) = timeline.spans
    assert span.to_time == (START, START + timedelta(seconds=200))
    assert (span.to_position, span.fault) == ((51, 90), "")
    assert span.commits >= 20  # The shipper's own empty ones are among them.
    assert span.log_bytes == sum(log.path(index).stat().st_size for index in log.indexes[log.first :])
    assert timeline.newest is not None
    assert (timeline.newest.reaches, timeline.newest.position) == (START + timedelta(seconds=200), 90)
    assert timeline.gaps == ()
    require_kept(log.store, timeline)
    assert timelines.read(log.store, prove=True).spans == timeline.spans


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("at", [2, 9, 20])
def test_what_is_left_of_a_damaged_log_is_told_as_it_can_be_restored(log: Log, damage: Damage, at: int) -> None:
    index = min(log.first + at, log.indexes[-1] - 1)
    damage(log, index)
    timeline = timelines.read(log.store, prove=True)
    require_kept(log.store, timeline)
    (gap,) = timeline.gaps
    # A segment that begins too late, or is an older one, may only show by the one behind it.
    assert any(segments.name_of(log.generation, one) in gap.why for one in (index, index + 1))


def test_a_missing_segment_shows_without_reading_any_and_a_flipped_bit_does_not(log: Log) -> None:
    flipped(log, 12)
    assert timelines.read(log.store).gaps == ()
    missing(log, 9)
    assert "is missing" in timelines.read(log.store).gaps[0].why


def generations(log: Log, *, orphan: bool = False) -> tuple[str, ...]:
    """A second log after the story, a third without a good backup when asked for; the generations."""
    made = []
    for _ in range(3 if orphan else 2):
        ferry = Ferry(log.stage)
        made.append(ferry.ready().generation)
        ferry.go(4)
        ferry.close()  # The log goes with its last reader, so the next one begins anew.
    if orphan:
        backup = next(one for one in catalogues.read(log.store).entries if led_into(one) == made[1])
        (log.stage.root / "store" / f"objects/{backup.id}/index").unlink()
    return (log.generation, *made)


def led_into(entry: catalogues.Entry) -> str | None:
    return entry.manifest.log.generation if entry.manifest and entry.manifest.log else None


def test_between_generations_lies_a_gap_with_the_reason_for_which_the_later_was_begun(log: Log) -> None:
    known = generations(log)
    timeline = timelines.read(log.store)
    assert tuple(span.generation for span in timeline.spans) == known
    copied, anew = (gap.why for gap in timeline.gaps)
    assert copied.startswith("The generation before is that of")  # The story was told elsewhere.
    assert anew.startswith("The log was begun anew")
    require_kept(log.store, timeline)


def test_a_generation_that_no_good_backup_leads_into_is_a_gap_that_names_it(log: Log) -> None:
    known = generations(log, orphan=True)
    backups = catalogues.read(log.store).entries
    timeline = timelines.read(log.store)
    assert len([span for span in timeline.spans if span.generation]) == len([one for one in backups if not one.fault])
    assert any(known[2] in gap.why and "is missing" in gap.why for gap in timeline.gaps)
    require_kept(log.store, timeline)


def test_a_backup_in_the_middle_is_in_the_span_and_goes_on_behind_damage_as_one_of_its_own(tmp_path: Path) -> None:
    stage = Stage.make(tmp_path / "stage")
    ferry = Ferry(stage)
    ferry.ready()
    ferry.go(10)
    place = ferry.ship()
    engine = SqliteEngine(position_of=POSITION_OF)
    run_backup(
        engine, str(stage.database), stage.store, log=lambda: (place.generation, place.index), demonstration=True
    )
    ferry.go(10)
    ferry.close()
    (whole,) = timelines.read(stage.store).spans
    assert (len(whole.backups), whole.to_position, whole.commits) == (2, (51, 70), 20)
    require_kept(stage.store, timelines.read(stage.store))
    (stage.root / "store" / segments.name_of(place.generation, 5)).unlink()
    timeline = timelines.read(stage.store)
    assert [span.to_position for span in timeline.spans] == [(51, 54), (61, 70)]
    require_kept(stage.store, timeline)


def test_a_log_that_the_keys_do_not_open_is_a_gap_that_says_so(tmp_path: Path) -> None:
    stage = Stage.make(tmp_path / "stage")
    identity, other = tmp_path / "identity", tmp_path / "other"
    recipient = key_at(identity)
    ferry = Ferry(stage, keyring=Keyring((recipient,), host_secret=tmp_path / "host.secret"))
    ferry.ready()
    ferry.go(3)
    ferry.close()
    key_at(other)
    (span,) = timelines.read(stage.store, Keyring(identities=(identity,))).spans
    assert span.to_position == (51, 53)
    for keyring in (Keyring(identities=(other,)), Keyring.plain()):
        timeline = timelines.read(stage.store, keyring)
        assert (timeline.spans[0].to_time, timeline.newest) == (None, None)
        assert "identity" in timeline.gaps[0].why


def key_at(path: Path) -> str:
    """A new identity in that file; its recipient."""
    text, recipient = generate()
    path.write_text(text)
    path.chmod(0o600)
    return recipient


def test_backups_without_a_log_are_points_and_have_no_gaps(tmp_path: Path) -> None:
    path, store = databases.make(tmp_path / "gym.db"), DirectoryStore(tmp_path / "store", make=True)
    made = [run_backup(SqliteEngine(), str(path), store, demonstration=True) for _ in range(2)]
    timeline = timelines.read(store)
    assert [(span.backups, span.to_time) for span in timeline.spans] == [((one.id,), None) for one in made]
    assert (timeline.gaps, timeline.newest is not None and timeline.newest.backup) == ((), made[1].id)


def test_an_empty_store_has_no_timeline(tmp_path: Path) -> None:
    timeline = timelines.read(DirectoryStore(tmp_path / "store", make=True))
    assert timeline == Timeline((), (), None, False)


def test_a_removed_backup_leaves_no_promise(log: Log) -> None:
    for entry in catalogues.read(log.store).entries:
        (log.stage.root / "store" / manifests.name_of(entry.id)).unlink()
    timeline = timelines.read(log.store)
    assert (timeline.spans, timeline.newest) == ((), None)
    with pytest.raises(NothingToRestore):
        plan_restore(SqliteEngine(), log.store, "/nowhere/gym.db", point=AtTime(datetime.now(UTC)))


def test_the_command_draws_spans_and_gaps_newest_first(log: Log) -> None:
    missing(log, 9)
    address = str(log.stage.root / "store")
    said = CliRunner().invoke(command, ["timeline", "--store", address]).output.splitlines()
    assert said[0].startswith(f"{address} can be restored to 2026-11-23 09:01:10.000 UTC, position 64: ")
    drawn = [line[0] for line in said if line and line[0] in "┃╎●"]
    assert drawn == ["╎", "┃"]
    told = json.loads(CliRunner().invoke(command, ["timeline", "--store", address, "--check", "--json"]).output)
    assert told["spans"][0]["to_time"] == ["2026-11-23T09:00:00.000Z", "2026-11-23T09:01:09.999Z"]
    assert told["gaps"][0]["refused_from"] == "2026-11-23T09:01:10.000Z"
    assert told["proved"] is True
