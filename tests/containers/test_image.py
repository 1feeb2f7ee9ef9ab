"""The Dockerfile's images: small, nobody's root, ready beside a real database, and drained when they are told to end."""

from __future__ import annotations

import json

import pytest

from tests.containers.daemon import docker, wait_until
from tests.containers.images import Images
from tests.containers.servers import Pair, health, loopback, platform

pytestmark = [pytest.mark.containers, pytest.mark.timeout(540)]

SIZE_BYTES_MAX = 400_000_000
"""Of the service, its base included: 350 MB on Debian's Python."""


def inside(image: str, *words: str) -> str:
    return docker("run", "--rm", "--network=none", "--entrypoint", words[0], image, *words[1:])


@pytest.mark.parametrize("name", ["service", "load", "agent"])
def test_an_image_runs_as_nobody_special_and_holds_none_of_what_made_it(name: str, images: Images) -> None:
    image = getattr(images, name)
    assert inside(image, "id", "-u") == "10001"
    assert inside(image, "gymkhana", "--version").startswith("gymkhana ")
    there = inside(
        image, "sh", "-c", "ls /opt/gymkhana/bin; ls /src /opt/uv 2>/dev/null; command -v cc gcc make uv; true"
    )
    assert "gymkhana" in there.split()
    assert {"cc", "gcc", "make", "uv", "playwright", "ruff", "mypy", "pyproject.toml"} & set(there.split()) == set()
    # Locust itself asks for pytest, and nobody else does.
    assert {"locust", "pytest"} & set(there.split()) == ({"locust", "pytest"} if name == "load" else set())


def test_the_service_is_small(images: Images) -> None:
    size_bytes = int(docker("inspect", "--format", "{{.Size}}", images.service))
    assert size_bytes < SIZE_BYTES_MAX
    assert size_bytes < int(docker("inspect", "--format", "{{.Size}}", images.agent))


def test_the_agent_has_the_programs_of_the_very_server(images: Images) -> None:
    assert inside(images.agent, "pg_receivewal", "--version").split()[-1] in inside(
        images.postgres, "postgres", "--version"
    )


def test_a_checkout_lends_the_images_nothing_but_code(images: Images) -> None:
    """What a checkout holds besides, runs and secrets, is not sent to the daemon."""
    listed = inside(images.service, "sh", "-c", "cd /opt/gymkhana/lib/python3*/site-packages && ls && ls ci/templates")
    assert {"system", "ci", "migrations", "report.html"} <= set(listed.split())
    assert {"tests", "var", "docs"} & set(listed.split()) == set()


def test_the_service_is_healthy_while_its_database_is_there_and_drains_when_told(images: Images, servers: Pair) -> None:
    """Docker asks /health/ready: a paused database shows, and so does its return. Without a schema nothing is served."""
    with platform(images, servers, "serve") as container:
        assert docker("wait", container.get_container_id()) != "0"
        assert "gymkhana migrate up" in container.get_logs()[1].decode()
    with platform(images, servers, "migrate", "up", "--no-backup") as migrating:
        assert docker("wait", migrating.get_container_id()) == "0"
    with loopback(platform(images, servers, "serve"), 8080) as container:
        container_id = container.get_container_id()
        wait_until(lambda: health(container_id) == "healthy", "the service is healthy")
        docker("pause", servers.primary.id)
        try:
            wait_until(lambda: health(container_id) == "unhealthy", "its health says that the database is away")
        finally:
            docker("unpause", servers.primary.id)
        wait_until(lambda: health(container_id) == "healthy", "the service is healthy again")
        docker("stop", "--time", "20", container_id)
        state = json.loads(docker("inspect", "--format", "{{json .State}}", container_id))
        assert state["ExitCode"] == 0
