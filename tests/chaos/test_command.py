"""`gymkhana chaos`: words for people, one document for machines, and a Ctrl-C that heals."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from chaos.errors import NotTarget, UsageError
from chaos.fault import FAULTS
from ci.cli import gymkhana
from tests.chaos.stand import ROOT, Stand, wait_until


def chaos(*arguments: str) -> Result:
    return CliRunner().invoke(gymkhana, ["chaos", *arguments])


def test_list_names_every_fault() -> None:
    assert [line.split()[0] for line in chaos("list").output.splitlines()] == list(FAULTS)
    assert [fault["name"] for fault in json.loads(chaos("list", "--json").output)["faults"]] == list(FAULTS)


def test_describe_tells_parameters_and_how_it_heals() -> None:
    words = chaos("describe", "corrupt-database").output
    assert "heals by restoring" in words
    assert "bit-flips | zero-page | truncate" in words
    told = json.loads(chaos("describe", "pause-service", "--json").output)
    assert [one["name"] for one in told["parameters"]] == ["seconds"]


def test_a_wrong_name_is_answered_with_the_right_one() -> None:
    result = chaos("describe", "delete-databse")
    assert isinstance(result.exception, UsageError)
    assert "did you mean delete-database?" in str(result.exception)


def test_dry_run_says_exactly_what_it_would_touch(serving: Stand) -> None:
    result = chaos("inject", "kill-writer", "--directory", str(serving.directory), "--dry-run")
    writer = serving.processes()["writer"]
    assert result.output == f"SIGKILL to the writer, process {writer.pid}.\n"
    assert writer.alive


def test_inject_breaks_proves_and_heals(stand: Stand) -> None:
    """By hand, what could be left to a restore is put back."""
    before = stand.database.read_bytes()
    where = ("--directory", str(stand.directory), "--seconds", "0.1", "--json")
    result = chaos("inject", "corrupt-database", *where, "--set", "mode=zero-page", "--set", "count=2", "--seed", "5")
    assert result.exit_code == 0
    told = json.loads(result.stdout)
    assert told["parameters"] == {"mode": "zero-page", "count": 2, "seconds": 0.1, "put_back": True, "seed": 5}
    assert told["proof"]["details"]["places"] >= 2
    assert told["left"] == ""
    assert stand.database.read_bytes() == before


def test_inject_leaves_it_to_a_restore_when_asked_to(stand: Stand) -> None:
    where = ("--directory", str(stand.directory), "--seconds", "30")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ci.commands.chaos.time.sleep", lambda _: None)
        result = chaos("inject", "delete-database", *where, "--set", "put_back=false")
    assert result.exit_code == 0
    assert "The database is gone; restore it from a backup." in result.stdout
    assert not stand.database.exists()


def test_no_proof_ends_with_three(stand: Stand) -> None:
    result = chaos("inject", "fail-in-transaction", "--directory", str(stand.directory), "--seconds", "0.1")
    assert result.exit_code == 3
    assert "left no proof that it bit: the service has not hit the failpoint" in result.stdout


def test_a_directory_that_is_not_marked_is_refused(tmp_path: Path) -> None:
    for verb in (("inject", "kill-service"), ("heal",)):
        result = chaos(*verb, "--directory", str(tmp_path))
        assert isinstance(result.exception, NotTarget)
        assert result.exception.exit_code == 2


def test_a_pair_without_a_value_is_refused(stand: Stand) -> None:
    result = chaos("inject", "kill-service", "--directory", str(stand.directory), "--set", "fast")
    assert result.exit_code == 2
    assert "has no `=`" in result.stderr


def test_ctrl_c_heals(serving: Stand) -> None:
    """The interrupted command leaves nothing broken, and says so."""
    script = "from ci.commands.chaos import command; command()"
    where = ["--directory", str(serving.directory), "--seconds", "600"]
    with subprocess.Popen(
        [sys.executable, "-c", script, "inject", "pause-service", *where],
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as running:
        assert running.stderr is not None
        assert "acts for 600 s" in running.stderr.readline()
        assert all(process.stopped for process in serving.processes().values())
        running.send_signal(signal.SIGINT)
        said = running.stderr.read()
    assert "what pause-service did is undone" in said
    assert running.returncode != 0
    wait_until(serving.unbroken)


def test_heal_undoes_what_is_left(serving: Stand) -> None:
    where = ("--directory", str(serving.directory))
    serving.run("pause-service", seconds=600)
    assert chaos("heal", *where).output == "Undid pause-service.\n"
    wait_until(serving.unbroken)
    assert chaos("heal", *where).output == "There is nothing to undo.\n"
    assert json.loads(chaos("heal", *where, "--json").output) == {"healed": []}
