"""A PostgreSQL primary, its standby and the platform on them: each a container, on one private network.

test ──127.0.0.1──▶ platform ──▶ primary ──log──▶ standby        the network is the containers' own
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, cast

import psycopg
from testcontainers.core.config import ConnectionMode, testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from ci.loopback import HOST
from tests.containers.daemon import docker, wait_until
from tests.containers.images import Images

PORT: Final = 5432
SERVICE_PORT: Final = 8080
STANDBY: Final = "standby"
_CLUSTER: Final = "/var/lib/postgresql/cluster"
_ACCESS: Final = """\
printf '%s\\n' 'local all all trust' 'host all all all scram-sha-256' 'host replication all all scram-sha-256' >/tmp/access
"""
_PRIMARY: Final = f"""{_ACCESS}
exec docker-entrypoint.sh postgres -c hba_file=/tmp/access -c wal_sender_timeout=2s
"""
_STANDBY: Final = f"""{_ACCESS}
until pg_basebackup -d 'host=primary user=gym application_name={STANDBY}' -D {_CLUSTER} -R -X stream -c fast -C -S {STANDBY}
do sleep 0.2; done
exec postgres -D {_CLUSTER} -c hba_file=/tmp/access -c wal_receiver_timeout=2s -c wal_retrieve_retry_interval=200ms
"""
_OFTEN: Final = {"interval": 1_000_000_000, "retries": 2}
"""The image's own look at its health, once a second."""

# Ryuk, which would clean up after tests that were killed, is one more image, that cannot be had everywhere. Ports are asked
# for on this machine, also where it is a container itself.
testcontainers_config.ryuk_disabled = True
testcontainers_config.connection_mode_override = ConnectionMode.docker_host
testcontainers_config.tc_host_override = HOST


@dataclass(frozen=True, slots=True)
class Server:
    """A server in a container; the superuser is gym, and so is the database."""

    container: DockerContainer
    password: str

    @property
    def id(self) -> str:
        return self.container.get_container_id()

    def connect(self) -> psycopg.Connection[Any]:
        """A connection in autocommit mode, by the port that this machine was given."""
        port = self.container.get_exposed_port(PORT)
        known: dict[str, Any] = {"host": HOST, "port": port, "user": "gym", "dbname": "gym", "connect_timeout": 3}
        return psycopg.connect(autocommit=True, password=self.password, **known)

    def ask(self, query: str) -> Any:
        """The one value that the query gives; none when there is no row."""
        with self.connect() as connection:
            row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None

    def answers(self) -> bool:
        try:
            return bool(self.ask("SELECT true"))
        except psycopg.OperationalError:
            return False


@dataclass(frozen=True, slots=True)
class Pair:
    """A primary whose commits wait for its standby, and the network that both are on."""

    network: Network
    primary: Server
    standby: Server

    def streams(self) -> bool:
        """Whether the primary counts on its standby now."""
        found = self.primary.ask("SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'")
        return bool(found)


def loopback(container: DockerContainer, port: int) -> DockerContainer:
    """The container's port is to be reached from this machine alone, by a port that nobody has."""
    container.ports[str(port)] = cast(Any, (HOST,))  # As docker takes it; testcontainers speaks of numbers only.
    return container


@contextmanager
def pair(images: Images) -> Iterator[Pair]:
    """Both run and follow for the block; nothing of them is left afterwards."""
    password = secrets.token_hex(16)
    with Network() as network:
        with _server(images.postgres, network, "primary", password, _PRIMARY) as container:
            primary = Server(container, password)
            wait_until(primary.answers, "the primary answers")
            with _server(images.postgres, network, STANDBY, password, _STANDBY, user="postgres") as other:
                one = Pair(network, primary, Server(other, password))
                wait_until(one.standby.answers, "the standby answers")
                with primary.connect() as connection:
                    connection.execute(f"ALTER SYSTEM SET synchronous_standby_names = '{STANDBY}'")
                    connection.execute("SELECT pg_reload_conf()")
                wait_until(one.streams, "the standby streams")
                yield one


def _server(image: str, network: Network, name: str, password: str, script: str, **more: Any) -> DockerContainer:
    container = DockerContainer(image, network=network, network_aliases=[name]).with_envs(
        POSTGRES_USER="gym", POSTGRES_DB="gym", POSTGRES_PASSWORD=password, POSTGRES_INITDB_ARGS="--locale=C.UTF-8",
        PGPASSWORD=password, PGDATA=_CLUSTER,
    )  # fmt: skip
    return loopback(container, PORT).with_kwargs(entrypoint=["bash", "-euc", script], **more)


def platform(images: Images, one: Pair, *words: str) -> DockerContainer:
    """`gymkhana WORDS` in the service's image, on whichever of the two is the primary."""
    url = "postgresql://gym@/gym?host=primary:5432&host=standby:5432&target_session_attrs=primary&connect_timeout=2"
    container = DockerContainer(images.service, command=list(words), network=one.network)  # type: ignore[arg-type]
    return container.with_envs(DATABASE_URL=url, PGPASSWORD=one.primary.password).with_kwargs(healthcheck=_OFTEN)


@contextmanager
def serving(images: Images, one: Pair) -> Iterator[str]:
    """The address of the platform, migrated and ready, for the block."""
    with platform(images, one, "migrate", "up", "--no-backup") as migrating:
        assert docker("wait", migrating.get_container_id()) == "0", docker("logs", migrating.get_container_id())
    with loopback(platform(images, one, "serve"), SERVICE_PORT) as container:
        wait_until(lambda: health(container.get_container_id()) == "healthy", "the platform is healthy")
        yield f"http://{HOST}:{container.get_exposed_port(SERVICE_PORT)}"


def health(container_id: str) -> str:
    """What Docker says of it: starting, healthy or unhealthy."""
    return docker("inspect", "--format", "{{.State.Health.Status}}", container_id)
