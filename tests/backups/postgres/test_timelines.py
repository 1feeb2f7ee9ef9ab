"""Several timelines: each restore begins one, the newest is followed unless another is named, and the right log is taken."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from backups.clock import parse
from backups.errors import NoSpace, NothingToRestore
from backups.postgres.recovery import NEWEST, Goal, at_instant, at_name, not_recovered
from backups.postgres.restore import plan_restore, restore
from backups.postgres.server import Server
from backups.restoration import LogReplayed
from tests.backups.postgres.conftest import Clinic
from tests.backups.postgres.test_restore import brought_back

pytestmark = pytest.mark.processes


def marked(clinic: Clinic, name: str, rows: int = 3) -> None:
    """So many operations, then a restore point of that name; all of it has reached the store."""
    clinic.write(rows)
    with clinic.server.connect() as connection:
        connection.execute("SELECT pg_create_restore_point(%s)", (name,))
    clinic.caught_up()


def looked_at(clinic: Clinic, goal: Goal) -> tuple[list[int], int]:
    """The operations at that goal and the timeline that the restored cluster is on, restored to a place of its own."""
    number = len(list(clinic.directory.glob("look-*")))
    place = clinic.directory / f"look-{number}"
    done = restore(clinic.store, place, goal=goal)
    server = Server(clinic.directory / f"s{number}", clinic.server.port, clinic.server.programs)
    server.directory.mkdir()
    place.rename(server.data)
    place.mkdir()
    server.start()
    with server.connect() as connection:
        found = [row[0] for row in connection.execute("SELECT sequence FROM operations ORDER BY 1")]
    server.close()
    assert isinstance(done.replayed, LogReplayed)
    return found, done.replayed.timeline


def test_each_timeline_is_followed_where_it_is_asked_for(newest: Clinic) -> None:
    """Timeline 1 is left at a restore point for 2, and 2 after a loss for 3: every one of them can still be gone along."""
    with newest.receiving():
        newest.back_up()
        marked(newest, "one")
        marked(newest, "left-behind")
        late = newest.back_up()
    newest.server.stop()
    brought_back(newest, goal=at_name("one"))
    assert newest.numbers() == [1, 2, 3]
    with newest.receiving():
        marked(newest, "two")
        second = newest.numbers()
        newest.write(1)
        newest.caught_up()
    newest.lose()
    done = brought_back(newest)
    assert [one.id for one in done.refused] == [late.id]  # It lies on timeline 1, beyond where 2 began.
    assert "It cannot be recovered" in done.refused[0].why
    third = newest.numbers()
    assert third[: len(second)] == second
    newest.server.stop()
    assert looked_at(newest, replace(at_name("left-behind"), timeline=1)) == ([1, 2, 3, 4, 5, 6], 3)
    assert looked_at(newest, at_name("two")) == (second, 3)
    with pytest.raises(NothingToRestore, match=r"no timeline 9; leave it out for the newest"):
        restore(newest.store, newest.directory / "nine", goal=replace(NEWEST, timeline=9))


def test_a_backup_of_a_later_timeline_does_not_lead_to_an_earlier_one(newest: Clinic) -> None:
    newest.back_up()
    newest.lose()
    brought_back(newest, goal=None)
    newest.write(1)
    later = newest.back_up()
    assert later.server is not None
    assert later.server.timeline == 2
    plan = plan_restore(newest.store, newest.data, goal=replace(NEWEST, timeline=1))
    assert plan.backup != later.id
    with pytest.raises(NothingToRestore, match=r"made on timeline 2, which began after timeline 1 was left"):
        plan_restore(newest.store, newest.data, backup=later.id, goal=replace(NEWEST, timeline=1))


def test_an_instant_after_the_last_commit_is_refused_and_the_newest_state_is_offered(newest: Clinic) -> None:
    with newest.receiving():
        manifest = newest.back_up()
        newest.write(2)
        newest.caught_up()
    newest.server.stop()
    later = parse(manifest.taken) + timedelta(hours=1)
    told = r"does not go as far as time .*; what can be had is the newest state"
    with pytest.raises(NothingToRestore, match=told) as caught:
        restore(newest.store, newest.data, goal=at_instant(later))
    assert caught.value.exit_code == 1
    assert "+00:00" in str(at_instant(datetime(2026, 11, 23, tzinfo=UTC)))
    newest.server.start()
    assert newest.numbers() == [1, 2]


def test_a_full_disk_while_recovering_is_no_fault_of_the_backup(tmp_path: Path) -> None:
    said = tmp_path / "server.log"
    said.write_text('LOG:  starting\nFATAL:  could not extend file "base/5/1": No space left on device\n')
    assert isinstance(not_recovered(said, NEWEST), NoSpace)


def test_what_a_server_died_of_is_told_from_what_it_told_those_who_came_too_early(tmp_path: Path) -> None:
    said = tmp_path / "server.log"
    said.write_text(
        "FATAL:  recovery ended before configured recovery target was reached\n"
        "[unknown] FATAL:  the database system is in recovery mode\n"
    )
    assert isinstance(not_recovered(said, at_name("nowhere")), NothingToRestore)
