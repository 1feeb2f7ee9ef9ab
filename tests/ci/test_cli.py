"""The command's frame: verbs load late, mistakes get one sentence, and every error becomes the right exit code."""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

import click
import pytest

from backups.errors import NoSuchBackup
from ci import cli
from loadtests.errors import ToolError

SCRIPT = str(Path(sys.executable).with_name("gymkhana"))
HELP_CPU_S = 0.3
HEAVY = (
    "sqlalchemy",
    "fastapi",
    "pydantic",
    "rich",
    "blake3",
    "psutil",
    "alembic",
    "jinja2",
    "httpx2",
    "locust",
    "msgspec",
)

Plant = Callable[[Callable[[], None]], None]


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GYM_DEBUG", "")


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Plant:
    """Makes every verb a command that does this."""

    def planted(act: Callable[[], None]) -> None:
        @click.command("drill")
        @click.option("--json", is_flag=True)
        def command(json: bool) -> None:
            act()

        monkeypatch.setattr(cli.Verbs, "get_command", lambda *_: command)

    return planted


def fails(error: BaseException) -> Callable[[], None]:
    def act() -> None:
        raise error

    return act


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command below a group, with the words that call it."""
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        assert command is not None
        yield (*path, name), command
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))


def test_help_lists_every_verb_with_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"\n  {verb} " in shown for verb in cli.VERBS)
    assert "Examples:" in shown


@pytest.mark.parametrize("verb", cli.VERBS)
def test_a_verb_says_of_itself_what_the_table_says(verb: str) -> None:
    command = cli.gymkhana.get_command(click.Context(cli.gymkhana), verb)
    assert command is not None
    assert command.name == verb
    assert command.get_short_help_str(limit=200) == cli.VERBS[verb]


def test_every_command_has_help_by_its_short_and_its_long_name(capsys: pytest.CaptureFixture[str]) -> None:
    for words, _ in commands(cli.gymkhana):
        for name in ("-h", "--help"):
            assert cli.run([*words, name]) == 0
            assert capsys.readouterr().out.startswith(f"Usage: gymkhana {' '.join(words)} ")


def test_help_of_every_command_loads_nothing_heavy() -> None:
    words = [[*words, "--help"] for words, _ in commands(cli.gymkhana)]
    program = (
        f"import sys\nfrom ci import cli\nfor words in [['--help'], *{words!r}]:\n    assert cli.run(words) == 0\n"
    )
    program += f"print('loaded', sorted(set({HEAVY!r}) & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded []"


def test_help_costs_less_cpu_than_promised() -> None:
    """CPU of the child as the kernel counted it, so that a busy machine does not decide."""

    def cpu_s() -> float:
        process = subprocess.Popen([SCRIPT, "--help"], stdout=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        return usage.ru_utime + usage.ru_stime

    assert statistics.median(cpu_s() for _ in range(3)) < HELP_CPU_S


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--version"]) == 0
    assert capsys.readouterr().out == f"gymkhana {version('gymkhana')}\n"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["drlil"], "'drill'"),
        (["drill", "rnu"], "'run'"),
        (["backup", "restroe", "--dry-run"], "'restore'"),
        (["migrate", "stats"], "'status'"),
        (["backup", "restore", "--dry-rum"], "'--dry-run'"),
        (["--verison"], "'--version'"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_one_meant(
    words: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(words) == 2
    said = capsys.readouterr().err
    assert "id you mean" in said
    assert meant in said
    assert said.count("\n") == 1, "one line, and where help is"


def test_an_unlike_word_is_answered_without_a_guess(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["xyzzy"]) == 2
    assert capsys.readouterr().err == "No such command 'xyzzy'. See `gymkhana --help`.\n"


def test_no_verb_at_all_shows_the_help_and_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Commands:" in captured.err


@pytest.mark.parametrize(
    ("error", "code", "kind"),
    [
        (NoSuchBackup("There is no backup x; list them."), 2, "no-such-backup"),
        (ToolError("k6 is not here; install it."), 4, "tool-error"),
        (click.UsageError("Port 1 is taken."), 2, "usage"),
        (click.FileError("x", "cannot be read"), 1, "file-error"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (click.Abort(), 1, "not-confirmed"),
        (ValueError("of no family"), 4, "internal"),
    ],
)
def test_errors_become_a_sentence_a_code_and_with_json_a_document(
    error: BaseException, code: int, kind: str, plant: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(fails(error))
    assert cli.run(["drill"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    message = captured.err.strip()
    assert message
    assert "\n" not in message
    assert "Traceback" not in message
    assert cli.run(["drill", "--json"]) == code
    assert json.loads(capsys.readouterr().out) == {"error": {"message": message, "kind": kind}}


def test_a_packages_sentence_is_said_as_it_is(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    plant(fails(NoSuchBackup("There is no backup x; list them.")))
    cli.run(["drill"])
    assert capsys.readouterr().err == "There is no backup x; list them.\n"


@pytest.mark.parametrize("code", [0, 1, 3])
def test_a_verdicts_exit_code_passes_through(code: int, plant: Plant) -> None:
    plant(fails(click.exceptions.Exit(code)))
    assert cli.run(["drill"]) == code


def test_the_traceback_of_an_unexpected_error_is_shown_on_request(
    plant: Plant, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(fails(ValueError("of no family")))
    assert cli.run(["drill"]) == 4
    assert "GYM_DEBUG=1" in capsys.readouterr().err
    assert cli.run(["-v", "drill"]) == 4
    assert "Traceback (most recent call last)" in capsys.readouterr().err
    monkeypatch.setenv("GYM_DEBUG", "1")
    assert cli.run(["drill"]) == 4
    assert "Traceback (most recent call last)" in capsys.readouterr().err


WAITING = """
import click, signal, time
from ci import cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever started the tests may have switched it off

@click.command("drill")
def command():
    try:
        print("waiting", flush=True)
        time.sleep(60)
    finally:
        print("cleaned up", flush=True)

cli.Verbs.get_command = lambda *_: command
cli.main()
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_unwinds_and_exits_with_130(number: signal.Signals) -> None:
    command = [sys.executable, "-c", WAITING, "drill"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waiting\n"
        process.send_signal(number)
        said, errors = process.communicate(timeout=30)
    assert (process.returncode, said) == (130, "cleaned up\n")
    assert "Traceback" not in errors


def test_children_may_open_as_many_files_as_the_system_lets_anybody() -> None:
    """Many systems begin with 1024, which is not a thousand users."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limited = ["bash", "-c", 'ulimit -Sn 256; exec "$0" doctor --json', SCRIPT]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    (found,) = [row["found"] for row in json.loads(done.stdout)["findings"] if row["name"] == "open files"]
    wanted = cli.OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, cli.OPEN_FILES)
    assert found == f"{wanted} allowed"


def test_a_reader_who_left_early_gets_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run([SCRIPT, "--help"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    finally:
        os.close(writing)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(("shell", "mark"), [("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --")])
def test_completion_prints_the_script_of_each_shell(shell: str, mark: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert mark in script
    assert "_GYMKHANA_COMPLETE" in script


def test_completion_of_another_shell_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", "tcsh"]) == 2
    assert "'bash', 'zsh', 'fish'" in capsys.readouterr().err


@pytest.mark.parametrize(("line", "wanted"), [("gymkhana dri", "plain,drill"), ("gymkhana backup ver", "plain,verify")])
def test_a_shell_that_asks_gets_verbs_and_their_verbs(line: str, wanted: str) -> None:
    asked = {"_GYMKHANA_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    done = subprocess.run([SCRIPT], env=os.environ | asked, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [wanted]
