"""What decides in the tier, asked without a Docker: who counts as answered, what is skipped and why, how a base is made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.containers.clients import outcome_of
from tests.containers.daemon import absence
from tests.containers.images import DOCKERFILE, ROOT, bootstrap, defaults, main


@pytest.mark.parametrize(
    ("status", "said", "outcome"),
    [(200, None, "acknowledged"), (201, None, "acknowledged"), (503, "not-applied", "refused"), (409, None, "refused"),
     (503, "unknown", "unknown"), (503, None, "unknown"), (500, None, "unknown")],
)  # fmt: skip
def test_only_an_answer_that_is_certain_counts_as_a_refusal(status: int, said: str | None, outcome: str) -> None:
    assert outcome_of(status, said) == outcome


def test_where_no_docker_answers_the_reason_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (absence() or "").startswith("No Docker here: there is no program docker")
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 20.10.24\necho Cannot connect to the daemon >&2\nexit 1\n", "utf-8")
    program.chmod(0o755)
    assert absence() == "No Docker answers here: Cannot connect to the daemon"


def test_where_one_answers_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    program = tmp_path / "docker"
    program.write_text("#!/bin/sh\necho 20.10.24\n", "utf-8")
    program.chmod(0o755)
    assert absence() is None


def test_without_a_docker_no_image_is_prepared_and_that_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    main()
    assert capsys.readouterr().out.startswith("No Docker here: ")


@pytest.mark.processes
def test_without_a_docker_the_tier_is_skipped_with_the_reason_and_fails_nothing(tmp_path: Path) -> None:
    words = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "containers", str(Path(__file__).parent))
    environment = {**os.environ, "DOCKER_HOST": f"unix://{tmp_path}/nobody.sock"}
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "No Docker" in done.stdout
    assert " skipped" in done.stdout.splitlines()[-1]
    assert "passed" not in done.stdout.splitlines()[-1]


def test_a_base_made_here_trusts_what_this_machine_trusts(tmp_path: Path) -> None:
    own = tmp_path / "ca-certificates"
    assert not [word for word in bootstrap(own) if "update-ca-certificates" in word]
    own.mkdir()
    assert f"--customize-hook=copy-in {own} {tmp_path}" in bootstrap(own)


def test_the_images_that_ours_stand_on_are_named_with_their_versions() -> None:
    found = defaults(DOCKERFILE.read_text("utf-8"))
    assert set(found) == {"PYTHON_IMAGE", "POSTGRES_IMAGE", "UV_VERSION"}
    assert [image for image in (found["PYTHON_IMAGE"], found["POSTGRES_IMAGE"]) if not image.rpartition(":")[1]] == []
    assert f"UV_VERSION := {found['UV_VERSION']}\n" in (ROOT / "Makefile").read_text("utf-8")


def test_a_default_is_told_from_an_argument_that_has_none() -> None:
    assert defaults("ARG BASE\nARG VERSION=3\nFROM a:1\n  ARG C=4\n") == {"VERSION": "3"}
