"""The gate on what a revision locks: planted revisions of each bad kind are refused by it, and the real ones are not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from migrations import line, lint, revisions

pytestmark = pytest.mark.processes

PLANTED = '''"""Planted.

Revision ID: {number}
"""

import sqlalchemy as sa
from alembic import op

revision = "{number}"
down_revision = "{before}"


def upgrade() -> None:
    {statement}
'''


@pytest.fixture
def planted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the migrations, in which a revision can be planted."""
    place = Path(shutil.copytree(line.HERE, tmp_path / "migrations"))
    monkeypatch.setattr(line, "HERE", place)
    return place


def plant(place: Path, statement: str) -> str:
    before = line.line()[-1].id
    number = f"{int(before) + 1:04}"
    (place / "versions" / f"{number}_planted.py").write_text(
        PLANTED.format(number=number, before=before, statement=statement)
    )
    return number


def test_the_revisions_lock_nobody_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert lint.main() == 0
    assert capsys.readouterr().out == ""
    assert [name for name, _ in lint.statements()] == [one.id for one in line.line()[1:]]


@pytest.mark.parametrize(
    ("statement", "rule"),
    [
        ('op.add_column("users", sa.Column("age", sa.BigInteger(), nullable=False))', "adding-required-field"),
        ('op.create_index("ix_users_bio", "users", ["bio"])', "require-concurrent-index-creation"),
        ('op.alter_column("users", "bio", type_=sa.Text())', "changing-column-type"),
        ('op.alter_column("users", "bio", nullable=False)', "adding-not-nullable-field"),
        ('op.create_check_constraint("ck", "users", "length(bio) > 0")', "constraint-missing-not-valid"),
        ('op.drop_column("users", "bio")', "ban-drop-column"),
    ],
)
def test_a_revision_that_would_lock_others_out_is_refused(
    planted: Path, statement: str, rule: str, capsys: pytest.CaptureFixture[str]
) -> None:
    number = plant(planted, statement)
    assert lint.main() == 1
    said = capsys.readouterr().out.splitlines()
    assert [one.split(": ")[1] for one in said] == [rule]
    assert said[0].startswith(f"{number}:")


def test_statements_that_do_not_bound_their_waiting_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revisions, "_AS_ONLINE", "")
    assert lint.main() == 1
    (_, sql), *_ = lint.statements()
    assert [one.split(": ")[1] for one in lint.findings("0002", sql)] == ["require-lock-timeout"]


def test_a_new_table_with_its_index_locks_nobody_out(planted: Path) -> None:
    plant(
        planted,
        'op.create_table("notes", sa.Column("id", sa.BigInteger(), sa.Identity(), primary_key=True)); '
        'op.create_index("ix_notes_id", "notes", ["id"])',
    )
    assert lint.main() == 0


def test_a_linter_that_is_not_there_is_no_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lint, "SQUAWK", tmp_path / "squawk")
    assert lint.main() == 4
    assert "make setup" in capsys.readouterr().err


def test_a_linter_that_says_nothing_it_should_is_no_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "squawk"
    broken.write_text("#!/bin/sh\nexit 101\n")
    broken.chmod(0o755)
    monkeypatch.setattr(lint, "SQUAWK", broken)
    assert lint.main() == 4
    assert "ended with 101 on 0002" in capsys.readouterr().err


def test_each_rule_that_is_excluded_would_be_broken_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    excluded = dict(lint.EXCLUDED)
    assert all(why.endswith(".") for why in excluded.values())
    monkeypatch.setattr(lint, "EXCLUDED", {"ban-drop-database": ""})
    found = {one.split(": ")[1] for name, sql in lint.statements() for one in lint.findings(name, sql)}
    assert found == set(excluded)
