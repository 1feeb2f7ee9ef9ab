"""Programs that are missing and servers that are too old, each told in one sentence with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psycopg
import pytest

from backups.errors import UsageError
from backups.postgres import binaries as programs
from backups.postgres.binaries import NoPostgres, binaries, installations
from backups.postgres.connection import cluster


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine without any PostgreSQL."""
    monkeypatch.delenv(programs.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "_DEBIAN", tmp_path / "none")
    monkeypatch.setattr(programs, "_WHEEL", "no_such_wheel")
    installations.cache_clear()
    yield
    installations.cache_clear()


@pytest.mark.usefixtures("bare")
def test_a_machine_without_programs_is_told_what_to_install() -> None:
    with pytest.raises(NoPostgres, match=r"no programs of PostgreSQL 14 or newer here; install Debian's") as caught:
        binaries()
    assert caught.value.exit_code == 2


@pytest.mark.usefixtures("bare")
def test_a_version_that_is_not_here_is_named() -> None:
    with pytest.raises(NoPostgres, match=r"no programs of PostgreSQL 17 here; "):
        binaries(17)


def test_a_server_older_than_the_oldest_known_is_refused() -> None:
    """No such server can be had any more: what libpq reports of one is all that is asked."""
    connection = cast(psycopg.Connection[Any], SimpleNamespace(info=SimpleNamespace(server_version=130_021)))
    with pytest.raises(UsageError, match="The server is PostgreSQL 13, and 14 is the oldest that is known here"):
        cluster(connection)
