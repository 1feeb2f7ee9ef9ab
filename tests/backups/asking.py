"""`gymkhana backup` asked in this process: its answer, its document, or the one sentence of its refusal."""

from __future__ import annotations

import json
from typing import Any

from click.testing import CliRunner, Result

from backups.errors import BackupError
from ci.cli import gymkhana


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(gymkhana, ["backup", *arguments])


def ask(*arguments: str) -> dict[str, Any]:
    result = invoke(*arguments, "--json")
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return answer


def refused(kind: type[BackupError], exit_code: int, *arguments: str) -> str:
    """The one sentence with which the command refuses; turning it into an exit code is the command line's business."""
    error = invoke(*arguments).exception
    assert type(error) is kind
    assert error.exit_code == exit_code
    assert "\n" not in str(error)
    return str(error)
