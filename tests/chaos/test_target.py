"""A target is marked, whole in its directory, and its processes are believed only when pid and start agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from chaos import service
from chaos.errors import NothingToBreak, NotOurs, NotTarget
from chaos.fault import FAULTS, make
from chaos.identity import Identity
from chaos.target import MARKER, Target
from tests.chaos.stand import Stand, wait_until


def test_a_directory_without_the_marker_is_refused(tmp_path: Path) -> None:
    """The sentence says how to mark it."""
    with pytest.raises(NotTarget, match=rf"touch {tmp_path}/\.gymkhana-target"):
        Target.at(tmp_path)


@pytest.mark.parametrize("place", ["database", "store", "runtime", "failpoints"])
def test_a_path_that_leads_out_of_the_directory_is_refused(tmp_path: Path, place: str) -> None:
    marked = tmp_path / "marked"
    marked.mkdir()
    (marked / MARKER).touch()
    with pytest.raises(NotTarget, match="outside"):
        Target.at(marked, **{place: tmp_path / "elsewhere"})


def test_a_link_that_leads_out_of_the_directory_is_refused(tmp_path: Path) -> None:
    marked = tmp_path / "marked"
    marked.mkdir()
    (marked / MARKER).touch()
    (tmp_path / "precious.db").touch()
    (marked / "gym.db").symlink_to(tmp_path / "precious.db")
    with pytest.raises(NotTarget, match="outside"):
        Target.at(marked)


def test_a_target_is_found_as_a_stand_and_as_var_are_laid_out(tmp_path: Path) -> None:
    (tmp_path / MARKER).touch()
    (tmp_path / "backups").mkdir()
    (tmp_path / "gym.db").touch()
    plain = Target.at(tmp_path)
    assert (plain.database, plain.store, plain.failpoints) == (tmp_path / "gym.db", tmp_path / "backups", None)
    assert plain.runtime == tmp_path / "gym.runtime"
    (tmp_path / "db").mkdir()
    (tmp_path / "db" / "gym.db").touch()
    (tmp_path / "store").mkdir()
    stand = Target.at(tmp_path)
    assert (stand.database, stand.store) == (tmp_path / "db" / "gym.db", tmp_path / "store")


def test_relative_places_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An undo may be done by a process with another working directory."""
    (tmp_path / MARKER).touch()
    monkeypatch.chdir(tmp_path)
    assert Target.at(Path()).database == tmp_path / "gym.db"


def test_the_services_processes_are_read_anew(serving: Stand) -> None:
    before = serving.target.processes("writer")
    assert list(before) == ["supervisor", "writer", "http"]
    psutil.Process(before["writer"].pid).kill()
    wait_until(lambda: serving.processes().get("writer", before["writer"]) != before["writer"])


def test_a_pid_that_came_back_is_refused(stand: Stand) -> None:
    """Published is a pid that belongs to somebody else by now: here, to this test."""
    publish(stand, {"writer": {"pid": os.getpid(), "start": psutil.Process().create_time() - 100}})
    for name in ("kill-writer", "kill-service", "pause-service"):
        with pytest.raises(NotOurs, match=f"Process {os.getpid()} is not the writer"):
            make(name).inject(stand.target).__enter__()


def test_a_start_time_as_psutil_has_it_is_believed(stand: Stand) -> None:
    publish(stand, {"writer": {"pid": os.getpid(), "start": psutil.Process().create_time()}})
    assert service.living(stand.target.runtime) == {"writer": Identity.of(os.getpid())}


def test_a_zombie_counts_as_dead(stand: Stand) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        identity = Identity.of(child.pid)
        assert identity is not None
        start = identity.created_s
        wait_until(lambda: not identity.alive)
        publish(stand, {"writer": {"pid": child.pid, "start": start}})
        assert service.living(stand.target.runtime) == {}


def test_processes_that_cannot_be_read_are_refused(stand: Stand) -> None:
    publish(stand, ["writer"])
    with pytest.raises(NotOurs, match="does not name"):
        stand.target.processes()


def publish(stand: Stand, processes: object) -> None:
    stand.target.runtime.mkdir()
    (stand.target.runtime / "processes.json").write_text(json.dumps(processes))


def without_store(stand: Stand) -> None:
    (stand.directory / "store").rename(stand.directory / "moved")


def without_backups(stand: Stand) -> None:
    for path in (stand.directory / "store" / "manifests").iterdir():
        path.unlink()


def without_failpoints(stand: Stand) -> None:
    (stand.directory / "failpoints").rmdir()


def armed(stand: Stand) -> None:
    (stand.directory / "failpoints" / "kill-connections.json").write_text("{}")


@pytest.mark.parametrize(
    ("name", "spoil", "says"),
    [
        ("kill-service", lambda _: None, "no process running"),
        ("kill-writer", lambda _: None, "no writer running"),
        ("pause-service", lambda _: None, "no process running"),
        ("kill-connections", without_failpoints, "has no failpoints"),
        ("kill-connections", armed, "armed already"),
        ("corrupt-newest-backup", without_store, "has no store"),
        ("corrupt-newest-backup", without_backups, "holds no backup"),
    ],
)
def test_what_is_not_there_cannot_be_broken(stand: Stand, name: str, spoil: Callable[[Stand], None], says: str) -> None:
    """Planning it and playing it say the same."""
    assert name in FAULTS
    spoil(stand)
    for attempt in (lambda: make(name).plan(stand.target), lambda: make(name).inject(stand.target).__enter__()):
        with pytest.raises(NothingToBreak, match=says):
            attempt()
    assert not stand.leases.paths()


def test_a_companion_that_does_not_run_is_nothing_to_kill(stand: Stand) -> None:
    stand.start_companion("scheduler")
    with pytest.raises(NothingToBreak, match="No object-store runs"):
        make("kill-companion", companion="object-store").plan(stand.target)


def test_a_companion_whose_pid_is_somebody_elses_is_left_alone(stand: Stand) -> None:
    stand.start_companion("scheduler")
    published = stand.directory / "companions" / "processes.json"
    published.write_text(json.dumps({"scheduler": {"pid": os.getpid(), "start": 1.0}}))
    with pytest.raises(NotOurs):
        make("kill-companion").plan(stand.target)
