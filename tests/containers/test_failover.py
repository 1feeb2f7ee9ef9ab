"""A primary and its standby in containers, killed, paused and cut off for real, under clients of the platform."""

from __future__ import annotations

import threading

import pytest

from tests.containers.clients import Crowd, writing
from tests.containers.daemon import docker, wait_until
from tests.containers.images import Images
from tests.containers.servers import Pair, Server, serving

pytestmark = [pytest.mark.containers, pytest.mark.timeout(540)]

ENOUGH = 40
"""Acknowledged writes before anything is broken, and after it was mended."""


def applied(server: Server) -> list[str]:
    """Every operation of the clients that the server holds, as often as it holds it."""
    with server.connect() as connection:
        rows = connection.execute("SELECT id FROM operations WHERE id ~ '^client[0-9]+[.][0-9]+$' ORDER BY id")
        return [row[0] for row in rows]


def acknowledges(crowd: Crowd, more: int = ENOUGH) -> None:
    """So many more writes are acknowledged than were when this was called."""
    before = len(crowd.ops("acknowledged"))
    wait_until(lambda: len(crowd.ops("acknowledged")) >= before + more, f"{more} more writes are acknowledged")


def every_operation_is_applied_once(crowd: Crowd, server: Server) -> None:
    """What was told is so, and asking again about all that was not acknowledged leaves each applied exactly once."""
    there = applied(server)
    assert crowd.ops("acknowledged") - set(there) == set()
    assert crowd.ops("refused") & set(there) == set()
    again = crowd.ask_again()
    assert set(again.values()) <= {"acknowledged"}, again
    assert applied(server) == sorted(crowd.ops("acknowledged", "refused", "unknown"))


def test_a_killed_primary_loses_nothing_that_was_acknowledged(images: Images, servers: Pair) -> None:
    """Commits wait for the standby: once it is promoted, the service goes on there with every acknowledged write."""
    with serving(images, servers) as url:
        with writing(url) as crowd:
            acknowledges(crowd)
            docker("kill", servers.primary.id)
            wait_until(lambda: bool(crowd.ops("refused", "unknown")), "a client notices")
            assert servers.standby.ask("SELECT pg_is_in_recovery()") is True
            assert servers.standby.ask("SELECT pg_promote()") is True
            acknowledges(crowd)
        every_operation_is_applied_once(crowd, servers.standby)


def test_writes_under_a_paused_server_are_not_known_until_they_are_asked_about(images: Images, servers: Pair) -> None:
    """The server hears what it was sent once it goes on; whoever was left without an answer asks by the operation's id."""
    with serving(images, servers) as url:
        with writing(url) as crowd:
            acknowledges(crowd)
            docker("pause", servers.primary.id)
            try:
                wait_until(lambda: len(crowd.ops("unknown")) >= len(crowd.clients), "every client is left in doubt")
            finally:
                docker("unpause", servers.primary.id)
            acknowledges(crowd)
        every_operation_is_applied_once(crowd, servers.primary)


def test_commits_wait_for_a_standby_that_is_cut_off_and_end_when_it_is_back(servers: Pair) -> None:
    """A wait is no loss: nobody is told of a write that one machine alone holds."""
    with servers.primary.connect() as connection:
        connection.execute("CREATE TABLE notes (id int PRIMARY KEY)")
    docker("network", "disconnect", servers.network.name, servers.standby.id)
    committed = threading.Event()

    def commit() -> None:
        with servers.primary.connect() as connection:
            connection.execute("INSERT INTO notes VALUES (1)")
        committed.set()

    waiting = threading.Thread(target=commit)
    waiting.start()
    try:
        wait_until(
            lambda: bool(servers.primary.ask("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")),
            "the commit waits for the standby",
        )
        wait_until(lambda: not servers.streams(), "the primary has given the standby up")
        assert not committed.is_set()
        assert servers.primary.ask("SELECT count(*) FROM notes") == 0
    finally:
        servers.network.connect(servers.standby.id)
        waiting.join(60)
    assert committed.is_set()
    wait_until(lambda: servers.streams(), "the standby streams again")
    inside = ("exec", servers.standby.id, "psql", "-U", "gym", "-Atc", "SELECT count(*) FROM notes")
    wait_until(lambda: docker(*inside) == "1", "the standby shows the write")


def test_without_that_wait_the_same_kill_loses_an_acknowledged_write(servers: Pair) -> None:
    """Or these tests could not see a loss at all."""
    with servers.primary.connect() as connection:
        connection.execute("ALTER SYSTEM RESET synchronous_standby_names")
        connection.execute("SELECT pg_reload_conf()")
    wait_until(lambda: not servers.streams(), "commits wait for nobody")
    docker("network", "disconnect", servers.network.name, servers.standby.id)
    with servers.primary.connect() as connection:
        connection.execute("CREATE TABLE notes (id int PRIMARY KEY)")
    docker("kill", servers.primary.id)
    servers.network.connect(servers.standby.id)
    inside = ("exec", servers.standby.id, "psql", "-U", "gym", "-Atc")
    assert docker(*inside, "SELECT pg_promote()") == "t"
    assert docker(*inside, "SELECT to_regclass('notes') IS NULL") == "t"
