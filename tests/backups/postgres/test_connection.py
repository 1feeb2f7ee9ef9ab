"""A server that goes away in the middle of a question is told from one that merely says no."""

from __future__ import annotations

import psycopg
import pytest

from backups.postgres.connection import ServerAway, connected
from tests.backups.postgres.conftest import Clinic

pytestmark = pytest.mark.processes


def test_a_connection_that_the_server_ends_is_a_server_that_is_away(newest: Clinic) -> None:
    with pytest.raises(ServerAway, match="went away"), connected(newest.server.url()) as connection:
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_a_statement_that_the_server_refuses_stays_what_it_is(newest: Clinic) -> None:
    hasty = f"{newest.server.url()}&options=-c%20statement_timeout%3D1"
    with pytest.raises(psycopg.errors.QueryCanceled), connected(hasty) as connection:
        connection.execute("SELECT pg_sleep(1)")
